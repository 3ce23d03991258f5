"""Training: from settings to a run folder."""

from segwright.engine.launch import make_resume_config, make_run_config, train
from segwright.engine.resume import resume
from segwright.engine.train import Run, run

__all__ = ["Run", "make_resume_config", "make_run_config", "resume", "run", "train"]
