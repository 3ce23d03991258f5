"""Predictions against the model's own forward and against the same steps done by hand."""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from segwright.errors import ConfigError, DataError, RunError, ShapeError
from segwright.inference import Predictor
from segwright.info import ModelInfo, Preprocessing, generic_palette
from segwright.models import SegmentationModel
from segwright.models.segmentation_model import build_model
from segwright.models.weights import save_model
from segwright.types import SegmentationOutput

NUM_CLASSES = 5


@pytest.fixture(scope="module")
def trained() -> SegmentationModel:
    """A network of random weights whose statistics and last bias fit its pictures, so that it tells pixels apart."""
    torch.manual_seed(0)
    model = build_model("fast_scnn", NUM_CLASSES, {})
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(torch.randn(2, 3, 96, 128))
        model.eval()
        model.classifier[-1].bias -= model(as_images(picture(101, 135))).logits.mean((0, 2, 3))
    return model


@pytest.fixture
def model(trained: SegmentationModel) -> SegmentationModel:
    return copy.deepcopy(trained)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of colour."""
    seeds = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    blobs = F.interpolate(seeds, size=(height, width), mode="nearest")[0] * 255
    return blobs.permute(1, 2, 0).numpy().astype(np.uint8)


def as_images(image: np.ndarray, preprocessing: Preprocessing | None = None) -> Tensor:
    """The formula once more, in torch."""
    steps = preprocessing or Preprocessing()
    mean, std = (torch.tensor(values)[:, None, None] for values in (steps.mean, steps.std))
    return ((torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 - mean) / std)[None]


@torch.no_grad()
def forward(model: SegmentationModel, images: Tensor) -> Tensor:
    """(C, H, W) logits of the model's own forward."""
    return model(images).logits[0]


def assert_same_decision(mask: np.ndarray, scores: Tensor) -> None:
    """Equal but where two classes tie up to rounding."""
    expected = scores.argmax(0).numpy()
    assert mask.shape == expected.shape
    wrong = np.nonzero(mask != expected)
    gap = scores.numpy()[expected[wrong], *wrong] - scores.numpy()[mask[wrong], *wrong]
    assert (gap < 1e-4).all()
    assert len(gap) <= 1e-3 * mask.size


@pytest.mark.parametrize("size", [(64, 96), (101, 135), (67, 45), (33, 97), (3, 50), (50, 3), (1, 1), (1, 40)])
def test_mask_equals_the_models_own_argmax(model: SegmentationModel, size: tuple[int, int]) -> None:
    image = picture(*size)
    mask = Predictor(model, device="cpu")(image).mask
    assert mask.dtype == np.uint8
    assert_same_decision(mask, forward(model, as_images(image)))


def test_network_of_these_tests_tells_pixels_apart(model: SegmentationModel) -> None:
    mask = Predictor(model, device="cpu")(picture(101, 135)).mask
    assert len(np.unique(mask)) >= 3


def test_align_corners_of_the_model_is_followed(model: SegmentationModel) -> None:
    image = picture(67, 45)
    model.align_corners = True
    mask = Predictor(model, device="cpu")(image).mask
    assert_same_decision(mask, forward(model, as_images(image)))


def test_preprocessing_of_the_model_is_followed(model: SegmentationModel) -> None:
    image, steps = picture(67, 45), Preprocessing((0.4, 0.5, 0.6), (0.1, 0.2, 0.3), "BGR")
    model.info = ModelInfo("fast_scnn", {}, model.info.classes, model.info.palette, steps)
    mask = Predictor(model, device="cpu")(image).mask
    assert_same_decision(mask, forward(model, as_images(image[..., ::-1], steps)))


