"""The errors with which a run ends before its last step; they say how to go on."""

from segwright.engine import checkpoint
from segwright.engine.folder import RunFolder
from segwright.errors import Interrupted, SegmentationError


def interrupted(folder: RunFolder, step: int, iters: int) -> Interrupted:
    """The error that ends a run on request."""
    return Interrupted(
        f"stopped at step {step} of {iters}; everything is saved in '{folder.path}'",
        fix=f"go on with: {folder.resume_command}",
    )


def interrupted_at_once(folder: RunFolder, step: int) -> Interrupted:
    """The error that ends a run in the middle of a step."""
    is_saved = checkpoint.has_checkpoint(folder.checkpoints)
    fix = f"go on from the last checkpoint: {folder.resume_command}" if is_saved else "run the command again"
    return Interrupted(f"stopped at once after step {step}, without saving it", fix=fix)


def resumable(error: SegmentationError, folder: RunFolder) -> SegmentationError:
    """The same error, whose fix also says how to go on where a checkpoint is there."""
    if checkpoint.has_checkpoint(folder.checkpoints) and folder.resume_command not in error.fix:
        error.fix = f"{error.fix}; then go on with: {folder.resume_command}"
    return error
