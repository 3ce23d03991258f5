import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segwright.data import Augmentation, SegmentationData, StreamSampler, TrainingSamples, load_data, training_loader
from segwright.errors import DataError

Batch = tuple[Tensor, Tensor, list[str]]

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on machines of one core
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),  # Python 3.12
]


@pytest.fixture
def data(write_data: Callable[..., Path]) -> SegmentationData:
    return load_data(write_data())


def samples_of(data: SegmentationData, seed: int = 0) -> TrainingSamples:
    """Five pictures, with every augmentation on."""
    augmentation = Augmentation((24, 32), brightness=0.3, contrast=0.3, saturation=0.3, channel_noise=0.1)
    return TrainingSamples(data.pairs("train"), data.labels, augmentation, seed)


def batches(
    samples: TrainingSamples,
    first: int,
    last: int,
    *,
    batch_size: int = 2,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> list[Batch]:
    sampler = StreamSampler(batch_size, first_step=first, last_step=last, rank=rank, world_size=world)
    assert len(sampler) == last - first
    return list(training_loader(samples, sampler, workers=workers))  # type: ignore[arg-type]


def are_equal(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(data: SegmentationData, workers: int) -> None:
    samples = samples_of(data)
    assert are_equal(batches(samples, 0, 7), batches(samples, 0, 7, workers=workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_files_kept_in_memory_change_no_batch(data: SegmentationData, workers: int) -> None:
    without = samples_of(data)
    kept = TrainingSamples(without.pairs, data.labels, without.augmentation, without.seed, memory_mb=1)
    assert are_equal(batches(without, 0, 9), batches(kept, 0, 9, workers=workers))


@pytest.mark.parametrize(("first", "workers"), [(1, 0), (3, 0), (6, 0), (3, 2)])
def test_a_resumed_stream_goes_on_where_it_stopped(data: SegmentationData, first: int, workers: int) -> None:
    whole = batches(samples_of(data), 0, 7)
    assert are_equal(whole[first:], batches(samples_of(data), first, 7, workers=workers))


def test_two_processes_together_read_what_one_reads_with_the_doubled_batch(data: SegmentationData) -> None:
    samples = samples_of(data)
    whole = batches(samples, 0, 5, batch_size=4)
    first, second = (batches(samples, 0, 5, batch_size=2, rank=rank, world=2) for rank in (0, 1))
    joined = [
        (torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]]), a[2] + b[2]) for a, b in zip(first, second, strict=True)
    ]
    assert are_equal(whole, joined)


def test_each_epoch_shows_each_picture_once_in_another_order(data: SegmentationData) -> None:
    names = [name for batch in batches(samples_of(data), 0, 10) for name in batch[2]]  # 20 samples: 4 epochs of 5
    epochs = [names[start : start + 5] for start in range(0, 20, 5)]
    expected = {str(pair.image) for pair in data.pairs("train")}
    for epoch in epochs:
        assert Counter(epoch) == Counter(expected)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_same_picture_is_augmented_anew_in_each_epoch(data: SegmentationData) -> None:
    samples = samples_of(data)
    name = samples[0].name
    shown = [samples[position] for position in range(15)]
    first, second, third = (sample.image for sample in shown if sample.name == name)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_another_seed_gives_another_order_and_other_samples(data: SegmentationData) -> None:
    one, other = (batches(samples_of(data, seed), 0, 5) for seed in (0, 1))
    assert [batch[2] for batch in one] != [batch[2] for batch in other]
    assert not torch.equal(one[0][0], other[0][0])


def test_batches_are_uint8_images_with_channels_last_and_masks(data: SegmentationData) -> None:
    images, masks, names = batches(samples_of(data), 0, 1, batch_size=3)[0]
    assert images.shape == (3, 3, 24, 32)
    assert masks.shape == (3, 24, 32)
    assert images.dtype == masks.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert len(names) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_iterating_leaves_the_global_random_state_alone(data: SegmentationData, workers: int) -> None:
    before = torch.get_rng_state()
    batches(samples_of(data), 0, 3, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_cannot_be_read_raises_its_own_error(data: SegmentationData, workers: int) -> None:
    broken = data.pairs("train")[2].mask
    broken.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        batches(samples_of(data), 0, 3, workers=workers)
    assert caught.value.message.startswith(f"mask '{broken}' cannot be read")
    assert "\n" not in caught.value.message
    assert caught.value.fix == "copy the file again or remove the pair"


def test_batches_before_the_broken_file_are_still_given(data: SegmentationData) -> None:
    samples = samples_of(data)
    names = [samples[position].name for position in range(4)]
    Path(names[3]).write_bytes(b"")
    loader = iter(training_loader(samples, StreamSampler(2, first_step=0, last_step=3), workers=0))
    assert next(loader)[2] == names[:2]
    with pytest.raises(DataError):
        next(loader)


def test_samples_travel_to_workers_by_pickle(data: SegmentationData) -> None:
    samples = samples_of(data)
    again = pickle.loads(pickle.dumps(samples))
    assert torch.equal(samples[3].image, again[3].image)


def test_a_finished_stream_is_empty(data: SegmentationData) -> None:
    sampler = StreamSampler(2, first_step=5, last_step=3)
    assert len(sampler) == 0
    assert list(training_loader(samples_of(data), sampler, workers=0)) == []
