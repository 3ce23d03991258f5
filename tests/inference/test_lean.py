"""Model files are run without what only trains, from a few pictures on."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from segwright.errors import RunError
from segwright.inference import Predictor, torch_network
from segwright.inference.choosing import FEW
from segwright.inference.rewriting.rewrite import Rewrites, rewrites_of
from segwright.inference.runtimes import Options, candidates
from segwright.inference.torch_network import TorchNetwork
from segwright.models import create_model, load_model_file, save_model
from tests.support.fill import fill

IMAGE = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = create_model("fast_scnn", num_classes=4)
    fill(model)
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def done_to(predictor: Predictor) -> Rewrites | None:
    assert isinstance(predictor.network, TorchNetwork)
    return rewrites_of(predictor.network.model)


def logits_of(predictor: Predictor) -> np.ndarray:
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 96)).astype(np.float32)
    return predictor.network.run(images)


def test_a_model_file_is_rewritten_at_its_first_picture_and_gives_the_same(file: Path) -> None:
    predictor = Predictor(file, device="cpu")
    assert done_to(predictor) is None
    before = logits_of(predictor)
    predictor(IMAGE)
    done = done_to(predictor)
    assert done is not None
    assert done.steps == ("drop", "fold", "pyramid", "channels_last")
    assert (len(done.folded), done.norms_left, done.dropped) == (44, (), ("aux_heads",))
    assert np.abs(logits_of(predictor) - before).max() < 1e-5 * np.abs(before).max()


@pytest.mark.parametrize(("pictures", "is_lean"), [(1, False), (FEW - 1, False), (FEW, True)])
def test_few_announced_pictures_are_not_worth_it(file: Path, pictures: int, is_lean: bool) -> None:
    predictor = Predictor(file, device="cpu")
    predictor.expect(pictures)
    predictor(IMAGE)
    assert (done_to(predictor) is not None) == is_lean


def test_a_list_announces_nothing_of_what_comes_after_it(file: Path) -> None:
    predictor = Predictor(file, device="cpu")
    predictor([IMAGE])
    assert done_to(predictor) is not None


def test_a_model_handed_over_stays_as_it_is(file: Path) -> None:
    model = load_model_file(file)
    predictor = Predictor(model, device="cpu")
    predictor([IMAGE] * FEW)
    assert done_to(predictor) is None
    assert set(model.state_dict()) == set(load_model_file(file).state_dict())


def test_a_rewrite_that_fails_its_check_leaves_the_network_as_it_was_trained(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(model: torch.nn.Module, **options: object) -> None:
        for parameter in model.parameters():
            parameter.data.zero_()
        raise RunError("it differs")

    predictor = Predictor(file, device="cpu")
    before = logits_of(predictor)
    monkeypatch.setattr(torch_network, "rewrite", spoil)
    with caplog.at_level(logging.WARNING):
        predictor(IMAGE)
        predictor(IMAGE)
    assert [record.message for record in caplog.records] == ["the network is run as it was trained: it differs"]
    assert np.array_equal(logits_of(predictor), before)


def test_a_rewrite_that_fails_its_check_spoils_no_other_runtime(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: torch.nn.Module, **options: object) -> None:
        for parameter in model.parameters():
            parameter.data.zero_()
        raise RunError("it differs")

    monkeypatch.setattr(torch_network, "rewrite", spoil)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)  # the real one takes a minute
    plain, compiled = candidates(file, "auto", Options("cpu"))[0]
    network = plain.start()
    images = np.random.default_rng(1).standard_normal((1, 3, 64, 96)).astype(np.float32)
    before = network.run(images)
    assert isinstance(network, TorchNetwork)
    network.make_lean()
    assert np.array_equal(compiled.start().run(images), before)


def test_threads_that_begin_together_rewrite_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    original: Callable[..., object] = torch_network.rewrite

    def count(model: object, **options: object) -> object:
        calls.append(model)
        return original(model, **options)

    monkeypatch.setattr(torch_network, "rewrite", count)
    predictor = Predictor(file, device="cpu")
    with ThreadPoolExecutor(4) as pool:
        masks = [prediction.mask for prediction in pool.map(predictor, [IMAGE] * 8)]
    assert len(calls) == 1
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
