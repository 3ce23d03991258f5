"""Other programs' files: what is read of them, whose network they are said to hold, and what is refused."""

import dataclasses
import hashlib
import logging
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segwright import zoo
from segwright.errors import ConfigError, WeightsError
from segwright.models import SegmentationModel, create_model, save_model
from segwright.zoo.catalog import _entries, find
from segwright.zoo.published import datasets
from segwright.zoo.systems import key_map_of
from tests.support.fill import filled_tensor, images

PUBLISHED = "mmseg/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"
SMALL = "mmseg/pspnet_r18-d8"


def theirs(id: str, num_classes: int = 19) -> dict[str, Tensor]:
    """A state dict under the publisher's names."""
    entry = find(id)
    key_map = key_map_of(entry)
    own = zoo.create(id, num_classes).state_dict()
    return {key_map.their_key(key): filled_tensor(key_map.their_key(key), tensor.shape) for key, tensor in own.items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return theirs(SMALL)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Any, name: str = "net.pth") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def reference(state: dict[str, Tensor]) -> SegmentationModel:
    model = zoo.create(SMALL, num_classes=19)
    model.load_state_dict(zoo.convert(SMALL, state))
    return model.eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {"mmseg_version": "0.5.0"}, "optimizer": {"lr": 0.01}},
        lambda state: {"model": {f"module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {"state_dict": state, "best_pred": np.float64(0.5), "ious": np.ones(3), "args": Namespace(lr=1)},
    ],
)
@torch.no_grad()
def test_checkpoint_is_recognised_by_its_tensors(
    state: dict[str, Tensor], save: Callable[..., Path], wrap: Callable[[Any], Any]
) -> None:
    model = zoo.load(save(wrap(state)))
    assert (model.info.name, model.info.provenance["source"]) == ("pspnet", SMALL)
    assert not model.training
    picture = images(0, 64, 96)
    assert torch.equal(model(picture).logits, reference(state)(picture).logits)


def test_safetensors_of_another_program_are_recognised_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "model.safetensors")
    assert zoo.load(tmp_path).info.name == "pspnet"


def test_published_file_brings_classes_colours_scores_and_licence(
    state: dict[str, Tensor], save: Callable[..., Path]
) -> None:
    weights = find(PUBLISHED).weights
    assert weights is not None
    info = zoo.load(save({"state_dict": state}, weights.file)).info
    assert info.classes == datasets()["cityscapes"].classes
    assert info.palette[:2] == ((128, 64, 128), (244, 35, 232))
    assert info.scores == {"miou": 74.87, "miou_multi_scale": 76.04, "protocol": weights.protocol}
    assert info.licences == {"weights": "Apache-2.0", "training_data": "Cityscapes terms, non-commercial"}
    assert info.provenance["source"] == PUBLISHED


def test_published_name_on_a_file_of_other_classes_lends_it_no_names(save: Callable[..., Path]) -> None:
    weights = find(PUBLISHED).weights
    assert weights is not None
    info = zoo.load(save({"state_dict": theirs(SMALL, 7)}, weights.file)).info
    assert info.classes == tuple(f"class {index}" for index in range(7))
    assert info.scores == {}


def test_converted_network_is_an_ordinary_model_file(
    state: dict[str, Tensor], save: Callable[..., Path], tmp_path: Path
) -> None:
    model = zoo.load(save(state))
    save_model(model, tmp_path / "ours.safetensors")
    assert zoo.load(tmp_path / "ours.safetensors").info == model.info


