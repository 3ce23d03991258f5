"""Several processes as one run: they meet, compare what they were given, and end together.

The launcher (``accelerate launch``, ``torchrun``) starts the processes and tells each its rank. They exchange tensors
through torch.distributed, and the reason of an end through the key-value store by which they met, which works on when
an exchange of tensors has broken off.
"""

import atexit
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store
from torch.distributed.rendezvous import rendezvous

from segwright.config import TrainSettings
from segwright.errors import ConfigError, ProcessError, SegmentationError
from segwright.inference.torch_network import choose_device

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds, for a word of another process that has every reason to speak now."""
_BROKEN = (
    *("gloo", "nccl", "connection closed by peer", "connection reset by peer", "broken pipe"),
    *("timed out waiting", "application timeout"),
)
"""In the messages of exchanges that did not come about."""
_PORT = "--main_process_port of accelerate launch, --master-port of torchrun"


def process_count() -> int:
    """Training processes, as the launcher (``accelerate launch``, ``torchrun``) tells each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this is the process that writes and reports; known before Accelerate is built."""
    return own_rank() == 0


def rank_name(rank: int) -> str:
    """A process in messages."""
    return f"rank {rank} of {process_count()}"


@contextmanager
def as_one_run(settings: TrainSettings) -> Iterator[None]:
    """Inside, what ends one of the launcher's processes ends all, and is told once.

    Raises:
        ConfigError: the launcher started one process, though it was told of several.
        ProcessError: they did not meet, or another one failed.
    """
    if process_count() == 1:
        refuse_lonely_process(os.environ)
        yield
        return
    team = Team.of_this_process(settings)
    try:
        yield
    except BaseException as error:
        explained = team.explain(error)
        if explained is error:
            raise
        raise explained from error


def refuse_lonely_process(variables: Mapping[str, str]) -> None:
    """``accelerate launch --cpu --num_processes 2`` starts one process; nobody should take its work for that of two.

    Args:
        variables: of the environment; that launcher gives an address to meet at, but no number of processes.

    Raises:
        ConfigError: that is what has happened.
    """
    is_accelerates = variables.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if is_accelerates and "MASTER_PORT" in variables and "WORLD_SIZE" not in variables:
        raise ConfigError(
            "accelerate launch --cpu starts one process, whatever --num_processes says",
            fix="start CPU processes by torchrun --nproc-per-node N $(which segwright) train ... --device cpu",
        )


@contextmanager
def agreed() -> Iterator[None]:
    """What one process finds wrong inside is raised in all of them, in the main one's words where it found it too."""
    found: SegmentationError | None = None
    try:
        yield
    except SegmentationError as error:
        found = error
    outcomes = gather_objects(None if found is None else (type(found), found.message, found.fix))
    failed = [rank for rank, outcome in enumerate(outcomes) if outcome is not None]
    if not failed:
        return
    if process_count() == 1 and found is not None:
        raise found
    kind, message, fix = outcomes[failed[0]]
    place = "" if len(failed) == len(outcomes) else f"{rank_name(failed[0])}: "
    raised: SegmentationError = kind(f"{place}{message}", fix=fix)
    raised.is_told = not is_main_process()
    raise raised from found


def must_agree(kind: type[SegmentationError], facts: Mapping[str, object], fix: str) -> None:
    """Compare what the processes were given.

    Args:
        kind: of the error.
        facts: by name; they can be compared and shown.
        fix: of the error.

    Raises:
        SegmentationError: the first fact that differs from the main process's, in all processes.
    """
    with agreed():
        first = gather_objects(dict(facts))[0]
        for name, own in facts.items():
            if own != first.get(name):
                raise kind(f"{name} is {own} here and {first.get(name)} in rank 0", fix=fix)


def gather_objects(own: Any) -> list[Any]:
    """What each process has, by rank."""
    if process_count() == 1:
        return [own]
    found: list[Any] = [None] * process_count()
    dist.all_gather_object(found, own)
    return found


