"""Training batches from an endless, shuffled stream of samples that depends on seed and position alone.

Sample number p of a run is the same whatever the number of workers, processes or restarts: it belongs to epoch
``p // pairs``, whose order is shuffled by (seed, epoch), and is augmented with random numbers of (seed, p).
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from segwright.data.dataset import Pair
from segwright.data.decoded import DecodedFiles
from segwright.data.masks import Labels, MaskReader
from segwright.data.mixing import Region, box_region, class_region, pasted
from segwright.data.readers import (
    ArrayBatch,
    ReadingPlaces,
    TensorBatch,
    dead_reader,
    note_position,
    reading_failed,
    received,
    sent,
)
from segwright.data.transforms import Augmentation, training_sample
from segwright.errors import DataError, SegmentationError
from segwright.types import Sample

_SECONDS_BEFORE_ANOTHER_TRY = 0.2


class TrainingSamples(Dataset[Sample]):
    """Sample number p of the stream.

    Args:
        pairs: pictures with their masks.
        labels: what the mask values mean.
        augmentation: how samples are drawn.
        seed: of order and augmentation.
        memory_mb: megabytes of decoded files to keep, in each reading process.
        classmix, cutmix: shares of the samples over which half of another sample's classes, or a box, is pasted.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        labels: Labels,
        augmentation: Augmentation,
        seed: int,
        *,
        memory_mb: int = 0,
        classmix: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        self.pairs, self.augmentation, self.seed = list(pairs), augmentation, seed
        self.reader, self.decoded = MaskReader(labels), DecodedFiles(memory_mb)
        self.classmix, self.cutmix = classmix, cutmix

    def __getitem__(self, position: int) -> Sample:
        epoch, place = divmod(position, len(self.pairs))
        sample = self._drawn(epoch_order(self.seed, epoch, len(self.pairs))[place], 1, position)
        region = self._region(np.random.default_rng([self.seed, 2, position]))
        if region is None:
            return sample
        rng = np.random.default_rng([self.seed, 3, position])
        other = self._drawn(int(rng.integers(len(self.pairs))), 4, position)
        return pasted(sample, other, region(other, self.reader.labels.ignore_index, rng))

    def _drawn(self, index: int, purpose: int, position: int) -> Sample:
        """A sample of one pair, by random numbers that no other purpose at this position shares."""
        pair, rng = self.pairs[index], np.random.default_rng([self.seed, purpose, position])
        return training_sample(pair.image, pair.mask, self.reader, self.augmentation, rng, self.decoded)

    def _region(self, rng: np.random.Generator) -> Region | None:
        """What of another sample is pasted over this one, if anything."""
        if rng.random() < self.classmix:
            return class_region
        return box_region if rng.random() < self.cutmix else None

    def __getitems__(self, positions: Sequence[int]) -> "list[Sample] | SegmentationError":
        """A batch, as torch's loader asks for it, or the error to raise in the training process."""
        samples = []
        for position in positions:
            note_position(position)
            try:
                samples.append(self._patiently(position))
            except SegmentationError as error:
                return error
            except Exception as error:
                failed = reading_failed(self.name_of(position), error)
                failed.add_note(traceback.format_exc())  # a cause would not travel to the training process
                return failed
        return samples

    def name_of(self, position: int) -> str:
        """The picture of a sample."""
        epoch, place = divmod(position, len(self.pairs))
        return str(self.pairs[epoch_order(self.seed, epoch, len(self.pairs))[place]].image)

    def _patiently(self, position: int) -> Sample:
        """A sample; a file that cannot be read is tried once more, as network drives fail for a moment."""
        try:
            return self[position]
        except DataError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            time.sleep(_SECONDS_BEFORE_ANOTHER_TRY)
            return self[position]


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, length: int) -> list[int]:
    """A permutation of ``range(length)``."""
    return np.random.default_rng([seed, 0, epoch]).permutation(length).tolist()  # type: ignore[no-any-return]


class StreamSampler(Sampler[list[int]]):
    """Batches of positions of one process, from a given step on, for ever or up to ``last_step``.

    Args:
        batch_size: samples per step of this process.
        first_step: first step to give; a resumed run starts where it stopped.
        last_step: step before which the stream ends.
        rank, world_size: of this process; together they read each position once.
    """

    def __init__(self, batch_size: int, *, first_step: int, last_step: int, rank: int = 0, world_size: int = 1) -> None:
        self.batch_size, self.first_step, self.last_step = batch_size, first_step, last_step
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.last_step):
            start = (step * self.world_size + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)


class SampleLoader(DataLoader[Sample]):
    """Torch's loader, which raises a worker's error as it is instead of making a traceback its message."""

    places: ReadingPlaces | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, SegmentationError):
                raise batch
            yield received(batch)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The block in which batches are asked for: torch reports a dead worker there at any moment.

        Raises:
            RunError: a worker has died; names the picture it was at.
        """
        try:
            yield
        except (RuntimeError, ConnectionError, EOFError) as error:
            assert isinstance(self.dataset, TrainingSamples)
            died = dead_reader(error, self.places, self.dataset.name_of) if self.places else None
            if died is None:
                raise
            raise died from error


def training_loader(
    samples: TrainingSamples, sampler: StreamSampler, *, workers: int, pin_memory: bool = False
) -> SampleLoader:
    """Batches: images (N, 3, H, W) uint8 (channels last in memory), masks (N, H, W), names.

    Args:
        samples: the stream.
        sampler: which positions this process reads.
        workers: processes that read ahead; 0 reads in the training process.
        pin_memory: for copies to a GPU.
    """
    places = ReadingPlaces(workers) if workers else None
    loader = SampleLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate_and_send if workers else collate,
        pin_memory=pin_memory,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        worker_init_fn=places.begin if places else None,
        generator=torch.Generator(),  # else each iterator draws from the global one
    )
    loader.places = places
    return loader


def collate(samples: "Sequence[Sample] | SegmentationError") -> TensorBatch | SegmentationError:
    """Stack samples; the images keep the channels-last order that the decoder gave them. An error passes through."""
    if isinstance(samples, SegmentationError):
        return samples
    images = torch.stack([sample.image.permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    return images, torch.stack([sample.mask for sample in samples]), [sample.name for sample in samples]


def collate_and_send(
    samples: "Sequence[Sample] | SegmentationError",
) -> TensorBatch | ArrayBatch | SegmentationError:
    """As :func:`collate`, in a worker."""
    batch = collate(samples)
    return batch if isinstance(batch, SegmentationError) else sent(batch)
