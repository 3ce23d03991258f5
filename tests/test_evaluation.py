from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from segwright.errors import DataError, SegmentationError
from segwright.evaluation import evaluate
from segwright.info import ModelInfo, generic_palette
from segwright.metrics import BoundaryF
from segwright.models import SegmentationModel, create_model, save_model
from segwright.types import SegmentationOutput

CLASSES = ("sky", "road", "car")
SIZES = ((40, 56), (33, 47), (64, 32))


class ColourModel(SegmentationModel):
    """Scores classes by colour at stride 4; blind to everything but the picture, so that it can be checked by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes, self.aux_weights = 3, {}
        self.info = ModelInfo("colour", {}, CLASSES, generic_palette(3))
        self.mix = torch.nn.Conv2d(3, 3, 5, stride=4, padding=2)

    def strided_logits(self, images: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.mix(images), {})


@pytest.fixture
def model() -> SegmentationModel:
    torch.manual_seed(4)
    return ColourModel().eval()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures of different sizes, with ignored pixels."""
    rng = np.random.default_rng(2)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index, size in enumerate(SIZES):
        coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), np.uint8)
        picture = coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
        mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        Image.fromarray(picture).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    write_yaml(tmp_path, CLASSES)
    return tmp_path


def write_yaml(folder: Path, classes: tuple[str, ...]) -> None:
    names = ", ".join(f"{index}: {name}" for index, name in enumerate(classes))
    (folder / "data.yaml").write_text(f"path: .\nval: {{images: images, masks: masks}}\nclasses: {{{names}}}\n")


def by_hand(model: SegmentationModel, data: Path, *, flip: bool = False) -> np.ndarray:
    """(3, 3) counts from the full logits' argmax, pixel by pixel."""
    counts = np.zeros((3, 3), np.int64)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (model.info.preprocessing.mean, model.info.preprocessing.std)
    )
    for index in range(len(SIZES)):
        picture = torch.from_numpy(np.array(Image.open(data / "images" / f"{index}.png"))).permute(2, 0, 1)
        images = ((picture / 255 - mean) / std)[None]
        with torch.no_grad():
            scores = model(images).logits.softmax(1)
            if flip:
                scores = scores + model(images.flip(-1)).logits.flip(-1).softmax(1)
        predicted = scores.argmax(1)[0].numpy()
        truth = np.array(Image.open(data / "masks" / f"{index}.png"))
        for true, prediction in zip(truth[truth != 255], predicted[truth != 255], strict=True):
            counts[true, prediction] += 1
    return counts


def iou(counts: np.ndarray) -> list[float]:
    hits = np.diag(counts)
    return list(hits / (counts.sum(0) + counts.sum(1) - hits))


@pytest.mark.parametrize("flip", [False, True])
def test_scores_equal_those_of_the_full_logits_computed_by_hand(
    flip: bool, model: SegmentationModel, data: Path
) -> None:
    counts = by_hand(model, data, flip=flip)
    assert (counts > 0).all()
    seen: list[tuple[int, int]] = []
    scores = evaluate(model, data, device="cpu", flip=flip, progress=lambda done, total: seen.append((done, total)))
    assert list(scores.iou_per_class) == list(CLASSES)
    assert list(scores.iou_per_class.values()) == pytest.approx(iou(counts), abs=1e-12)
    assert scores.miou == pytest.approx(np.mean(iou(counts)), abs=1e-12)
    assert scores.pixel_accuracy == pytest.approx(np.diag(counts).sum() / counts.sum(), abs=1e-12)
    assert scores.images == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_protocol_says_how_the_score_was_made(model: SegmentationModel, data: Path) -> None:
    plain = evaluate(model, data, device="cpu").protocol
    assert plain["split"] == "val"
    assert (plain["scales"], plain["flip"], plain["window"], plain["precision"]) == ([1.0], False, None, "fp32")
    varied = evaluate(model, data, device="cpu", scales=(0.5, 1.0), flip=True, window=(32, 32)).protocol
    assert (varied["scales"], varied["flip"], varied["window"]) == ([0.5, 1.0], True, [32, 32])
    assert {key for key in plain if plain[key] != varied[key]} == {"scales", "flip", "window"}


def test_model_file_scores_as_its_network(data: Path, tmp_path: Path) -> None:
    network = create_model("fast_scnn", num_classes=3).eval()
    network.info = ModelInfo("fast_scnn", {}, CLASSES, generic_palette(3))
    save_model(network, tmp_path / "model.safetensors")
    assert evaluate(tmp_path / "model.safetensors", data, device="cpu") == evaluate(network, data, device="cpu")


@pytest.mark.parametrize("classes", [("sky", "car", "road"), ("sky", "road"), ("sky", "road", "cars")])
def test_classes_that_are_not_the_models_are_refused(
    classes: tuple[str, ...], model: SegmentationModel, data: Path
) -> None:
    write_yaml(data, classes)
    with pytest.raises(DataError, match=r"the model's classes \(sky, road, car\) are not those of"):
        evaluate(model, data, device="cpu")


def test_mask_of_another_size_is_named(model: SegmentationModel, data: Path) -> None:
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(data / "masks" / "1.png")
    with pytest.raises(DataError, match=r"1\.png' is 30x20 .* its picture is 47x33"):
        evaluate(model, data, device="cpu")


def test_unknown_mask_value_names_the_file(model: SegmentationModel, data: Path) -> None:
    Image.fromarray(np.full(SIZES[2], 7, np.uint8)).save(data / "masks" / "2.png")
    with pytest.raises(DataError, match=r"2\.png"):
        evaluate(model, data, device="cpu")


def test_split_that_is_not_there_is_refused(model: SegmentationModel, data: Path) -> None:
    with pytest.raises(SegmentationError, match="test"):
        evaluate(model, data, split="test", device="cpu")


def test_by_hand_resizes_as_the_contract_says(model: SegmentationModel) -> None:
    images = torch.randn(1, 3, 33, 47)
    strided = model.strided_logits(images).logits
    assert torch.equal(model(images).logits, F.interpolate(strided, (33, 47), mode="bilinear", align_corners=False))


def test_boundary_f_is_the_protocol_s_over_all_pictures(model: SegmentationModel, data: Path) -> None:
    scores = evaluate(model, data, device="cpu", boundary=True)
    assert list(scores.boundary_f) == ["3", "5", "9", "12"]
    expected = BoundaryF(3)
    with torch.no_grad():
        for index in range(len(SIZES)):
            picture = torch.from_numpy(np.array(Image.open(data / "images" / f"{index}.png"))).permute(2, 0, 1)
            preprocessing = model.info.preprocessing
            mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
            prediction = model(((picture / 255 - mean) / std)[None]).logits.argmax(1)[0]
            expected.update(prediction, np.array(Image.open(data / "masks" / f"{index}.png")))
    assert list(scores.boundary_f.values()) == pytest.approx(list(expected.compute().values()), abs=1e-12)
    assert scores.protocol["boundary"].startswith("mean over classes")


def test_boundary_f_is_left_out_where_nobody_asked(model: SegmentationModel, data: Path) -> None:
    scores = evaluate(model, data, device="cpu")
    assert scores.boundary_f == {}
    assert "boundary" not in scores.protocol
