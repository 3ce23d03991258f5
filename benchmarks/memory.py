"""The largest resident size of this process so far; the other scripts import it."""

from pathlib import Path


def peak_megabytes() -> float:
    """Of this process alone; getrusage's begins at that of the process which started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
