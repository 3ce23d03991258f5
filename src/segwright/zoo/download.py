"""Fetches a published file once: resumed where it broke off, checked by its hash, moved into place whole."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from segwright.errors import WeightsError
from segwright.runtime.offline import is_offline
from segwright.zoo.entry import Weights

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes that are there and all bytes, where the server tells them."""

_CHUNK = 1 << 20
_TIMEOUT_S = 30


def cache_folder() -> Path:
    """Where downloaded weights lie: ``$SEGWRIGHT_CACHE``, or ``segwright`` in the user's cache folder."""
    if folder := os.environ.get("SEGWRIGHT_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "segwright" / "weights"


def fetch(weights: Weights, on_progress: OnProgress | None = None) -> Path:
    """The file of a published checkpoint, downloaded unless it is in the cache.

    A broken download is gone on with next time. The file gets its name only when its hash is right.

    Raises:
        WeightsError: no network, the network forbidden, or a file of another hash.
    """
    path = cache_folder() / weights.file
    if path.is_file():
        return path
    if is_offline():
        raise WeightsError(
            f"'{weights.file}' is not in {cache_folder()} and the network is forbidden (offline)",
            fix=f"download {weights.url} elsewhere and put it there, or allow the network once",
        )
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(weights.url, partial, on_progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{weights.url} cannot be downloaded ({reason})",
            fix=f"try again, it goes on where it broke off; or put the file into {cache_folder()}",
        ) from error
    check_hash(partial, weights)
    partial.replace(path)
    return path


def _download(url: str, partial: Path, on_progress: OnProgress | None) -> None:
    """Append what is missing of ``url`` to ``partial``."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is missing
            return
        raise
    with response, partial.open("ab" if response.status == 206 else "wb") as file:
        length = response.headers.get("Content-Length")
        total = file.tell() + int(length) if length else None
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            if on_progress:
                on_progress(file.tell(), total)
        if total is not None and file.tell() < total:
            raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")


def check_hash(path: Path, weights: Weights) -> None:
    """Compare a downloaded file with the hash in its name; a wrong one is removed.

    Raises:
        WeightsError: another hash; a web page in place of the file is told apart.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest().startswith(weights.sha256_start):
        return
    path.unlink()
    what = "a web page" if looks_like_a_page(start) else f"a file of hash {digest.hexdigest()[:8]}"
    raise WeightsError(
        f"{weights.url} gave {what} where the hash begins with {weights.sha256_start}; it was removed",
        fix="try again without the proxy or portal that answers in its place",
    )


def looks_like_a_page(start: bytes) -> bool:
    """Whether a file begins as HTML or XML does."""
    return start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head"))
