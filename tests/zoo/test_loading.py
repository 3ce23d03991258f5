import os
from pathlib import Path

import pytest
import torch

from segwright import zoo
from segwright.errors import WeightsError
from segwright.models import create_model, save_model
from segwright.zoo.own import OWN, own_infos
from tests.support.fill import fill, images


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    model = create_model("fast_scnn", num_classes=3, variant="tramac")
    fill(model)
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path


@torch.no_grad()
def test_file_and_run_folder_give_the_same_network_in_evaluation_mode(run_folder: Path) -> None:
    expected = create_model("fast_scnn", num_classes=3, variant="tramac").eval()
    fill(expected)
    picture = images(0, 40, 56)
    for path in (run_folder, str(run_folder), run_folder / "model.safetensors"):
        model = zoo.load_model(path)
        assert not model.training
        assert model.info == expected.info
        assert torch.equal(model(picture).logits, expected(picture).logits)


def test_both_names_load() -> None:
    assert zoo.load is zoo.load_model


@pytest.mark.parametrize("id", ["mmseg/fast_scnn", Path("tramac/fast_scnn")])
def test_architecture_without_published_weights_says_how_to_build_it(id: str | Path) -> None:
    with pytest.raises(WeightsError, match="without published weights") as error:
        zoo.load_model(id)
    assert error.value.fix.startswith(f"segwright.zoo.create('{Path(id).as_posix()}')")


def test_unknown_name_gets_the_nearest_id() -> None:
    with pytest.raises(WeightsError, match=r"neither a model file, nor a run folder.*did you mean 'tramac/fast_scnn'"):
        zoo.load_model("tramac/fastscnn")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=str(tmp_path / "gone.safetensors")):
        zoo.load_model(tmp_path / "gone.safetensors")


def test_folder_without_a_model_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.safetensors' does not exist"):
        zoo.load_model(tmp_path)


def test_a_path_that_exists_wins_over_an_id(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run_folder / "mmseg").mkdir()
    os.link(run_folder / "model.safetensors", run_folder / "mmseg" / "fast_scnn")
    monkeypatch.chdir(run_folder)
    assert zoo.load_model("mmseg/fast_scnn").num_classes == 3


def test_the_networks_that_come_with_the_package_are_small_and_say_what_they_score() -> None:
    for name, info in own_infos().items():
        model = zoo.load_model(name)
        assert model.info == info
        assert OWN[name].stat().st_size < 5e6
        assert len(info.classes) == model.num_classes
        assert 0.5 < info.scores["miou"] < info.scores["miou_multi_scale"] < 1
        assert set(info.licences) == {"code", "weights", "training_data"}
        assert all(tensor.dtype != torch.float64 for tensor in model.state_dict().values())
