"""How fast networks are on this machine, from a picture's file to its mask's file, side by side.

All are measured in turn, round by round, so that whatever else the machine does hits all alike: the absolute times
wander with it, the ratios hold.
"""

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from segwright.data import SegmentationData
from segwright.deploy.check_export import drawn_picture
from segwright.deploy.contenders import Contender, Gathering, LeftOut, Progress, check_words
from segwright.deploy.cost import Cost, count_cost
from segwright.deploy.fresh_process import peak_memory
from segwright.deploy.roofline import BYTES, Roofline, measure_roofline
from segwright.errors import ConfigError, SegmentationError
from segwright.evaluation import check_classes, evaluate
from segwright.inference.views import first_batch
from segwright.info import ModelInfo, Preprocessing
from segwright.runtime import prepare, read_picture
from segwright.runtime.files import TEMPORARY
from segwright.runtime.machine import cpu_name, cpu_threads

SIZE = (1024, 2048)
ROUNDS = 10
_CPU = torch.device("cpu")

Key = TypeVar("Key", bound=Hashable)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A model in one runtime and precision.

    Args:
        model: as it was given.
        runtime, precision: that ran it.
        size: (height, width) of the picture.
        milliseconds_p50, milliseconds_p95: from the picture's file to its mask's file: decode, preprocess, network,
            resize and decide, encode.
        network_milliseconds_p50, network_milliseconds_p95: of them, the network alone.
        images_per_second: in one stream, file to file.
        peak_memory_mb: largest resident size of a new process that does the same; None where it is not known.
        threads: computed with.
        params: that take part; None of an exported file of a network that is not known here.
        gmacs: billions of multiply-adds a picture; None likewise.
        peak_share: of the machine's arithmetic that the network used, 0..1; None where either is not known.
        bound_ms: least time of the network on this machine, see :meth:`Roofline.bound`; None likewise.
        miou: 0..1 on the data set's split; None without one.
        is_fresh: the weights are random.
    """

    model: str
    runtime: str
    precision: str
    size: tuple[int, int]
    milliseconds_p50: float
    milliseconds_p95: float
    network_milliseconds_p50: float
    network_milliseconds_p95: float
    images_per_second: float
    peak_memory_mb: float | None
    threads: int
    params: int | None
    gmacs: float | None
    peak_share: float | None
    bound_ms: float | None
    miou: float | None = None
    is_fresh: bool = False


@dataclass(frozen=True)
class Report:
    """What was measured, on which machine, and what could not be.

    Args:
        rows: in the order in which they were asked for.
        left_out: asked for and not possible.
        machine: its processor.
        rounds: that were timed.
        rooflines: by precision.
        data: name and split of the data set, such as ``camvid/val``; None without one.
    """

    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    machine: str
    rounds: int
    rooflines: Mapping[str, Roofline]
    data: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "left_out": [way.to_json() for way in self.left_out],
            "machine": self.machine,
            "rounds": self.rounds,
            "rooflines": {name: dataclasses.asdict(roofline) for name, roofline in self.rooflines.items()},
            "data": self.data,
        }


def benchmark(
    models: Sequence[str],
    *,
    size: tuple[int, int] = SIZE,
    data: SegmentationData | None = None,
    split: str = "val",
    runtimes: Sequence[str] = (),
    precisions: Sequence[str] = (),
    rounds: int = ROUNDS,
    threads: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Report:
    """Measure models by time, memory and, with a data set, accuracy.

    Args:
        models: model files, run folders, exported files, published ids, or registered names (fresh weights).
        size: (height, width) of the street scene that all see, a JPEG file; networks of bands see noise as an array
            file (.npy).
        data: to score them on; fresh networks get its classes.
        split: train, val or test.
        runtimes: torch, compiled, onnx, openvino; networks are exported for the last two. None are torch for networks,
            and for exported files whatever reads them.
        precisions: fp32, bf16, fp16, int8; none are what each runtime takes by itself.
        rounds: how often each is timed, after one round that is not.
        threads: to compute with on the CPU; all that this process may use unless given.
        device: of torch, as :class:`segwright.Predictor`.
        progress: hears of the work.

    Raises:
        ConfigError: an unknown runtime or precision, rounds or threads below 1, or no model.
        ShapeError: a size too small for a street scene.
        WeightsError: a model that is not there or cannot be used.
        DataError: a data set of other classes, or without the split.
        SegmentationError: nothing of what was asked for is possible; of the first reason's class.
    """
    check_words(runtimes, precisions)
    if rounds < 1 or not models:
        given = "no model was given" if not models else f"rounds must be at least 1, got {rounds}"
        raise ConfigError(given, fix="for example: segwright bench fast_scnn --rounds 10")
    threads, tell = cpu_threads(threads), progress or _silent
    if data is not None:
        data.pairs(split)  # is refused now, if at all
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as name:
        folder = Path(name)
        scenes, mask = Scenes(folder, size), folder / "mask.png"
        gathering = Gathering(folder, data, device, threads, tell)
        contenders, left_out = _gather(gathering, models, runtimes, precisions)
        prepare()  # loops over pixels are compiled now, not while something is timed
        contenders, failed = _warm_up(contenders, scenes, mask, tell)
        _refuse_nothing(contenders, [*left_out, *failed])
        precise = {contender.predictor.precision for contender in contenders}
        before = {word: measure_roofline(word, threads) for word in BYTES if word in precise}
        times = interleave(_calls(contenders, scenes, mask), rounds, tell=partial(tell, "timing"))
        # Twice: a moment in which others compute would make the machine look slow.
        rooflines = {word: first.best(measure_roofline(word, threads)) for word, first in before.items()}
        judge = _Judge(size, scenes, threads, device, data, split, rooflines, tell)
        rows = []
        for done, contender in enumerate(contenders):
            tell("fresh processes", done, len(contenders))
            rows.append(judge.row(contender, times[contender, "all"], times[contender, "network"]))
        tell("fresh processes", len(contenders), len(contenders))
    place = f"{data.name}/{split}" if data else None
    return Report(tuple(rows), (*left_out, *failed), cpu_name(), rounds, rooflines, place)


def interleave(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> dict[Key, list[float]]:
    """Seconds of each call in each round, all in turn."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(rounds):
        for key, call in calls.items():
            start = clock()
            call()
            times[key].append(clock() - start)
        tell(turn + 1, rounds)
    return times


