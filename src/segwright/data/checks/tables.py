"""What is doubtful about the table of classes itself: names, colours and the map."""

from collections.abc import Iterator, Set

from segwright.data.checks.problem import Problem, some, warning
from segwright.data.dataset import SegmentationData
from segwright.data.masks import IGNORE, show_value


def check_table(data: SegmentationData, numbers: Set[int]) -> Iterator[Problem]:
    """Names that look alike, colours of two classes, and a map that moves some class indices and not others.

    Args:
        data: the data set.
        numbers: values that occur in its masks.
    """
    source = str(data.source or data.name)
    for message, fix, code in (*_similar_names(data), *_two_colours(data), *_moved_indices(data, numbers)):
        yield warning(code, source, message, fix)


def _similar_names(data: SegmentationData) -> Iterator[tuple[str, str, str]]:
    seen: dict[str, str] = {}
    for name in data.classes:
        loose = "".join(name.split()).casefold().replace("_", "").replace("-", "")
        if (first := seen.setdefault(loose, name)) != name:
            message = f"the classes '{first}' and '{name}' differ in case, spaces or dashes alone"
            yield message, "make them one class, or give one a name of its own", "similar-classes"


def _two_colours(data: SegmentationData) -> Iterator[tuple[str, str, str]]:
    """A colour that palette and map give to different classes; map wins."""
    labels = data.labels
    if not labels.palette_is_stated:
        return
    stated = dict(zip(labels.palette, labels.classes, strict=True))
    for raw, name in (labels.map or {}).items():
        if isinstance(raw, tuple) and stated.get(raw, name) != name:
            message = f"colour {show_value(raw)} is '{stated[raw]}' in palette and '{name}' in map, which wins"
            yield message, "take it out of one of the two in data.yaml", "colour-collision"


def _moved_indices(data: SegmentationData, numbers: Set[int]) -> Iterator[tuple[str, str, str]]:
    """A map of raw ids that forgets some, which are class indices as well: these mean what their number says."""
    classes, table = data.classes, data.labels.map or {}
    moved = {raw: to for raw, to in table.items() if isinstance(raw, int) and raw < len(classes) and to != classes[raw]}
    kept = sorted(raw for raw in numbers if raw < len(classes) and raw not in table)
    if not kept or not set(moved.values()) - {IGNORE}:
        return
    examples = some((f"{raw} ('{classes[raw]}' by its index) to '{to}'" for raw, to in moved.items()), 2)
    which = f"value {kept[0]}, which it leaves out, still means" if len(kept) == 1 else "values "
    if len(kept) > 1:
        which += f"{some(map(str, kept))}, which it leaves out, still mean"
    message = f"map sends class indices to other classes: {examples}; but the {which} the class of that index"
    yield message, "list every value of the files in map, those without a class as 'ignore'", "moved-index"
