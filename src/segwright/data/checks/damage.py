"""What is wrong with the bytes of a file that is no whole picture, in words that help."""

import io
import zlib

from PIL import Image, UnidentifiedImageError

from segwright.data.checks.files import What
from segwright.data.checks.problem import BadFileError, Problem, warning

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA", "JPEG2000", "AVIF")
"""Formats of Pillow that are tried. Others stay shut: an EPS, whatever its name, would start Ghostscript."""

_PNG = b"\x89PNG\r\n\x1a\n"
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
}
_BEGINNINGS = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the files: git lfs pull"),
    (b"<!DOCTYPE html", "an HTML page", "download it again: a server sent a page in its place"),
    (b"<html", "an HTML page", "download it again: a server sent a page in its place"),
    (b"<svg", "an SVG drawing", "export it as PNG"),
    (b"<?xml", "an XML text", "remove it, or export the picture as PNG"),
    (b"%PDF", "a PDF document", "export it as PNG"),
    (b"%!PS", "a PostScript document", "export it as PNG"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x93NUMPY", "a NumPy array", "save it as PNG or TIFF"),
    (b"\x89HDF", "an HDF5 file", "save it as PNG or TIFF"),
    (b"\xff\x0a", "a JPEG XL picture, which is not read", "convert it to PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture, which is not read", "convert it to PNG"),
)
_COPY = "copy it again or remove the pair"


def open_picture(content: bytes, path: str, what: What) -> Image.Image:
    """The picture in a file's bytes, not decoded yet.

    Raises:
        BadFileError: not a picture of a type that is read, or a header that makes no sense.
    """
    if content.startswith(_PNG):
        _check_png(content, path, what)
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as reason:
        kind, fix = _kind(content)
        raise BadFileError(f"unreadable-{what}", f"{what} '{path}' is not an image: {kind}", fix=fix) from reason
    except Exception as reason:  # damaged files make Pillow's decoders raise anything, SyntaxError included
        raise damaged(content, path, what, reason) from reason


def damaged(content: bytes, path: str, what: What, reason: Exception) -> BadFileError:
    """The fault of a picture that Pillow began to read and could not end."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    if isinstance(reason, MemoryError):
        fix = "cut it into parts, or check with fewer processes at a time"
        return BadFileError(f"unreadable-{what}", f"{what} '{path}' does not fit into memory", fix=fix)
    if "truncated" in text or "unexpected end of file" in text.lower():
        text = f"truncated: it ends at byte {len(content)}, before the picture does ({text})"
        return BadFileError(f"unreadable-{what}", f"{what} '{path}' is {text}", fix=_COPY)
    return BadFileError(f"unreadable-{what}", f"{what} '{path}' is damaged ({text})", fix=_COPY)


def wrong_suffix(picture: Image.Image, path: str, what: What) -> Problem | None:
    """A warning where a file is a picture of another type than its name says."""
    kind = picture.format or "picture"
    known = _SUFFIXES.get(kind)
    if known is None or path.endswith(known) or path.lower().endswith(known):
        return None
    fix = f"rename it to end in '{known[0]}'; some programs go by the name"
    return warning("wrong-suffix", path, f"{what} '{path}' is a {kind}, whatever its name says", fix)


def _check_png(content: bytes, path: str, what: What) -> None:
    """The checksum of every chunk: Pillow leaves out those of the pixels.

    Raises:
        BadFileError: names the byte.
    """
    start, size = len(_PNG), len(content)
    while True:
        end = start + 8 + int.from_bytes(content[start : start + 4], "big")
        if end + 4 > size:
            name = content[start + 4 : start + 8].decode("latin-1")
            inside = f"inside the chunk {name}, which ends at byte {end + 4}" if start + 8 <= size else "without an end"
            text = f"{what} '{path}' is truncated: the file ends at byte {size}, {inside}"
            raise BadFileError(f"unreadable-{what}", text, fix=_COPY)
        kind = content[start + 4 : start + 8]
        if zlib.crc32(content[start + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            text = f"the checksum (CRC) of the chunk {kind.decode('latin-1')!r} at byte {start} is wrong"
            raise BadFileError(f"unreadable-{what}", f"{what} '{path}' is damaged: {text}", fix=_COPY)
        if kind == b"IEND":
            return
        start = end + 4


def _kind(content: bytes) -> tuple[str, str]:
    """What a file that is no picture is, and what to do with it."""
    head = content[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    for beginning, kind, fix in _BEGINNINGS:
        if content.startswith(beginning) or head[: len(beginning)].lower() == beginning.lower():
            return kind, fix
    if content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "a HEIC photograph, which is not read", "convert it to JPEG or PNG"
    if content[4:8] == b"ftyp":
        return "a film or a picture of a type that is not read", "convert it to JPEG or PNG"
    if not content.strip(b"\0"):
        return "it holds zeros alone", _COPY
    text = content[:40].decode("ascii", "replace")
    if "\N{REPLACEMENT CHARACTER}" not in text and all(c.isprintable() or c.isspace() for c in text):
        return f"a text that begins with {' '.join(text.split())!r}", "remove it, or put the picture there"
    return "of no type that is read, or its first bytes are damaged", _COPY
