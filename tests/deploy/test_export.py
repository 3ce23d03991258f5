"""Export on a network that is quickly written: what is kept, what is refused, what the file says."""

import copy
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor

from segwright.deploy import export as export_module
from segwright.deploy.export import ENDINGS, ExportReport, export, files_of, start
from segwright.deploy.graph import Deployable, Format
from segwright.errors import ConfigError, DataError, MissingExtraError, RunError, WeightsError
from segwright.evaluation import evaluate
from segwright.inference import Predictor
from segwright.info import Preprocessing
from segwright.models import create_model
from segwright.runtime import packages
from segwright.runtime.exported import Exported
from tests.support.extras import needs

from .colours import ColourModel, paint, write_data

needs("onnx", "onnxscript", "onnxruntime", "openvino")

BGR = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), "BGR")

each_format = pytest.mark.parametrize("format", ENDINGS)


@pytest.fixture
def model() -> ColourModel:
    return ColourModel(Preprocessing())


def out(folder: Path, format: Format) -> Path:
    return folder / f"net{ENDINGS[format]}"


@pytest.fixture(scope="module", params=ENDINGS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """A file of the colour model in either format, scored."""
    place = tmp_path_factory.mktemp("kept")
    network, data = ColourModel(Preprocessing()), write_data(place / "data")
    return export(network.train(), out(place, request.param), format=request.param, check=data)


def test_file_says_what_the_model_file_says_and_how_it_was_checked(model: ColourModel, kept: ExportReport) -> None:
    difference = kept.record.max_logit_difference
    assert kept.record == Exported(model.info, "images", "logits", False, "fp32", difference, 1.0)
    assert start(kept.path, kept.format).exported == kept.record
    assert 0 < (difference or 0) < 1e-4
    assert len({check.size for check in kept.checks}) >= 3
    assert {check.batch for check in kept.checks} == {1, 2}


@pytest.mark.parametrize("size", [(33, 97), (64, 40), (211, 301)])
def test_predictor_gives_the_same_masks_from_the_file(
    model: ColourModel, kept: ExportReport, size: tuple[int, int]
) -> None:
    picture = paint(5, size)[0]
    mask, expected = (Predictor(source, "cpu")(picture).mask for source in (kept.path, model))
    assert np.array_equal(mask, expected)


def test_file_is_scored_beside_its_network(model: ColourModel, kept: ExportReport) -> None:
    score = kept.score
    assert score is not None
    assert (score.data, score.split, score.images) == ("data", "val", 3)
    assert score.model == evaluate(model, kept.path.parent / "data").miou > 0.9
    assert score.file == pytest.approx(score.model, abs=1e-4)


def test_file_names_no_path_of_this_machine_and_holds_no_normalisation(kept: ExportReport) -> None:
    content = kept.path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content
    assert b"BatchNorm" not in content


def test_nothing_is_left_beside_the_file(kept: ExportReport) -> None:
    names = {path.name for path in kept.path.parent.iterdir()}
    assert names - {"data"} == {path.name for path in files_of(kept.path)}


@pytest.mark.parametrize(("format", "preprocessing"), [("onnx", Preprocessing()), ("openvino", BGR)])
def test_pictures_as_they_are_go_in_and_masks_come_out(
    folder: Path, format: Format, preprocessing: Preprocessing
) -> None:
    model = ColourModel(preprocessing)
    report = export(model, out(folder, format), format=format, preprocessing=True, argmax=True)
    assert (report.record.input, report.record.output) == ("pixels", "mask")
    assert report.record.max_logit_difference is None
    picture, truth = paint(3, (75, 130))
    mask = start(report.path, format).run(picture[None])
    assert mask.dtype == np.uint8
    assert (mask[0] == truth).mean() > 0.95
    assert np.array_equal(mask[0], Predictor(model, "cpu")(picture).mask)


@each_format
def test_masks_of_more_than_256_classes_are_uint16(folder: Path, format: Format) -> None:
    model = ColourModel(Preprocessing(), num_classes=300)
    torch.nn.init.normal_(model.classifier.weight)
    report = export(model, out(folder, format), format=format, argmax=True)
    mask = start(report.path, format).run(torch.randn(1, 3, 40, 56).numpy())
    assert mask.dtype == np.uint16
    assert mask.max() > 255


def test_resize_inside_aligns_corners_as_the_network_does(folder: Path) -> None:
    model = ColourModel(Preprocessing())
    model.align_corners = True
    report = export(model, out(folder, "onnx"), argmax=True)
    assert report.record.align_corners
    picture = paint(3, (75, 130))[0]
    images = torch.randn(1, 3, 75, 130)
    assert np.array_equal(start(report.path, "onnx").run(images.numpy())[0], model(images).logits.argmax(1)[0])
    assert np.array_equal(Predictor(report.path)(picture).mask, Predictor(model, "cpu")(picture).mask)


def test_batch_height_and_width_are_free_and_named(model: ColourModel, folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(export(model, out(folder, "onnx")).path).graph
    sides = graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in sides] == ["batch", 3, "height", "width"]
    assert (graph.input[0].name, graph.output[0].name) == ("images", "logits")


def test_network_stays_as_it_was(model: ColourModel, folder: Path) -> None:
    before = copy.deepcopy(model.state_dict())
    export(model.train(), out(folder, "onnx"))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_progress_is_told(model: ColourModel, folder: Path) -> None:
    told: list[str] = []
    export(model, out(folder, "onnx"), progress=lambda what, done, total: told.append(what))
    assert list(dict.fromkeys(told)) == ["writing the graph", "checking"]


def off_by_a_little(self: Deployable, batch: Tensor) -> Tensor:
    return self.model.strided_logits(batch).logits * 1.02


def frozen_at_the_traced_size(self: Deployable, batch: Tensor) -> Tensor:
    logits = self.model.strided_logits(batch).logits
    return logits + logits[..., :50, :70].mean(dim=(2, 3), keepdim=True) - logits.mean(dim=(2, 3), keepdim=True)


def of_another_shape(self: Deployable, batch: Tensor) -> Tensor:
    return self.model.strided_logits(batch).logits[..., 1:]


def no_numbers(self: Deployable, batch: Tensor) -> Tensor:
    logits = self.model.strided_logits(batch).logits
    return logits / (logits - logits).sum()


def only_for_the_traced_size(self: Deployable, batch: Tensor) -> Tensor:
    logits = self.model.strided_logits(batch).logits
    return logits + torch.zeros(54, 76)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (off_by_a_little, r"at 160 x 224 .*differ from the network's by 0\.0"),
        (frozen_at_the_traced_size, r"at 97 x 334 .*batch 1 its logits differ"),
        (of_another_shape, r"shape \(1, 3, 41, 56\) and not \(1, 3, 41, 57\)"),
        (no_numbers, "values that are no numbers at 160 x 224"),
    ],
)
def test_wrong_file_is_refused_and_deleted(
    model: ColourModel, folder: Path, forward: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployable, "forward", forward)
    with pytest.raises(RunError, match=said):
        export(model, out(folder, "onnx"))
    assert list(folder.iterdir()) == []


