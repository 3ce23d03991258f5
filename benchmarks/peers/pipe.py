"""Long-lived processes that take turns: each prepares ways of doing a thing and runs one when asked, over a pipe.

Knows neither torch nor segwright, because the peers' environment imports it too.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BENCHMARKS = Path(__file__).resolve().parents[1]

Call = Callable[[], Any]


class Way(NamedTuple):
    """A way of doing something: which side does it, what makes the call there, and from what."""

    side: str
    maker: str
    arguments: Mapping[str, Any]


class Stopwatch:
    """The seconds that others report, added up: the clock of work in other processes.

    Args:
        counts_processor_time: for one thread on a shared machine; else wall time.
    """

    def __init__(self, counts_processor_time: bool) -> None:
        self.counts_processor_time, self.seconds = counts_processor_time, 0.0

    def add(self, wall: float, processor: float) -> None:
        self.seconds += processor if self.counts_processor_time else wall

    def __call__(self) -> float:
        return self.seconds


class Side:
    """One of the processes, seen from outside.

    Args:
        python: of the environment it runs in.
        module: of this package, which calls :func:`serve`.
        threads: that it may compute with.
        log: where its own words go.
    """

    def __init__(self, python: Path, module: str, threads: int, log: Path) -> None:
        self.log = log.open("w")
        self.process = subprocess.Popen(
            [str(python), "-m", f"peers.{module}"],
            cwd=BENCHMARKS, env=environment(threads), text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """Its answer; RuntimeError where it has none."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request, default=str) + "\n")
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RuntimeError(f"{answer['error']} (more in {self.log.name})")
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def environment(threads: int) -> dict[str, str]:
    """Variables of a process that computes with so many threads."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def serve(makers: Mapping[str, Callable[..., Call]]) -> None:
    """Answer requests, one line of JSON each, until there are no more.

    ``start`` makes the call of a way, ``run`` makes it do its work and says how long that took, ``keep`` writes its
    last result to a file, ``forget`` drops all ways.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    calls: dict[str, Call] = {}
    results: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(request, makers, calls, results)
        except Exception as reason:
            traceback.print_exc()
            answer = {"error": f"{type(reason).__name__}: {' '.join(str(reason).split())[:300]}"}
        print(json.dumps(answer), file=answers)


def _answer(
    request: dict[str, Any], makers: Mapping[str, Callable[..., Call]], calls: dict[str, Call], results: dict[str, Any]
) -> dict[str, Any]:
    do, way = request["do"], request.get("way", "")
    if do == "start":
        calls[way] = makers[request["maker"]](**request["arguments"])
    elif do == "run":
        wall, processor = time.perf_counter(), time.process_time()
        results[way] = calls[way]()
        return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    elif do == "keep":
        np.save(request["file"], np.asarray(results[way]))
    elif do == "forget":
        calls.clear()
        results.clear()
    return {}