class Scenes:
    """The pictures that are timed, each drawn when it is first asked for.

    Args:
        folder: for their files.
        size: (height, width).
    """

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder, self.size = folder, size
        self.of(Preprocessing())  # refuses a size that is too small

    def of(self, preprocessing: Preprocessing) -> Path:
        """The file for a network: a JPEG; for one of bands an array of its kind of values."""
        bands = preprocessing.bands
        name = "scene.jpg" if bands is None else f"bands-{bands}-{preprocessing.dtype}.npy"
        path = self.folder / name
        if not path.exists():
            picture = drawn_picture(preprocessing, self.size, 0)
            if bands is None:
                Image.fromarray(picture).save(path, quality=92)
            else:
                np.save(path, picture)
        return path


def _gather(
    gathering: Gathering, models: Sequence[str], runtimes: Sequence[str], precisions: Sequence[str]
) -> tuple[list[Contender], list[LeftOut]]:
    """All that can be measured, ready to run, and what cannot."""
    subjects = []
    for done, model in enumerate(dict.fromkeys(models)):
        gathering.tell("loading", done, len(models))
        subjects.append(gathering.subject(model))
    gathering.tell("loading", len(models), len(models))
    for subject in subjects:
        if gathering.data is not None and subject.info is not None:
            check_classes(subject.info.classes, gathering.data)
    contenders: list[Contender] = []
    left_out: list[LeftOut] = []
    for subject in subjects:
        possible, impossible = gathering.contenders(subject, runtimes, precisions)
        contenders += possible
        left_out += impossible
    return contenders, left_out


