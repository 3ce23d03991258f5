"""What of this machine matters to a runtime: its cores, its name, the folder for what is cheap to make again."""

import os
import platform
from pathlib import Path

from segwright.errors import ConfigError


def cpu_threads(threads: int | None = None) -> int:
    """Threads to compute with: as asked, else ``$OMP_NUM_THREADS`` as torch reads it, else the CPUs we may use.

    Raises:
        ConfigError: fewer than one.
    """
    if threads is not None:
        if not isinstance(threads, int) or threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}", fix="leave it out to use all cores")
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) else available_cpus()


def available_cpus() -> int:
    """CPUs that this process may run on; a container often gets fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name, with the numbers that tell its generation where the system gives them."""
    facts = _cpu_facts()
    if not facts:
        return platform.processor() or platform.machine()
    numbers = [facts.get(key, "") for key in ("cpu family", "model", "stepping")]
    return f"{facts.get('model name', platform.machine())} {'.'.join(numbers)}"


def has_matrix_units() -> bool:
    """Whether the CPU multiplies matrices of bf16 in units of their own (AMX), as far as the system tells."""
    return "amx_bf16" in _cpu_facts().get("flags", "").split()


def _cpu_facts() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for key, _, value in (line.partition(":") for line in lines):
        facts.setdefault(key.strip(), value.strip())
    return facts


def cache_folder(part: str) -> Path:
    """Where we keep what is cheap to make again: a part of ``$SEGWRIGHT_CACHE``, or of the user's cache folder."""
    if folder := os.environ.get("SEGWRIGHT_CACHE"):
        return Path(folder).expanduser() / part
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "segwright" / part