@pytest.mark.parametrize("size", [(48, 64), (96, 128), (130, 97)], ids=str)
def test_a_network_of_one_short_side_sees_every_picture_at_it(model: SegmentationModel, size: tuple[int, int]) -> None:
    model.info = replace(model.info, preprocessing=Preprocessing(short_side=96))
    image = picture(*size)
    seen = model.info.preprocessing.size_of(size)
    assert min(seen) == 96
    enlarged = F.interpolate(as_images(image), size=seen, mode="bilinear")
    logits = model.strided_logits(enlarged).logits.detach()
    scores = F.interpolate(logits, size=size, mode="bilinear")[0]
    assert_same_decision(Predictor(model, device="cpu")(image).mask, scores)


def test_path_pil_image_and_array_give_the_same(model: SegmentationModel, tmp_path: Path) -> None:
    image = picture(40, 50)
    Image.fromarray(image).save(tmp_path / "a.png")
    predictor = Predictor(model, device="cpu")
    masks = [
        predictor(source).mask
        for source in (image, tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image))
    ]
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


def test_mask_lies_over_the_picture_as_shown(model: SegmentationModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(picture(40, 50)).save(tmp_path / "a.png", exif=exif)
    result = Predictor(model, device="cpu")(tmp_path / "a.png")
    assert result.mask.shape == (50, 40)
    assert result.overlay().size == (40, 50)


def test_list_gives_a_list_in_order(model: SegmentationModel) -> None:
    predictor = Predictor(model, device="cpu")
    images = [picture(40, 50, 0), picture(33, 20, 1), picture(40, 50, 2)]
    results = predictor(images)
    assert [result.mask.shape for result in results] == [(40, 50), (33, 20), (40, 50)]
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result.mask, predictor(image).mask)
    assert predictor([]) == []


def test_confidence_is_the_largest_softmax(model: SegmentationModel) -> None:
    image = picture(67, 45)
    result = Predictor(model, device="cpu", confidence=True)(image)
    expected = forward(model, as_images(image)).softmax(0).amax(0).numpy()
    assert result.confidence is not None
    assert result.confidence.dtype == np.float32
    assert np.abs(result.confidence - expected).max() < 1e-5
    assert result.confidence.min() > 1 / NUM_CLASSES
    assert result.confidence.max() <= 1
    assert np.array_equal(result.mask, Predictor(model, device="cpu")(image).mask)


def test_flip_averages_the_probabilities_of_the_mirrored_picture(model: SegmentationModel) -> None:
    image = picture(67, 45)
    images = as_images(image)
    mirrored = forward(model, images.flip(-1)).softmax(0).flip(-1)
    mean = (forward(model, images).softmax(0) + mirrored) / 2
    result = Predictor(model, device="cpu", tta="flip", confidence=True)(image)
    assert_same_decision(result.mask, mean)
    assert np.abs(result.confidence - mean.amax(0).numpy()).max() < 1e-5


def test_flip_of_a_mirrored_picture_is_the_mirrored_mask(model: SegmentationModel) -> None:
    image, predictor = picture(67, 45), Predictor(model, device="cpu", tta="flip")
    assert np.array_equal(predictor(image[:, ::-1]).mask, predictor(image).mask[:, ::-1])


@torch.no_grad()
def probabilities_at(model: SegmentationModel, images: Tensor, scale: float) -> Tensor:
    """One scale by hand: resize the picture, predict, resize the strided logits to the picture's size, softmax."""
    height, width = images.shape[-2:]
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    scaled = F.interpolate(images, size=size, mode="bilinear")
    logits = model.strided_logits(scaled).logits
    return F.interpolate(logits, size=(height, width), mode="bilinear")[0].softmax(0)


@pytest.mark.parametrize("tta", [None, "flip"])
def test_scales_average_the_probabilities(model: SegmentationModel, tta: None) -> None:
    image, scales = picture(67, 45), (0.5, 1.0, 1.75)
    images = as_images(image)
    views = [probabilities_at(model, images, scale) for scale in scales]
    if tta:
        views += [probabilities_at(model, images.flip(-1), scale).flip(-1) for scale in scales]
    mean = torch.stack(views).mean(0)
    result = Predictor(model, device="cpu", tta=tta, scales=scales, confidence=True)(image)
    assert_same_decision(result.mask, mean)
    assert np.abs(result.confidence - mean.amax(0).numpy()).max() < 1e-5


