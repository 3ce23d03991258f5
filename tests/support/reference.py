"""Recorded outputs of other people's networks: what they computed from :mod:`tests.support.fill`'s weights and images.

``outputs[tag][name]`` of a record holds the shape of one output and where its values are (every
``stored_stride_hw``-th row and column); ``tag`` reads ``s<seed>_<height>x<width>``; ``native`` is the main prediction
at its own stride, ``full`` at the image's size, ``auxN_native`` the N-th auxiliary head with everything in evaluation
mode.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.compare import distance
from tests.support.fill import filled_tensor, images

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
SHARED = ROOT.parent / "shared" / "oracles"


class Reference(NamedTuple):
    record: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """Their weights under their names."""
        return {name: filled_tensor(name, shape) for name, shape, *_ in self.record["state_dict"]}

    def runs(self) -> Iterator[tuple[str, Tensor]]:
        """Tag and images of each recorded run."""
        for tag in self.record["outputs"]:
            match = re.fullmatch(r"s(\d+)_(\d+)x(\d+)", tag)
            assert match
            yield tag, images(*map(int, match.groups()))

    def distances(self, tag: str, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """How far each of ``outputs`` is from the recorded one of that name."""
        result = {}
        for name, got in outputs.items():
            entry = self.record["outputs"][tag][name]
            assert list(got.shape) == entry["shape"]
            stride = entry["stored_stride_hw"]
            wanted = torch.from_numpy(self.arrays[entry["npz_key"]])
            result[name] = distance(got[..., ::stride, ::stride] if got.ndim == 4 else got, wanted)
        return result


def golden(name: str) -> Reference:
    return _read(GOLDEN, name)


def shared(name: str) -> Reference:
    """A record that is too large to be kept here; the test is skipped where it is absent."""
    if not (SHARED / f"{name}.json").is_file():
        pytest.skip(f"{SHARED / name}.json is not there")
    return _read(SHARED, name)


def _read(folder: Path, name: str) -> Reference:
    record = json.loads((folder / f"{name}.json").read_text())
    if not record["outputs"]:
        return Reference(record, {})
    with np.load(folder / f"{name}.npz") as arrays:
        return Reference(record, dict(arrays))
