"""Many pictures on several workers, on this machine or on a cluster, by Ray Data.

Each worker is a process that loads the model once, predicts and writes the files itself; only words travel between the
machines: which picture, and what became of it. The pictures, the model and the output folder must be at the same paths
on all of them.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from segwright import errors
from segwright.errors import MissingExtraError, RunError, SegmentationError
from segwright.inference import Predictor
from segwright.inference.jobs import Job, predict
from segwright.runtime.machine import available_cpus, cpu_threads

logger = logging.getLogger(__name__)

_PICTURES_AT_ONCE = 32
"""Handed to a worker in one call, at most; a call costs Ray some milliseconds."""

_DEATHS = 2
"""Of workers over one picture, after which it is given up."""

_SECONDS_TO_ANSWER = 10.0

_OBJECTS = 100 << 20
"""Bytes of shared memory for Ray's objects, which hold words only."""


@dataclass(frozen=True)
class Work:
    """What a worker needs to know.

    Args:
        model: as :class:`segwright.inference.Predictor` takes it; a path is made absolute.
        options: the predictor's other arguments.
        pictures: in the whole run, done ones included, so that a resumed run decides as one that never stopped.
        is_offline: whether the network is forbidden.
    """

    model: str
    options: Mapping[str, Any]
    pictures: int
    is_offline: bool = False


class Share(NamedTuple):
    """What of the cluster each worker gets; ``cpus`` below 1 where there are more workers than cores."""

    workers: int
    cpus: float
    gpus: float

    def describe(self) -> str:
        """In words."""
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers, each"
        cores = "1 core" if self.cpus == 1 else f"{self.cpus:g} cores"
        return f"{workers} with {cores}{gpus}"


class Outcome(NamedTuple):
    """What became of a picture.

    Args:
        job: the picture and its files.
        size, mtime_ns: of the picture's file before it was read; None where there is none.
        error: why it failed; None where its files are written.
        fix: what to do about it.
        areas: share of every class.
        milliseconds: from the file to the mask.
        runtime: what ran the network, in words.
    """

    job: Job
    size: int | None
    mtime_ns: int | None
    error: str | None = None
    fix: str = ""
    areas: dict[str, float] = {}  # noqa: RUF012  nobody changes it
    milliseconds: float = 0.0
    runtime: str = ""


class Attempts:
    """Counts how often a picture was begun and not finished, which only a dying worker leaves behind."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, index: int) -> int:
        """How often it was begun before."""
        self._begun[index] += 1
        return self._begun[index] - 1

    def end(self, index: int) -> None:
        del self._begun[index]


class Worker:
    """Holds the model; Ray Data makes one per process and hands it pictures as lines of JSON."""

    def __init__(self, work: Work, threads: int | None, attempts: Any) -> None:
        if work.is_offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        self.attempts, self.problem = attempts, ""
        self.warnings = _Warnings()
        logging.getLogger("segwright").addHandler(self.warnings)
        try:
            self.predictor = Predictor(work.model, threads=threads, **work.options)
            self.predictor.expect(work.pictures)
        except SegmentationError as error:
            self.problem = json.dumps({"kind": type(error).__name__, "message": error.message, "fix": error.fix})

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
        """{"job": [...]} -> {"outcome": [...]}, both in JSON; a model that cannot be used is told for each of them."""
        if self.problem:
            return {"outcome": [self.problem] * len(batch["job"])}
        return {"outcome": [json.dumps(self._outcome(json.loads(str(line)))) for line in batch["job"]]}

    def _outcome(self, words: dict[str, Any]) -> dict[str, Any]:
        import ray

        index, files = words["index"], [path and Path(path) for path in words["job"]]
        deaths = ray.get(self.attempts.begin.remote(index))
        if deaths >= _DEATHS:
            facts = {"error": f"{deaths} workers died over picture '{files[0]}'", "fix": "is the memory too small?"}
        else:
            facts = self._facts(Job(*files))
        self.attempts.end.remote(index)
        return {"index": index, "size": None, "mtime_ns": None, **facts, "warnings": self.warnings.taken()}

    def _facts(self, job: Job) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # the predictor says what is wrong with the file
            status = job.source.stat()
            facts = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        try:
            predicted = predict(self.predictor, job)
        except SegmentationError as error:
            return {**facts, "error": error.message, "fix": error.fix}
        except Exception as error:  # one picture must not stop a million others
            text = " ".join(str(error).split())[:300]
            return {**facts, "error": f"picture '{job.source}' failed ({type(error).__name__}: {text})"}
        return {
            **facts,
            "areas": predicted.areas,
            "milliseconds": predicted.milliseconds,
            "runtime": self.predictor.describe(),
        }


class _Warnings(logging.Handler):
    """Keeps warnings for the machine that the command runs on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())

    def taken(self) -> list[str]:
        texts, self._texts = self._texts, []
        return texts


