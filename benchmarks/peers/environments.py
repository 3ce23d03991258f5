"""Environments of their own: one with the peers, and one with what a machine needs that only predicts."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

PEERS = ("mmsegmentation==1.2.2", "mmengine==0.10.7", "mmcv-lite==2.1.0", "ftfy", "regex", "torchmetrics==1.9.0")
"""mmcv-lite is mmcv without compiled operators: mmcv itself has no wheel for torch newer than 2.1. ftfy and regex are
imported by mmsegmentation without being among its requirements."""

TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
"""What every environment has."""


def peers_environment(folder: Path) -> Path:
    """The interpreter of the environment with mmsegmentation, made if it is not there.

    It gets the torch version that segwright has here, which pip must be able to find: about 200 MB without CUDA.
    """
    return _environment(folder, (f"torch=={version('torch')}", *PEERS))


def base_environment(folder: Path, extras: str = "") -> Path:
    """The interpreter of an environment with segwright from this repository and nothing but these extras: no torch."""
    return _environment(folder, (f"{REPOSITORY}[{extras}]" if extras else str(REPOSITORY),))


def _environment(folder: Path, requirements: tuple[str, ...]) -> Path:
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == "\n".join(requirements):
        return python
    print(f"installing {', '.join(requirements)} into {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run([str(python), "-m", "pip", "install", "-qq", *requirements], check=True)
    stamp.write_text("\n".join(requirements))
    return python


def package_megabytes(python: Path) -> dict[str, float]:
    """What each folder and file in site-packages takes on disk, the largest first, without pip and setuptools."""
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    sizes = {part.name: _bytes(part) / 1e6 for part in packages.iterdir() if not part.name.startswith(TOOLS)}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _bytes(part: Path) -> int:
    files = part.rglob("*") if part.is_dir() else (part,)
    return sum(file.stat().st_size for file in files if file.is_file())
