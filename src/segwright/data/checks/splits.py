"""What the files of whole splits say together: values, classes, sizes and kinds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from segwright.data.checks.problem import Place, Problem, count_of, how_to_allow, some, warning
from segwright.data.checks.totals import Files, SplitTotals
from segwright.data.checks.unknown import UnknownValues, colour_masks, unknown_values
from segwright.data.dataset import SegmentationData
from segwright.data.masks import MaskReader, RawValue

Totals = Mapping[str, SplitTotals]

_RGB = "8-bit RGB"


def pixels_per_class(totals: SplitTotals, reader: MaskReader) -> list[int]:
    """Pixels of each class index in the masks that could be read; ignored ones come last."""
    meanings, num_classes = reader.meanings(), len(reader.labels.classes)
    counts = [0] * (num_classes + 1)
    for value, pixels in totals.pixels.items():
        counts[min(meanings[value], num_classes)] += pixels
    return counts


def check_values(data: SegmentationData, totals: Totals, reader: MaskReader) -> Iterator[Problem]:
    """Values and colours that mean nothing, and 255 that is left out where it may be meant: one error per split."""
    yield from _black_and_white(data, totals)
    known_as_binary = {255} if are_black_and_white(data, totals) else set()
    numbers = _everywhere(part.unknown_numbers for part in totals.values())
    colours = _everywhere(part.unknown_colours for part in totals.values())
    hint = _shifted(data, totals)
    for split, part in totals.items():
        if set(part.unknown_numbers.pixels) - known_as_binary:
            yield unknown_values(part.unknown_numbers, split, reader, numbers, hint)
        if part.unknown_colours.files:
            yield unknown_values(part.unknown_colours, split, reader, colours, None)
        if part.colour_masks.files:
            yield colour_masks(part.colour_masks, split, data.classes)


def are_black_and_white(data: SegmentationData, totals: Totals) -> bool:
    """Whether the masks of a data set of several classes hold 0 and 255 alone, and 255 is none of them."""
    numbers = set[int]().union(*(part.numbers for part in totals.values()))
    has_any = any(part.black_and_white.count for part in totals.values())
    return has_any and numbers <= {0, 255} and len(data.classes) > 1


def _black_and_white(data: SegmentationData, totals: Totals) -> Iterator[Problem]:
    are_all = are_black_and_white(data, totals)
    name = data.classes[1] if len(data.classes) == 2 else "CLASS"
    for split, part in totals.items():
        files = part.black_and_white
        if not files.count or (not are_all and 255 in part.unknown_numbers.pixels):
            continue
        fix = f"add 'map: {{255: {name}}}' to data.yaml, and take 255 out of 'ignore' if it stands there"
        if are_all:
            masks = "the mask of" if files.count == 1 else f"{files.count} masks of"
            message = f"{masks} {split} hold{'s' * (files.count == 1)} 0 and 255 alone, and 255 is no class"
            message += f": all of '{data.classes[0]}' or left out (first '{files.first[0]}')"
            yield Problem("binary-mask", "error", files.first[0], message, fix, files.places, files.count)
        else:
            message = (
                f"{count_of(files.count, 'mask')} of {split} hold{'s' * (files.count == 1)} 0 and 255 alone, where "
                f"others hold classes (first '{files.first[0]}'); their 255 is left out of loss and scores"
            )
            fix = f"if 255 is an object there: save it as the object's index, or {fix}"
            yield Problem("binary-mask", "warning", files.first[0], message, fix, files.places, files.count)


def _everywhere(found: Iterator[UnknownValues]) -> list[RawValue]:
    pixels: Counter[RawValue] = sum((part.pixels for part in found), Counter())
    return [value for value, _ in pixels.most_common()]


def _shifted(data: SegmentationData, totals: Totals) -> tuple[str, str] | None:
    """What to say where the values run from 1 to the number of classes."""
    last = len(data.classes)
    numbers = set[int]().union(*(part.numbers for part in totals.values())) - set(data.labels.ignore)
    if last not in numbers or min(numbers) < 1 or max(numbers) > last or data.labels.map:
        return None
    entries = ", ".join(f"{index + 1}: {name}" for index, name in enumerate(data.classes))
    message = f"0 never occurs and the values end at {last}: they are probably shifted by one"
    return message, f"if they are, add 'map: {{{entries}}}' to data.yaml; else name the class of {last} there"


def check_pictures(totals: Totals) -> Iterator[Problem]:
    """Sizes, channels and bands that differ within a split, alpha, and orientations that masks may not share."""
    yield from _mixed_bands(totals)
    yield from _mixed_systems(totals)
    for split, part in totals.items():
        if part.turned.count:
            files = part.turned
            message = (
                f"{count_of(files.count, 'picture')} of {split} {'has' if files.count == 1 else 'have'} an EXIF "
                f"orientation that keeps the size (first '{files.first[0]}'): sizes cannot tell whether the masks are "
                "turned as well"
            )
            fix = "look at one with its mask; where it is not turned, turn it, or remove the orientation"
            yield Problem("orientation", "warning", files.first[0], message, fix, files.places, files.count)
        plain = {kind: files for kind, files in part.kinds.items() if kind not in part.beyond_rgb}
        if len(plain) > 1:
            fix = "nothing to do where it is meant: all are read as RGB, grey in all three channels"
            yield _mixed("mixed-channels", "are of {} kinds", split, plain, fix)
        with_alpha = {kind: files for kind, files in plain.items() if "alpha" in kind}
        if with_alpha:
            count, first = sum(files.count for files in with_alpha.values()), next(iter(with_alpha.values())).first[0]
            message = f"alpha of {count_of(count, 'picture')} of {split} is dropped (first '{first}')"
            fix = "nothing to do where transparent pixels show what they should; else save the pictures without alpha"
            yield warning("alpha-dropped", first, message, fix, count)
        if len(part.sizes) > 1:
            sizes = {f"{width}x{height}": files for (height, width), files in part.sizes.items()}
            fix = "nothing to do where it is meant: training crops, and scores are taken at each picture's own size"
            yield _mixed("mixed-sizes", "have {} sizes (width x height)", split, sizes, fix)


def _mixed(code: str, what: str, split: str, groups: Mapping[str, Files], fix: str) -> Problem:
    """A warning that counts the groups, with the first file of the smallest."""
    ranked = sorted(groups.items(), key=lambda item: -item[1].count)
    listed = some((f"{name} ({files.count})" for name, files in ranked), 5)
    rare = ranked[-1][1]
    message = f"the pictures of {split} {what.format(len(groups))}: {listed}; '{rare.first[0]}' is of the rarest"
    return Problem(code, "warning", rare.first[0], message, fix, rare.places, rare.count)


def _mixed_bands(totals: Totals) -> Iterator[Problem]:
    """Errors for pictures whose bands are not those of most: a network reads one kind."""
    found = [
        (split, kind if kind in part.beyond_rgb else _RGB, files)
        for split, part in totals.items()
        for kind, files in part.kinds.items()
    ]
    for split, bands, files, usual in _unlike_most(found):
        message = (
            f"{count_of(files.count, 'picture')} of {split} {'holds' if files.count == 1 else 'hold'} {bands}, "
            f"where most hold {usual} (first '{files.first[0]}')"
        )
        fix = f"convert to {usual}: a network reads pictures of one kind"
        yield Problem("mixed-bands", "error", files.first[0], message, fix, files.places, files.count)


def _mixed_systems(totals: Totals) -> Iterator[Problem]:
    """Errors for georeferenced pictures of another coordinate system than most: their pixels mean other lengths."""
    found = [(split, system, files) for split, part in totals.items() for system, files in part.systems.items()]
    for split, system, files, usual in _unlike_most(found):
        message = (
            f"{count_of(files.count, 'picture')} of {split} {'lies' if files.count == 1 else 'lie'} in {system}, "
            f"where most lie in {usual} (first '{files.first[0]}')"
        )
        fix = f"bring them to {usual}, with gdalwarp -t_srs for example (masks with -r near), or part the set"
        fix += how_to_allow("mixed-crs")
        yield Problem("mixed-crs", "error", files.first[0], message, fix, files.places, files.count)


def _unlike_most(found: Sequence[tuple[str, str, Files]]) -> Iterator[tuple[str, str, Files, str]]:
    """Split, kind and files of those that are not of the most frequent kind, and that kind."""
    counts = Counter[str]()
    for _, kind, files in found:
        counts[kind] += files.count
    for split, kind, files in found:
        usual, _ = counts.most_common(1)[0]
        if kind != usual:
            yield split, kind, files, usual


def check_absent_splits(data: SegmentationData) -> Iterator[Problem]:
    """Warnings where a data set cannot be trained on for want of a split."""
    for split in ("train", "val"):
        if split not in data.folders:
            message = f"data set '{data.name}' has no split '{split}', which training needs"
            fix = f"add '{split}: {{images: ..., masks: ...}}' to data.yaml"
            if data.understood:
                fix = f"add folders of pictures and masks for {split}, named like those of {', '.join(data.folders)}"
            fix += f", or share the pictures out: segwright data split {data.source or 'DATA'} --to NEW"
            yield warning(f"no-{split}-split", data.source or data.name, message, fix)


class SeenPictures:
    """Which pictures have the same bytes.

    Args:
        data: the data set.
    """

    def __init__(self, data: SegmentationData) -> None:
        self._data = data
        self._first: dict[bytes, tuple[str, str]] = {}

    def see(self, split: str, image: str | None, digest: bytes | None) -> Iterator[Problem]:
        """A warning where the picture was seen before.

        The only pair of a recognised folder is both splits: that is said in ``understood``.
        """
        if digest is None or image is None:
            return
        first_split, first = self._first.setdefault(digest, (split, image))
        if first_split != split and not (first == image and self._data.understood):
            message = f"picture '{image}' of {split} is the same as '{first}' of {first_split}"
            fix = "remove it from one of the two: a score on pictures that were trained on says nothing"
            yield Problem("identical-picture", "warning", image, message, fix, (Place(image), Place(first)))
        elif first_split == split and first != image:
            message = f"picture '{image}' of {split} is the same as '{first}'"
            fix = "remove one of the two pairs, unless it shall count twice"
            yield Problem("repeated-picture", "warning", image, message, fix, (Place(image), Place(first)))
