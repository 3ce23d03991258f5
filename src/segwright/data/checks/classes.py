"""What the masks of a split hold of each class: nothing, hardly anything, or nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from segwright.data.checks.problem import Problem, count_of, how_to_allow, some, warning
from segwright.data.checks.totals import SplitTotals
from segwright.data.dataset import SegmentationData

_LEAST_SHARE = 1e-4
_LISTED = 3
"""Classes without a pixel that get a warning each."""
_FEW_MASKS, _OF_MASKS = 3, 12
"""A class in fewer masks than the first is told, in splits of at least as many as the second."""


def check_classes(
    data: SegmentationData, totals: Mapping[str, SplitTotals], counts: Mapping[str, Sequence[int]]
) -> Iterator[Problem]:
    """Of the splits with at least one mask that could be read.

    A train or val split without any labelled pixel is an error; a test split may be published without labels.

    Args:
        data: the data set.
        totals: of each split.
        counts: pixels per class, and of ignored pixels behind them, of each split.
    """
    for split, part in totals.items():
        if not part.masks:
            continue
        folder = str(data.folders[split].masks)
        labelled = sum(counts[split][:-1])
        if not labelled and split != "test":
            what = "trained" if split == "train" else "scored"
            message = f"the {part.masks} masks of {split} hold no labelled pixel: nothing can be {what}"
            fix = "label some, or take values out of 'ignore' and 'map' in data.yaml"
            yield Problem("nothing-labelled", "error", folder, message, fix)
            continue
        yield from _absent(data, split, part, counts, folder)
        if labelled:
            yield from _near_empty(data, split, part, counts[split], folder)
            yield from _one_sided(data, split, part, counts[split], folder)


def _absent(
    data: SegmentationData, split: str, part: SplitTotals, counts: Mapping[str, Sequence[int]], folder: str
) -> Iterator[Problem]:
    """Classes without a pixel; of a long table, whose classes a small data set need not hold, one warning for all."""
    absent: list[str] = []
    only_in_val: list[str] = []
    for index, name in enumerate(data.classes):
        if not counts[split][index]:
            is_in_val = split == "train" and "val" in counts and counts["val"][index]
            (only_in_val if is_in_val else absent).append(name)
    where = f"the {count_of(part.masks, 'mask')} of {split}"
    what = ("is never trained", "are never trained") if split == "train" else ("cannot be scored there",) * 2
    yield from _without_pixel("class-absent", absent, where, what, split, folder)
    what = "is never trained and scores 0", "are never trained and score 0"
    for problem in _without_pixel("class-only-in-val", only_in_val, f"{where}, but in val", what, split, folder):
        yield replace(problem, severity="error", fix=problem.fix + how_to_allow(problem.code))


def _without_pixel(
    code: str, names: Sequence[str], where: str, what: tuple[str, str], split: str, folder: str
) -> Iterator[Problem]:
    if len(names) > _LISTED:
        message = f"{len(names)} classes have no pixel in {where}: they {what[1]}: {some(names, 10)}"
        fix = (
            f"add pictures of them to {split}, or remove them from data.yaml; keep them where the table is a given one"
        )
        yield warning(code, folder, message, fix, len(names))
        return
    for name in names:
        message = f"class '{name}' has no pixel in {where}: it {what[0]}"
        yield warning(code, folder, message, f"add pictures of '{name}' to {split}, or remove the class from data.yaml")


def _near_empty(
    data: SegmentationData, split: str, part: SplitTotals, counts: Sequence[int], folder: str
) -> Iterator[Problem]:
    labelled = sum(counts[:-1])
    for index, name in enumerate(data.classes):
        share, masks = counts[index] / labelled, part.masks_with[index]
        is_in_few = masks < _FEW_MASKS and part.masks >= _OF_MASKS
        if counts[index] and (share < _LEAST_SHARE or is_in_few):
            message = (
                f"class '{name}' has {counts[index]} px in {split} ({100 * share:.2g} % of the labelled ones, in "
                f"{count_of(masks, 'mask')} of {part.masks})"
            )
            fix = f"add pictures of '{name}', or merge it with another class by 'map'"
            yield warning("near-empty-class", folder, message, fix)


def _one_sided(
    data: SegmentationData, split: str, part: SplitTotals, counts: Sequence[int], folder: str
) -> Iterator[Problem]:
    """One class everywhere, one class a mask, or most pixels left out."""
    present = [name for name, count in zip(data.classes, counts, strict=False) if count]
    if part.masks > 1 and len(data.classes) > 1:
        if len(present) == 1:
            message = f"the {part.masks} masks of {split} hold the class '{present[0]}' alone"
            fix = "look at the masks, and at 'map' and 'ignore' in data.yaml: are other values taken for this one?"
            yield warning("one-class", folder, message, fix)
        elif part.single == part.masks:
            message = f"each of the {part.masks} masks of {split} holds one class alone"
            yield warning("one-class", folder, message, "look at the masks: do they label pictures and not pixels?")
    share = counts[-1] / sum(counts)
    if share > 0.5:
        message = f"{100 * share:.0f} % of the pixels of {split} are left out of loss and scores"
        yield warning(
            "mostly-ignored", folder, message, "nothing to do where it is meant; else mend 'ignore' in data.yaml"
        )
