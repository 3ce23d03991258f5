"""A folder that may not be read, also for the superuser, who may read all."""

import os

import pytest


def close_folders(monkeypatch: pytest.MonkeyPatch, name: str = "closed") -> None:
    """Folders of this name cannot be listed any more."""
    scanned = os.scandir

    def guarded(path: str) -> object:
        if os.path.basename(path) == name:  # noqa: PTH119  a path of either kind
            raise PermissionError(13, "Permission denied", str(path))
        return scanned(path)

    monkeypatch.setattr(os, "scandir", guarded)