def test_id_loads_from_the_cache_without_network(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    (tmp_path / "net.pth").rename(tmp_path / f"net-{digest}.pth")
    entry = find(PUBLISHED)
    assert entry.weights is not None
    here = dataclasses.replace(entry, weights=dataclasses.replace(entry.weights, url=f"http://host/net-{digest}.pth"))
    monkeypatch.setitem(_entries(), PUBLISHED, here)
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert zoo.load(PUBLISHED).info.scores["miou"] == 74.87


def test_classes_in_the_file_are_taken(save: Callable[..., Path]) -> None:
    meta = {"CLASSES": ("sky", "road"), "PALETTE": [[1, 2, 3], [4, 5, 6]]}
    info = zoo.load(save({"meta": meta, "state_dict": theirs(SMALL, 2)})).info
    assert (info.classes, info.palette) == (("sky", "road"), ((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": "ab"},
        {"CLASSES": 2},
        {"CLASSES": ("sky", None)},
        {"CLASSES": ("sky", "sky")},
        {"CLASSES": {"sky": 0, "road": 1}},
        {"dataset_meta": ["sky", "road"]},
    ],
)
def test_labels_that_are_no_names_are_left_alone(meta: dict[str, Any], save: Callable[..., Path]) -> None:
    """A model file is written of it, which needs names that differ."""
    info = zoo.load(save({"meta": meta, "state_dict": theirs(SMALL, 2)})).info
    assert info.classes == ("class 0", "class 1")


@pytest.mark.parametrize(
    "palette", [[[1, 2, 3], [4, 5, 999]], [[1, 2, 3], None], [[1, 2, 3]], "ab", 7, [[1, 2, 3], "abc"]]
)
def test_colours_that_are_none_are_left_alone(palette: Any, save: Callable[..., Path]) -> None:
    meta = {"CLASSES": ["sky", "road"], "PALETTE": palette}
    info = zoo.load(save({"meta": meta, "state_dict": theirs(SMALL, 2)})).info
    assert (info.classes, info.palette) == (("sky", "road"), ((0, 0, 0), (128, 0, 0)))


def test_numbered_classes_are_said(
    state: dict[str, Tensor], save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert zoo.load(save(state)).info.classes[:2] == ("class 0", "class 1")
    assert "does not tell its classes" in caplog.text


def test_published_file_of_another_depth_is_loaded_as_what_it_is(
    save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    weights = find(PUBLISHED).weights
    assert weights is not None
    model = zoo.load(save(theirs("mmseg/pspnet_r50-d8"), weights.file))
    assert model.info.options["backbone"] == "resnet50c"
    assert "holds the network of 'mmseg/pspnet_r50-d8'" in caplog.text


class WritesWhenRead:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


def test_pickle_with_code_is_refused_and_nothing_executed(save: Callable[..., Path], tmp_path: Path) -> None:
    path = save({"state_dict": {}, "logger": WritesWhenRead(tmp_path / "proof")})
    with pytest.raises(WeightsError, match="holds objects besides tensors"):
        zoo.load(path)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>", "is a web page that was saved under that name"),
        (b"", "is no whole checkpoint"),
        (b"PK\x03\x04 and then nothing", "is no whole checkpoint"),
        (b"not a checkpoint at all", "holds objects besides tensors|is no whole checkpoint"),
    ],
)
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        zoo.load(tmp_path / "net.pth")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_checkpoint_is_refused(state: dict[str, Tensor], save: Callable[..., Path], share: float) -> None:
    path = save(state)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match="is no whole checkpoint"):
        zoo.load(path)


def test_tensors_of_no_network_are_listed(save: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"holds no network that we know \(1 tensors: fc\.weight"):
        zoo.load(save({"fc.weight": torch.zeros(2)}))
    with pytest.raises(WeightsError, match="holds no tensors"):
        zoo.load(save({"epoch": 3}))


def test_weights_of_another_network_are_told_by_name(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=f"not those of 'mmseg/pspnet_r50-d8': .*they look like those of '{SMALL}'"):
        zoo.convert("mmseg/pspnet_r50-d8", state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("backbone.layer1.0.conv1.weight"), "'backbone.layer1.0.conv1.weight' is missing"),
        (lambda state: state.update(surplus=torch.zeros(1)), "'surplus' has no place in it"),
        (
            lambda state: state.update({"backbone.stem.0.weight": torch.zeros(32, 3, 7, 7)}),
            r"'backbone.stem.0.weight' has shape \(32, 3, 7, 7\), not \(32, 3, 3, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    state: dict[str, Tensor], change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    altered = dict(state)
    change(altered)
    with pytest.raises(WeightsError, match=message):
        zoo.convert(SMALL, altered)


def test_counters_of_batches_may_be_missing(state: dict[str, Tensor]) -> None:
    without = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    assert zoo.convert(SMALL, without).keys() == zoo.create(SMALL).state_dict().keys()


def test_training_starts_from_a_foreign_checkpoint_by_class_names(
    save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    meta = {"CLASSES": ["road", "Sky", "car"], "PALETTE": []}
    source = theirs(SMALL, 3)
    path = save({"meta": meta, "state_dict": source})
    model = create_model("pspnet", num_classes=4, backbone="resnet18c", variant="mmseg")
    model.info = dataclasses.replace(model.info, classes=("sky", "tree", "road", "pole"))
    fresh = model.decoder.classifier.weight.detach().clone()
    with caplog.at_level(logging.INFO):
        zoo.start_from(model, path)
    own, rows = model.decoder.classifier.weight, source["decode_head.conv_seg.weight"]
    assert torch.equal(own[0], rows[1]) and torch.equal(own[2], rows[0])
    assert torch.equal(own[[1, 3]], fresh[[1, 3]])
    assert "168 of 168 tensors of the body and 2 of 4 classes taken; new: tree, pole" in caplog.text


def test_body_of_another_network_is_refused(state: dict[str, Tensor], save: Callable[..., Path]) -> None:
    with pytest.raises(WeightsError, match=r"only \d+ of 276 tensors of the body of model 'fast_scnn' are in"):
        zoo.create_model("fast_scnn", num_classes=19, weights=save(state))


def test_fast_network_has_no_imagenet_weights() -> None:
    with pytest.raises(ConfigError, match="model 'fast_scnn' has no ImageNet weights"):
        zoo.create_model("fast_scnn", num_classes=19, weights="imagenet")


def test_imagenet_weights_without_network_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"ImageNet weights of backbone 'resnet18' are not on this machine"):
        zoo.create_model("pspnet", num_classes=19, weights="imagenet", backbone="resnet18")
