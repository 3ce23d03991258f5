"""What every test gets: seeded, single-threaded torch, and a reason where a GPU is wanted and none is there."""

import sys

import pytest


@pytest.fixture(autouse=True)
def deterministic_torch() -> None:
    """Seed torch and keep it to one thread, in tests that use it; the others need not import it."""
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(0)
        torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Markers are off by default (see addopts); ``-m gpu`` on a machine without a GPU skips, saying so."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