def test_wrong_openvino_file_is_refused_and_its_weights_deleted(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployable, "forward", off_by_a_little)
    with pytest.raises(RunError, match="differ from the network's"):
        export(model, out(folder, "openvino"), format="openvino")
    assert list(folder.iterdir()) == []


def test_file_that_stops_at_another_size_is_refused_without_naming_its_temporary_place(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = export_module.to_onnx(model, "images", "logits")
    del graph.graph.node[-1].input[:]
    monkeypatch.setattr(export_module, "to_onnx", lambda *words: graph)
    with pytest.raises(RunError, match=r"'net\.onnx'") as caught:
        export(model, out(folder, "onnx"))
    assert ".segwright-" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_operation_that_cannot_be_written_is_told(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deployable, "forward", only_for_the_traced_size)
    with pytest.raises(RunError, match="model 'colours' cannot be written as a graph"):
        export(model, out(folder, "onnx"))
    assert list(folder.iterdir()) == []


def test_former_file_stays_where_the_new_one_is_refused(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out(folder, "onnx").write_bytes(b"former")
    monkeypatch.setattr(Deployable, "forward", off_by_a_little)
    with pytest.raises(RunError):
        export(model, out(folder, "onnx"))
    assert [path.read_bytes() for path in folder.iterdir()] == [b"former"]


def test_file_of_something_else_is_not_replaced(model: ColourModel, folder: Path) -> None:
    other = folder / "net.bin"
    other.write_bytes(b"somebody's checkpoint")
    with pytest.raises(ConfigError, match=r"net\.bin' is there, belongs to no 'net\.xml'"):
        export(model, out(folder, "openvino"), format="openvino")
    assert [file.read_bytes() for file in folder.iterdir()] == [b"somebody's checkpoint"]


def test_a_former_pair_of_files_is_replaced(model: ColourModel, folder: Path) -> None:
    for _ in range(2):
        report = export(model, out(folder, "openvino"), format="openvino")
    assert sorted(folder.iterdir()) == sorted(files_of(report.path))


def test_the_cache_keeps_nothing_of_what_was_only_checked(
    model: ColourModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    report = export(model, out(folder, "openvino"), format="openvino")
    assert sorted(folder.iterdir()) == sorted(files_of(report.path))
    assert not (tmp_path / "cache").exists()


def test_windowed_transformer_is_refused_by_name(folder: Path) -> None:
    model = create_model(
        "encoder_decoder", num_classes=2, backbone="swin_tiny_patch4_window7_224", decoder="fcn", output_stride=32
    )
    with pytest.raises(ConfigError, match="SwinTransformer"):
        export(model, out(folder, "onnx"))


def test_data_of_other_classes_is_refused_before_the_work(model: ColourModel, folder: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data") / "data.yaml"
    data.write_text(data.read_text().replace("sky", "heaven"))
    with pytest.raises(DataError, match="heaven"):
        export(model, out(folder, "onnx"), check=data)


def test_data_without_a_val_split_is_refused_before_the_work(model: ColourModel, folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(DataError, match="no split 'val'"):
        export(
            model,
            out(folder, "onnx"),
            check=write_data(tmp_path / "data", splits=("train",)),
            progress=lambda what, done, total: told.append(what),
        )
    assert told == []


def test_model_without_classes_is_refused(model: ColourModel, folder: Path) -> None:
    del model.info
    with pytest.raises(ConfigError, match="neither its classes"):
        export(model, out(folder, "onnx"))


@each_format
def test_file_that_cannot_be_written_is_told(
    model: ColourModel, folder: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(graph: Any, path: Path, record: Exported) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "write_graph", is_full)
    with pytest.raises(RunError, match="No space left on device") as caught:
        export(model, out(folder, format), format=format)
    assert "free space" in caught.value.fix
    assert list(folder.iterdir()) == []


def test_folder_that_cannot_be_written_to_is_told(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(export_module.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(RunError, match=r"could not write .*net\.onnx: Permission denied") as caught:
        export(model, out(folder, "onnx"))
    assert caught.value.fix == "give an --out in a folder in which you may write"


def test_bf16_file_holds_float32_and_is_run_in_bf16(model: ColourModel, folder: Path) -> None:
    if not export_module.computes_in_bf16():
        pytest.skip("this CPU has no bf16")
    report = export(model, out(folder, "openvino"), format="openvino", precision="bf16")
    network = start(report.path, "openvino")
    assert (report.record.precision, network.precision) == ("bf16", "bf16")
    assert 1e-4 < (report.record.max_logit_difference or 0) < 0.1
    assert report.record.argmax_agreement is not None and report.record.argmax_agreement < 1


def test_bf16_is_refused_where_the_cpu_has_none(
    model: ColourModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "computes_in_bf16", lambda: False)
    with pytest.raises(ConfigError, match="no bf16"):
        export(model, out(folder, "openvino"), format="openvino", precision="bf16")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"format": "tflite"}, "unknown format 'tflite'"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"precision": "bf16"}, "bf16 is not to be had as onnx"),
        ({"precision": "int8"}, "int8 is not to be had as onnx"),
        ({"format": "openvino", "precision": "int8"}, "pictures to calibrate on"),
        ({"calibrate": "somewhere"}, "calibration is for int8"),
        ({"max_drop": 1.5}, "0 to 100 points, got 150"),
    ],
)
def test_words_that_do_not_fit_are_told(model: ColourModel, folder: Path, words: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        export(model, folder / "net.onnx", **words)


@pytest.mark.parametrize(
    ("place", "said"), [("net.xml", r"\.onnx"), ("nowhere/net.onnx", "does not exist"), ("is.onnx", "is a folder")]
)
def test_places_that_cannot_be_are_told(model: ColourModel, folder: Path, place: str, said: str) -> None:
    (folder / "is.onnx").mkdir()
    with pytest.raises(ConfigError, match=said):
        export(model, folder / place)


@pytest.mark.parametrize("name", ["net.onnx", "net.xml"])
def test_exported_file_cannot_be_exported(folder: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="is an exported file already"):
        export(folder / name)


@pytest.mark.parametrize(("package", "line"), [("onnx", "segwright[train]"), ("openvino", "segwright[train,openvino]")])
def test_missing_package_is_told_with_the_line_to_install_it(
    model: ColourModel, folder: Path, package: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return packages.import_silently(name)

    monkeypatch.setattr("segwright.deploy.graph.import_silently", refuse)
    with pytest.raises(MissingExtraError, match=f"needs {package}") as caught:
        export(model, out(folder, "openvino"), format="openvino")
    assert line in caught.value.fix


@each_format
def test_a_network_of_one_short_side_is_exported_without_its_resize(tmp_path: Path, format: Format) -> None:
    network = ColourModel(Preprocessing(short_side=64))
    report = export(network, out(tmp_path, format), format=format)
    picture = paint(5, (40, 90))[0]
    mask, expected = (Predictor(source, "cpu")(picture).mask for source in (report.path, network))
    assert np.array_equal(mask, expected)
    for inside in ({"preprocessing": True}, {"argmax": True}):
        with pytest.raises(ConfigError, match="shorter side is resized to 64 pixels, which is done outside"):
            export(network, tmp_path / f"other{ENDINGS[format]}", format=format, **inside)
    assert not (tmp_path / f"other{ENDINGS[format]}").exists()
