"""Processes that read ahead: what is said when one of them fails, dies, or has no shared memory."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segwright.data import SegmentationData, StreamSampler, TrainingSamples, load_data, training_loader
from segwright.data.loader import collate
from segwright.data.readers import ReadingPlaces, dead_reader, received, sent
from segwright.errors import DataError, RunError
from segwright.types import Sample
from tests.data.test_loader import are_equal, batches, samples_of

fork_only = pytest.mark.skipif(sys.platform != "linux", reason="the fault is planted by forking")


@pytest.fixture
def data(write_data: Callable[..., Path]) -> SegmentationData:
    return load_data(write_data())


def fail_at(monkeypatch: pytest.MonkeyPatch, position: int, fault: object) -> None:
    """``fault`` is called, or raised, instead of reading one sample."""
    read = TrainingSamples.__getitem__

    def faulty(samples: TrainingSamples, place: int) -> Sample:
        if place == position:
            if isinstance(fault, Exception):
                raise fault
            assert callable(fault)
            fault()
        return read(samples, place)

    monkeypatch.setattr(TrainingSamples, "__getitem__", faulty)


@fork_only
def test_reader_that_is_killed_is_told_with_the_picture_it_was_at(
    data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    samples = samples_of(data)
    loader = training_loader(samples, StreamSampler(2, first_step=0, last_step=40), workers=1)
    with (
        pytest.raises(RunError, match="a process that read ahead has died") as caught,
        loader.watched(),
    ):
        for _ in loader:
            time.sleep(0.01)
    assert caught.value.message.endswith(f"it was at '{samples.name_of(3)}'")
    assert "--set data.workers=1" in caught.value.fix


@fork_only
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (ValueError("three\nlines"), DataError, r"(ValueError: three lines)"),
        (MemoryError(), RunError, "not enough memory"),
    ],
)
def test_error_of_any_kind_names_the_picture_and_not_the_pool(
    workers: int,
    fault: Exception,
    kind: type[Exception],
    said: str,
    data: SegmentationData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(monkeypatch, 2, fault)
    samples = samples_of(data)
    with pytest.raises(kind) as caught:
        batches(samples, 0, 3, workers=workers)
    message = str(caught.value)
    assert said in message
    assert samples.name_of(2) in message
    assert "Traceback" not in message
    assert any("Traceback" in note for note in caught.value.__notes__)  # for --debug


def test_file_that_is_there_again_a_moment_later_is_read(
    data: SegmentationData, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = samples_of(data)
    wanted = batches(samples, 0, 2)
    lost = Path(samples.name_of(1))
    kept = lost.rename(lost.with_suffix(".away"))
    monkeypatch.setattr("segwright.data.loader.time.sleep", lambda seconds: kept.rename(lost))
    assert are_equal(batches(samples, 0, 2), wanted)


def test_name_of_a_position_is_that_of_its_sample(data: SegmentationData) -> None:
    samples = samples_of(data)
    assert [samples.name_of(position) for position in range(11)] == [samples[position].name for position in range(11)]


def no_space(tensor: Tensor) -> Tensor:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


@fork_only
def test_batches_travel_by_another_way_where_shared_memory_is_full(
    data: SegmentationData, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    samples = samples_of(data)
    wanted = batches(samples, 0, 4)
    monkeypatch.setattr(Tensor, "share_memory_", no_space)
    got = batches(samples, 0, 4, workers=1)
    assert are_equal(got, wanted)
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _, _ in got)
    assert "/dev/shm) is full" in caplog.text
    assert "--shm-size" in caplog.text


def test_batch_in_shared_memory_is_the_same_batch(data: SegmentationData) -> None:
    batch = collate([samples_of(data)[position] for position in range(2)])
    assert isinstance(batch, tuple)
    images, masks, names = received(sent(batch))
    assert images.is_shared()
    assert masks.is_shared()
    assert are_equal([(images, masks, names)], [batch])


def test_bus_error_of_a_reader_is_shared_memory() -> None:
    places = ReadingPlaces(1)
    error = RuntimeError("DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that ...")
    told = dead_reader(error, places, str)
    assert told is not None
    assert "shared memory (/dev/shm) is full" in told.message
    assert "--shm-size" in told.fix


def test_other_errors_are_not_of_a_reader() -> None:
    assert dead_reader(RuntimeError("shapes do not match"), ReadingPlaces(1), str) is None


def test_connection_that_a_dead_reader_leaves_behind_is_told_as_its_death() -> None:
    places = ReadingPlaces(1)
    places.put(0, 7)
    places._numbers[0] = 2**22 + 1  # no process has this number
    told = dead_reader(ConnectionResetError(104, "Connection reset by peer"), places, "picture_{}".format)
    assert told is not None
    assert told.message.endswith("it was at 'picture_7'")
