"""The fastest way to run a model on this machine, by a short measurement that is remembered."""

import hashlib
import importlib.metadata
import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from segwright.errors import SegmentationError
from segwright.inference.network import Network
from segwright.inference.runtimes import Candidate, Options
from segwright.runtime.exported import Batch
from segwright.runtime.files import write_atomically
from segwright.runtime.machine import available_cpus, cache_folder, cpu_name

logger = logging.getLogger(__name__)

MANY = 64
"""Pictures from which on measuring pays: it starts each candidate and runs it four times."""

FEW = 4
"""Pictures below which a network is not worth rewriting. It takes 0.1 s of one core for Fast-SCNN, 0.7 s for PSPNet50,
and saves a third and an eighth of their time: 24 ms and 0.6 s for a picture of 512x1024, 140 ms of Fast-SCNN at
1024x2048."""

_ROUNDS = 3
_PAYS_BACK = 5
"""The work at hand must take this many times as long as a slow start that may shorten it."""

Times = dict[str, float | None]
"""Median milliseconds by runtime; None where it could not run."""


class Chosen(NamedTuple):
    """The network to use, and what was measured."""

    network: Network
    times: Times


def fastest(
    ways: Sequence[Candidate], started: Network, batch: Batch, pictures: int, path: Path, options: Options
) -> Chosen:
    """The fastest of several ways to run a model at this size; measured once per machine, model and size.

    They run in turn on the same picture, so that a noisy machine hits all alike. One that cannot run is left out.

    Args:
        ways: to run the model, among them that of ``started``.
        started: the network in use.
        batch: a picture as the network takes it.
        pictures: that will come; a way that starts slowly is tried only where there is enough to gain.
        path: the model's file, by whose content the choice is remembered.
        options: how the network is run, for the record.
    """
    key, networks = _key(path, batch, options), {started.runtime: started}
    recorded = _recorded(key)
    quick = [way for way in ways if not way.seconds]
    times = dict(recorded)
    if any(way.runtime not in times for way in quick):
        times |= _measured(quick, networks, batch)
    open_to = [way for way in ways if way in quick or _pays(way, times, pictures)]
    for way in open_to:
        if way.runtime not in times:
            times |= _measured([way], networks, batch)
    if times != recorded:
        _record(key, times)
    winner = min(open_to, key=lambda way: _or_never(times[way.runtime]))
    network = networks.get(winner.runtime) or _ready(winner, batch) or started
    logger.info("runtime '%s' is the fastest of %s (ms)", network.runtime, times)
    return Chosen(network, times)


def _pays(way: Candidate, times: Times, pictures: int) -> bool:
    quickest = min(map(_or_never, times.values()))
    return pictures * quickest / 1000 >= _PAYS_BACK * way.seconds


def _or_never(milliseconds: float | None) -> float:
    return math.inf if milliseconds is None else milliseconds


def _measured(ways: Sequence[Candidate], networks: dict[str, Network], batch: Batch) -> Times:
    """Milliseconds of each way, in turn; adds the networks that were started for it."""
    times: dict[str, list[float]] = {}
    for way in ways:
        network = networks.get(way.runtime) or _ready(way, batch)
        if network is not None:
            networks[way.runtime] = network
            network.run(batch)
            times[way.runtime] = []
    for _ in range(_ROUNDS):
        for name, counted in times.items():
            start = time.perf_counter()
            networks[name].run(batch)
            counted.append((time.perf_counter() - start) * 1000)
    medians = {name: round(median(counted), 2) for name, counted in times.items()}
    return {way.runtime: medians.get(way.runtime) for way in ways}


def _ready(way: Candidate, batch: Batch) -> Network | None:
    """The network after its first picture; None where it cannot run."""
    try:
        network = way.start()
        network.run(batch)
    except SegmentationError as reason:
        logger.info("runtime '%s' is left out: %s", way.runtime, reason)
        return None
    return network


def _key(path: Path, batch: Batch, options: Options) -> str:
    """Everything that the choice depends on, for people to read as well."""
    digest = hashlib.sha256()
    for file in (path, path.with_suffix(".bin")) if path.suffix.lower() == ".xml" else (path,):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    versions = [f"{name} {_version(name)}" for name in ("torch", "onnxruntime", "openvino")]
    size = "x".join(map(str, batch.shape))
    how = f"{options.device} {options.precision} {options.threads} threads"
    return " | ".join([digest.hexdigest()[:16], size, how, cpu_name(), f"{available_cpus()} cpus", *versions])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _records() -> Path:
    return cache_folder("runtimes") / "measured.json"


def _read() -> dict[str, Any]:
    try:
        records = json.loads(_records().read_text())
    except (OSError, ValueError):  # none yet, or damaged: measured again
        return {}
    return records if isinstance(records, dict) else {}


def _recorded(key: str) -> Times:
    """What was measured before; empty where nothing was, or where what is there is no such record."""
    times = _read().get(key)
    if not isinstance(times, dict):
        return {}
    return times if all(value is None or isinstance(value, int | float) for value in times.values()) else {}


def _record(key: str, times: Times) -> None:
    path = _records()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({**_read(), key: times}, indent=1).encode(), durable=False)
    except (OSError, SegmentationError) as reason:  # measured again next time
        logger.info("the choice of runtime is not remembered: %s", reason)
