"""Whether an exported file is as it was written: damaged weights compute, too, and give masks that look like masks."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from segwright.errors import WeightsError
from segwright.runtime.exported import unreadable

DIGEST = "sha256"
"""Under which the digest stands in the metadata."""

BLANK = "digest".ljust(64, ".")
"""What stands there while the digest is taken: it is part of a file that it is taken of."""

_BLOCK = 1 << 20
"""Bytes read at a time, so that the file is never in memory as a whole."""


def digest_of(path: Path, said: str = BLANK) -> str:
    """SHA-256 of an ``.onnx`` file, or of an ``.xml`` with its ``.bin``, in hexadecimal.

    Args:
        path: the file.
        said: the digest that it holds; read as :data:`BLANK`.
    """
    digest = hashlib.sha256()
    for part in (path, path.with_suffix(".bin")) if path.suffix.lower() == ".xml" else (path,):
        for block in _blanked(part, said.encode()):
            digest.update(block)
    return digest.hexdigest()


def check_digest(path: Path, metadata: Mapping[str, str]) -> None:
    """Refuse a file that is not what was exported; one from before there were digests is taken as it is.

    Args:
        path: the file.
        metadata: that it holds.

    Raises:
        WeightsError: its bytes, or those of its ``.bin``, changed after the export.
    """
    said = metadata.get(DIGEST)
    if said is None:
        return
    try:
        is_whole = len(said) == len(BLANK) and digest_of(path, said) == said
    except OSError as reason:
        raise unreadable(path, reason.strerror or reason) from reason
    if not is_whole:
        named = f"{path}' or its '{path.with_suffix('.bin').name}" if path.suffix.lower() == ".xml" else path
        raise WeightsError(
            f"exported file '{named}' is damaged or was changed after the export: its digest is another",
            fix="copy it again, or export it anew",
        )


def _blanked(path: Path, said: bytes) -> Iterator[bytes]:
    """The bytes of a file, in blocks, with :data:`BLANK` for ``said``."""
    kept, blank, overlap = b"", BLANK.encode(), len(BLANK) - 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            kept = (kept + block).replace(said, blank)
            yield kept[:-overlap]
            kept = kept[-overlap:]  # the digest may begin in one block and end in the next
    yield kept
