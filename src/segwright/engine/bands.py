"""Which bands a run reads of its pictures, and what their values are divided and shifted by."""

from pathlib import Path

from segwright.data import Pair
from segwright.data.bands import band_statistics, kinds_differ, stored_heads
from segwright.engine.choices import Plan
from segwright.engine.processes import is_main_process
from segwright.errors import ConfigError
from segwright.info import UNITS

_LOOKED_AT, _MEASURED = 2000, 1000
"""Pictures, evenly spaced, whose heads are read to choose the bands, and which are read in full for the statistics."""


def plan_bands(plan: Plan, pairs: list[Pair]) -> None:
    """Choose to read pictures as 8-bit RGB, where that loses nothing but alpha, or as many bands as they have.

    Args:
        plan: with or without ``data.bands``.
        pairs: of both splits, so that no validation meets pictures that the network does not read.

    Raises:
        ConfigError: a network of other channels was asked for.
        DataError: two pictures differ in the bands that would be read, or in their kind of values.
    """
    channels = plan.config.model.options.get("in_channels")
    if plan.config.data.bands is None and channels not in (None, 3):
        plan.choose("data.bands", channels, "model.options.in_channels")
    heads = list(stored_heads([pair.image for pair in _evenly(pairs, _LOOKED_AT)]))
    beyond = next(((path, stored) for path, stored in heads if not stored.fits_rgb), None)
    if plan.config.data.bands is None and beyond is not None:
        path, stored = beyond
        plan.choose("data.bands", stored.bands, f"'{path.name}' holds {stored}, which is no 8-bit RGB")
    bands = plan.config.data.bands
    if bands is None:
        if plan.config.data.unit is not None:
            raise ConfigError(
                "data.unit is for bands, and the pictures are read as 8-bit RGB", fix="give data.bands, too"
            )
        return
    if channels not in (None, bands):
        raise ConfigError(
            f"data.bands is {bands} and model.options.in_channels is {channels}",
            fix="leave model.options.in_channels out",
        )
    first = beyond or (heads[0] if heads else None)
    for path, stored in heads:
        assert first is not None, "it is among the heads"
        if (stored.bands, stored.dtype) != (first[1].bands, first[1].dtype):
            raise kinds_differ(path, stored, *first)


def plan_statistics(plan: Plan, pairs: list[Pair]) -> None:
    """Measure what the settings leave open of a network of bands: unit, mean and standard deviation.

    Args:
        plan: with ``data.bands`` where they are not RGB.
        pairs: of the training split.

    Raises:
        DataError: a picture that cannot be read.
    """
    settings = plan.config.data
    is_known = settings.bands is None or None not in (settings.unit, settings.mean, settings.std)
    if is_known or not is_main_process():  # whose plan is that of all
        return
    paths: list[Path] = [pair.image for pair in _evenly(pairs, _MEASURED)]
    found = band_statistics(paths, settings.bands)
    own = UNITS[found.kind.dtype]
    if settings.unit is None:
        plan.choose("data.unit", own, f"pictures hold {found.kind.dtype}")
    scale, of = own / (plan.config.data.unit or own), f"of {len(paths)} training pictures"
    if settings.mean is None:
        plan.choose("data.mean", tuple(_rounded(value * scale) for value in found.mean), of)
    if settings.std is None:
        flat = [index for index, value in enumerate(found.std) if not value]
        reason = f"{of}; 1 where a band never changes" if flat else of
        plan.choose("data.std", tuple(_rounded(value * scale) or 1.0 for value in found.std), reason)


def _evenly(pairs: list[Pair], count: int) -> list[Pair]:
    return pairs[:: -(-len(pairs) // count)]


def _rounded(value: float) -> float:
    """To six significant digits: it is read by people, too."""
    return float(f"{value:.6g}")
