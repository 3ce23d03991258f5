"""Ways of doing one thing, timed in turn on both sides, and the table that comes of it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from interleaved import interleaved

from peers.environments import peers_environment
from peers.networks import CLASSES, SYSTEMS, Files, prepare_files
from peers.pipe import BENCHMARKS, Side, Stopwatch, Way, environment
from segwright.deploy.cost import count_cost
from segwright.deploy.roofline import BYTES, measure_roofline
from segwright.runtime.machine import available_cpus, cpu_name
from segwright.zoo import create


@dataclass(frozen=True)
class Line:
    """One way beside the first of its comparison.

    Args:
        row: letter of the comparison.
        what: is done.
        threads: that it may use.
        peer, way: names.
        peer_milliseconds, milliseconds: medians.
        ratio: theirs over ours.
        same: share of the values (0..1) that equal the peer's; None where they cannot be compared.
        roofline: least time that this machine's arithmetic and memory allow the network in the way's precision, over
            the time it took; None where no network is run by us, and for int8, whose peak is not measured.
    """

    row: str
    what: str
    threads: int
    peer: str
    way: str
    peer_milliseconds: float
    milliseconds: float
    ratio: float
    same: float | None = None
    roofline: float | None = None


@dataclass
class Bench:
    """Both sides at one number of threads, and what they found.

    Args:
        threads: that each way may use.
        rounds: counted turns of each way.
        work: folder of the networks' files.
        env: folder of the peers' environment.
        lines: gets the results.
    """

    threads: int
    rounds: int
    work: Path
    env: Path
    lines: list[Line]
    sides: dict[str, Side] = field(default_factory=dict)

    @property
    def few(self) -> int:
        """Turns of what takes seconds each."""
        return max(1, self.rounds // 2)

    def side(self, name: str) -> Side:
        """``peers`` or ``ours``, started when first needed."""
        if name not in self.sides:
            python = peers_environment(self.env) if name == "peers" else Path(sys.executable)
            module = "mmseg_side" if name == "peers" else "our_side"
            self.sides[name] = Side(python, module, self.threads, self.work / f"{name}.log")
        return self.sides[name]

    def files(self, system: str) -> Files:
        return prepare_files(system, self.work, partial(self.side, "peers"))

    def close(self) -> None:
        for side in self.sides.values():
            side.close()
        self.sides.clear()

    def compare(self, row: str, what: str, ways: Mapping[str, Way], rounds: int, system: str | None = None) -> None:
        """Time ways in turn, each against the first; one that cannot run is left out, and told.

        Args:
            row, what: of the table.
            ways: by name, the peer's first.
            rounds: counted turns.
            system: the network that they run, for the share of the roofline.
        """
        self._head(row, what)
        stopwatch, calls = Stopwatch(self.threads == 1), {}
        for name, way in ways.items():
            try:
                side = self.side(way.side)
                side.ask(do="start", way=name, maker=way.maker, arguments=way.arguments)
                self._run(way.side, name, stopwatch)
                calls[name] = partial(self._run, way.side, name, stopwatch)
            except (RuntimeError, OSError, subprocess.CalledProcessError) as reason:
                print(f"{name} is left out: {reason}")
        if next(iter(ways)) in calls:
            medians = interleaved(calls, rounds=rounds, warmup=0, clock=stopwatch)
            same = self._shares({name: ways[name] for name in calls})
            for name in list(medians)[1:]:
                precision = str(ways[name].arguments.get("precision", ""))
                bound = least_seconds(system, precision, self.threads) if system and precision in BYTES else None
                self._note(row, what, name, medians, same[name], bound)
        for side in self.sides.values():
            side.ask(do="forget")

    def commands(self, row: str, what: str, ways: Mapping[str, Sequence[str]], rounds: int) -> None:
        """Time commands in turn, each in a fresh process, against the first."""
        self._head(row, what)
        stopwatch = Stopwatch(self.threads == 1)
        calls = {name: partial(run_command, words, self.threads, stopwatch) for name, words in ways.items()}
        medians = interleaved(calls, rounds=rounds, clock=stopwatch)
        for name in list(medians)[1:]:
            self._note(row, what, name, medians)

    def show_distance(self, system: str, files: Files) -> None:
        """Print how far both sides' logits are apart, to show that they are one network."""
        logits = {}
        theirs = {"config": SYSTEMS[system].config, "checkpoint": str(files.checkpoint), "images": str(files.images)}
        arguments = {"peers": theirs, "ours": {"model": str(files.model), "images": str(files.images)}}
        with tempfile.TemporaryDirectory() as folder:
            for name in ("peers", "ours"):
                side, file = self.side(name), Path(folder, f"{name}.npy")
                side.ask(do="start", way="logits", maker="images_to_logits", arguments=arguments[name])
                side.ask(do="run", way="logits")
                side.ask(do="keep", way="logits", file=file)
                side.ask(do="forget")
                logits[name] = np.load(file)
        far = np.abs(logits["peers"] - logits["ours"]).max() / logits["peers"].std()
        print(f"{system}: the two networks' logits differ by at most {far:.1e} of their standard deviation")

    def _head(self, row: str, what: str) -> None:
        print(f"\n{row}: {what}, {self.threads} thread{'s' if self.threads > 1 else ''}", flush=True)

    def _run(self, side: str, way: str, stopwatch: Stopwatch) -> None:
        seconds = self.side(side).ask(do="run", way=way)
        stopwatch.add(seconds["wall"], seconds["processor"])

    def _shares(self, ways: Mapping[str, Way]) -> dict[str, float | None]:
        """How much of each way's last result equals the first's."""
        results = {}
        with tempfile.TemporaryDirectory() as folder:
            for index, (name, way) in enumerate(ways.items()):
                file = Path(folder, f"{index}.npy")
                self.side(way.side).ask(do="keep", way=name, file=file)
                results[name] = np.load(file)
        first = results[next(iter(ways))]
        return {
            name: float((first == result).mean()) if first.shape == result.shape else None
            for name, result in results.items()
        }

    def _note(
        self, row: str, what: str, way: str, medians: Mapping[str, float], same: float | None = None,
        bound: float | None = None,
    ) -> None:  # fmt: skip
        (peer, theirs), ours = next(iter(medians.items())), medians[way]
        roofline = None if bound is None else bound / ours
        line = Line(row, what, self.threads, peer, way, 1e3 * theirs, 1e3 * ours, theirs / ours, same, roofline)
        self.lines.append(line)


