import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data.synthetic import CLASSES, PALETTE
from tests.support.exported import record, write_onnx
from tests.support.extras import needs

from .conftest import Command


@pytest.fixture
def pictures(scenes: Path, tmp_path: Path) -> Path:
    """Two pictures of the same name in two folders, and a third above them."""
    source = scenes / "images" / "test" / "scene_0000.jpg"
    for place in ("a/x.jpg", "b/x.jpg", "y.jpg"):
        path = tmp_path / "pictures" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, path)
    return tmp_path / "pictures"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_folder_keeps_its_tree(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    result = segwright("predict", run_folder, pictures, "--out", tmp_path / "out")
    assert result.code == 0
    assert files(tmp_path / "out") == {"a/x.png", "b/x.png", "y.png"}
    assert len(result.out.splitlines()) == 3
    assert "next: segwright" in result.err


def test_without_a_model_the_one_that_comes_with_the_package_is_taken_and_named(
    segwright: Command, pictures: Path, tmp_path: Path
) -> None:
    for number, words in enumerate(([pictures], [pictures / "y.jpg"], [f"{pictures}/*.jpg"])):
        result = segwright("predict", *words, "--out", tmp_path / str(number), "--json")
        assert result.code == 0
        assert "model: camvid/fast_scnn" in result.err
        (areas, *_) = (found["areas"] for found in json.loads(result.out)["results"])
        assert "Pavement" in areas


def test_a_run_folder_is_a_model_although_it_holds_pictures(segwright: Command, run_folder: Path) -> None:
    result = segwright("predict", run_folder)
    assert result.code == 2
    assert "no picture was given" in result.err
    assert "camvid" not in result.err


def test_pattern_keeps_the_tree_below_its_plain_part(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    assert segwright("predict", run_folder, f"{pictures}/*/*.jpg", "--out", tmp_path / "out").code == 0
    assert files(tmp_path / "out") == {"a/x.png", "b/x.png"}


def test_mask_is_a_palette_png_of_the_pictures_size(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "y.jpg", "--out", tmp_path / "out", "--json")
    (entry,) = json.loads(result.out)["results"]
    assert {"source", "mask", "areas", "milliseconds"} == entry.keys()
    assert entry["source"] == str(pictures / "y.jpg")
    assert list(entry["areas"]) == list(CLASSES)
    assert sum(entry["areas"].values()) == pytest.approx(1)
    assert entry["milliseconds"] > 0
    with Image.open(entry["mask"]) as mask:
        assert (mask.mode, mask.size) == ("P", (96, 64))
        assert (mask.getpalette() or [])[:3] == list(PALETTE[0])


def test_overlay_and_confidence_are_written_on_request(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    words = ("--out", tmp_path / "out", "--format", "both", "--confidence", "--flip", "--scales", 0.5, 1, "--json")
    result = segwright("predict", run_folder, pictures / "y.jpg", *words)
    assert result.code == 0
    assert files(tmp_path / "out") == {"y.png", "y_overlay.jpg", "y_confidence.png"}
    with Image.open(tmp_path / "out" / "y_confidence.png") as confidence:
        assert (confidence.mode, confidence.size) == ("L", (96, 64))
        assert np.asarray(confidence).max() > 255 // len(CLASSES)


def test_overlay_alone_writes_no_mask(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--format", "overlay", "--json")
    (entry,) = json.loads(segwright("predict", run_folder, pictures / "y.jpg", *words).out)["results"]
    assert entry["mask"] is None
    assert files(tmp_path / "out") == {"y_overlay.jpg"}


def test_a_name_that_is_too_long_for_one_of_its_files_does_not_stop_the_others(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "a/x.jpg").rename(pictures / "a" / f"{'x' * 250}.jpg")
    result = segwright("predict", run_folder, pictures, "--out", tmp_path / "out", "--format", "both", "--json")
    assert result.code == 3
    assert [entry["source"][-6:] for entry in json.loads(result.out)["results"] if "error" in entry] == ["xx.jpg"]
    assert files(tmp_path / "out") == {"b/x.png", "b/x_overlay.jpg", "y.png", "y_overlay.jpg"}
    assert "fix: shorten the picture's name" in result.err
    assert "1 of 3 pictures" in result.err


def test_corrupt_picture_does_not_stop_the_others(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "a" / "x.jpg").write_bytes(b"no picture")
    result = segwright("predict", run_folder, pictures, "--out", tmp_path / "out", "--json")
    assert result.code == 3
    results = json.loads(result.out)["results"]
    assert [entry.keys() for entry in results if "error" in entry] == [{"source", "error"}]
    assert files(tmp_path / "out") == {"b/x.png", "y.png"}
    assert "a/x.jpg" in result.err
    assert "1 of 3 pictures" in result.err


def test_a_name_with_a_line_break_stays_one_line(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "two\nlines.jpg"
    odd.write_bytes(next(pictures.rglob("*.jpg")).read_bytes())
    result = segwright("predict", run_folder, odd, "--out", tmp_path / "out")
    assert result.code == 0
    assert result.out.count("\n") == 1
    assert "two\\nlines.jpg -> " in result.out


def test_former_prediction_is_replaced(segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "y.png"
    out.parent.mkdir()
    out.write_text("former")
    assert segwright("predict", run_folder, pictures / "y.jpg", "--out", out.parent).code == 0
    with Image.open(out) as mask:
        assert mask.size == (96, 64)


def test_output_folder_inside_the_source_is_not_predicted_again(
    segwright: Command, run_folder: Path, pictures: Path
) -> None:
    first, second = (segwright("predict", run_folder, pictures, "--out", pictures / "out") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert len(second.out.splitlines()) == 3
    assert "3 pictures in the output folder" in second.err


def test_source_is_never_overwritten(segwright: Command, run_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    Image.new("RGB", (32, 32)).save(picture)
    before = picture.read_bytes()
    result = segwright("predict", run_folder, picture, "--out", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: --out '{tmp_path}' is a folder of source pictures\nfix: give another --out\n"
    assert (files(tmp_path), picture.read_bytes()) == ({"photo.png"}, before)


@pytest.mark.parametrize(
    ("sources", "out"),
    [
        (".", "."),  # the source itself
        ("y.jpg", "."),
        ("a b", "a"),  # of one of several sources
        ("*/*.jpg", "."),  # below it
        (".", "a"),  # a part of the source
    ],
)
def test_nothing_is_written_beside_source_pictures(
    segwright: Command, run_folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, sources: str, out: str
) -> None:
    monkeypatch.chdir(pictures)
    before = files(pictures)
    result = segwright("predict", run_folder, *sources.split(), "--out", out, "--format", "both")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: --out '{out}' is a folder of source pictures\nfix: give another --out\n"
    assert files(pictures) == before


def test_two_pictures_never_share_an_output(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "a/x.jpg", pictures / "b/x.jpg", "--out", tmp_path / "out")
    assert result.code == 2
    assert "would both be written" in result.err
    assert not (tmp_path / "out").exists()


def test_picture_named_twice_is_predicted_once(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    result = segwright("predict", run_folder, pictures / "a", pictures / "a/x.jpg", "--out", tmp_path / "out", "--json")
    assert len(json.loads(result.out)["results"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("RUN nothing.jpg", 3, "nothing.jpg"),
        ("RUN nothing/*.jpg", 3, "nothing/*.jpg"),
        ("nothing PICTURES", 3, "nothing"),
        ("RUN PICTURES --out PICTURES/y.jpg", 2, "is a file"),
        ("RUN PICTURES --runtime tpu", 2, "tpu"),
    ],
)
def test_bad_input_is_told(
    segwright: Command, run_folder: Path, pictures: Path, tmp_path: Path, words: str, code: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    line = words.replace("RUN", str(run_folder)).replace("PICTURES", str(pictures))
    result = segwright("predict", *line.split())
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert files(tmp_path) == before


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    needs("onnx", "onnxruntime", "openvino")
    monkeypatch.setenv("SEGWRIGHT_CACHE", str(tmp_path / "cache"))
    return write_onnx(tmp_path / "model.onnx", record(classes=CLASSES), stride=2)


@pytest.mark.parametrize("runtime", ["auto", "onnx", "openvino"])
def test_exported_file_predicts(
    segwright: Command, exported: Path, pictures: Path, tmp_path: Path, runtime: str
) -> None:
    words = ("--out", tmp_path / "out", "--runtime", runtime, "--json")
    result = segwright("predict", exported, pictures / "y.jpg", *words)
    assert result.code == 0
    (entry,) = json.loads(result.out)["results"]
    assert entry.keys() == {"source", "mask", "areas", "milliseconds"}
    with Image.open(entry["mask"]) as mask:
        assert (mask.mode, mask.size) == ("P", (96, 64))
        assert len(np.unique(np.asarray(mask))) > 1


def test_what_ran_the_network_is_said(segwright: Command, exported: Path, run_folder: Path, pictures: Path) -> None:
    out = ("--out", exported.parent / "out")
    assert "runtime: onnx, fp32 (starts fastest)\n" in segwright("predict", exported, pictures / "y.jpg", *out).err
    words = ("--runtime", "torch", "--precision", "bf16")
    assert "runtime: torch, bf16\n" in segwright("predict", run_folder, pictures / "y.jpg", *out, *words).err


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_missing_runtime_names_the_extra(
    segwright: Command, exported: Path, pictures: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    runtime = {"onnxruntime": "onnx", "openvino": "openvino"}[package]
    result = segwright("predict", exported, pictures, "--runtime", runtime, "--out", exported.parent / "out")
    assert (result.code, result.out) == (4, "")
    assert result.err == (
        f"error: runtime '{runtime}' needs {package}, which is not installed\n"
        f'fix: pip install "segwright[{runtime}]"\n'
    )


def test_truncated_exported_file_is_told(segwright: Command, exported: Path, pictures: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:200])
    for runtime in ("onnx", "openvino"):
        result = segwright("predict", exported, pictures, "--runtime", runtime)
        assert (result.code, result.out) == (3, "")
        assert "model.onnx' cannot be read" in result.err


def test_exported_file_from_elsewhere_is_told(segwright: Command, exported: Path, pictures: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="it writes this test's file")
    model = onnx.load(str(exported))
    del model.metadata_props[:]
    onnx.save(model, str(exported))
    for runtime in ("onnx", "openvino"):
        result = segwright("predict", exported, pictures, "--runtime", runtime)
        assert (result.code, result.out) == (3, "")
        assert "model.onnx' was not exported by segwright" in result.err
        assert "fix: export the model with segwright export" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("MODEL PICTURES --runtime onnx --precision bf16", "cannot compute in bf16"),
        ("MODEL PICTURES --precision int8", "exported in fp32, it cannot compute in int8"),
        ("MODEL PICTURES --precision fp64", "unknown precision 'fp64'"),
        ("MODEL PICTURES --runtime torch", "runtime 'torch' cannot read"),
        ("MODEL PICTURES --runtime tensorrt", "unknown runtime 'tensorrt'"),
        ("MODEL PICTURES --device cuda", "computes on the CPU, got device 'cuda'"),
        ("RUN PICTURES --runtime onnx", "segwright export RUN --format onnx --out model.onnx"),
        ("RUN PICTURES --runtime openvino", "segwright export RUN --format openvino --out model.xml"),
        ("RUN PICTURES --precision int8", "unknown precision 'int8'"),
        ("RUN PICTURES --device cpu --precision fp16", "precision fp16 is for GPUs"),
    ],
)
def test_wrong_runtime_or_precision_is_told(
    segwright: Command, exported: Path, run_folder: Path, pictures: Path, words: str, said: str
) -> None:
    places = {"MODEL": exported, "RUN": run_folder, "PICTURES": pictures}
    result = segwright("predict", *(places.get(word, word) for word in words.split()))
    assert (result.code, result.out) == (2, "")
    assert said.replace("RUN", str(run_folder)) in result.err
    assert result.err.splitlines()[-1].startswith("fix: ")


def test_picture_over_the_limit_is_told_and_the_others_are_predicted(
    segwright: Command, exported: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 64)
    Image.new("RGB", (97, 64)).save(pictures / "large.png")
    result = segwright("predict", exported, pictures, "--out", tmp_path / "out")
    assert result.code == 3
    assert "large.png' is too large" in result.err
    assert files(tmp_path / "out") == {"a/x.png", "b/x.png", "y.png"}


def test_only_we_say_that_a_picture_is_too_large(segwright: Command, exported: Path, tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.new("1", (10_000, 9_000)).save(picture)  # between one and two times Pillow's limit, where it warns
    result = segwright("predict", exported, picture, "--out", tmp_path / "out")
    assert result.code == 3
    assert "large.png' is too large (10000x9000 px (width x height) exceed the limit" in result.err
    assert result.err.count("exceed") == 1


def test_network_that_fails_at_a_picture_is_told(segwright: Command, exported: Path, pictures: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="it writes this test's file")
    model = onnx.load(str(exported))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32  # of one height only
    onnx.save(model, str(exported))
    for runtime in ("onnx", "openvino"):
        words = ("--runtime", runtime, "--out", exported.parent / "out")
        result = segwright("predict", exported, pictures, *words)
        assert (result.code, result.out) == (1, "")
        assert "failed at 64 x 96 px (height x width)" in result.err
        assert "fix: predict in windows" in result.err


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "timm", "scipy", "matplotlib"):
    sys.modules[name] = None
from segwright.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_exported_file_that_is_missing_is_told_without_torch(pictures: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, "predict", "no/such/model.onnx", str(pictures)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 3
    assert "'no/such/model.onnx' does not exist" in result.stderr


def test_exported_file_predicts_without_torch(exported: Path, pictures: Path, tmp_path: Path) -> None:
    words = ["predict", str(exported), str(pictures), "--out", str(tmp_path / "out"), "--format", "both"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(files(tmp_path / "out")) == 6
