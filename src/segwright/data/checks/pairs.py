"""A picture and its mask: both read in full, and held against each other."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import PIL.Image
from PIL import ImageFile

from segwright.data.checks.files import Limits, read_file
from segwright.data.checks.mask_files import Mask, MaskFiles
from segwright.data.checks.pictures import Picture, coordinate_system, read_picture
from segwright.data.checks.problem import BadFileError, Place, Problem, error, warning
from segwright.data.checks.smeared import smeared
from segwright.data.checks.totals import SplitTotals
from segwright.data.checks.unknown import first_place
from segwright.data.masks import Labels, MaskReader, RawValue
from segwright.runtime.stored import LYING

_TURNS = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored upside down",
    5: "turned and mirrored",
    6: "turned clockwise",
    7: "turned and mirrored",
    8: "turned counter-clockwise",
}
BLACK_AND_WHITE = frozenset((0, 255))


class Job(NamedTuple):
    """A pair of a split, or a file without its partner."""

    split: str
    image: str | None
    mask: str | None


class Found(NamedTuple):
    """What a few jobs have shown.

    Args:
        problems: of each job.
        digests: of each picture's bytes; ``None`` where there is none to compare.
        totals: by split.
        unchanged: how many jobs were not read again, because their files have not changed since they were.
    """

    problems: list[list[Problem]]
    digests: list[bytes | None]
    totals: dict[str, SplitTotals]
    unchanged: int = 0


class PairChecker:
    """Reads the files of pairs, one at a time.

    Args:
        labels: what the values in the masks mean.
        limits: what a file may hold.
    """

    def __init__(self, labels: Labels, limits: Limits) -> None:
        self._reader, self._limits = MaskReader(labels), limits
        self._masks = MaskFiles(limits)
        self._meanings = self._reader.meanings()
        self._has_colours = bool(labels.colour_table())
        self._ignored = labels.ignore_index
        self._names_255 = self._meanings.get(255, self._ignored) != self._ignored

    def check(self, jobs: Iterable[Job]) -> Found:
        """Read every file of some jobs in full, and each one once."""
        found = Found([], [], defaultdict(SplitTotals))
        with _strict_pillow():
            for job in jobs:
                problems: list[Problem] = []
                found.problems.append(problems)
                found.digests.append(self._check(job, found.totals[job.split], problems))
        return found

    def _check(self, job: Job, totals: SplitTotals, problems: list[Problem]) -> bytes | None:
        """One job; its problems and counts are added, and the digest of the picture given back."""
        picture = digest = None
        if job.image is not None:
            try:
                content = read_file(job.image, "picture", self._limits)
                picture = read_picture(content, job.image, self._limits)
                digest = hashlib.sha256(content).digest()
                self._count_picture(picture, job.image, totals)
                if (system := coordinate_system(content, job.image)) is not None:
                    totals.systems[system].add(job.image)
                problems += picture.problems
            except BadFileError as fault:
                problems.append(error(fault.code, job.image, fault))
        if job.mask is not None:
            try:
                mask = self._masks.read(read_file(job.mask, "mask", self._limits), job.mask)
                problems += mask.problems
                if picture is not None and job.image is not None:
                    self._compare(job.image, picture, job.mask, mask, totals, problems)
                self._count_mask(mask, job.mask, totals, problems)
            except BadFileError as fault:
                problems.append(error(fault.code, job.mask, fault))
        return digest

    def _count_picture(self, picture: Picture, path: str, totals: SplitTotals) -> None:
        totals.sizes[picture.size].add(path)
        totals.kinds[picture.kind].add(path)
        if not picture.fits_rgb:
            totals.beyond_rgb[picture.kind].add(path)

    def _compare(
        self, image: str, picture: Picture, path: str, mask: Mask, totals: SplitTotals, problems: list[Problem]
    ) -> None:
        """Whether a mask lies on its picture as far as sizes tell."""
        if mask.size == picture.size:
            if picture.orientation != 1 and mask.size == picture.stored_size:
                totals.turned.add(image)
        elif picture.orientation in LYING and mask.size == picture.stored_size:
            problems.append(_orientation_mismatch(image, picture, path))
        else:
            (height, width), (mask_height, mask_width) = picture.size, mask.size
            message = (
                f"mask '{path}' is {mask_width}x{mask_height} (width x height), "
                f"its picture '{image}' is {width}x{height}"
            )
            fix = "export the mask at the picture's size (resize masks with nearest only)"
            problems.append(Problem("size-mismatch", "error", path, message, fix))

    def _count_mask(self, mask: Mask, path: str, totals: SplitTotals, problems: list[Problem]) -> None:
        """What the values of a mask mean."""
        if mask.is_colour and not self._has_colours:
            totals.colour_masks.add(Place(path, 0, 0, sum(mask.values.values())), mask.values)
            return
        unknown = {value: count for value, count in mask.values.items() if value not in self._meanings}
        if mask.values.keys() == BLACK_AND_WHITE and not self._names_255:
            totals.black_and_white.add(path)
        if unknown:
            in_order = sorted(unknown.items())  # numbers, or colours, never both
            self._count_unknown(mask, path, dict(sorted(in_order, key=lambda item: -item[1])), totals)
            return
        if not mask.is_colour:
            totals.numbers.update(mask.values)  # type: ignore[arg-type]
        totals.masks += 1
        for value, count in mask.values.items():
            totals.pixels[value] += count
        classes = {self._meanings[value] for value in mask.values} - {self._ignored}
        for index in classes:
            totals.masks_with[index] += 1
        totals.single += len(classes) == 1
        if not classes:
            message = f"mask '{path}' holds ignored pixels only, so that its picture teaches and tests nothing"
            problems.append(warning("all-ignored", path, message, "remove the pair, or label it"))

    def _count_unknown(self, mask: Mask, path: str, unknown: dict[RawValue, int], totals: SplitTotals) -> None:
        raw = mask.pixels()
        fault = smeared(raw, mask.values, unknown, path, self._reader)
        if fault is not None:
            raise fault
        place = first_place(raw, unknown, path, sum(unknown.values()))
        if mask.is_colour:
            totals.unknown_colours.add(place, unknown)
        else:
            totals.numbers.update(mask.values)  # type: ignore[arg-type]
            totals.unknown_numbers.add(place, unknown)


def _orientation_mismatch(image: str, picture: Picture, path: str) -> Problem:
    (height, width), (stored_height, stored_width) = picture.size, picture.stored_size
    turn = _TURNS[picture.orientation]
    message = (
        f"mask '{path}' fits its picture '{image}' as it is stored ({stored_width}x{stored_height}, width x height), "
        f"not as it is shown: {turn} by its EXIF orientation {picture.orientation} ({width}x{height})"
    )
    fix = f"save the mask {turn} as well, or remove the orientation from the picture"
    return Problem("orientation-mismatch", "error", path, message, fix)


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow must refuse truncated files, whatever another library has told it; the limit of pixels is ours."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES, PIL.Image.MAX_IMAGE_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES, PIL.Image.MAX_IMAGE_PIXELS = False, None
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, PIL.Image.MAX_IMAGE_PIXELS = before
