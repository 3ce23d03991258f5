"""The memory of a process that does nothing but predict. That process imports this file, which needs no torch."""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from segwright.inference import Predictor
from segwright.runtime import prepare

PICTURES = 2
"""The first one may cost more than those after it, or less."""

_CODE = "import sys; from segwright.deploy.fresh_process import predict; predict(*sys.argv[1:])"
_STATUS = Path("/proc/self/status")

logger = logging.getLogger(__name__)


def peak_memory(
    model: str | Path, picture: Path, *, device: str, runtime: str, precision: str, threads: int
) -> float | None:
    """Largest resident size in MB (2^20 bytes) of a new process that predicts a picture, Python and all packages in it.

    Args:
        model, device, runtime, precision, threads: as :class:`segwright.inference.Predictor`.
        picture: the file to predict.

    Returns:
        ``None`` where the process failed, which is logged, or the system does not tell.
    """
    with tempfile.TemporaryDirectory(prefix="segwright-") as folder:
        words = [model, picture, Path(folder) / "mask.png", Path(folder) / "peak.json"]
        options = {"device": device, "runtime": runtime, "precision": precision, "threads": threads}
        # -P: nothing is imported from the folder in which the user happens to be.
        command = [sys.executable, "-P", "-c", _CODE, *map(str, words), json.dumps(options)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
            logger.warning("the memory of '%s' (%s) could not be measured: %s", model, runtime, lines[-1])
            return None
        peak: float | None = json.loads((Path(folder) / "peak.json").read_text())
        return peak


def predict(model: str, picture: str, mask: str, report: str, options: str) -> None:
    """What the new process does: predict as is measured, and write down how large it became."""
    predictor = Predictor(model, **json.loads(options))
    prepare("mask")
    for _ in range(PICTURES):
        predictor(picture).save(mask)
    Path(report).write_text(json.dumps(_peak_here()))


def _peak_here() -> float | None:
    """Of this process alone; getrusage's begins at that of the process which started it."""
    if not _STATUS.exists():
        return None
    lines = [line.split() for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) / 1024 if lines else None