def test_one_pixel_at_a_small_scale_works(model: SegmentationModel) -> None:
    assert Predictor(model, device="cpu", scales=(0.25,), tta="flip")(picture(1, 1)).mask.shape == (1, 1)


@pytest.mark.parametrize("window", [(67, 45), (500, 500)])
def test_window_as_large_as_the_picture_equals_the_whole_picture(
    model: SegmentationModel, window: tuple[int, int]
) -> None:
    image = picture(67, 45)
    whole = Predictor(model, device="cpu", confidence=True)(image)
    windowed = Predictor(model, device="cpu", confidence=True, window=window)(image)
    assert np.array_equal(windowed.mask, whole.mask)
    assert np.array_equal(windowed.confidence, whole.confidence)


def faded(side: int, starts: tuple[int, int], window: int) -> Tensor:
    """Share of the second of two windows along a side: rises between a twelfth of it and a quarter, from its start."""
    after = torch.arange(side) + 0.5 - starts[1]
    left = starts[0] + window - torch.arange(side) - 0.5
    second = ((after - window / 12) / (window / 6)).clamp(0, 1)
    first = ((left - window / 12) / (window / 6)).clamp(0, 1)
    return second / (first + second)


def test_windows_fade_into_each_other(model: SegmentationModel) -> None:
    image = picture(64, 80)
    images, scores = as_images(image), torch.zeros(NUM_CLASSES, 64, 80)
    tops, lefts = (0, 16), (0, 32)  # stride 2/3 of 48 is 32; the last window is moved back inside
    down, right = faded(64, tops, 48), faded(80, lefts, 48)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            place = (..., slice(top, top + 48), slice(left, left + 48))
            weights = (down if i else 1 - down)[:, None] * (right if j else 1 - right)
            scores[place] += forward(model, images[place]) * weights[place]
    result = Predictor(model, device="cpu", window=(48, 48), confidence=True)(image)
    assert_same_decision(result.mask, scores)
    assert np.abs(result.confidence - scores.softmax(0).amax(0).numpy()).max() < 1e-5


def test_window_scales_and_flip_work_together(model: SegmentationModel) -> None:
    predictor = Predictor(model, device="cpu", window=(32, 48), scales=(0.75, 1.25), tta="flip", confidence=True)
    result = predictor(picture(67, 45))
    assert result.mask.shape == (67, 45)
    assert result.confidence.min() > 1 / NUM_CLASSES


def test_more_than_256_classes_give_16_bits() -> None:
    result = Predictor(build_model("fast_scnn", 300, {}), device="cpu")(picture(16, 16))
    assert result.mask.dtype == np.uint16


def test_model_is_put_into_evaluation_mode(model: SegmentationModel) -> None:
    model.train()
    before = copy.deepcopy(model.state_dict())
    Predictor(model, device="cpu")(picture(33, 40))
    assert not model.training
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_no_graph_is_kept(model: SegmentationModel) -> None:
    seen = []
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    Predictor(model, device="cpu")(picture(33, 40))
    assert seen == [False]


def test_auto_is_float32_and_says_so(model: SegmentationModel) -> None:
    assert Predictor(model, device="cpu").precision == "fp32"
    assert Predictor(model, device="cpu", precision="bf16").precision == "bf16"


