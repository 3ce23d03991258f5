"""Published checkpoints by their ids on the command line."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from segwright import zoo
from segwright.zoo.catalog import find
from segwright.zoo.systems import key_map_of

from .conftest import TINY, Command

ID = "mmseg/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    return tmp_path / "cache"


@pytest.fixture
def cached(cache: Path) -> Path:
    """A checkpoint of the id in the cache; its weights are fresh ones."""
    weights = find(ID).weights
    assert weights is not None
    cache.mkdir()
    their_key = key_map_of(find(ID)).their_key
    state = {their_key(key): tensor for key, tensor in zoo.create(ID).state_dict().items()}
    torch.save({"state_dict": state, "meta": {}}, cache / weights.file)
    return cache / weights.file


def test_prediction_works_from_a_cached_file(segwright: Command, cached: Path, scenes: Path, tmp_path: Path) -> None:
    picture = next((scenes / "images" / "val").iterdir())
    result = segwright("--offline", "predict", ID, picture, "--out", tmp_path / "masks", "--json")
    assert result.code == 0, result.err
    (prediction,) = json.loads(result.out)["results"]
    assert set(prediction["areas"]) <= set(zoo.load(cached).info.classes)
    with Image.open(prediction["mask"]) as mask, Image.open(picture) as image:
        assert mask.size == image.size


def test_local_checkpoint_predicts_too(segwright: Command, cached: Path, scenes: Path, tmp_path: Path) -> None:
    local = cached.rename(tmp_path / "mine.pth")
    picture = next((scenes / "images" / "val").iterdir())
    result = segwright("predict", local, picture, "--out", tmp_path / "masks")
    assert result.code == 0
    assert "does not tell its classes" in result.err


def test_training_starts_from_an_id(segwright: Command, cached: Path, scenes: Path, tmp_path: Path) -> None:
    result = segwright(
        "train", scenes, "--model", "pspnet", "--set", "model.options={backbone: resnet18c, variant: mmseg}",
        "--weights", ID, "--iters", 1, *TINY, "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "168 of 168 tensors of the body and" in result.err


def test_offline_without_the_file_says_where_to_put_it(segwright: Command, cache: Path, scenes: Path) -> None:
    for words in (("predict", ID, scenes / "images" / "val"), ("evaluate", ID, scenes)):
        result = segwright("--offline", *words)
        assert (result.code, result.out) == (3, "")
        assert "the network is forbidden (offline)" in result.err
        assert str(cache) in result.err


def test_unknown_id_names_the_nearest(segwright: Command, scenes: Path) -> None:
    result = segwright("predict", "mmseg/pspnet_r18-d8_4xb2-80k_cityscapes-512x102", scenes / "images" / "val")
    assert result.code == 3
    assert f"did you mean '{ID}'" in result.err


def test_show_tells_what_is_known_of_a_checkpoint(segwright: Command) -> None:
    facts = json.loads(segwright("models", "show", ID, "--json").out)
    assert (facts["miou"], facts["miou_multi_scale"], facts["parameters"]) == (74.87, 76.04, 12_790_086)
    assert facts["licences"] == {"weights": "Apache-2.0", "training_data": "Cityscapes terms, non-commercial"}
    text = segwright("models", "show", ID).out
    assert "74.87 %" in text
    assert "Cityscapes, 19 classes" in text


def test_list_holds_all_of_them(segwright: Command) -> None:
    published = json.loads(segwright("models", "list", "--json").out)["published"]
    assert sum("url" in entry for entry in published) == 247
    assert {"mmseg/icnet_r50-d8", "torchvision/fcn_resnet50", "smp/pspnet_resnet34"} <= {e["id"] for e in published}
