"""A foreign data set written down as ours: all of it, or nothing."""

import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segwright.data.dataset import IMAGE_SUFFIXES, SPLITS, Folders, SegmentationData
from segwright.data.formats.archives import opened
from segwright.data.formats.files import SUFFIX_OF, TURNED_BACK, PictureSize, picture_size
from segwright.data.formats.outside import OutsideMasks
from segwright.data.formats.reading import IntArray, Options, Reading, Sample, Size, counted
from segwright.data.formats.registry import FORMATS, read_source
from segwright.data.masks import IGNORE, Labels, ignore_index_of
from segwright.data.sharing import share_stems
from segwright.data.writing import check_target, naming_os_errors, write_head
from segwright.errors import DataError
from segwright.info import generic_palette
from segwright.runtime.folders import new_folder
from segwright.runtime.images import read_image
from segwright.runtime.masks import save_mask

_MOST_CLASSES = 65535


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Args:
        folder: the data set.
        format: name of the format that was read.
        understood: one sentence about it.
        images: number of pictures per split.
        classes: names.
        notes: what was decided, left out or changed, one sentence each.
    """

    folder: Path
    format: str
    understood: str
    images: dict[str, int]
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "data": str(self.folder),
            "format": self.format,
            "understood": self.understood,
            "images": self.images,
            "classes": list(self.classes),
            "notes": list(self.notes),
        }


def convert(
    source: str | Path,
    folder: str | Path,
    *,
    name: str = "auto",
    options: Options | None = None,
    tell: Callable[[str, str], None] = lambda name, understood: None,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write a labelled data set of another format as pictures, index PNGs and a data.yaml.

    Args:
        source: folder of the data set, its one label file, or a zip file of either.
        folder: new or empty; gets ``images/<split>``, ``masks/<split>`` and ``data.yaml``, all of it or nothing.
        name: of the format, or ``"auto"``.
        options: what the user says about the data.
        tell: called with the format's name and what was understood, before anything is written.
        progress: called with pictures done and in all.

    Raises:
        ConfigError: no format or several fit, or an option that makes no sense.
        DataError: something in the source that cannot be used; nothing is written.
        RunError: the operating system refused to write.
        Interrupted: SIGTERM or SIGHUP; nothing is written.
    """
    options = options or Options()
    options.check()
    source, target = Path(source).expanduser(), Path(folder).expanduser().absolute()
    check_target(source, target)
    with naming_os_errors(source, target), opened(source, target) as (root, shown):
        name, reading = read_source(root, name, options)
        tell(name, shown(reading.understood))
        placed = _place(reading, source)
        with new_folder(target) as temporary:
            writer = _Writer(temporary, reading, options)
            for done, (split, sample) in enumerate(placed, start=1):
                writer.write(split, sample)
                if progress:
                    progress(done, len(placed))
            if FORMATS[name].draws_shapes and not reading.notes.drawn:
                raise _nothing_drawn(source, reading)
            images, said = writer.finish(target.name), [*map(shown, reading.notes.sentences())]
            head = [f"converted from {source}", f"{shown(reading.understood)} (--from {name})", *said]
            write_head(temporary / "data.yaml", head)
    return Conversion(Path(folder), name, shown(reading.understood), images, reading.classes, tuple(said))


def _place(reading: Reading, source: Path) -> list[tuple[str, Sample]]:
    """Each sample with its split; where the source has none, a fifth becomes val by a hash of the stems.

    Raises:
        DataError: no sample, two of one split with one stem, or more classes than a mask can hold.
    """
    if not reading.samples:
        raise DataError(f"'{source}' has no labelled picture", fix="add pictures with their labels")
    if len(reading.classes) > _MOST_CLASSES:
        raise DataError(f"'{source}' has {len(reading.classes)} classes", fix=f"the limit is {_MOST_CLASSES}")
    if IGNORE in reading.classes:
        raise DataError(
            f"'{source}' has a class called '{IGNORE}', a word that data.yaml keeps for pixels without a class",
            fix="leave --ignore none out, or rename it",
        )
    homeless = [sample.stem for sample in reading.samples if sample.split is None]
    train, val = share_stems(homeless)
    if len(set(homeless)) == len(reading.samples) == 1:
        reading.notes.say("the only picture serves as train and as val, so that scores say nothing")
    elif len(homeless) == len(reading.samples):
        reading.notes.say(f"no splits: {len(val)} of {len(homeless)} pictures serve as val, by a hash of their names")
    elif homeless:
        reading.notes.count("pictures of no split, put into train", homeless[0], len(homeless))
        train, val = frozenset(homeless), frozenset()
    placed: list[tuple[str, Sample]] = []
    for sample in reading.samples:
        own = [split for split, stems in (("train", train), ("val", val)) if sample.stem in stems]
        placed += [(split, sample) for split in ([sample.split] if sample.split else own)]
    seen: dict[tuple[str, str], Sample] = {}
    for split, sample in placed:
        key = split, unicodedata.normalize("NFC", sample.stem)
        other = seen.setdefault(key, sample)
        if other is not sample:
            names = [str(s.image) if isinstance(s.image, Path) else s.where for s in (other, sample)]
            if names[0] == names[1]:
                raise DataError(f"picture '{names[0]}' is labelled twice", fix="remove one of its two entries")
            raise DataError(
                f"two pictures of {split} would be called '{sample.stem}': '{names[0]}' and '{names[1]}'",
                fix="rename one of the two, or remove its labels",
            )
    return placed


