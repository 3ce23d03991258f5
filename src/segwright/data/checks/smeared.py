"""Masks whose values were blended: exported with smooth edges, resized bilinearly, or once saved as JPEG."""

from collections.abc import Mapping, Set

from segwright.data.checks.problem import BadFileError
from segwright.data.checks.unknown import nearest
from segwright.data.masks import IntArray, MaskReader, RawValue, count_values, list_values, pack_colours

_FEWEST_VALUES = 4
"""Unknown ones that are blends; fewer may be classes that data.yaml lacks."""
_AREA_SHARE = 0.25
"""Of the pixels of a value, those with the same value to the right and below; blends along edges have hardly any."""
_EDGES_SHARE = 0.5


def smeared(
    raw: IntArray, values: Mapping[RawValue, int], unknown: Mapping[RawValue, int], path: str, reader: MaskReader
) -> BadFileError | None:
    """The fault of a mask with many unknown values that form no areas; ``None`` where they may be classes.

    Args:
        raw: (H, W) values or (H, W, 3) colours.
        values: pixels of each value.
        unknown: those that mean nothing, the most frequent first.
        path: the file.
        reader: of the data set.
    """
    blends = _without_areas(raw, unknown) if len(unknown) >= _FEWEST_VALUES else []
    if len(blends) < max(_FEWEST_VALUES, len(unknown) / 2):
        return None
    share = sum(unknown[value] for value in blends) / sum(values.values())
    kind = "colours" if raw.ndim == 3 else "values"
    if share > _EDGES_SHARE:
        text = f"mask '{path}' holds {len(values)} {kind}, of which {len(blends)} mean nothing and form no areas"
        return BadFileError("smeared-mask", f"{text}: it looks like a photograph", fix="put the mask in its place")
    facts = {
        value: f"{unknown[value]} px{_nearest(value, values.keys() - set(blends), reader)}" for value in blends[:11]
    }
    listed = list_values(facts | dict.fromkeys(blends[11:], ""))
    return BadFileError(
        "smeared-mask",
        f"mask '{path}' holds {len(blends)} {kind} that mean nothing, along edges, in {100 * share:.2g} % of its "
        f"pixels: {listed}; it was exported with smooth edges, resized without nearest, or once a JPEG",
        fix="export it again without smoothing (antialiasing), and resize masks with nearest only",
    )


def _without_areas(raw: IntArray, unknown: Mapping[RawValue, int]) -> list[RawValue]:
    """The unknown values whose pixels hardly ever have neighbours of their own value to the right and below."""
    values = pack_colours(raw) if raw.ndim == 3 else raw
    here = values[:-1, :-1]
    is_area = (here == values[:-1, 1:]) & (here == values[1:, :-1])
    areas = count_values(raw[:-1, :-1][is_area], is_colour=raw.ndim == 3)
    return [value for value, count in unknown.items() if areas.get(value, 0) < _AREA_SHARE * count]


def _nearest(value: RawValue, levels: Set[RawValue], reader: MaskReader) -> str:
    """The known colour, or of numbers the value with areas in the same mask, that is nearest."""
    if isinstance(value, tuple):
        near = nearest(value, reader)
        return f", nearest is {near}" if near else ""
    numbers = sorted(level for level in levels if isinstance(level, int))
    return f", nearest is {min(numbers, key=lambda level: abs(level - value))}" if numbers else ""
