"""Which pairs of a split are worth looking at: those at fault, and few that show every class between them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segwright.analysis.previews import Candidate
from segwright.data.dataset import SegmentationData
from segwright.data.masks import MaskReader
from segwright.errors import DataError
from segwright.runtime.machine import available_cpus

_MOST_THREADS = 8  # each holds one mask in memory
_READ_AT_ONCE = 32
_MOST_PIXELS = 1 << 30
"""Of the masks that are read in search of classes, which takes seconds; a class in none of them is not shown."""


class Seen(NamedTuple):
    """The classes that a candidate's mask holds, ``None`` where it cannot be read, and how many pixels were read."""

    candidate: Candidate
    classes: frozenset[int] | None
    pixels: int


def list_candidates(data: SegmentationData, split: str) -> list[Candidate]:
    """The pairs and lonely files of a split, sorted by name; folders that are not there hold none.

    Raises:
        DataError: no such split.
    """
    folders = data.folders_of(split)
    found: list[dict[str, Path]] = []
    for find in (folders.find_images, folders.find_masks):
        try:
            found.append(find().by_stem)
        except DataError:
            found.append({})
    images, masks = found
    return [Candidate(stem, images.get(stem), masks.get(stem)) for stem in sorted(images.keys() | masks)]


def classes_in_masks(candidates: Sequence[Candidate], reader: MaskReader) -> Iterator[Seen]:
    """What each candidate's mask holds, in order, read a few at a time."""
    with ThreadPoolExecutor(min(_MOST_THREADS, available_cpus())) as pool:
        for start in range(0, len(candidates), _READ_AT_ONCE):
            yield from pool.map(partial(_look_at, reader), candidates[start : start + _READ_AT_ONCE])


def choose_candidates(
    candidates: Sequence[Candidate],
    codes: Mapping[str, Collection[str]],
    reader: MaskReader,
    wanted: Collection[int],
    count: int,
) -> list[Candidate]:
    """At most ``count`` candidates: pairs at fault first, then such that every class is shown.

    About half of them are at fault, more only where few others are left. The same data gives the same choice: pairs
    are looked at in an order that spreads over the whole split.

    Args:
        candidates: of a split.
        codes: of the problems of each file, by its path.
        reader: of the data set.
        wanted: indices of the classes to show.
        count: how many to choose.
    """
    faulty = _of_each_code([candidate for candidate in candidates if codes_of(candidate, codes)], codes)
    sound = spread([candidate for candidate in candidates if not codes_of(candidate, codes)])
    chosen, others = faulty[: (count + 1) // 2], [*sound, *faulty[(count + 1) // 2 :]]
    found: dict[Candidate, frozenset[int]] = {}
    missing, pixels = set(wanted), 0
    for seen in classes_in_masks(others, reader):
        found[seen.candidate] = seen.classes or frozenset()
        missing -= found[seen.candidate]
        pixels += seen.pixels
        if len(found) >= count - len(chosen) and (not missing or pixels > _MOST_PIXELS):
            break
    chosen += _cover(found, set(wanted), count - len(chosen))
    order = {candidate: position for position, candidate in enumerate(candidates)}
    return sorted(chosen, key=lambda candidate: (not codes_of(candidate, codes), order[candidate]))


def candidates_with(
    candidates: Sequence[Candidate], reader: MaskReader, index: int, count: int, tell: Callable[[int, int], None]
) -> list[Candidate]:
    """The first ``count`` candidates whose masks hold a class; later masks are not read.

    Args:
        candidates: in the order in which they are looked at.
        reader: of the data set.
        index: of the class.
        count: how many are wanted.
        tell: called with masks read and in all.
    """
    chosen = []
    for done, seen in enumerate(classes_in_masks(candidates, reader), start=1):
        if seen.classes and index in seen.classes:
            chosen.append(seen.candidate)
        is_enough = len(chosen) == count
        tell(len(candidates) if is_enough else done, len(candidates))
        if is_enough:
            break
    return chosen


def codes_of(candidate: Candidate, codes: Mapping[str, Collection[str]]) -> list[str]:
    """The codes of the problems of a candidate's files."""
    files = (str(path) for path in (candidate.image, candidate.mask) if path is not None)
    return list(dict.fromkeys(code for file in files for code in codes.get(file, ())))


def spread(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The same candidates in an order whose every beginning reaches over all of them: bits of the index reversed."""
    bits = max(1, (len(candidates) - 1).bit_length())
    return [candidates[i] for i in sorted(range(len(candidates)), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))]


def _look_at(reader: MaskReader, candidate: Candidate) -> Seen:
    if candidate.mask is None:
        return Seen(candidate, None, 0)
    try:
        mask = reader.read(candidate.mask)
    except DataError:
        return Seen(candidate, None, 0)
    counts = np.bincount(mask.ravel())[: len(reader.labels.classes)]
    return Seen(candidate, frozenset(np.flatnonzero(counts).tolist()), mask.size)


def _of_each_code(faulty: Sequence[Candidate], codes: Mapping[str, Collection[str]]) -> list[Candidate]:
    """The first of each kind of problem, then the second of each, ..."""
    by_code: dict[str, int] = {}
    ranks = []
    for candidate in faulty:
        rank = min(by_code.get(code, 0) for code in codes_of(candidate, codes))
        for code in codes_of(candidate, codes):
            by_code[code] = by_code.get(code, 0) + 1
        ranks.append(rank)
    return [candidate for _, candidate in sorted(zip(ranks, faulty, strict=True), key=lambda pair: pair[0])]


def _cover(found: Mapping[Candidate, frozenset[int]], missing: set[int], count: int) -> list[Candidate]:
    """The candidate that adds most classes, again and again; then those that come first."""
    chosen: list[Candidate] = []
    left = list(found)
    while left and len(chosen) < count:
        best = max(left, key=lambda candidate: len(found[candidate] & missing))  # the first of several
        chosen.append(best)
        left.remove(best)
        missing = missing - found[best]
    return chosen
