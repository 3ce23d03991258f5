"""Every registered network as a file, beside itself in torch, at sizes other than the traced one and two at a time."""

from pathlib import Path

import pytest
import torch

from segwright.deploy.export import ENDINGS, start, write_graph
from segwright.deploy.graph import to_onnx, to_openvino
from segwright.deploy.rewrite import rewrite
from segwright.models import SegmentationModel
from segwright.runtime.exported import Exported
from tests.models.test_contract import CASES, Case, network
from tests.support.compare import distance
from tests.support.extras import needs
from tests.support.fill import images

needs("onnx", "onnxscript", "onnxruntime", "openvino")

SIZES = [(1, (33, 40)), (2, (161, 225)), (1, (97, 353)), (2, (256, 128))]
"""Batch, height and width."""

QUICK = ("fast_scnn", "pspnet", "deeplabv3", "bisenet", "dupsampling")
"""Pyramid pooling, image pooling, attention by global averages, and an upsampler that crops; the others take as long
each, and are marked slow."""


def is_quick(case: Case) -> bool:
    """The first of each quick network's cases."""
    return case.name in QUICK and case == next(other for other in CASES if other.name == case.name)


def is_endless(case: Case) -> bool:
    """Refused before it is traced: test_export.py."""
    return "swin" in str(case)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=str(case), marks=() if is_quick(case) else pytest.mark.slow)
        for case in CASES
        if not is_endless(case)
    ],
)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SegmentationModel, Path]:
    """A network, and a folder with its files in both formats."""
    model, folder = network(request.param), tmp_path_factory.mktemp("network")
    graph = to_onnx(rewrite(model, steps=("drop", "fold")), "images", "logits")
    for format, written in (("onnx", graph), ("openvino", to_openvino(graph))):
        write_graph(written, folder / f"net{ENDINGS[format]}", Exported(model.info))
    return model, folder


@pytest.mark.parametrize("format", ENDINGS)
def test_file_gives_the_networks_logits_at_other_sizes(exported: tuple[SegmentationModel, Path], format: str) -> None:
    model, folder = exported
    ready = start(folder / f"net{ENDINGS[format]}", format)
    for batch, size in SIZES:
        pictures = images(1, *size, batch=batch)
        with torch.inference_mode():
            expected = model.strided_logits(pictures).logits
        got = torch.from_numpy(ready.run(pictures.numpy()).copy())
        assert got.shape == expected.shape
        assert distance(got, expected) < 1e-4, size