class _Writer:
    """Writes samples below a folder.

    Args:
        folder: empty.
        reading: for classes, palette and notes.
        options: of the user.
    """

    def __init__(self, folder: Path, reading: Reading, options: Options) -> None:
        self._folder, self._reading, self._options = folder, reading, options
        self._palette = reading.palette or generic_palette(len(reading.classes))
        self._ignore_index = ignore_index_of(len(reading.classes))
        self._dtype = np.uint8 if self._ignore_index == 255 else np.uint16
        self._outside = OutsideMasks(options.ignore_outside) if options.ignore_outside else None
        self._images: Counter[str] = Counter()
        self._drawn: tuple[Sample, IntArray] | None = None
        self._pixels = np.zeros(len(reading.classes), np.int64)

    def write(self, split: str, sample: Sample) -> None:
        """A picture and its mask."""
        name = str(sample.image) if isinstance(sample.image, Path) else sample.where
        picture = sample.image if isinstance(sample.image, Path) else sample.image()
        size = picture_size(picture, name, self._options.max_pixels)
        if self._drawn is None or self._drawn[0] is not sample:  # the only picture of a data set is in two splits
            self._drawn = sample, self._mask(sample, size, name)
        mask = self._drawn[1]
        image = self._folder / "images" / split / sample.stem
        labels = self._folder / "masks" / split / f"{sample.stem}.png"
        for path in (image, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._copy(picture, image, size, name)
        save_mask(labels, mask.astype(self._dtype), self._palette)
        self._pixels += np.bincount(mask.ravel(), minlength=len(self._pixels))[: len(self._pixels)]
        self._images[split] += 1

    def _mask(self, sample: Sample, size: PictureSize, name: str) -> IntArray:
        """The mask of the picture as shown, ignored outside of the field of view."""
        mask = self._turned(sample, size, name)
        return self._outside.apply(mask, sample.stem, self._ignore_index) if self._outside else mask

    def _turned(self, sample: Sample, size: PictureSize, name: str) -> IntArray:
        """The mask of the picture as shown."""
        drawn_on = sample.size or size.shown
        if drawn_on not in (size.shown, size.stored):
            raise _sizes_differ(sample.where, drawn_on, name, size.shown)
        mask = sample.draw(drawn_on)
        if mask.shape not in (size.shown, size.stored):
            raise _sizes_differ(sample.where, (mask.shape[0], mask.shape[1]), name, size.shown)
        if size.orientation == 1:
            return mask
        if mask.shape != size.shown:
            self._reading.notes.count("masks turned as their picture's EXIF orientation says", name)
            return np.asarray(Image.fromarray(mask).transpose(TURNED_BACK[size.orientation]))
        self._reading.notes.count("pictures with an EXIF orientation, labels taken as drawn on what is shown", name)
        return mask

    def _copy(self, image: Path | bytes, target: Path, size: PictureSize, name: str) -> None:
        """The file as it is where its format is among those that training reads, else as PNG."""
        suffix = image.suffix if isinstance(image, Path) else SUFFIX_OF.get(size.format, "")
        target = target.with_name(target.name + (suffix if suffix.lower() in IMAGE_SUFFIXES else ".png"))
        if isinstance(image, bytes) and suffix:
            target.write_bytes(image)
        elif isinstance(image, Path) and suffix.lower() in IMAGE_SUFFIXES:
            shutil.copyfile(image, target)
        elif isinstance(image, Path):
            self._reading.notes.count(f"pictures saved as PNG, as training reads no {suffix}", name)
            Image.fromarray(read_image(image)).save(target)
        else:
            raise DataError(f"the picture in '{name}' is a {size.format}", fix="save it as PNG or JPEG beside the file")

    def finish(self, name: str) -> dict[str, int]:
        """Write data.yaml; the pictures of each split."""
        images = {split: self._images[split] for split in SPLITS if self._images[split]}
        folders = {split: Folders(self._folder / "images" / split, self._folder / "masks" / split) for split in images}
        labels = Labels(self._reading.classes, self._palette, (self._ignore_index,))
        data = SegmentationData(name, folders, labels)
        self._tell_empty_classes()
        (self._folder / "data.yaml").write_text(data.to_yaml(self._folder), encoding="utf-8")
        return images

    def _tell_empty_classes(self) -> None:
        empty = [name for name, pixels in zip(self._reading.classes, self._pixels, strict=True) if not pixels]
        if empty:
            listed = ", ".join(empty[:10]) + (f" and {len(empty) - 10} more" * (len(empty) > 10))
            self._reading.notes.say(f"classes without a pixel: {listed}")


def _nothing_drawn(source: Path, reading: Reading) -> DataError:
    left = [note for note in reading.notes.sentences() if "left out" in note]
    return DataError(
        f"'{source}' has not one shape that could be drawn in {counted(len(reading.samples), 'picture')}"
        + f" ({'; '.join(left)})" * bool(left),
        fix="label areas: outlines or masks; boxes, points and lines have none",
    )


def _sizes_differ(where: str, size: Size, name: str, shown: Size) -> DataError:
    return DataError(
        f"'{where}' labels a picture of {size[1]}x{size[0]} px (width x height), but '{name}' has "
        f"{shown[1]}x{shown[0]}",
        fix="use the picture that was labelled, at its own size",
    )
