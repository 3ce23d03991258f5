"""Eight bits: calibrated on pictures, judged by labels, or by float32 where there are none."""

from pathlib import Path
from typing import Any

import pytest

from segwright.deploy import export as export_module
from segwright.deploy import quantize
from segwright.deploy.export import export, start
from segwright.deploy.graph import package_for_export, to_onnx, to_openvino
from segwright.errors import DataError, RunError
from segwright.info import Preprocessing
from tests.support.extras import needs

from .colours import ColourModel, write_data

needs("onnx", "onnxscript", "openvino", "nncf")

INT8: dict[str, Any] = {"format": "openvino", "precision": "int8"}


@pytest.fixture
def model() -> ColourModel:
    return ColourModel(Preprocessing())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_data(tmp_path / "pictures", with_masks=False, splits=("all",))


@pytest.fixture
def colour_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantisation that leaves nothing of the network."""

    def spoil(graph: Any, files: Any, takes: Any, preprocessing: Any) -> Any:
        broken = ColourModel(Preprocessing())
        broken.classifier.weight.data.neg_()
        return to_openvino(to_onnx(broken, "images", "logits"))

    monkeypatch.setattr(export_module, "quantise", spoil)


def test_file_computes_in_eight_bits_and_labels_judge_it(
    model: ColourModel, data: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = export(model, folder / "net.xml", **INT8, calibrate=data)
    assert report.calibrated_on == 3
    assert report.score is not None
    assert report.score.images == 3
    assert report.score.file >= report.score.model - 0.01
    graph = package_for_export("openvino").Core().read_model(report.path)
    assert any(node.get_type_name() == "FakeQuantize" for node in graph.get_ops())
    network = start(report.path, "openvino")
    assert (network.precision, network.exported.precision) == ("int8", "int8")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("colour_blind")
def test_file_that_loses_more_miou_than_allowed_is_refused_and_deleted(
    model: ColourModel, data: Path, folder: Path
) -> None:
    with pytest.raises(RunError, match=r"in int8 the mIoU on data/val falls from \d\d\.\d\d % to .* by more than 1 p"):
        export(model, folder / "net.xml", **INT8, calibrate=data)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("colour_blind")
def test_limit_can_be_moved(model: ColourModel, data: Path, folder: Path) -> None:
    score = export(model, folder / "net.xml", **INT8, calibrate=data, max_drop=1.0).score
    assert score is not None
    assert score.file < score.model - 0.5


def test_pictures_without_labels_are_judged_by_float32(model: ColourModel, pictures: Path, folder: Path) -> None:
    report = export(model, folder / "net.xml", **INT8, calibrate=pictures)
    assert report.score is None
    assert report.record.argmax_agreement is not None
    assert 0.95 < report.record.argmax_agreement <= 1


@pytest.mark.usefixtures("colour_blind")
def test_file_that_moves_too_many_pixels_is_refused_and_deleted(
    model: ColourModel, pictures: Path, folder: Path
) -> None:
    with pytest.raises(RunError, match=r"in int8 only \d+\.\d\d % of the pixels are of the class that float32 gives"):
        export(model, folder / "net.xml", **INT8, calibrate=pictures)
    assert list(folder.iterdir()) == []


def test_pictures_themselves_can_be_the_input(model: ColourModel, data: Path, folder: Path) -> None:
    report = export(model, folder / "net.xml", **INT8, calibrate=data, preprocessing=True, argmax=True)
    assert report.score is not None
    assert report.score.file >= report.score.model - 0.01


@pytest.mark.parametrize(
    ("error", "said"), [(RecursionError("deep"), "does not end"), (ValueError("odd layer"), "ValueError: odd layer")]
)
def test_failure_of_nncf_is_told(
    model: ColourModel, data: Path, folder: Path, error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(package_for_export("nncf"), "quantize", fail)
    with pytest.raises(RunError, match=f"NNCF cannot quantise this network.*{said}"):
        export(model, folder / "net.xml", **INT8, calibrate=data)
    assert list(folder.iterdir()) == []


def test_unreadable_picture_is_named(model: ColourModel, pictures: Path, folder: Path) -> None:
    (pictures / "images" / "all" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        export(model, folder / "net.xml", **INT8, calibrate=pictures)


@pytest.mark.parametrize("kind", ["empty", "no pictures in the split", "damaged data.yaml", "nowhere"])
def test_calibration_data_without_pictures_is_refused(
    model: ColourModel, folder: Path, tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "data"
    if kind == "empty":
        place.mkdir()
    elif kind == "no pictures in the split":
        write_data(place)
        for path in (place / "images" / "train").iterdir():
            path.unlink()
    elif kind == "damaged data.yaml":
        (write_data(place) / "data.yaml").write_text("classes: {")
    with pytest.raises(DataError):
        export(model, folder / "net.xml", **INT8, calibrate=place)


def test_train_split_calibrates(data: Path) -> None:
    files, found = quantize.calibration_files(data)
    assert [path.parent.name for path in files] == ["train"] * 3
    assert found is not None