class Cluster:
    """A Ray cluster for the time of the block: one that is there, or one of this machine that ends with the block.

    What Ray prints in between goes nowhere. A cluster of our own listens on this machine alone, keeps its files in a
    temporary folder, and reports to nobody. Where the program has connected Ray already, that is used as it is.

    Args:
        address: of an existing cluster, ``auto`` for the one that this machine belongs to; None starts one.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: no cluster answers there, or none could be started.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.ray = _import_ray(is_local=address is None)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Cluster":
        with contextlib.ExitStack() as stack:
            nowhere = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            if not self.ray.is_initialized():
                self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def share(self, workers: int | None, device: str, pictures: int) -> Share:
        """What each of that many workers gets; None chooses: one per GPU, or else one per two cores."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        cpus, gpus = ([int(node.get(name, 0)) for node in nodes] for name in ("CPU", "GPU"))
        return share(cpus, gpus if device != "cpu" else [], workers, pictures)

    def run(self, jobs: Sequence[Job], work: Work, share: Share) -> Iterator[Outcome]:
        """The outcome of each job as it is finished, in any order.

        Raises:
            ConfigError, WeightsError, MissingExtraError: as the workers' ``Predictor`` raised it.
            RunError: the cluster failed.
        """
        for words in self._answers(jobs, work, share):
            if "kind" in words:
                raise getattr(errors, words["kind"])(words["message"], fix=words["fix"])
            for text in words.pop("warnings"):
                logger.warning("%s", text)
            job = jobs[words.pop("index")]
            yield Outcome(job, **words)

    def _answers(self, jobs: Sequence[Job], work: Work, share: Share) -> Iterator[dict[str, Any]]:
        """What the workers say, line by line."""
        data, threads = self.ray.data, None if share.gpus else max(1, int(share.cpus))
        if self.address is None and threads:
            threads = min(threads, cpu_threads())
        lines = [{"job": _line(index, job)} for index, job in enumerate(jobs)]
        attempts = self.ray.remote(Attempts).options(num_cpus=0).remote()
        at_once = max(1, min(_PICTURES_AT_ONCE, len(jobs) // (4 * share.workers)))
        try:
            answers = data.from_items(lines, override_num_blocks=-(-len(lines) // at_once)).map_batches(
                Worker,
                fn_constructor_args=(work, threads, attempts),
                batch_size=None,
                batch_format="numpy",
                compute=data.ActorPoolStrategy(size=share.workers),
                num_cpus=share.cpus,
                num_gpus=share.gpus or None,
            )
            for batch in answers.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                yield from (json.loads(str(line)) for line in batch["outcome"])
        except self.ray.exceptions.RayError as reason:
            raise _cluster_failed(reason) from reason

    def _start(self, stack: contextlib.ExitStack) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address is None:
            folder = tempfile.mkdtemp(prefix="segwright-", dir=_short_folder())
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            quiet |= {"num_cpus": available_cpus(), "object_store_memory": _OBJECTS, "include_dashboard": False}
            quiet["_temp_dir"] = folder
        stack.callback(self.ray.shutdown)
        try:
            if self.address and self.address != "auto":
                _knock(self.address)
            with _closed_stderr():
                self.ray.init(self.address or "local", **quiet)
        except (OSError, RuntimeError, ValueError, self.ray.exceptions.RayError) as reason:
            raise _cluster_failed(reason, self.address) from reason


def share(cpus: Sequence[int], gpus: Sequence[int], workers: int | None, pictures: int) -> Share:
    """How a cluster is shared out.

    Args:
        cpus: cores of each machine.
        gpus: GPUs of each machine; empty or zeros where none is to be used.
        workers: as asked for, at least 1; None is one per GPU, or else one per two cores, and never more than pictures.
        pictures: that are to be predicted.
    """
    cards, cores = sum(gpus), max(1, sum(cpus))
    count = workers or max(1, min(pictures, cards or sum(max(1, number // 2) for number in cpus)))
    if cards:
        return Share(count, min(1.0, _down(cores / count)), 1 / -(-count // cards))
    whole = (size for size in range(max(cpus), 0, -1) if sum(number // size for number in cpus) >= count)
    return Share(count, next(whole, 0) or _down(cores / count), 0)


def _down(part: float) -> float:
    """Ray counts resources in ten-thousandths."""
    return max(0.0001, int(part * 10_000) / 10_000)


def remove_unfinished(folders: Iterable[Path], since: float) -> None:
    """Take away what workers that were stopped in the middle of a file have left beside it.

    Args:
        folders: that they wrote into.
        since: seconds since the epoch; older files are not theirs.
    """
    for folder in folders:
        for path in folder.glob(".segwright-*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime >= since:
                    path.unlink()


def _line(index: int, job: Job) -> str:
    return json.dumps({"index": index, "job": [path and str(path.absolute()) for path in job]})


def _knock(address: str) -> None:
    """Ray itself waits for ever where nobody answers.

    Raises:
        OSError: nobody does.
        ValueError: no address of the form HOST:PORT.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("not of the form HOST:PORT")
    socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    """For what is printed by no Python: Ray's core says on stderr that it will be quiet."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _import_ray(*, is_local: bool) -> Any:
    """Ray, told before it is imported to be quiet.

    Raises:
        MissingExtraError: it or a package that Ray Data needs is not installed.
    """
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # and no warning that this will be so
        "RAY_BACKEND_LOG_LEVEL": "fatal",
    }
    if is_local:
        settings["RAY_worker_niceness"] = "0"  # as a process of ours has it; Ray's own choice is 15
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on every system: listen on this machine alone
        settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else one is kept in the user's home folder
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as reason:
        raise MissingExtraError(
            f"engine 'ray' needs {reason.name}, which is not installed", fix='pip install "segwright[cluster]"'
        ) from reason
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _short_folder() -> str | None:
    """Where to make a folder whose sockets' names are not too long for the system; None is the usual place."""
    return "/tmp" if len(tempfile.gettempdir()) > 24 and sys.platform != "win32" else None


def _cluster_failed(reason: Exception, address: str | None = None) -> RunError:
    text = " ".join(str(reason).split())[-300:]
    where = f"no Ray cluster could be used at '{address}'" if address else "the Ray cluster failed"
    fix = "check --address; run the command again to go on" if address else "run the command again to go on"
    return RunError(f"{where} ({type(reason).__name__}: {text})", fix=fix)
