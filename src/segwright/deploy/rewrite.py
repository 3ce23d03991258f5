"""A trained network rewritten for speed: :func:`rewrite` and what it did.

The predictor does the exact steps by itself, so the work is done a floor below, in ``segwright.inference.rewriting``;
here stands what is for others to use.
"""

from segwright.inference.rewriting.convolutions import degenerate_taps
from segwright.inference.rewriting.rewrite import MIN_RATE, STEPS, Rewrites, Step, rewrite, rewrites_of

__all__ = ["MIN_RATE", "STEPS", "Rewrites", "Step", "degenerate_taps", "rewrite", "rewrites_of"]