def _warm_up(
    contenders: Sequence[Contender], scenes: Scenes, mask: Path, tell: Progress
) -> tuple[list[Contender], list[LeftOut]]:
    """Run each once, when libraries choose their kernels and ``compiled`` compiles; those that fail are left out."""
    able: list[Contender] = []
    failed: list[LeftOut] = []
    for done, contender in enumerate(contenders):
        tell("first pictures", done, len(contenders))
        try:
            for call in _calls([contender], scenes, mask).values():
                call()
        except SegmentationError as error:
            failed.append(LeftOut(*contender.key, error))
        else:
            able.append(contender)
    tell("first pictures", len(contenders), len(contenders))
    return able, failed


def _refuse_nothing(contenders: Sequence[Contender], left_out: Sequence[LeftOut]) -> None:
    """Raise the first reason where there is nothing to measure."""
    if contenders:
        return
    first = left_out[0]
    more = f" (and {len(left_out) - 1} more are not possible either)" if len(left_out) > 1 else ""
    way = f"{first.model} in {first.runtime}, {first.precision}"
    raise type(first.error)(f"nothing can be measured: {way}: {first.error.message}{more}", fix=first.error.fix)


def _calls(
    contenders: Sequence[Contender], scenes: Scenes, mask: Path
) -> dict[tuple[Contender, str], Callable[[], object]]:
    """What is timed of each: all from file to file, and the network alone."""
    calls: dict[tuple[Contender, str], Callable[[], object]] = {}
    for contender in contenders:
        predictor = contender.predictor
        preprocessing = predictor.info.preprocessing
        picture = scenes.of(preprocessing)
        image = read_picture(picture, preprocessing.bands)
        calls[contender, "all"] = partial(_predict, contender, picture, mask)
        calls[contender, "network"] = partial(predictor.network.run, first_batch(predictor.network, image, None))
    return calls


def _predict(contender: Contender, picture: Path, mask: Path) -> None:
    contender.predictor(picture).save(mask)


@dataclass(frozen=True)
class _Judge:
    """Makes rows of times.

    Args:
        size, scenes: of the pictures that were predicted.
        threads, device: that computed.
        data, split: for the accuracy; or None.
        rooflines: of the machine, by precision.
        tell: hears of the scoring.
    """

    size: tuple[int, int]
    scenes: Scenes
    threads: int
    device: str
    data: SegmentationData | None
    split: str
    rooflines: Mapping[str, Roofline]
    tell: Progress

    def row(self, contender: Contender, seconds: Sequence[float], network_seconds: Sequence[float]) -> Row:
        """All that is known of a contender."""
        _, runtime, precision = contender.key
        how: dict[str, Any] = {"device": self.device, "runtime": runtime, "precision": precision}
        p50, p95, network_p50, network_p95 = (
            round(float(1000 * np.percentile(values, share)), 3)
            for values in (seconds, network_seconds)
            for share in (50, 95)
        )
        cost = _cost(contender.subject.info, self.size)
        is_on_cpu = getattr(contender.predictor.network, "device", None) in (None, _CPU)
        roofline = self.rooflines.get(precision) if is_on_cpu else None
        scored = partial(self.tell, f"scoring {contender.label}")
        scores = evaluate(contender.source, self.data, split=self.split, progress=scored, **how) if self.data else None
        return Row(
            *contender.key, self.size, p50, p95, network_p50, network_p95,
            images_per_second=round(len(seconds) / sum(seconds), 3),
            peak_memory_mb=peak_memory(
                contender.source, self.scenes.of(contender.predictor.info.preprocessing), threads=self.threads, **how
            ),
            threads=self.threads,
            params=cost.params if cost else None,
            gmacs=cost.gmacs if cost else None,
            peak_share=2e12 * cost.gmacs / network_p50 / roofline.flops if cost and roofline else None,
            bound_ms=round(1000 * roofline.bound(cost), 3) if cost and roofline else None,
            miou=scores.miou if scores else None,
            is_fresh=contender.subject.is_fresh,
        )  # fmt: skip


def _cost(info: ModelInfo | None, size: tuple[int, int]) -> Cost | None:
    """What the network costs, if the model says which it is and it is known here."""
    try:
        return count_cost(info, size) if info else None
    except (SegmentationError, TypeError) as reason:  # options of a newer or another segwright
        logger.info("the work of '%s' is not known: %s", info.name if info else "", reason)
        return None


def _silent(what: str, done: int, total: int) -> None:
    pass
