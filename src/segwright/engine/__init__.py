"""Training: from settings to a run folder."""

from segwright.engine.launch import make_run_config, train
from segwright.engine.train import Run, resume, run

__all__ = ["Run", "make_run_config", "resume", "run", "train"]
