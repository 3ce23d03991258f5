"""The manifest of an output folder: which pictures are done, so that a stopped prediction goes on where it was."""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from segwright.errors import ConfigError, RunError
from segwright.inference.jobs import Job
from segwright.runtime.files import make_folder, write_atomically

MANIFEST = "manifest.jsonl"
VERSION = 1
FILES = ("mask", "overlay", "confidence")

logger = logging.getLogger(__name__)


class Done(NamedTuple):
    """A picture that was predicted: its size in bytes and time when it was read, and the files, as :data:`FILES`."""

    size: int | None
    mtime_ns: int | None
    files: tuple[str | None, ...]


class Manifest:
    """``manifest.jsonl`` of an output folder: a line of facts about the run, then one for each finished picture.

    A picture's line has ``source`` (absolute), its ``size`` in bytes and ``mtime_ns`` when it was read, ``mask``,
    ``overlay`` and ``confidence`` (relative to the folder; only those that were written), ``status`` (``done`` or
    ``failed``) and ``error``. The last line of a picture counts. Lines are appended, so that a stop costs the last one
    at most; a half-written one is cut off.

    Used as a context: on leaving it, a manifest that was made here and holds no picture is taken away again.

    Args:
        out: the output folder; made if it is not there.
        made_with: what the masks depend on, by name; ``model`` is compared by ``fingerprint``.

    Raises:
        ConfigError: the folder holds a manifest of another model or of other settings, or a file of that name which is
            no manifest.
        RunError: the folder or the file cannot be written.
    """

    def __init__(self, out: Path, made_with: Mapping[str, Any]) -> None:
        self.folder, self.path = out, out / MANIFEST
        self._is_new_folder = not out.exists()
        make_folder(out)
        self._is_new, self._added = not self.path.exists(), 0
        self._done: dict[str, Done] = {}
        if self._is_new:
            write_atomically(self.path, _line({"manifest": VERSION, **made_with}), durable=False)
        try:
            content = self.path.read_bytes()
            self._read(content, made_with)
            self._file: IO[bytes] = self.path.open("ab")
            self._file.truncate(content.rfind(b"\n") + 1)
        except OSError as reason:
            raise self._could_not_write(reason) from reason

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._is_new and not self._added:
            with suppress(OSError):
                self.path.unlink()
                if self._is_new_folder:
                    self.folder.rmdir()

    def is_done(self, job: Job) -> bool:
        """Whether all files of a job were written from its picture as it is now, and are there."""
        done = self._done.get(str(job.source.absolute()))
        files = self._files(job)
        if done is None or any(files[name] != done.files[index] for index, name in enumerate(FILES) if name in files):
            return False
        try:
            now = job.source.stat()
            are_there = all(path.stat().st_size > 0 for path in job.outputs())
        except OSError:
            return False
        return are_there and (now.st_size, now.st_mtime_ns) == (done.size, done.mtime_ns)

    def add(self, job: Job, size: int | None, mtime_ns: int | None, error: str | None) -> None:
        """Append the line of a finished picture.

        Args:
            job: the picture and its files.
            size, mtime_ns: of the picture before it was read; None where there is no such file.
            error: why it failed; None where all its files are written.

        Raises:
            RunError: the file cannot be written.
        """
        source = str(job.source.absolute())
        files = {} if error else self._files(job)
        status = {"status": "failed", "error": error} if error else {"status": "done", "error": None}
        try:
            self._file.write(_line({"source": source, "size": size, "mtime_ns": mtime_ns, **files, **status}))
            self._file.flush()
        except OSError as reason:
            raise self._could_not_write(reason) from reason
        self._added += 1

    def _files(self, job: Job) -> dict[str, str]:
        named = zip(FILES, (job.mask, job.overlay, job.confidence), strict=True)
        return {name: path.relative_to(self.folder).as_posix() for name, path in named if path}

    def _read(self, content: bytes, made_with: Mapping[str, Any]) -> None:
        """Learn which pictures are done; what cannot be read is told, and predicted again."""
        head, *lines = content.split(b"\n")
        self._check(_parsed(head), made_with)
        damaged = 0
        for record in map(_parsed, lines[:-1]):
            source = record.get("source")
            if not isinstance(source, str):
                damaged += 1
            elif record.get("status") == "done":
                files = tuple(record.get(name) for name in FILES)
                self._done[source] = Done(record.get("size"), record.get("mtime_ns"), files)
            else:
                self._done.pop(source, None)
        if damaged:
            logger.warning("%d damaged lines in '%s' are passed over", damaged, self.path)

    def _check(self, head: dict[str, Any], made_with: Mapping[str, Any]) -> None:
        fix = f"give another --out, or delete '{self.path}' to predict everything anew"
        if head.get("manifest") != VERSION:
            raise ConfigError(f"'{self.path}' is no manifest of this version of segwright", fix=fix)
        if head.get("fingerprint") != made_with.get("fingerprint"):
            raise ConfigError(
                f"'{self.path}' was begun with another model ('{head.get('model')}', now '{made_with.get('model')}')",
                fix=fix,
            )
        for name in made_with.keys() - {"model"}:
            if head.get(name) != json.loads(json.dumps(made_with[name])):
                raise ConfigError(
                    f"'{self.path}' was begun with {name} {head.get(name)}, now it is {made_with[name]}", fix=fix
                )

    def _could_not_write(self, reason: OSError) -> RunError:
        return RunError(
            f"'{self.path}' cannot be written ({reason.strerror})", fix="free space, or grant access to its folder"
        )


def fingerprint(model: str) -> str:
    """By which two models are told apart: the content of the file, or the id of one that is no file here."""
    path = Path(model)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        return model
    digest = hashlib.sha256()
    for part in (path, path.with_suffix(".bin")) if path.suffix.lower() == ".xml" else (path,):
        with suppress(FileNotFoundError), part.open("rb") as content:  # what is missing, the predictor tells
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any]:
    """A line's record; empty where it is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
