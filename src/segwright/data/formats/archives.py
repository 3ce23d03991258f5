"""Zip archives, unpacked where nothing can leave the folder and nothing can grow without bound."""

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from segwright.errors import DataError, SegmentationError
from segwright.runtime.folders import temporary_folder

SUFFIX = ".zip"
MOST_FILES = 2_000_000
MOST_BYTES = 500_000_000_000
_MOST_RATIO = 1000
"""Of unpacked to packed bytes over a whole archive: masks saved as BMP come near it, bombs are far above."""
_BELIEVED_BYTES = 1_000_000_000
"""Unpacked bytes up to which nobody asks for the ratio."""
_BLOCK = 1 << 20
_ENCRYPTED = 1

Shown = Callable[[str], str]
"""Writes the archive's path for that of the folder in which it lies unpacked."""


def is_archive(source: Path) -> bool:
    """Whether a path is a zip file by its name."""
    return source.is_file() and source.suffix.lower() == SUFFIX


@contextmanager
def opened(source: Path, beside: Path) -> Iterator[tuple[Path, Shown]]:
    """The source itself, or of an archive a folder with its content, which is removed behind the block.

    Args:
        source: folder, label file or archive.
        beside: the folder is made beside it, since there shall be space.

    Raises:
        DataError: an archive that cannot be unpacked safely. Errors raised in the block name the archive as well.
    """
    if not is_archive(source):
        yield source, str
        return
    with temporary_folder(beside.parent) as folder:

        def shown(text: str) -> str:
            return text.replace(str(folder), str(source))

        try:
            _unpack(source, folder)
            yield _inner(folder), shown
        except SegmentationError as error:
            raise type(error)(shown(error.message), fix=shown(error.fix)) from error


def _inner(folder: Path) -> Path:
    """The only folder in an archive, in which all else lies, or the whole."""
    entries = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return _inner(entries[0]) if len(entries) == 1 and entries[0].is_dir() else folder


def _unpack(source: Path, folder: Path) -> None:
    """Write the files of an archive.

    Raises:
        DataError: damaged, encrypted, a name that leads out, a link, or more than the limits.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _refuse_bomb(source, entries)
            names = [_checked_name(entry, source) for entry in entries]
            for entry, name in zip(entries, names, strict=True):
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, place.open("xb") as file:
                    _copy(packed.read, file.write, entry, source)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as reason:
        twice = Path(str(reason.filename)).name
        raise DataError(f"'{source}' holds '{twice}' twice", fix="pack it anew, or unpack it yourself") from reason
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeError, ValueError) as reason:
        raise DataError(
            f"'{source}' cannot be unpacked ({reason})", fix="copy it again, or unpack it yourself"
        ) from reason


def _refuse_bomb(source: Path, entries: list[zipfile.ZipInfo]) -> None:
    packed, unpacked = source.stat().st_size, sum(entry.file_size for entry in entries)
    problem = ""
    if len(entries) > MOST_FILES:
        problem = f"holds {len(entries)} files, more than {MOST_FILES}"
    elif unpacked > MOST_BYTES or (unpacked > _BELIEVED_BYTES and unpacked > _MOST_RATIO * packed):
        problem = f"would grow from {packed} to {unpacked} bytes"
    if problem:
        raise DataError(f"'{source}' {problem}", fix="unpack it yourself if you trust it, and give the folder")


def _checked_name(entry: zipfile.ZipInfo, source: Path) -> PurePosixPath:
    name = entry.filename
    path = PurePosixPath(name.replace("\\", "/"))
    fix = "unpack it yourself if you trust it, and give the folder"
    if path.is_absolute() or ".." in path.parts or name[1:2] == ":" or not path.parts:
        raise DataError(f"'{source}' holds '{name}', which leads out of its folder", fix=fix)
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(f"'{source}' holds '{name}', which is a link or no file", fix=fix)
    if entry.flag_bits & _ENCRYPTED:
        raise DataError(f"'{source}' is encrypted", fix="unpack it yourself, and give the folder")
    if not name.isprintable():
        raise DataError(f"'{source}' holds {name!r}, which is no name of a file", fix=fix)
    return path


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], int], entry: zipfile.ZipInfo, source: Path) -> None:
    """Unpack one file; no more bytes than its head promises."""
    left = entry.file_size
    while block := read(_BLOCK):
        left -= len(block)
        if left < 0:
            raise DataError(f"'{source}' holds '{entry.filename}', which is longer than it says", fix="copy it again")
        write(block)
