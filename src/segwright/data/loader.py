"""Training batches from an endless, shuffled stream of samples that depends on seed and position alone.

Sample number p of a run is the same whatever the number of workers, processes or restarts: it belongs to epoch
``p // pairs``, whose order is shuffled by (seed, epoch), and is augmented with random numbers of (seed, p).
"""

import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segwright.data.dataset import Pair
from segwright.data.decoded import DecodedFiles
from segwright.data.masks import Labels, MaskReader
from segwright.data.transforms import Augmentation, training_sample
from segwright.errors import DataError
from segwright.types import Sample


class TrainingSamples(Dataset[Sample]):
    """Sample number p of the stream.

    Args:
        pairs: pictures with their masks.
        labels: what the mask values mean.
        augmentation: how samples are drawn.
        seed: of order and augmentation.
        memory_mb: megabytes of decoded files to keep, in each reading process.
    """

    def __init__(
        self, pairs: Sequence[Pair], labels: Labels, augmentation: Augmentation, seed: int, *, memory_mb: int = 0
    ) -> None:
        self.pairs, self.augmentation, self.seed = list(pairs), augmentation, seed
        self.reader, self.decoded = MaskReader(labels), DecodedFiles(memory_mb)

    def __getitem__(self, position: int) -> Sample:
        epoch, place = divmod(position, len(self.pairs))
        pair = self.pairs[epoch_order(self.seed, epoch, len(self.pairs))[place]]
        rng = np.random.default_rng([self.seed, 1, position])
        return training_sample(pair.image, pair.mask, self.reader, self.augmentation, rng, self.decoded)

    def __getitems__(self, positions: Sequence[int]) -> "list[Sample] | DataError":
        """A batch, as torch's loader asks for it, or the error to raise in the training process."""
        try:
            return [self[position] for position in positions]
        except DataError as error:
            return error


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
    """Torch's loader, which raises a worker's DataError as it is instead of making a traceback its message."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            yield batch


def training_loader(
    samples: TrainingSamples, sampler: StreamSampler, *, workers: int, pin_memory: bool = False
) -> "DataLoader[Sample]":
    """Batches: images (N, 3, H, W) uint8 (channels last in memory), masks (N, H, W), names.

    Args:
        samples: the stream.
        sampler: which positions this process reads.
        workers: processes that read ahead; 0 reads in the training process.
        pin_memory: for copies to a GPU.
    """
    return SampleLoader(
        samples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread if workers else None,
        generator=torch.Generator(),  # else each iterator draws from the global one
    )


def collate(samples: "Sequence[Sample] | DataError") -> tuple[Tensor, Tensor, list[str]] | DataError:
    """Stack samples; the images keep the channels-last order that the decoder gave them. An error passes through."""
    if isinstance(samples, DataError):
        return samples
    images = torch.stack([sample.image.permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2)
    return images, torch.stack([sample.mask for sample in samples]), [sample.name for sample in samples]


def _one_thread(worker: int) -> None:
    """Workers share the cores with training: one thread each. A SIGTERM to all processes is the training process's."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
