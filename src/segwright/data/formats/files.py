"""Files of a foreign data set: pictures found by the names that labels use, and JSON that has the right shape."""

import io
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ValidationError

from segwright.data.formats.reading import Notes, Sample, Size
from segwright.errors import DataError
from segwright.runtime.images import SUFFIXES

Model = TypeVar("Model", bound=BaseModel)

_BLOCK = 1 << 22  # bytes read at once while keys are looked for
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""EXIF orientations that are shown with height and width exchanged."""

SUFFIX_OF = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
"""By Pillow's name of a file format that training reads."""
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation, what takes the stored pixels to the picture as shown."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class _Anything(BaseModel):
    """Any JSON object; nothing of it is kept."""


def files_below(root: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files with one of the suffixes (in lower case), hidden ones left out, links followed, sorted by path.

    Raises:
        DataError: a folder that may not be read.
    """

    def refuse(reason: OSError) -> None:
        raise DataError(f"folder '{reason.filename}' cannot be read ({reason.strerror})", fix="grant access to it")

    found, seen = [], set()
    for parent, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        paths = [] if real in seen else [Path(parent, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
        seen.add(real)
    return sorted(found)


def pictures_below(root: Path) -> list[Path]:
    """Files whose suffix is that of a picture."""
    return files_below(root, SUFFIXES)


def tell_unnamed(root: Path, samples: Iterable[Sample], notes: Notes) -> None:
    """Count the pictures below a folder that no sample shows."""
    left = sorted(set(pictures_below(root)) - {sample.image for sample in samples if isinstance(sample.image, Path)})
    if left:
        notes.count("pictures that no label file names, left out", left[0], len(left))


def split_of(words: Iterable[str]) -> str | None:
    """The split that a path's parts or a file name's words speak of."""
    return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), None)


def safe_name(name: str, where: object) -> PurePosixPath:
    """A picture's name in a label file as a path below the data set.

    Raises:
        DataError: an absolute path, one with ``..``, or one that no file can have; names ``where``.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or has_drive or ".." in path.parts:
        raise DataError(
            f"'{where}' names the picture '{name}', which leads out of the data set",
            fix="write names relative to the pictures' folder, without '..'",
        )
    if not path.parts or not name.isprintable() or any(part.startswith(".") for part in path.parts):
        raise DataError(
            f"'{where}' names the picture {name!r}, which is no name of a visible file", fix="mend the name"
        )
    return path


def stem_of(name: PurePath) -> str:
    """The name without the suffix of a picture; dots inside a name stay."""
    return (name.with_suffix("") if name.suffix.lower() in SUFFIXES else name).as_posix()


class Pictures:
    """The pictures below a folder, found by the end of their path.

    Args:
        root: of the data set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in pictures_below(root):
            self._by_name[_composed(path.name)].append(path)

    def find(self, name: PurePosixPath, where: object, split: str | None = None, near: Path | None = None) -> Path:
        """The picture that a label file means.

        Args:
            name: as in the label file.
            where: the label file, for errors.
            split: preferred, where several pictures end in ``name``.
            near: folder in which to look first.

        Raises:
            DataError: none, or several.
        """
        if near is not None and (near / name).is_file():
            return near / name
        found = self._ending_in(name)
        if len(found) > 1 and split is not None:
            found = [path for path in found if split_of(_words(path.relative_to(self.root))) == split] or found
        if not found:
            raise self._nowhere([name], where)
        if len(found) > 1:
            raise DataError(
                f"'{where}' names the picture '{name}', and '{found[0]}' and '{found[1]}' could be meant",
                fix="remove one of the two, or write more of its path into the name",
            )
        return found[0]

    def find_other(self, name: PurePosixPath, mask: Path, where: object, split: str | None) -> Path:
        """As :meth:`find`, for a picture whose mask may have the same name; ``mask`` does not count.

        Raises:
            DataError: none, or several.
        """
        found = [path for path in self._ending_in(name) if path != mask and path.parent != mask.parent]
        return found[0] if len(found) == 1 else self.find(name, where, split)

    def require(self, names: Sequence[PurePosixPath], where: object, near: Path | None = None) -> None:
        """Look for all pictures of a label file.

        Raises:
            DataError: some are nowhere; they are counted, and the first are named.
        """
        missing = [
            name for name in names if not self._ending_in(name) and not (near is not None and (near / name).is_file())
        ]
        if missing:
            raise self._nowhere(missing, where)

    def _ending_in(self, name: PurePosixPath) -> list[Path]:
        ending = tuple(map(_composed, name.parts))
        return [
            path
            for path in self._by_name.get(ending[-1], [])
            if tuple(map(_composed, path.relative_to(self.root).parts[-len(ending) :])) == ending
        ]

    def _nowhere(self, names: Sequence[PurePosixPath], where: object) -> DataError:
        if len(names) == 1:
            what = f"the picture '{names[0]}', which is"
        else:
            listed = ", ".join(f"'{name}'" for name in names[:5]) + (" and others" * (len(names) > 5))
            what = f"{len(names)} pictures ({listed}) that are"
        return DataError(
            f"'{where}' names {what} nowhere below '{self.root}'", fix="add the picture, or remove its entry"
        )


def _composed(text: str) -> str:
    """One spelling for names with accents: some systems write the accent behind the letter."""
    return unicodedata.normalize("NFC", text)


def _words(path: Path) -> list[str]:
    """The parts of a path, numbers at their ends removed (``train2017``)."""
    return [part.rstrip("0123456789") for part in path.parts]


class PictureSize(NamedTuple):
    """Of a picture file.

    Args:
        shown: (height, width) with the EXIF orientation applied.
        stored: (height, width) of the pixels in the file.
        orientation: EXIF's, 1 for none.
        format: Pillow's name of the file format.
    """

    shown: Size
    stored: Size
    orientation: int
    format: str


def picture_size(image: Path | bytes, name: str, max_pixels: int) -> PictureSize:
    """Size and orientation from a picture's head; its pixels are not read.

    Raises:
        DataError: not a picture, or more than ``max_pixels`` pixels; names ``name``.
    """
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as picture:
            stored = picture.height, picture.width
            orientation, kind = picture.getexif().get(_ORIENTATION, 1), picture.format or ""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as reason:
        raise DataError(f"picture '{name}' is too large ({reason})", fix="cut it into parts") from reason
    except Exception as reason:  # damaged files make Pillow's readers raise anything, SyntaxError included
        raise DataError(
            f"picture '{name}' cannot be read ({why(reason)})", fix="copy it again or remove it"
        ) from reason
    if stored[0] * stored[1] > max_pixels:
        raise DataError(
            f"picture '{name}' is too large ({stored[1]}x{stored[0]} px (width x height) exceed the limit of "
            f"{max_pixels} px)",
            fix="cut it into parts, or raise --max-pixels",
        )
    if orientation not in range(1, 9):
        orientation = 1
    shown = (stored[1], stored[0]) if orientation in _LYING else stored
    return PictureSize(shown, stored, orientation, kind)


def why(reason: Exception) -> str:
    """What Pillow says about a picture; of bytes that it does not know it says an address in memory."""
    return "of no format that is known" if isinstance(reason, UnidentifiedImageError) else str(reason)


def has_keys(path: Path, keys: Sequence[bytes], max_bytes: int) -> bool:
    """Whether all ``keys`` stand somewhere in a file; one of more than ``max_bytes`` is not read, and has none."""
    missing, tail = set(keys), b""
    if path.stat().st_size > max_bytes:
        return False
    with path.open("rb") as file:
        while missing and (block := file.read(_BLOCK)):
            missing -= {key for key in missing if key in tail + block}
            tail = block[-32:]
    return not missing


def label_files(source: Path, suffix: str, belongs: Callable[[Path], bool]) -> list[Path]:
    """The files of a format: ``source`` itself, or what lies below it.

    Args:
        source: a file or a folder.
        suffix: of the files, in lower case.
        belongs: whether a file with this suffix is one.

    Raises:
        DataError: a folder that may not be read.
    """
    files = [source] if source.is_file() else files_below(source, (suffix,))
    return [path for path in files if path.suffix.lower() == suffix and belongs(path)]


def refuse_bad_json(source: Path, found: Sequence[Path], max_bytes: int) -> None:
    """Raise where a JSON file that is none of a format's cannot be read: it could hold the labels of a split.

    Args:
        source: a file or a folder.
        found: the files of the format.
        max_bytes: that a file may have.

    Raises:
        DataError: the first file that is too large or no JSON; tells line and column.
    """
    known = set(found)
    for path in label_files(source, ".json", lambda path: path not in known):
        try:
            _Anything.model_validate_json(label_bytes(path, max_bytes).removeprefix(_BYTE_ORDER_MARK))
        except ValidationError as reason:
            first = reason.errors(include_url=False, include_input=False)[0]
            if first["type"] != "json_invalid":  # a list, a number: JSON of something else
                continue
            wrong = first["ctx"]["error"] if path.stat().st_size else "it is empty"
            raise DataError(
                f"'{path}' is no JSON ({wrong})", fix="copy or export it again, or move it out of the data set"
            ) from reason


def refuse_unlike(source: Path, found: Sequence[Path], keys: Sequence[bytes], prefix: str, max_bytes: int) -> None:
    """Raise where a JSON file's name says that it is one of a format's, and its content does not.

    Args:
        source: a file or a folder.
        found: the files of the format; a file is meant that is called like one of them, or begins with ``prefix``
            beside one of them. Where there is none, the only file, or any that begins with ``prefix``.
        keys: that the format's files hold.
        prefix: of names.
        max_bytes: that a file may have.

    Raises:
        DataError: such a file lacks keys; names them.
    """
    known, names, folders = set(found), {path.name for path in found}, {path.parent for path in found}
    others = label_files(source, ".json", lambda path: path not in known)
    for path in others:
        is_near = path.parent in folders or not found
        is_meant = path.name in names or (is_near and path.name.startswith(prefix)) or (not found and len(others) == 1)
        missing = [key.decode().strip('"') for key in keys if is_meant and not has_keys(path, (key,), max_bytes)]
        if missing:
            raise DataError(
                f"'{path}' lacks {' and '.join(repr(key) for key in missing)}",
                fix="export it again, or mend its keys; if it labels nothing, move it out of the data set",
            )


def label_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a label file, which is held in memory several times over while it is read.

    Raises:
        DataError: unreadable, or larger than ``max_bytes``.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise DataError(
                f"'{path}' has {size} bytes, more than the limit of {max_bytes}",
                fix="export it in parts, or raise --max-bytes where there is memory for several times as much",
            )
        return path.read_bytes()
    except OSError as reason:
        raise DataError(f"'{path}' cannot be read ({reason.strerror})", fix="copy it again") from reason


def parse_json(path: Path, model: type[Model], what: str, max_bytes: int) -> Model:
    """A JSON file in the shape of ``model``.

    Args:
        path: the file.
        model: what it must hold.
        what: the format's name, for errors.
        max_bytes: that it may have.

    Raises:
        DataError: unreadable or too large a file, no JSON, another shape, or a number that is none; names the place.
    """
    try:
        return model.model_validate_json(label_bytes(path, max_bytes).removeprefix(_BYTE_ORDER_MARK))
    except ValidationError as reason:
        raise _wrong_shape(path, reason.errors(include_url=False, include_context=False)[0], what) from reason


def _wrong_shape(path: Path, first: Any, what: str) -> DataError:
    place = ".".join(map(str, first["loc"]))
    given = repr(first["input"])
    given = f" (it holds {given})" if place and len(given) <= 60 else ""
    at = f" at {place}" if place else ""
    return DataError(
        f"'{path}' is no {what}{at}: {first['msg'].lower()}{given}", fix="export it again, or mend it there"
    )
