"""What the files of one split hold together, as counts that add up over parts of the split."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from segwright.data.checks.problem import Place
from segwright.data.checks.unknown import MOST_PLACES, UnknownValues
from segwright.data.masks import RawValue

Size = tuple[int, int]


@dataclass
class Files:
    """Files of one kind: how many there are, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, file: str) -> None:
        self.count += 1
        if len(self.first) < MOST_PLACES:
            self.first.append(file)

    def merge(self, later: "Files") -> None:
        self.count += later.count
        self.first += later.first[: MOST_PLACES - len(self.first)]

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(map(Place, self.first))


@dataclass
class SplitTotals:
    """Counts over the files of a split.

    Args:
        sizes: pictures by (height, width) as shown.
        kinds: pictures by their channels.
        beyond_rgb: pictures by their bands, where they are not read as 8-bit RGB.
        systems: georeferenced pictures by their coordinate system.
        turned: pairs of one size of which the picture has an EXIF orientation that leaves its size as it is.
        masks: that were read and hold no unknown value.
        pixels: of each value in them.
        masks_with: how many of them hold each class index.
        numbers: values that occur in index masks, unknown ones too.
        single: those of one class alone.
        black_and_white: masks of 0 and 255 alone, where 255 is not a class.
        unknown_numbers, unknown_colours: values that mean nothing.
        colour_masks: RGB masks where the data set says nothing about colours.
    """

    sizes: dict[Size, Files] = field(default_factory=lambda: defaultdict(Files))
    kinds: dict[str, Files] = field(default_factory=lambda: defaultdict(Files))
    beyond_rgb: dict[str, Files] = field(default_factory=lambda: defaultdict(Files))
    systems: dict[str, Files] = field(default_factory=lambda: defaultdict(Files))
    turned: Files = field(default_factory=Files)
    masks: int = 0
    pixels: Counter[RawValue] = field(default_factory=Counter)
    masks_with: Counter[int] = field(default_factory=Counter)
    numbers: set[int] = field(default_factory=set)
    single: int = 0
    black_and_white: Files = field(default_factory=Files)
    unknown_numbers: UnknownValues = field(default_factory=UnknownValues)
    unknown_colours: UnknownValues = field(default_factory=UnknownValues)
    colour_masks: UnknownValues = field(default_factory=UnknownValues)

    def merge(self, later: "SplitTotals") -> None:
        """Add the counts of files that come later in the split."""
        for size, files in later.sizes.items():
            self.sizes[size].merge(files)
        for kind, files in later.kinds.items():
            self.kinds[kind].merge(files)
        for kind, files in later.beyond_rgb.items():
            self.beyond_rgb[kind].merge(files)
        for system, files in later.systems.items():
            self.systems[system].merge(files)
        self.turned.merge(later.turned)
        self.masks += later.masks
        self.pixels.update(later.pixels)
        self.masks_with.update(later.masks_with)
        self.numbers |= later.numbers
        self.single += later.single
        self.black_and_white.merge(later.black_and_white)
        self.unknown_numbers.merge(later.unknown_numbers)
        self.unknown_colours.merge(later.unknown_colours)
        self.colour_masks.merge(later.colour_masks)
