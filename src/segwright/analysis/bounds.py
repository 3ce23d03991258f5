"""What upsamplers could reach at best on a data set's labels, which class suffers first, and what to train."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Literal

KEPT = 0.97
"""mIoU* from which on a stride counts as harmless: between bilinear upsampling from stride 16 (98.40), from which
networks usually predict, and from 32 (94.80), where DUpsampling gained most (DUpsampling, table 1)."""
SUFFERS = 0.9
"""Best possible IoU below which a class suffers: a tenth of all pixels that it has or is given is wrong for certain."""

_ASKED = f"{100 * KEPT:.0f}"

Upsampler = Literal["nearest", "bilinear", "dupsampling"]


@dataclass(frozen=True)
class Bound:
    """What one upsampler can bring back from one stride; scores in 0..1.

    Args:
        stride: of the coarse map.
        upsampler: ``nearest``, ``bilinear`` or ``dupsampling``.
        code_channels: length of DUpsampling's codes, else ``None``.
        miou: mean of ``iou_per_class``, the paper's mIoU*.
        iou_per_class: from one confusion matrix over the split; ``None`` for a class that is not in it.
        boundary_f: boundary F-score at 3 pixels, as ``segwright evaluate --boundary`` counts it.
    """

    stride: int
    upsampler: Upsampler
    code_channels: int | None
    miou: float
    iou_per_class: dict[str, float | None]
    boundary_f: float


@dataclass(frozen=True)
class Sufferer:
    """The class whose best possible IoU under bilinear upsampling is the lowest at a stride, and that IoU."""

    name: str
    stride: int
    iou: float


@dataclass(frozen=True)
class Advice:
    """What to train, by the bounds alone.

    Args:
        stride: the largest at which mIoU* is :data:`KEPT` or above; that of the best bound where none is.
        upsampler: what brings it there; bilinear where it suffices.
        code_channels: the shortest codes that suffice, else ``None``.
        sentence: the same for people, with the numbers.
    """

    stride: int
    upsampler: Upsampler
    code_channels: int | None
    sentence: str


@dataclass(frozen=True)
class Sample:
    """How many masks of a split were read, and how many it has."""

    split: str
    masks: int
    masks_in_split: int


@dataclass(frozen=True)
class Limits:
    """The bounds of a data set.

    Args:
        data: its name.
        measured: the masks that were brought to the coarse maps and back.
        fitted: the masks that DUpsampling's codes were fitted to.
        seed: of the samples and the fits.
        bounds: by stride; nearest, bilinear, then DUpsampling with ever longer codes.
        notes: what was left out and why, a sentence each.
    """

    data: str
    measured: Sample
    fitted: Sample
    seed: int
    bounds: tuple[Bound, ...]
    notes: tuple[str, ...] = ()

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(bound.stride for bound in self.bounds))

    @property
    def suffers(self) -> tuple[Sufferer, ...]:
        """One class per stride."""
        return tuple(lowest_class(bound) for bound in self.bounds if bound.upsampler == "bilinear")

    @property
    def suffers_first(self) -> Sufferer:
        """The class to look at: see :func:`first_sufferer`."""
        return first_sufferer(self.suffers)

    @property
    def advice(self) -> Advice:
        """What to train: see :func:`advise`."""
        return advise(self.bounds)

    def to_json(self) -> dict[str, Any]:
        """What ``segwright data limits --json`` prints."""
        return {
            "data": self.data,
            "measured": asdict(self.measured),
            "fitted": asdict(self.fitted),
            "seed": self.seed,
            "bounds": [asdict(bound) for bound in self.bounds],
            "suffers": [asdict(sufferer) for sufferer in self.suffers],
            "suffers_first": asdict(self.suffers_first),
            "advice": asdict(self.advice),
            "notes": list(self.notes),
        }


def name_of(upsampler: Upsampler, code_channels: int | None) -> str:
    """For people: ``bilinear``, ``DUpsampling 64``."""
    return upsampler if code_channels is None else f"DUpsampling {code_channels}"


def lowest_class(bound: Bound) -> Sufferer:
    """The class of the lowest IoU."""
    iou, name = min((iou, name) for name, iou in bound.iou_per_class.items() if iou is not None)
    return Sufferer(name, bound.stride, iou)


def first_sufferer(suffers: Sequence[Sufferer]) -> Sufferer:
    """That of the first stride at which any class falls below :data:`SUFFERS`, or else of the largest stride.

    Args:
        suffers: the lowest class of each stride.
    """
    by_stride = sorted(suffers, key=lambda sufferer: sufferer.stride)
    return next((sufferer for sufferer in by_stride if sufferer.iou < SUFFERS), by_stride[-1])


def advise(bounds: Sequence[Bound]) -> Advice:
    """The largest stride that costs little, with what upsampler, and the class to look at.

    Bilinear upsampling serves up to the last stride before its mIoU* falls below :data:`KEPT`, DUpsampling where it
    keeps mIoU* there at a larger one.

    Args:
        bounds: of all strides, with bilinear upsampling at each.
    """
    linear = sorted((bound for bound in bounds if bound.upsampler == "bilinear"), key=lambda bound: bound.stride)
    kept = list(takewhile(lambda bound: bound.miou >= KEPT, linear))
    widest = kept[-1].stride if kept else 0
    coded = [bound for bound in bounds if bound.upsampler == "dupsampling" and bound.stride > widest]
    harmless = [bound for bound in coded if bound.miou >= KEPT]
    if harmless:
        best = min(harmless, key=lambda bound: (-bound.stride, bound.code_channels or 0))
    else:
        best = kept[-1] if kept else max((*linear, *coded), key=lambda bound: bound.miou)
    clauses = [_of_bilinear(linear, len(kept)), *_of_codes(coded, best), _of_class(linear)]
    return Advice(best.stride, best.upsampler, best.code_channels, "; ".join(clauses))


def _of_bilinear(linear: Sequence[Bound], kept: int) -> str:
    """How far bilinear upsampling goes, where it keeps mIoU* at the first ``kept`` strides."""
    if not kept:
        first = linear[0]
        return f"bilinear upsampling is below mIoU* {_ASKED} at stride {first.stride} already ({_score(first)})"
    far = f"bilinear upsampling keeps mIoU* at {_ASKED} or above up to stride {linear[kept - 1].stride}"
    if kept == len(linear):
        return f"{far} ({_score(linear[-1])}), so that a finer stride or DUpsampling gains little"
    return f"{far} ({_score(linear[kept - 1])}) and falls to {_score(linear[kept])} at stride {linear[kept].stride}"


def _of_codes(coded: Sequence[Bound], best: Bound) -> list[str]:
    """What DUpsampling does at larger strides than bilinear upsampling can serve; nothing where it was not tried."""
    if not coded:
        return []
    if best in coded and best.miou >= KEPT:
        return [
            f"DUpsampling with {best.code_channels} codes keeps {_ASKED} up to stride {best.stride} ({_score(best)})"
        ]
    stride = min(bound.stride for bound in coded)
    longest = max((bound for bound in coded if bound.stride == stride), key=lambda bound: bound.miou)
    return [f"DUpsampling reaches {_score(longest)} at stride {stride} with {longest.code_channels} codes"]


def _of_class(linear: Sequence[Bound]) -> str:
    """Which class to look at."""
    first = first_sufferer([lowest_class(bound) for bound in linear])
    where = f"'{first.name}', whose best IoU under bilinear is {100 * first.iou:.2f} at stride {first.stride}"
    return f"look at {where}" if first.iou < SUFFERS else f"no class suffers; the lowest is {where}"


def _score(bound: Bound) -> str:
    return f"{100 * bound.miou:.2f}"