def test_bf16_computes_in_bfloat16_and_stays_near(model: SegmentationModel) -> None:
    image, seen = picture(64, 96), []
    model.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    result = Predictor(model, device="cpu", precision="bf16", confidence=True)(image)
    assert seen == [torch.bfloat16]
    probabilities = forward(model, as_images(image)).softmax(0).numpy()
    chosen = np.take_along_axis(probabilities, result.mask[None].astype(np.intp), axis=0)[0]
    assert (probabilities.max(0) - chosen).max() < 0.05
    assert np.abs(result.confidence - probabilities.max(0)).max() < 0.05


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"runtime": "tensorrt"}, "tensorrt"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"precision": "fp64"}, "fp64"),
        ({"precision": "int8"}, "int8"),
        ({"precision": "fp16", "device": "cpu"}, "precision fp16 is for GPUs"),
        ({"runtime": "onnx"}, "runs exported files"),
        ({"runtime": "openvino"}, "runs exported files"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"tta": "rotate"}, "rotate"),
        ({"window": (0, 5)}, "(0, 5)"),
        ({"window": (5,)}, "(5,)"),
        ({"window": 64}, "window must be (height, width) in pixels, got 64"),
        ({"window": (64.5, 64)}, "(64.5, 64)"),
        ({"window": "64"}, "got 64"),
        ({"tta": ["flip"]}, "['flip']"),
        ({"tta": True}, "True"),
        ({"scales": 0.5}, "scales must be a list of positive numbers, got 0.5"),
        ({"scales": "big"}, "got big"),
        ({"scales": ("big",)}, "('big',)"),
        ({"scales": ()}, "()"),
        ({"scales": (1.0, -1.0)}, "-1.0"),
        ({"scales": (float("nan"),)}, "nan"),
    ],
)
def test_wrong_option_is_named_with_what_is_there(model: SegmentationModel, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Predictor(model, **wrong)
    assert named in caught.value.message
    assert caught.value.fix


def test_fix_lists_the_runtimes_and_devices(model: SegmentationModel) -> None:
    with pytest.raises(ConfigError) as caught:
        Predictor(model, runtime="tensorrt")
    assert caught.value.fix == "choose one of: auto, torch, compiled, onnx, openvino"
    with pytest.raises(ConfigError) as caught:
        Predictor(model, device="tpu")
    assert caught.value.fix.startswith("choose one of: auto, ")
    assert caught.value.fix.endswith("cpu")


def test_fix_shows_a_window_and_scales(model: SegmentationModel) -> None:
    with pytest.raises(ConfigError, match="got 64") as caught:
        Predictor(model, window=64)  # type: ignore[arg-type]
    assert "window=(512, 512)" in caught.value.fix
    with pytest.raises(ConfigError) as caught:
        Predictor(model, scales=2)  # type: ignore[arg-type]
    assert "scales=(0.75, 1, 1.25)" in caught.value.fix


@pytest.mark.parametrize("options", [{"window": [32, 48]}, {"scales": np.array([0.5, 1])}, {"scales": [1]}])
def test_lists_and_arrays_of_numbers_are_taken(model: SegmentationModel, options: dict[str, Any]) -> None:
    assert Predictor(model, device="cpu", **options)(picture(40, 50)).mask.shape == (40, 50)


def test_model_without_info_is_refused(model: SegmentationModel) -> None:
    del model.info
    with pytest.raises(ConfigError, match=r"model\.info"):
        Predictor(model, device="cpu")


def test_model_file_predicts_as_the_model_in_it(model: SegmentationModel, tmp_path: Path) -> None:
    image = picture(67, 45)
    save_model(model, tmp_path / "model.safetensors")
    expected = Predictor(model, device="cpu")(image)
    for source in (tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        result = Predictor(source, device="cpu")(image)
        assert result.classes == expected.classes
        assert np.array_equal(result.mask, expected.mask)


def test_import_needs_no_torch() -> None:
    code = "import sys, segwright.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


NO_TORCH = """
import sys
sys.modules["torch"] = None
from segwright.errors import MissingExtraError
from segwright.inference import Predictor
try:
    Predictor("model.safetensors")
except MissingExtraError as error:
    print(error.message, error.fix, sep="; ")
"""


def test_missing_torch_names_the_extra() -> None:
    result = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True, timeout=60, check=True)
    said = 'running this model needs torch, which is not installed; pip install "segwright[train]"'
    assert result.stdout.strip() == said


def test_full_gpu_memory_advises_windows(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Tensor) -> SegmentationOutput:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "strided_logits", full)
    with pytest.raises(RunError, match="33 x 40") as caught:
        Predictor(model, device="cpu")(picture(33, 40))
    assert "window" in caught.value.fix


