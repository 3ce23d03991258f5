"""Processes of a shared batch, played by threads."""

import threading
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from segwright.layers.sharing import Sharing

Result = TypeVar("Result")


def in_processes(world_size: int, work: Callable[[Sharing], Result]) -> list[Result]:
    """What ``work`` returns in each of several threads that exchange tensors; raises what any of them raises."""
    barrier = threading.Barrier(world_size, timeout=30)
    given: list[Tensor] = [torch.empty(0)] * world_size
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        def gather(tensor: Tensor) -> Tensor:
            given[rank] = tensor
            barrier.wait()
            gathered = torch.stack(list(given))
            barrier.wait()
            return gathered

        try:
            results[rank] = work(Sharing(rank, world_size, gather))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    return [results[rank] for rank in range(world_size)]
