import dataclasses
import errno
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segwright.errors import ConfigError, RunError, WeightsError
from segwright.info import ModelInfo, Preprocessing
from segwright.models import SegmentationModel, create_model, load_model_file, save_model
from segwright.models.transfer import transfer_weights
from tests.support.fill import fill, images

INFO = ModelInfo(
    "fast_scnn",
    {"variant": "mmseg"},
    ("sky", "Straße"),
    ((70, 130, 180), (128, 64, 128)),
    Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "BGR"),
    {"data": "streets", "iters": 160_000},
    {"val": {"miou": 0.7096}},
    {"code": "Apache-2.0", "weights": "CC-BY-4.0"},
)


def network(num_classes: int = 2) -> SegmentationModel:
    model = create_model("fast_scnn", num_classes=num_classes, variant="mmseg")
    fill(model)
    model.info = dataclasses.replace(INFO, classes=INFO.classes[:1] * num_classes) if num_classes != 2 else INFO
    return model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model file."""
    save_model(network(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path: Path, tensors: dict[str, Tensor | None], metadata: dict[str, str | None]) -> None:
    """Replace some tensors and lines of metadata; None removes one."""
    all_tensors = {**load_file(path), **tensors}
    all_metadata = {**INFO.to_metadata(), **metadata}
    save_file(
        {key: tensor for key, tensor in all_tensors.items() if tensor is not None},
        path,
        {key: line for key, line in all_metadata.items() if line is not None},
    )


def assert_same_tensors(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(got) == set(wanted)
    assert [key for key in wanted if not torch.equal(got[key], wanted[key])] == []


@torch.no_grad()
def test_model_file_gives_back_weights_and_info(path: Path) -> None:
    model = load_model_file(path)
    assert model.info == INFO
    assert not model.training
    assert isinstance(model.info.palette[0], tuple)
    assert_same_tensors(model.state_dict(), network().state_dict())
    assert torch.equal(model(images(0, 40, 56)).logits, network().eval()(images(0, 40, 56)).logits)


def test_model_in_another_memory_order_and_training_mode_is_saved_alike(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_model(network().train().to(memory_format=torch.channels_last), other)
    assert load_model_file(other).info == INFO
    assert_same_tensors(load_file(other), load_file(path))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.999999])
def test_truncated_file_is_an_error(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(WeightsError, match="is no whole safetensors file"):
        load_model_file(path)


class WritesWhenRead:
    """A pickle of this writes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "executed")


def test_such_a_pickle_would_write_the_file(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(WritesWhenRead(tmp_path / "proof")))
    assert (tmp_path / "proof").read_text() == "executed"


@pytest.mark.parametrize("as_zip", [True, False])
def test_pickle_is_refused_and_nothing_of_it_executed(tmp_path: Path, as_zip: bool) -> None:
    path, proof = tmp_path / "model.pth", tmp_path / "proof"
    torch.save({"state_dict": WritesWhenRead(proof)}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(WeightsError, match=r"is a pickle \(\.pt/\.pth\), which could run code"):
        load_model_file(path)
    assert not proof.exists()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone.safetensors' does not exist"):  # noqa: RUF043
        load_model_file(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_another_program_are_refused(path: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(path), path, metadata)
    with pytest.raises(WeightsError, match="holds no segwright metadata"):
        load_model_file(path)


def test_newer_format_asks_for_an_update(path: Path) -> None:
    rewrite(path, {}, {"format_version": "2"})
    with pytest.raises(WeightsError, match="has model file format 2, this segwright reads up to 1") as error:
        load_model_file(path)
    assert error.value.fix == "update segwright"


@pytest.mark.parametrize(
    "metadata",
    [
        {"classes": None},
        {"classes": "[not json"},
        {"format_version": "one"},
        {"palette": "[[1, 2]]"},
        {"preprocessing": "{}"},
    ],
)
def test_damaged_metadata_is_an_error(path: Path, metadata: dict[str, str | None]) -> None:
    rewrite(path, {}, metadata)
    with pytest.raises(WeightsError, match="has damaged metadata"):
        load_model_file(path)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"name": '"fast_scn"'}, "unknown model 'fast_scn'; did you mean 'fast_scnn'?"),
        ({"options": '{"colour": 1}'}, "model 'fast_scnn' has no option 'colour' (its options are: "),
        ({"options": '{"variant": "other"}'}, "variant of model 'fast_scnn' must be one of "),
        ({"options": '{"in_channels": "x"}'}, "in_channels must be a whole number of at least 1, got 'x'"),
        ({"name": '"pspnet"', "options": '{"backbone": [18]}'}, "'pspnet' with options {'backbone': [18]} ("),
        ({"options": '{"in_channels": 4}'}, "a network of 4 channels, and its preprocessing gives 3"),
    ],
)
def test_network_that_cannot_be_built_is_the_files_fault(
    path: Path, metadata: dict[str, str | None], named: str
) -> None:
    rewrite(path, {}, metadata)
    with pytest.raises(WeightsError, match=r"model file '.*model\.safetensors' describes a network") as caught:
        load_model_file(path)
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"classifier.3.bias": torch.zeros(3)}, r"classifier\.3\.bias has shape \(3,\), the network wants \(2,\)"),
        ({"classifier.3.bias": None}, r"1 keys missing \(\['classifier\.3\.bias'\]\), 0 unknown"),
        ({"surplus": torch.zeros(1)}, r"0 keys missing \(\[\]\), 1 unknown \(\['surplus'\]\)"),
    ],
)
def test_tensor_that_does_not_fit_is_named(path: Path, tensors: dict[str, Tensor | None], message: str) -> None:
    rewrite(path, tensors, {})
    with pytest.raises(WeightsError, match=message):
        load_model_file(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path: Path, value: float) -> None:
    name, tensor = next((key, tensor) for key, tensor in load_file(path).items() if tensor.is_floating_point())
    tensor.view(-1)[-1] = value
    rewrite(path, {name: tensor}, {})
    with pytest.raises(WeightsError, match=f"holds NaN or infinity in {name}"):
        load_model_file(path)


