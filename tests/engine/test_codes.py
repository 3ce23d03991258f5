"""W of DUpsampling in a run: fitted to the training labels, read from a file, brought by weights, or kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segwright.analysis.label_codes import LabelCodes
from segwright.config import Config
from segwright.data import load_data
from segwright.engine import make_run_config, resume, run
from segwright.engine.build import build_loss, build_network
from segwright.engine.codes import RunCodes, upsampler_of
from segwright.engine.optim import parameter_groups
from segwright.errors import ConfigError, DataError, WeightsError
from segwright.losses import LabelCodeLoss
from segwright.models import SegmentationModel, load_model_file
from segwright.models.transfer import transfer_weights
from tests.engine.runs import CrashError, Listener, assert_same_outcome, crash_at, tiny_config, write_stripes

OPTIONS = {"backbone": "resnet18", "output_stride": 8, "upsampler": "dupsampling", "code_channels": 24}


def coded_config(data: Path, **settings: Any) -> Config:
    options = {**OPTIONS, **settings.pop("options", {})}
    settings = {"train__iters": 2, "train__eval_every": 2, **settings}
    return tiny_config(data, model__name="fcn", model__options=options, **settings)


def network_with_codes(config: Config, listener: Listener | None = None, **given: Any) -> SegmentationModel:
    data = load_data(config.data.path)
    model = build_network(config, data, weights=config.model.weights)
    RunCodes(config, data, listener or Listener(), **given).put_into(model)
    return model


def weight_of(model: SegmentationModel) -> torch.Tensor:
    """W with columns of the length that a fit gives them."""
    upsampler = upsampler_of(model)
    assert upsampler is not None
    return upsampler.weight[:, :, 0, 0].detach() / upsampler.ratio


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Listener]:
    listener = Listener()
    done = run(coded_config(scenes), tmp_path_factory.mktemp("runs") / "run", reporter=listener)
    return done.path, listener


def test_run_keeps_the_codes_that_it_fitted_to_the_training_labels(finished: tuple[Path, Listener]) -> None:
    codes = LabelCodes.load(finished[0] / "label_codes.safetensors", ratio=8, code_channels=24)
    assert codes.method == "exact"
    assert [topic for topic, _ in finished[1].said].count("label codes") == 1


def test_network_starts_with_the_fitted_w_and_trains_it(scenes: Path, finished: tuple[Path, Listener]) -> None:
    codes = LabelCodes.load(finished[0] / "label_codes.safetensors")
    assert torch.equal(weight_of(network_with_codes(coded_config(scenes))), codes.reconstruction)
    trained = weight_of(load_model_file(finished[0] / "model.safetensors"))
    assert 0 < (trained - codes.reconstruction).abs().max() < 0.1


def test_network_that_is_timed_first_is_fitted_once(scenes: Path, tmp_path: Path) -> None:
    listener = Listener()
    run(coded_config(scenes, train__iters=None, train__minutes=0.01), tmp_path / "run", reporter=listener)
    assert [topic for topic, _ in listener.said].count("label codes") == 1


def test_codes_come_from_a_file(scenes: Path, finished: tuple[Path, Listener]) -> None:
    file, listener = finished[0] / "label_codes.safetensors", Listener()
    model = network_with_codes(coded_config(scenes, model__label_codes=str(file)), listener)
    assert torch.equal(weight_of(model), LabelCodes.load(file).reconstruction)
    assert listener.said == [("label codes", f"from '{file}'")]


@pytest.mark.parametrize(
    ("options", "message"), [({"output_stride": 16}, "ratio"), ({"code_channels": 25}, "code_channels")]
)
def test_file_of_another_ratio_or_code_length_is_refused(
    scenes: Path, finished: tuple[Path, Listener], options: dict[str, int], message: str
) -> None:
    file = finished[0] / "label_codes.safetensors"
    with pytest.raises(WeightsError, match=message):
        network_with_codes(coded_config(scenes, model__label_codes=str(file), options=options))


def test_file_of_other_classes_is_refused(finished: tuple[Path, Listener], tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "stripes", 3, {"train": 2, "val": 1})
    with pytest.raises(WeightsError, match="classes"):
        network_with_codes(coded_config(data, model__label_codes=str(finished[0] / "label_codes.safetensors")))


def test_no_codes_leave_the_cosines(scenes: Path) -> None:
    model = network_with_codes(coded_config(scenes, model__label_codes="none"))
    assert not upsampler_of(model).is_fitted  # type: ignore[union-attr]


def test_trained_weights_bring_their_own_w(scenes: Path, finished: tuple[Path, Listener]) -> None:
    listener = Listener()
    model = network_with_codes(coded_config(scenes, model__weights=str(finished[0])), listener)
    assert torch.equal(weight_of(model), weight_of(load_model_file(finished[0] / "model.safetensors")))
    assert listener.said == []


def test_weights_of_other_classes_leave_the_fit_to_the_labels(finished: tuple[Path, Listener], tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "stripes", 3, {"train": 8, "val": 1})
    listener = Listener()
    model = network_with_codes(coded_config(data, model__weights=str(finished[0])), listener)
    assert [topic for topic, _ in listener.said] == ["label codes"]
    assert upsampler_of(model).is_fitted  # type: ignore[union-attr]


def test_rows_of_w_follow_the_names_of_the_classes(finished: tuple[Path, Listener], scenes: Path) -> None:
    source = load_model_file(finished[0] / "model.safetensors")
    model = build_network(coded_config(scenes), load_data(scenes), weights=None)
    first, second, *others = model.info.classes
    model.info = replace(model.info, classes=(second, first, *others))
    transfer_weights(model, source, "source")
    ours, theirs = (weight_of(network).view(len(others) + 2, 64, -1) for network in (model, source))
    assert torch.equal(ours[[1, 0]], theirs[[0, 1]])
    assert torch.equal(ours[2:], theirs[2:])


def test_resumed_run_equals_an_uninterrupted_one(scenes: Path, finished: tuple[Path, Listener], tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        run(coded_config(scenes), tmp_path / "run", reporter=crash_at(1))
    resume(tmp_path / "run", reporter=Listener())
    assert_same_outcome(finished[0], tmp_path / "run")


def test_w_and_the_temperature_never_decay(scenes: Path) -> None:
    model = network_with_codes(coded_config(scenes))
    decayed, free = parameter_groups(model, 0.1, ["norm"])
    upsampler = upsampler_of(model)
    assert upsampler is not None
    own = {id(upsampler.weight), id(upsampler.log_temperature)}
    assert own <= {id(parameter) for parameter in free["params"]}  # type: ignore[attr-defined]
    assert not own & {id(parameter) for parameter in decayed["params"]}  # type: ignore[attr-defined]


def test_frozen_parameters_are_in_no_group(scenes: Path) -> None:
    model = network_with_codes(coded_config(scenes))
    upsampler_of(model).weight.requires_grad_(False)  # type: ignore[union-attr]
    groups = parameter_groups(model, 0.1, ["norm"])
    count = sum(len(group["params"]) for group in groups)  # type: ignore[arg-type]
    assert count == len([*model.parameters()]) - 1


def test_training_on_codes_uses_the_regression_on_compressed_labels(scenes: Path, tmp_path: Path) -> None:
    options = {"backbone": "resnet18", "output_stride": 16, "low_level": [], "code_channels": 24, "train_on": "codes"}
    config = tiny_config(scenes, model__name="dupsampling", model__options=options, train__iters=2)
    data = load_data(scenes)
    loss = build_loss(config, build_network(config, data, weights=None), data, None, torch.device("cpu"))
    assert isinstance(loss.aux_losses["main"], LabelCodeLoss)
    done = run(config, tmp_path / "run", reporter=Listener())
    codes = LabelCodes.load(done.path / "label_codes.safetensors")
    assert torch.equal(weight_of(load_model_file(done.model)), codes.reconstruction)  # W stays as it was fitted


def test_codes_of_a_network_without_dupsampling_are_refused(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="does not end in DUpsampling"):
        make_run_config(scenes, "fast_scnn", settings={"model.label_codes": "exact"})


def test_codes_that_are_neither_a_method_nor_a_file_are_refused(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="neither a method nor a file"):
        make_run_config(scenes, "fcn", words={"upsampler": "dupsampling"}, settings={"model.label_codes": "exakt"})


def test_upsampler_in_words_stays_beside_options_in_settings(scenes: Path) -> None:
    settings = {"model.options": {"backbone": "resnet18"}}
    config = make_run_config(scenes, "fcn", words={"upsampler": "dupsampling"}, settings=settings)
    assert config.model.options == {"backbone": "resnet18", "upsampler": "dupsampling"}


def test_code_channels_may_be_as_many_as_a_patch_of_all_classes_has_values(scenes: Path) -> None:
    model = network_with_codes(coded_config(scenes, options={"code_channels": 65}))
    assert weight_of(model).shape == (640, 65)
    with pytest.raises(ConfigError, match="641 for patches of 8x8 pixels and 10 classes"):
        network_with_codes(coded_config(scenes, options={"code_channels": 641}))


def test_more_code_channels_than_patches_are_refused(tmp_path: Path) -> None:
    data = write_stripes(tmp_path / "stripes", 2, {"train": 1, "val": 1}, size=(16, 16))
    with pytest.raises(DataError, match="4 labelled patches"):
        network_with_codes(coded_config(data))
