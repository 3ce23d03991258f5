"""Picture files to arrays, and the search for them: what is read, by which rule, and what is refused."""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from segwright.errors import DataError, ShapeError

UInt8Array = NDArray[np.uint8]
Source = str | Path | Image.Image | UInt8Array
"""A picture: path, PIL image, or uint8 array (H, W, 3) in RGB or (H, W) in grey."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""EXIF orientations that are shown with height and width exchanged."""

_GREATER_DEPTHS = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_SIXTEEN_BIT_STORAGE = (";16B", ";16L", ";16N")
"""In the storage modes of colour with 16 bits per channel, which Pillow would cut to 8 without a word."""

logger = logging.getLogger(__name__)


def read_image(path: str | Path, at_least: tuple[int, int] | None = None) -> UInt8Array:
    """The picture as it is shown: (H, W, 3) uint8, RGB, its EXIF orientation applied; may be read-only.

    Grey (L) and 1-bit pictures repeat their value in all channels, 1-bit as 0 or 255. Palettes (P, PA) are looked up.
    Alpha (LA, PA, RGBA) is dropped: transparent pixels show the colour stored in them. CMYK, YCbCr, HSV and LAB are
    converted. Of a picture with several frames the first is read, with a warning.

    Args:
        path: the file.
        at_least: (height, width) that suffice, of the picture as shown. A JPEG is then decoded at 1/n of its height
            and width, rounded up, where n is the largest of 8, 4, 2 and 1 for which n times ``at_least`` still fits
            into the picture. So one that is not twice as large along both sides is read in full, as are all other
            formats. None reads everything in full.

    Raises:
        DataError: no such file, a folder, not a picture, truncated or damaged, larger than
            ``PIL.Image.MAX_IMAGE_PIXELS``, or more than 8 bits per channel; names the file.
    """
    path = Path(path)
    name = f"picture '{path}'"
    if not path.exists():
        raise DataError(f"{name} does not exist", fix="check the path")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, not a picture", fix="give a picture in it")
    if path.stat().st_size == 0:
        raise DataError(f"{name} is empty", fix="copy it again")
    with _reading(name), Image.open(path) as picture:
        _refuse_bomb(picture, name)
        refuse_greater_depth(picture, name)
        _warn_of_frames(picture, name)
        if at_least is not None:
            _shrink(picture, at_least)
        ImageOps.exif_transpose(picture, in_place=True)
        return _decode(picture)


def as_image(source: Source) -> UInt8Array:
    """Any picture as (H, W, 3) uint8, RGB, as shown.

    Args:
        source: a path (see :func:`read_image`), a PIL image (EXIF orientation applied, the same rules by mode), or a
            uint8 array (H, W, 3) in RGB or (H, W) in grey.

    Raises:
        DataError: a file that cannot be read, an array that is not uint8, or something else altogether.
        ShapeError: an array of another shape, or a picture without a pixel.
    """
    if isinstance(source, str | Path):
        return read_image(source)
    if isinstance(source, Image.Image):
        if 0 in source.size:
            raise ShapeError(f"the picture has size {source.size}", fix="give a picture with at least one pixel")
        with _reading("the picture"):
            refuse_greater_depth(source, "the picture")
            return _decode(ImageOps.exif_transpose(source))
    if not isinstance(source, np.ndarray):
        raise DataError(
            f"a picture cannot be made of {type(source).__name__}", fix="give a path, a PIL image or a uint8 array"
        )
    return _checked_array(source)


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """The picture files that files, folders and patterns name, each once.

    Args:
        sources: files; folders, searched with all folders below them, hidden files and folders left out; or patterns
            with ``*``, ``?``, ``[...]`` and ``**``. Results keep the order of the sources and are sorted within each.

    Raises:
        DataError: a source that does not exist, matches nothing, or holds no picture, or a file of another kind.
    """
    if not sources:
        raise DataError("no picture was given", fix=f"give files, folders or patterns of {_suffixes()}")
    return list(dict.fromkeys(path for source in sources for path in _find(source)))


def are_pictures(word: str) -> bool:
    """Whether a word on the command line means pictures and no model: a picture's name, a pattern, or another folder.

    A folder with a model file or a run's settings is a model.
    """
    path = Path(word)
    if path.is_dir():
        return not any((path / name).exists() for name in ("model.safetensors", "config.yaml"))
    return _is_picture(path) or (glob.has_magic(word) and not path.exists())