class Team:
    """The processes of a run, as one of them sees them.

    Args:
        store: that all of them can read and write.
        rank: of this process.
        world_size: how many they are.
        timeout: after which an exchange is given up, in seconds.
    """

    _current: "Team | None" = None

    def __init__(self, store: PrefixStore, rank: int, world_size: int, timeout: float) -> None:
        self.store, self.rank, self.world_size, self.timeout = store, rank, world_size, timeout
        self.runs = 0

    @classmethod
    def of_this_process(cls, settings: TrainSettings) -> "Team":
        """Meet the others, once in the life of a process.

        Raises:
            ProcessError: they cannot be met.
        """
        if cls._current is None:
            cls._current = meet(settings)
        cls._current.runs += 1
        return cls._current

    def _key(self, name: str) -> str:
        """Of the store; what was left in an earlier run of the same processes does not count."""
        return f"{self.runs}/{name}"

    def explain(self, error: BaseException) -> BaseException:
        """The error to end with, after telling the others of it; of several processes' ends one is told."""
        if isinstance(error, SegmentationError) and error.is_told is not None:
            return error  # the processes have agreed on it
        if is_broken_exchange(error):
            return self._broken(error)
        kind, text = type(error).__name__, " ".join(str(getattr(error, "message", error)).split())
        note = {"rank": self.rank, "text": text if isinstance(error, SegmentationError) else f"{kind}: {text}"}
        self._asked(lambda: self.store.compare_set(self._key("failed"), "", json.dumps(note)))
        self._asked(lambda: self.store.set(self._key(f"ended/{self.rank}"), kind))
        if isinstance(error, SegmentationError):
            error.is_told = self.rank > 0 and self._asked(partial(self._heard, self._key("ended/0"))) == kind
            if self.rank > 0 and not error.is_told:
                error.message = f"{rank_name(self.rank)}: {error.message}"
        return error

    def _broken(self, error: BaseException) -> ProcessError:
        """Who failed, from the note that it left, or by who answers no more."""
        note = self._asked(partial(self._told, self._key("failed")))
        if note is None:  # the main process holds the store, where no launcher does
            lost, what = [0], "is gone"
        elif note:
            left = json.loads(note)
            lost, what = [left["rank"]], f"failed: {left['text']}"
        else:
            lost = self._silent_ranks()
            was_late = any(word in str(error).lower() for word in ("timed out", "timeout"))
            what = f"did not answer for {self.timeout:g} s" if was_late else "ended without a word"
        names = " and ".join(rank_name(rank) for rank in lost) or "another process"
        late = ", or give more time with --set train.process_timeout=SECONDS" if "answer" in what else ""
        known = ProcessError(
            f"{names} {what}",
            fix=f"see what it said last and mend it{late}; a run that has begun goes on with "
            "segwright train --resume RUN by the same launcher",
        )
        known.is_told = self.rank > 0 and 0 not in lost
        self._asked(lambda: self.store.set(self._key(f"ended/{self.rank}"), type(known).__name__))
        return known

    def _silent_ranks(self) -> list[int]:
        self._asked(lambda: self.store.set(self._key(f"here/{self.rank}"), "yes"))
        others = (rank for rank in range(self.world_size) if rank != self.rank)
        return [rank for rank in others if self._asked(partial(self._heard, self._key(f"here/{rank}"))) is None]

    def _heard(self, key: str) -> str | None:
        """A word of another process; ``None`` if it does not come soon. The store's own waiting would warn of that."""
        until = time.monotonic() + _PATIENCE
        while not (word := self._told(key)) and time.monotonic() < until:
            time.sleep(0.05)
        return word or None

    def _told(self, key: str) -> str:
        return str(self.store.get(key).decode()) if self.store.check([key]) else ""

    def _asked(self, question: Callable[[], Any]) -> Any:
        """The store's answer; ``None`` where it gives none, for the process that holds it may be gone."""
        try:
            return question()
        except (dist.DistError, RuntimeError) as error:
            logger.debug("no answer from the store: %s", error)
            return None


def meet(settings: TrainSettings) -> Team:
    """Wait for the other processes.

    Raises:
        ConfigError: a launcher's variable is missing.
        ProcessError: the port is taken, or not all of them came.
    """
    timeout = timedelta(seconds=settings.process_timeout)
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    if dist.is_initialized():  # by the program that calls us
        return Team(
            PrefixStore("segwright", _get_default_store()), own_rank(), process_count(), timeout.total_seconds()
        )
    device = choose_device(settings.device)
    if device.type == "cuda" and device.index is None:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    try:
        store, rank, world_size = next(rendezvous("env://", timeout=timeout))
        store.set_timeout(timeout)
        atexit.register(part)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    except ValueError as error:
        raise ConfigError(
            f"{rank_name(own_rank())} cannot meet the others: {error}", fix="start with accelerate launch or torchrun"
        ) from error
    except dist.DistError as error:
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise ProcessError(f"port {place} is in use by another program", fix=f"give another: {_PORT}") from error
        raise ProcessError(
            f"{rank_name(own_rank())} did not meet all others at {place} within {settings.process_timeout:g} s",
            fix="see whether all processes run, and whether that address and port can be reached from each machine",
        ) from error
    return Team(PrefixStore("segwright", store), rank, world_size, settings.process_timeout)


def part() -> None:
    """Close the connections as the process ends; torch aborts a process that leaves them open.

    Closing waits for exchanges under way. One that nobody answers any more, as after a failure in the middle of a
    backward pass, does not keep the process.
    """
    if not dist.is_initialized():
        return
    closing = threading.Thread(target=dist.destroy_process_group, daemon=True)
    closing.start()
    closing.join(_PATIENCE)
    if closing.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def is_broken_exchange(error: BaseException) -> bool:
    """Whether an exchange between processes did not come about."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _BROKEN)