def test_full_memory_advises_windows(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(_: Tensor) -> SegmentationOutput:
        return SegmentationOutput(torch.empty(1 << 60, dtype=torch.uint8), {})  # refused at once, without being tried

    monkeypatch.setattr(model, "strided_logits", allocate)
    with pytest.raises(RunError, match=r"33 x 40 .* does not fit into the memory of cpu") as caught:
        Predictor(model, device="cpu")(picture(33, 40))
    assert caught.value.fix == "predict in windows (window=(1024, 1024), --window 1024 1024)"


def test_unusable_pictures_are_refused(model: SegmentationModel, tmp_path: Path) -> None:
    predictor = Predictor(model, device="cpu")
    with pytest.raises(DataError, match=r"gone\.png"):
        predictor(tmp_path / "gone.png")
    with pytest.raises(DataError, match="float64"):
        predictor(np.zeros((4, 4, 3)))
    with pytest.raises(ShapeError, match="as a list"):
        predictor(np.zeros((2, 4, 4, 3), np.uint8))


def test_compiled_network_gives_the_same_mask(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []

    def compile(function: Callable[[Tensor], Tensor], **options: object) -> Callable[[Tensor], Tensor]:
        compiled.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile)  # the real one takes a minute; benchmarks run it
    image = picture(67, 45)
    predictor = Predictor(model, device="cpu", runtime="compiled")
    assert predictor.runtime == "compiled"
    assert np.array_equal(predictor(image).mask, Predictor(model, device="cpu")(image).mask)
    assert compiled == [{"mode": None}]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts of torch that are to go
def test_compiled_network_gives_the_same_mask_at_several_sizes(model: SegmentationModel) -> None:
    compiled, plain = (Predictor(model, device="cpu", runtime=runtime) for runtime in ("compiled", "torch"))
    for size in ((64, 96), (67, 45), (101, 135)):
        image = picture(*size)
        assert np.mean(compiled(image).mask != plain(image).mask) < 1e-3


def test_compiler_that_fails_is_told(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Tensor) -> Tensor:
        raise torch._dynamo.exc.BackendCompilerFailed(lambda: None, RuntimeError("no C++ compiler"), None)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    with pytest.raises(RunError, match="cannot compile") as caught:
        Predictor(model, device="cpu", runtime="compiled")(picture(33, 40))
    assert "--runtime torch" in caught.value.fix


def test_threads_are_torchs(model: SegmentationModel) -> None:
    Predictor(model, device="cpu", threads=2)
    assert torch.get_num_threads() == 2


def test_model_says_what_runs_it(model: SegmentationModel) -> None:
    predictor = Predictor(model, device="cpu", runtime="torch", precision="bf16")
    assert (predictor.runtime, predictor.describe()) == ("torch", "torch, bf16")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_gpu_computes_in_half_precision(model: SegmentationModel, precision: str) -> None:
    image = picture(101, 135)
    probabilities = forward(model, as_images(image)).softmax(0).numpy()
    mask = Predictor(model, device="cuda", precision=precision)(image).mask
    chosen = np.take_along_axis(probabilities, mask[None].astype(np.intp), axis=0)[0]
    assert (probabilities.max(0) - chosen).max() < 0.05


@pytest.mark.gpu
def test_gpu_gives_the_same_mask(model: SegmentationModel) -> None:
    image = picture(101, 135)
    expected = forward(model, as_images(image))
    assert_same_decision(Predictor(model, device="cuda")(image).mask, expected)


def test_result_knows_the_models_classes_and_colours(model: SegmentationModel) -> None:
    image = picture(40, 50)
    result = Predictor(model, device="cpu")(image)
    assert result.classes == model.info.classes
    assert result.palette == generic_palette(NUM_CLASSES)
    assert result.confidence is None
    assert result.milliseconds > 0
    assert np.array_equal(result.image, image)