def _find(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_file():
        if not _is_picture(path):
            raise DataError(f"'{path}' is no picture by its name", fix=f"files that are read: {_suffixes()}")
        return [path]
    if path.is_dir():
        found = sorted(file for file in _files_below(path) if _is_picture(file))
        problem = f"folder '{path}' holds no picture"
    elif glob.has_magic(str(source)):
        matches = map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
        found = sorted(match for match in matches if match.is_file() and _is_picture(match))
        problem = f"pattern '{source}' matches no picture"
    else:
        raise DataError(f"'{path}' does not exist", fix="check the path; patterns need quotes in the shell")
    if not found:
        raise DataError(problem, fix=f"files that are read: {_suffixes()}")
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    def refuse(reason: OSError) -> None:
        raise DataError(f"folder '{reason.filename}' cannot be read ({reason.strerror})", fix="grant access to it")

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _suffixes() -> str:
    return " ".join(suffix[1:] for suffix in SUFFIXES)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Names the picture in whatever goes wrong while it is read."""
    try:
        yield
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as reason:
        raise _bomb(name, str(reason)) from reason
    except Exception as reason:  # damaged files make Pillow's decoders raise anything, SyntaxError included
        problem = (isinstance(reason, OSError) and reason.strerror) or reason
        if isinstance(reason, UnidentifiedImageError):
            problem = "not an image, or of a format that Pillow does not know"
        raise DataError(
            f"{name} cannot be read ({problem})",
            fix=f"copy it again or save it anew; files that are read: {_suffixes()}",
        ) from reason


def _decode(picture: Image.Image) -> UInt8Array:
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # Pillow would warn about transparent palettes on the straight way
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _shrink(picture: Image.Image, at_least: tuple[int, int]) -> None:
    """Let a JPEG's decoder leave out the finest waves of each 8x8 block; does nothing to other formats."""
    height, width = at_least
    if picture.getexif().get(_ORIENTATION, 1) in _LYING:
        height, width = width, height
    picture.draft(None, (max(1, width), max(1, height)))


def refuse_greater_depth(picture: Image.Image, name: str) -> None:
    """Refuse a picture of more than 8 bits per channel, which Pillow would truncate in silence.

    Args:
        picture: an opened, not yet decoded picture.
        name: for the message.

    Raises:
        DataError: it has more.
    """
    storage = str(getattr(picture, "tile", ""))  # what Pillow will decode, and from which raw mode
    if picture.mode in _GREATER_DEPTHS or any(mode in storage for mode in _SIXTEEN_BIT_STORAGE):
        raise DataError(
            f"{name} has more than 8 bits per channel (mode {picture.mode})",
            fix="convert to 8 bit; which range of values becomes 0..255 is yours to choose",
        )


def _refuse_bomb(picture: Image.Image, name: str) -> None:
    """Pillow itself only warns between one and two times its limit."""
    limit, pixels = Image.MAX_IMAGE_PIXELS, picture.width * picture.height
    if limit is not None and pixels > limit:
        raise _bomb(name, f"{picture.width}x{picture.height} px (width x height) exceed the limit of {limit} px")


def _bomb(name: str, problem: str) -> DataError:
    return DataError(
        f"{name} is too large ({problem})", fix="cut it into parts, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
    )


def _warn_of_frames(picture: Image.Image, name: str) -> None:
    # The further frames of an MPO file are previews that phones and cameras hide in their photographs.
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        logger.warning("%s has %d frames; only the first is read", name, frames)


def _checked_array(image: UInt8Array) -> UInt8Array:
    if image.dtype != np.uint8:
        fix = "for values in 0..1: (image * 255).round().astype(np.uint8)" if image.dtype.kind == "f" else "use uint8"
        raise DataError(f"a picture array must be uint8 in 0..255, got {image.dtype}", fix=fix)
    if image.ndim == 2 and image.size:
        return np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ShapeError(
            f"a picture array must be (H, W, 3) in RGB or (H, W) in grey, got {image.shape}",
            fix="put the channels last, leave alpha out, and give several pictures as a list",
        )
    return image
