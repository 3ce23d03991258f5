"""A file of a data set as bytes, and why it cannot be read."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from segwright.data.checks.problem import BadFileError

What = Literal["picture", "mask"]

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""A named pipe must not make the check wait for somebody to write."""

MAX_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Limits:
    """What a file may hold at most; larger ones are refused before they are decoded.

    Args:
        pixels: height times width, by the file's header.
        bytes: size of the file.
    """

    pixels: int
    bytes: int = MAX_BYTES

    @classmethod
    def of(cls, max_pixels: int | None, max_bytes: int | None) -> "Limits":
        """Limits of the user, and where there are none Pillow's and 2 GB."""
        pixels = max_pixels if max_pixels is not None else Image.MAX_IMAGE_PIXELS or 2**62
        return cls(pixels, MAX_BYTES if max_bytes is None else max_bytes)

    def check_pixels(self, size: tuple[int, int], what: What, path: str) -> None:
        """Refuse a picture by its size (width, height).

        Raises:
            BadFileError: ``too-large``.
        """
        width, height = size
        if width * height > self.pixels:
            raise BadFileError(
                "too-large",
                f"{what} '{path}' has {width}x{height} px (width x height), more than the limit of {self.pixels} px",
                fix="cut it into parts, or remove the pair; SEGWRIGHT_MAX_PIXELS=N before a command lets it read more",
            )


def read_file(path: str, what: What, limits: Limits) -> bytes:
    """The whole file.

    Raises:
        BadFileError: it cannot be read, is empty or not a file, or is larger than the limit.
    """
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            status = os.fstat(descriptor)
            _check_status(status, path, what, limits)
            content = _all_of(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as reason:
        raise _unreadable(path, what, reason) from reason
    if not content:
        raise BadFileError(
            f"unreadable-{what}", f"{what} '{path}' is empty (0 bytes)", fix="copy it again or remove the pair"
        )
    return content


def _all_of(descriptor: int, size: int) -> bytes:
    """``size`` bytes and what has been added since; a single call does for all but huge files."""
    content = os.read(descriptor, size + 1)
    if len(content) == size:
        return content
    parts = [content]
    while part := os.read(descriptor, 1 << 24):
        parts.append(part)
    return b"".join(parts)


def _check_status(status: os.stat_result, path: str, what: What, limits: Limits) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadFileError(
            f"unreadable-{what}", f"{what} '{path}' is not a file", fix="remove it, or put the file there"
        )
    if status.st_size > limits.bytes:
        raise BadFileError(
            "too-large",
            f"{what} '{path}' has {status.st_size} bytes, more than the limit of {limits.bytes}",
            fix="cut it into parts, or remove the pair; --max-bytes allows more in the check",
        )


def _unreadable(path: str, what: What, reason: OSError) -> BadFileError:
    code, name = f"unreadable-{what}", f"{what} '{path}'"
    is_link = Path(path).is_symlink()
    if reason.errno == errno.ELOOP:
        return BadFileError(
            code, f"{name} is a link that leads back to itself", fix="put the file there, or remove the link"
        )
    if reason.errno == errno.ENOENT and is_link:
        target = Path(path).readlink()
        fix = "put the file there, or remove the link and its partner"
        return BadFileError(code, f"{name} is a link to '{target}', which does not exist", fix=fix)
    if reason.errno in (errno.EACCES, errno.EPERM):
        return BadFileError(code, f"{name} cannot be read (permission denied)", fix="grant access to it: chmod u+r")
    text = reason.strerror or str(reason)
    return BadFileError(code, f"{name} cannot be read ({text})", fix="copy it again or remove the pair")