def lying_header(content: bytes, lie: str) -> bytes:
    """A model file whose header does not say what follows."""
    (length,) = struct.unpack("<Q", content[:8])
    header, tensors = json.loads(content[8 : 8 + length]), content[8 + length :]
    first, second = [name for name in header if name != "__metadata__"][:2]
    if lie == "8 GB":
        return struct.pack("<Q", 8 << 30) + content[8:]
    if lie == "deep":
        return struct.pack("<Q", 200_000) + b'{"a":' * 40_000
    if lie == "overlap":
        header[second]["data_offsets"] = header[first]["data_offsets"]
    elif lie == "beyond":
        header[first]["data_offsets"] = [0, 10**12]
    else:
        header[first]["shape"] = [10**6, 10**6]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize("lie", ["8 GB", "deep", "overlap", "beyond", "shape"])
def test_header_that_lies_is_refused(path: Path, lie: str) -> None:
    path.write_bytes(lying_header(path.read_bytes(), lie))
    with pytest.raises(WeightsError, match="is no whole safetensors file"):
        load_model_file(path)


def test_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = path.read_bytes(), Path.write_bytes

    def full_disk(target: Path, data: bytes) -> int:
        write(target, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(RunError, match=r"could not write .*model\.safetensors: No space left on device"):
        save_model(network(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("from_folder", [True, False])
def test_training_starts_from_the_weights_of_a_file_or_run_folder(path: Path, from_folder: bool) -> None:
    weights = path.parent if from_folder else path
    model = create_model("fast_scnn", num_classes=2, weights=weights, variant="mmseg")
    assert model.training
    assert_same_tensors(model.state_dict(), network().state_dict())


def test_classifiers_for_other_classes_stay_fresh(caplog: pytest.LogCaptureFixture) -> None:
    model, source = create_model("fast_scnn", num_classes=7, variant="mmseg"), network()
    fresh = model.classifier[3].weight.clone()
    transfer_weights(model, source, "streets")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "WARNING",
        "weights from 'streets': 276 of 276 tensors of the body and 0 of 7 classes taken; "
        "new: class 0, class 1, class 2, class 3, class 4, class 5, class 6",
    )
    assert torch.equal(model.classifier[3].weight, fresh)
    own, theirs = model.state_dict(), source.state_dict()
    shared = [key for key in own if own[key].shape == theirs[key].shape]
    assert len(shared) == 276
    assert_same_tensors({key: own[key] for key in shared}, {key: theirs[key] for key in shared})


def test_weights_that_all_fit_are_no_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        create_model("fast_scnn", num_classes=2, weights=path, variant="mmseg")
    (record,) = caplog.records
    expected = ("INFO", f"weights from '{path}': 276 of 276 tensors of the body and 2 of 2 classes taken")
    assert (record.levelname, record.getMessage()) == expected


def test_weights_of_another_system_are_refused_and_nothing_changes() -> None:
    model = create_model("pspnet", num_classes=2, backbone="resnet18")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"only 0 of \d+ tensors of the body of model 'pspnet' are in 'streets'"):
        transfer_weights(model, network(), "streets")
    assert_same_tensors(model.state_dict(), before)


def test_numbered_classes_get_the_names_of_the_source(path: Path) -> None:
    model = create_model("fast_scnn", num_classes=2, weights=path, variant="mmseg")
    assert (model.info.classes, model.info.palette) == (INFO.classes, INFO.palette)


def test_header_is_readable_without_torch(path: Path) -> None:
    """The file's own layout: 8 bytes of length, then JSON with our lines under ``__metadata__``."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert ModelInfo.from_metadata(header["__metadata__"], "streets") == INFO


def test_a_network_rewritten_for_speed_is_not_saved(path: Path) -> None:
    before = path.read_bytes()
    model = network()
    model.rewrites = object()  # as inference.rewriting marks it
    with pytest.raises(ConfigError, match="FastSCNN was rewritten for speed and cannot be saved") as caught:
        save_model(model, path)
    assert "segwright export" in caught.value.fix
    assert path.read_bytes() == before
