"""Picture files to arrays, and the search for them: what is read, by which rule, and what is refused."""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from segwright.errors import ConfigError, DataError, SegmentationError, ShapeError
from segwright.runtime.listing import files_below
from segwright.runtime.stored import LYING, stored_as

UInt8Array = NDArray[np.uint8]
Source = str | Path | Image.Image | NDArray[np.uint8 | np.uint16 | np.float32]
"""A picture: path, PIL image, or uint8 array (H, W, 3) in RGB or (H, W) in grey; for a network of bands any array."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
ARRAY_SUFFIXES = (".npy",)
"""Of pictures stored as arrays; in a folder they count where it holds no other picture."""

_ORIENTATION = 0x0112
_EXTRA_SAMPLES = 0x0152

_GREATER_DEPTHS = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_SIXTEEN_BIT_STORAGE = (";16B", ";16L", ";16N")
"""In the storage modes of colour with 16 bits per channel, which Pillow would cut to 8 without a word."""

logger = logging.getLogger(__name__)


def allow_pixels(text: str) -> None:
    """Let larger pictures be read: sets Pillow's limit, ``PIL.Image.MAX_IMAGE_PIXELS``, which all of our readers obey.

    Args:
        text: of the environment variable ``SEGWRIGHT_MAX_PIXELS``, which is read when this module is loaded, in
            reading processes too; empty leaves the limit as it is.

    Raises:
        ConfigError: no whole number above 0.
    """
    if not text:
        return
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ConfigError(f"SEGWRIGHT_MAX_PIXELS is '{text}'", fix="give a number of pixels, for example 200000000")
    Image.MAX_IMAGE_PIXELS = int(text)


allow_pixels(os.environ.get("SEGWRIGHT_MAX_PIXELS", ""))


def read_image(path: str | Path, at_least: tuple[int, int] | None = None) -> UInt8Array:
    """The picture as it is shown: (H, W, 3) uint8, RGB, its EXIF orientation applied; may be read-only.

    Grey (L) and 1-bit pictures repeat their value in all channels, 1-bit as 0 or 255. Palettes (P, PA) are looked up.
    Alpha (LA, PA, RGBA) is dropped: transparent pixels show the colour stored in them. CMYK, YCbCr, HSV and LAB are
    converted. Of a picture with several frames the first is read, with a warning; with another, a TIFF's band that is
    neither colour nor declared alpha is left out.

    Args:
        path: the file.
        at_least: (height, width) that suffice, of the picture as shown. A JPEG is then decoded at 1/n of its height
            and width, rounded up, where n is the largest of 8, 4, 2 and 1 for which n times ``at_least`` still fits
            into the picture. So one that is not twice as large along both sides is read in full, as are all other
            formats. None reads everything in full.

    Raises:
        DataError: no such file, a folder, not a picture, truncated or damaged, larger than
            ``PIL.Image.MAX_IMAGE_PIXELS``, more than 8 bits per channel, or bands that RGB has no place for; names
            the file.
    """
    path = Path(path)
    name = f"picture '{path}'"
    if not path.exists():
        raise DataError(f"{name} does not exist", fix="check the path")
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, not a picture", fix="give a picture in it")
    if path.stat().st_size == 0:
        raise DataError(f"{name} is empty", fix="copy it again")
    with reading(name), opened_picture(path, name) as picture:
        refuse_size((picture.height, picture.width), name)
        refuse_greater_depth(picture, name)
        _warn_of_frames(picture, name)
        _warn_of_bands(picture, name)
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
        with reading("the picture"):
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
        sources: files; folders, searched with all folders below them, hidden ones left out and links followed; or
            patterns with ``*``, ``?``, ``[...]`` and ``**``. Results keep the order of the sources and are sorted
            within each. Arrays (``.npy``) count in a folder that holds no other picture.

    Raises:
        DataError: a source that does not exist, matches nothing, or holds no picture, a file of another kind, or a
            folder that may not be read.
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
        files = sorted(files_below(path))
        found = [file for file in files if file.suffix.lower() in SUFFIXES] or [*filter(_is_picture, files)]
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


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *ARRAY_SUFFIXES)


def _suffixes() -> str:
    return " ".join(suffix[1:] for suffix in (*SUFFIXES, *ARRAY_SUFFIXES))


def opened_picture(path: Path, name: str) -> ImageFile.ImageFile:
    """A picture, not yet decoded.

    Raises:
        DataError: a picture that Pillow does not know, but a network of bands could read.
        OSError, SyntaxError, ValueError: Pillow's, of what is no picture at all.
    """
    try:
        picture = Image.open(path)
        if picture.format == "TIFF" and picture.getexif().get(_ORIENTATION, 1) in LYING:
            # Pillow would map grey pixels from the disk as if they were stored turned; it maps none where this is set.
            picture.load_read = picture.fp.read  # type: ignore[attr-defined,union-attr]
        return picture
    except UnidentifiedImageError as reason:
        try:
            stored = stored_as(path)
        except DataError:
            raise reason from None
        raise _beyond_rgb(name, f"has {stored}") from reason


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Names the picture in whatever goes wrong while it is read."""
    try:
        yield
    except SegmentationError:
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
    if picture.getexif().get(_ORIENTATION, 1) in LYING:
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
    if picture.mode in _GREATER_DEPTHS or is_cut(picture):
        raise _beyond_rgb(name, f"has more than 8 bits per channel (mode {picture.mode})")


def is_cut(picture: Image.Image) -> bool:
    """Whether Pillow will cut the 16 bits of a picture's colours to 8."""
    storage = str(getattr(picture, "tile", ""))  # what it will decode, and from which raw mode
    return any(mode in storage for mode in _SIXTEEN_BIT_STORAGE)


def _beyond_rgb(name: str, what: str) -> DataError:
    """The error for a picture that a network of 8-bit RGB does not read."""
    return DataError(
        f"{name} {what}, and 8-bit RGB is wanted",
        fix="convert to 8 bit (which range of values becomes 0..255 is yours to choose), or train a network on such "
        "pictures: segwright train then reads their bands as stored (data.bands)",
    )


def refuse_size(size: tuple[int, int], name: str, times: int = 1) -> None:
    """Refuse more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``; Pillow itself only warns up to two times its limit.

    Args:
        size: (height, width).
        name: for the message.
        times: as often its pixels count.

    Raises:
        DataError: there are more.
    """
    limit, pixels = Image.MAX_IMAGE_PIXELS, size[0] * size[1] * times
    if limit is not None and pixels > limit:
        raise _bomb(name, f"{size[1]}x{size[0]} px (width x height) exceed the limit of {limit} px")


def _bomb(name: str, problem: str) -> DataError:
    return DataError(
        f"{name} is too large ({problem})",
        fix="cut it into parts, set SEGWRIGHT_MAX_PIXELS=N if you trust it, or predict it as a TIFF, in parts",
    )


def _warn_of_frames(picture: Image.Image, name: str) -> None:
    # The further frames of an MPO file are previews that phones and cameras hide in their photographs.
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        logger.warning("%s has %d frames; only the first is read", name, frames)


def _warn_of_bands(picture: Image.Image, name: str) -> None:
    extra = picture.tag_v2.get(_EXTRA_SAMPLES, ()) if isinstance(picture, TiffImageFile) else ()
    if 0 in extra:
        logger.warning("%s has a band that is neither colour nor alpha; 8-bit RGB leaves it out", name)


def _checked_array(image: NDArray[Any]) -> UInt8Array:
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