@lru_cache
def least_seconds(system: str, precision: str, threads: int) -> float:
    """What this machine needs at least for a network, by the roofline of that precision."""
    cost = count_cost(create(SYSTEMS[system].id, CLASSES).info, SYSTEMS[system].size)
    return measure_roofline(precision, threads).bound(cost)


def run_command(words: Sequence[str], threads: int, stopwatch: Stopwatch) -> None:
    """Run a command in ``benchmarks/`` and add what it and its children took."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(words, cwd=BENCHMARKS, env=environment(threads), stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(words)} failed:\n{log.read()[-2000:]}")
    stopwatch.add(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def print_table(lines: Sequence[Line]) -> None:
    """Print all lines with their medians and ratios."""
    print(f"\n{cpu_name()}, {available_cpus()} CPUs; medians in ms; 1 thread: processor time, more: wall time")
    head = ("", "threads", "what", "peer", "ms", "way", "ms", "ratio", "same", "roofline")
    rows = [head, *map(_cells, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (
            cell.rjust(width) if column in (1, 4, 6, 7, 8, 9) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _cells(line: Line) -> tuple[str, ...]:
    same = "" if line.same is None else f"{100 * line.same:.3f} %"
    roofline = "" if line.roofline is None else f"{100 * line.roofline:.0f} %"
    times = [f"{value:.1f}" for value in (line.peer_milliseconds, line.milliseconds)]
    return (
        line.row, str(line.threads), line.what, line.peer, times[0], line.way, times[1], f"{line.ratio:.2f} x", same,
        roofline,
    )  # fmt: skip
