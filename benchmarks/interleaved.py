"""Times several ways of doing one thing in turn, A B C A B C, so that a noisy machine hits all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each way; prints a line each.

    Args:
        ways: name to call.
        rounds: counted calls of each.
        warmup: calls of each before, not counted.
        clock: wall clock, or ``time.process_time`` for work on one thread of a shared machine.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warmup + rounds):
        for name, call in ways.items():
            start = clock()
            call()
            if turn >= warmup:
                times[name].append(clock() - start)
    medians = {name: median(values) for name, values in times.items()}
    width = max(map(len, medians))
    for name, seconds in medians.items():
        spread = f"{1000 * min(times[name]):.2f} to {1000 * max(times[name]):.2f}"
        print(f"{name:<{width}}  {1000 * seconds:9.2f} ms  ({spread})")
    return medians
