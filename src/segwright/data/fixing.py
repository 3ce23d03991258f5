"""A copy of a data set in which is mended what can be mended without loss; the rest is left out or left as it is."""

import io
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from segwright.data.checks.files import Limits, read_file
from segwright.data.checks.mask_files import Mask, MaskFiles
from segwright.data.checks.pictures import Picture, read_picture
from segwright.data.checks.problem import BadFileError
from segwright.data.dataset import SPLITS, Folders, FoundFiles, SegmentationData
from segwright.data.formats.files import SUFFIX_OF, TURNED_BACK
from segwright.data.formats.pairs import grey_of
from segwright.data.masks import IntArray, Labels, MaskReader
from segwright.data.source import load_data
from segwright.data.writing import check_target, equal_files, naming_os_errors, write_head
from segwright.errors import DataError
from segwright.runtime.folders import new_folder

_MOST_THREADS = 8  # each holds one pair in memory
_SAME_SHAPE = 0.02
"""By how much the sides' ratio of a mask may differ from its picture's where it is enlarged or reduced."""

MENDABLE = frozenset(
    (
        *("orientation-mismatch", "missing-mask", "missing-picture", "duplicate-stem"),
        *("unreadable-picture", "unreadable-mask", "too-large"),
    )
)
"""Codes of errors that a mended copy does not have: the file is turned or left out."""


@dataclass
class Mending:
    """What was done to a data set on its way into the copy.

    Args:
        folder: of the copy.
        images: number of pictures per split.
        mended: what was mended, with the files of the source.
        left_out: what is not in the copy and why, with the files of the source.
    """

    folder: Path
    images: dict[str, int] = field(default_factory=dict)
    mended: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def sentences(self) -> list[str]:
        """Each kind with its number and its first file."""
        kinds = [*self.mended.items(), *((f"left out: {what}", files) for what, files in self.left_out.items())]
        return [f"{what}: {len(files)}, first '{files[0]}'" for what, files in kinds]

    def to_json(self) -> dict[str, Any]:
        return {"data": str(self.folder), "images": self.images, "mended": self.mended, "left_out": self.left_out}


class _Pair(NamedTuple):
    split: str
    stem: str
    image: Path
    mask: Path


class _Outcome(NamedTuple):
    """What became of a pair: why it was left out, and at which file, or what was mended."""

    left_out: str | None = None
    file: Path | None = None
    mended: tuple[str, ...] = ()


def fix_data(
    data: str | Path | SegmentationData,
    folder: str | Path,
    *,
    resize_masks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Mending:
    """Write a copy of a data set with its faults mended; files without a fault are copied byte by byte.

    Mended: masks that were drawn before their picture's EXIF orientation was applied (the mask is turned, the picture
    stays), RGB masks of known colours or of grey values (written as index PNGs), masks of 0 and 255 in a data set of
    two classes (``map`` in data.yaml), names that say another type, pictures and masks of several pages (the first).
    Left out: files without a partner, pairs of which one file cannot be read, pictures of train that stand in val or
    test as well, and pictures of train whose stem stands twice.
    Anything else stays as it is, for ``check_data`` of the copy to name.

    Args:
        data: the data set; nothing in it changes.
        folder: new or empty; gets ``images/<split>``, ``masks/<split>`` and ``data.yaml``, all of it or nothing.
        resize_masks: also give masks of another size and the same shape their picture's size, by the nearest value.
        progress: called with pairs done and in all.

    Raises:
        DataError: no data set, or no pair that can be used.
        RunError: the operating system refused to write.
        Interrupted: SIGTERM or SIGHUP; nothing is written.
    """
    source = data if isinstance(data, SegmentationData) else load_data(data)
    target = Path(folder).expanduser().absolute()
    root = source.source if source.source is not None else next(iter(source.folders.values())).images
    check_target(root if root.is_dir() else root.parent, target)
    record = Mending(Path(folder))
    with naming_os_errors(root, target):
        pairs = _without_repeated(_pairs(source, record), record)
        labels = _labels(source, pairs, record)
        with new_folder(target) as temporary:
            mender = _Mender(temporary, labels, resize_masks)
            with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
                for done, (pair, outcome) in enumerate(zip(pairs, pool.map(mender.mend, pairs), strict=True), start=1):
                    _note(record, pair, outcome)
                    if progress:
                        progress(done, len(pairs))
            _write_yaml(temporary, target.name, replace(source, labels=labels), record)
    return record


def _note(record: Mending, pair: _Pair, outcome: _Outcome) -> None:
    if outcome.left_out is not None:
        record.left_out[outcome.left_out].append(str(outcome.file))
        return
    record.images[pair.split] = record.images.get(pair.split, 0) + 1
    for what in outcome.mended:
        record.mended[what].append(str(pair.mask if "mask" in what else pair.image))


def _pairs(data: SegmentationData, record: Mending) -> list[_Pair]:
    """The pairs of all splits; files without a partner are left out, and so are stems of train that stand twice."""
    pairs = []
    for split, folders in data.folders.items():
        images, masks = (
            _without_twins(found, split, record) for found in (folders.find_images(), folders.find_masks())
        )
        for stem in sorted(images.keys() | masks):
            if stem in images and stem in masks:
                pairs.append(_Pair(split, stem, images[stem], masks[stem]))
            elif stem in images:
                record.left_out["pictures without a mask"].append(str(images[stem]))
            else:
                record.left_out["masks without a picture"].append(str(masks[stem]))
    if not pairs:
        raise DataError(f"'{data.name}' has no picture with a mask of the same stem", fix="nothing is there to mend")
    return pairs


def _without_twins(found: FoundFiles, split: str, record: Mending) -> dict[str, Path]:
    """Files by stem; of two files of one stem that show the same the first is kept."""
    files = dict(found.by_stem)
    stems = {path: stem for stem, path in files.items()}
    for first, second in found.twins:
        if _show_the_same(first, second):
            record.left_out["second files of a stem that hold the same"].append(str(second))
        else:
            files.pop(stems[first], None)
            record.left_out["files whose stem stands twice, with different content"] += [str(first), str(second)]
    return files


def _show_the_same(first: Path, second: Path) -> bool:
    try:
        with Image.open(first) as one, Image.open(second) as other:
            return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()
    except Exception:  # damaged files make Pillow's decoders raise anything
        return False


def _without_repeated(pairs: Sequence[_Pair], record: Mending) -> list[_Pair]:
    """The pairs without those of train whose picture stands in another split as well, byte by byte."""
    readable = [index for index, pair in enumerate(pairs) if os.access(pair.image, os.R_OK)]  # a link may lead nowhere
    repeated = set()
    for places in equal_files([pairs[index].image for index in readable]):
        same = [readable[place] for place in places]
        elsewhere = {pairs[index].image for index in same if pairs[index].split != "train"}
        repeated |= {index for index in same if pairs[index].split == "train"} if elsewhere else set()
        # The only picture of a recognised folder is in two splits.
        repeated -= {index for index in same if pairs[index].image in elsewhere}
    for index in sorted(repeated):
        record.left_out["pictures of train that stand in another split as well"].append(str(pairs[index].image))
    return [pair for index, pair in enumerate(pairs) if index not in repeated]


def _labels(data: SegmentationData, pairs: Sequence[_Pair], record: Mending) -> Labels:
    """What the values mean in the copy: 255 is the second class where the masks hold 0 and 255 alone."""
    labels, values = data.labels, set[int]()
    if len(labels.classes) != 2 or 255 in (labels.map or {}):
        return labels
    for pair in pairs:
        try:
            raw = grey_of(_read_mask(pair.mask).pixels())
        except BadFileError:
            continue
        values |= set(np.unique(raw).tolist()) if raw.ndim == 2 else {-1}
        if not values <= {0, 255}:
            return labels
    if values != {0, 255}:
        return labels
    record.mended[f"masks of 0 and 255: 255 is '{labels.classes[1]}' in data.yaml"] = [str(pair.mask) for pair in pairs]
    ignore = tuple(value for value in labels.ignore if value != 255)
    return replace(labels, ignore=ignore, map={**(labels.map or {}), 255: labels.classes[1]})


def _read_mask(path: Path) -> Mask:
    return MaskFiles(_limits()).read(read_file(str(path), "mask", _limits()), str(path))


def _limits() -> Limits:
    return Limits.of(None, None)


class _Mender:
    """Writes the pairs of the copy.

    Args:
        folder: empty.
        labels: of the copy.
        resize_masks: whether masks may be resized.
    """

    def __init__(self, folder: Path, labels: Labels, resize_masks: bool) -> None:
        self._folder, self._resize_masks = folder, resize_masks
        self._reader, self._limits = MaskReader(labels), _limits()
        self._value_of: dict[int, int] = {}
        """The lowest mask value of each class index."""
        for value, index in self._reader.meanings().items():  # in order of the values
            if isinstance(value, int):
                self._value_of.setdefault(index, value)

    def mend(self, pair: _Pair) -> _Outcome:
        """Write a pair, if both of its files can be read."""
        image, mask = str(pair.image), str(pair.mask)
        try:
            content = read_file(image, "picture", self._limits)
            picture = read_picture(content, image, self._limits)
        except BadFileError:
            return _Outcome("pictures that cannot be read, with their masks", pair.image)
        try:
            labels = read_file(mask, "mask", self._limits)
            found = MaskFiles(self._limits).read(labels, mask)
        except BadFileError as error:
            if error.code != "lossy-mask":
                return _Outcome("masks that cannot be read, with their pictures", pair.mask)
            found = None
        places = [self._folder / kind / pair.split / pair.stem for kind in ("images", "masks")]
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
        done = self._write_picture(places[0], pair.image, content, picture)
        if found is None:
            _named(places[1], pair.mask.suffix).write_bytes(labels)
            return _Outcome(mended=done)
        return _Outcome(mended=done + self._write_mask(places[1], pair.mask, labels, found, picture))

    def _write_picture(self, place: Path, path: Path, content: bytes, picture: Picture) -> tuple[str, ...]:
        codes = {problem.code for problem in picture.problems}
        if not codes & {"wrong-suffix", "several-frames"}:
            _named(place, path.suffix).write_bytes(content)
            return ()
        with Image.open(io.BytesIO(content)) as opened:
            suffix = SUFFIX_OF.get(opened.format or "")
            if "several-frames" in codes or suffix is None:
                first = ImageOps.exif_transpose(opened)  # the copy has no EXIF
                first.save(_named(place, ".tif" if opened.format == "TIFF" else ".png"))
                pages = "pictures of several pages of which the first is kept"
                return (pages if "several-frames" in codes else "pictures of a type that training does not read",)
        _named(place, suffix).write_bytes(content)
        return ("pictures whose name said another type",)

    def _write_mask(self, place: Path, path: Path, content: bytes, mask: Mask, picture: Picture) -> tuple[str, ...]:
        raw, done = mask.pixels(), []
        if raw.shape[:2] != picture.size:
            raw, how = self._fitted(raw, picture)
            done += how
        if raw.ndim == 3:
            raw, how = self._without_colours(raw, path)
            done += how
        codes = {problem.code for problem in mask.problems}
        if "several-frames" in codes:
            done.append("masks of several pages of which the first is kept")
        if done:
            _save(_named(place, ".png"), raw)
            return tuple(done)
        suffix = SUFFIX_OF.get(_format_of(content), path.suffix) if "wrong-suffix" in codes else path.suffix
        _named(place, suffix).write_bytes(content)
        return ("masks whose name said another type",) if suffix != path.suffix else ()

    def _fitted(self, raw: IntArray, picture: Picture) -> tuple[IntArray, list[str]]:
        """The mask at the size of the picture as shown, where that can be."""
        height, width = raw.shape[:2]
        if (height, width) == picture.stored_size:
            turned = Image.fromarray(raw).transpose(TURNED_BACK[picture.orientation])
            return np.asarray(turned), ["masks turned as their picture's EXIF orientation says"]
        shape = (height / width) / (picture.size[0] / picture.size[1])
        if not self._resize_masks or abs(shape - 1) > _SAME_SHAPE:
            return raw, []
        resized = Image.fromarray(raw).resize((picture.size[1], picture.size[0]), Image.Resampling.NEAREST)
        return np.asarray(resized), ["masks resized to their picture's size by the nearest value"]

    def _without_colours(self, raw: IntArray, path: Path) -> tuple[IntArray, list[str]]:
        """The values of an RGB mask, where its colours are known or are greys that are values."""
        grey = grey_of(raw)
        try:
            if self._reader.labels.colour_table():
                table = np.zeros(65536, np.int64)
                indices = self._reader.decode(raw, path)
                if not set(np.unique(indices).tolist()) <= self._value_of.keys():
                    return raw, []  # a class that no number means
                table[list(self._value_of)] = list(self._value_of.values())
                return table[indices], ["masks of known colours written as index PNGs"]
            if grey.ndim == 2 and not self._reader.unknown_values(grey, path):
                return grey, ["masks saved as RGB written as index PNGs"]
        except DataError:
            pass  # unknown colours: the check of the copy names them
        return raw, []


def _named(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)


def _format_of(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.format or ""


def _save(path: Path, raw: IntArray) -> None:
    Image.fromarray(raw.astype(np.uint8 if raw.max(initial=0) < 256 else np.uint16)).save(path)


def _write_yaml(folder: Path, name: str, data: SegmentationData, record: Mending) -> None:
    splits = [split for split in SPLITS if record.images.get(split)]
    if not splits:
        raise DataError(f"no pair of '{data.name}' can be read", fix="copy the files again")
    folders = {split: Folders(folder / "images" / split, folder / "masks" / split) for split in splits}
    file = folder / "data.yaml"
    file.write_text(replace(data, name=name, folders=folders).to_yaml(folder), encoding="utf-8")
    write_head(file, [f"mended copy of {data.source or data.name}", *record.sentences()])
