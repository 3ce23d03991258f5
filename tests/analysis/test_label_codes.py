from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segwright.analysis.fitting import fit_patches
from segwright.analysis.label_codes import LabelCodes
from segwright.errors import ConfigError, RunError, WeightsError
from segwright.layers.dupsampling import DUpsample
from segwright.models.weights import read_safetensors
from tests.analysis.maps import VOID, draw_maps, patches_of

CLASSES = ("sky", "road", "car")


@pytest.fixture(scope="module")
def codes() -> LabelCodes:
    return fit_patches(patches_of(draw_maps(20, 3, (32, 48), seed=0), 3, 4), CLASSES, 7, seed=5)


@pytest.fixture
def saved(codes: LabelCodes, tmp_path: Path) -> Path:
    codes.save(tmp_path / "codes.safetensors")
    return tmp_path / "codes.safetensors"


@pytest.fixture(scope="module")
def masks() -> Tensor:
    return torch.from_numpy(np.stack(draw_maps(2, 3, (18, 27), seed=1, void=True))).long()


def rewrite(path: Path, header: dict[str, str] | None = None, **tensors: Tensor) -> None:
    """Change parts of a file of label codes."""
    old_tensors, old_header = read_safetensors(path)
    save_file({**old_tensors, **tensors}, path, {**old_header, **(header or {})})


def test_file_gives_back_what_was_saved(codes: LabelCodes, saved: Path) -> None:
    loaded = LabelCodes.load(saved, classes=CLASSES, ratio=4, code_channels=7)
    for name in ("projection", "reconstruction", "energies"):
        assert torch.equal(getattr(loaded, name), getattr(codes, name))
    for name in ("ratio", "classes", "method", "seed", "energy", "patches"):
        assert getattr(loaded, name) == getattr(codes, name)
    assert (loaded.method, loaded.seed) == ("exact", 5)


def test_header_says_what_the_file_holds(saved: Path) -> None:
    header = read_safetensors(saved)[1]
    assert header["format"] == "segwright-label-codes"
    assert header["order"] == "class*ratio^2+row*ratio+column"
    assert (header["ratio"], header["num_classes"], header["code_channels"]) == ("4", "3", "7")
    assert header["classes"] == '["sky", "road", "car"]'


def test_codes_without_an_order_are_saved_too(codes: LabelCodes, tmp_path: Path) -> None:
    replace(codes, method="sgd", energies=None).save(tmp_path / "sgd.safetensors")
    assert LabelCodes.load(tmp_path / "sgd.safetensors").energies is None


def test_writing_into_no_folder_is_refused(codes: LabelCodes, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not write"):
        codes.save(tmp_path / "nowhere" / "codes.safetensors")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"classes": ("sky", "road")}, "label codes of 3 classes, and 2 are wanted; fit label codes to this data set"),
        ({"classes": ("road", "sky", "car")}, "the same classes in another order: class 0 is 'sky', and 'road' is"),
        ({"classes": ("sky", "road", "bus")}, "other classes: class 2 is 'car', and 'bus' is wanted"),
        ({"ratio": 8}, "ratio 4, and 8 is wanted; fit them with ratio 8"),
        ({"code_channels": 64}, "code_channels 7, and 64 is wanted"),
    ],
)
def test_codes_of_another_kind_than_wanted_are_refused(saved: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said) as refused:
        LabelCodes.load(saved, **wanted)
    assert str(saved) in str(refused.value)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": "segwright"}, "holds no label codes"),
        ({"version": "2"}, "label codes of version '2', and '1' is known here"),
        ({"order": "row*ratio*num_classes+column*num_classes+class"}, "label codes of order 'row"),
        ({"ratio": "four"}, "the header of .* is damaged"),
        ({"classes": "7"}, "the header of .* is damaged"),
        ({"ratio": "8"}, r"holds W of \(48, 7\) and P of \(7, 48\), and its header says 3 classes"),
        ({"num_classes": "4"}, "header says 4 classes, 3 class names"),
        ({"code_channels": "8"}, "and 8 code channels"),
    ],
)
def test_header_that_does_not_fit_is_refused(saved: Path, header: dict[str, str], said: str) -> None:
    rewrite(saved, header)
    with pytest.raises(WeightsError, match=said) as refused:
        LabelCodes.load(saved)
    assert str(saved) in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"reconstruction": torch.zeros(47, 7)}, r"holds W of \(47, 7\)"),
        ({"projection": torch.zeros(6, 48)}, r"P of \(6, 48\)"),
        ({"projection": torch.zeros(7)}, r"P of \(7,\)"),
        ({"projection": torch.full((7, 48), float("nan"))}, "P in .* holds values that are no numbers"),
        ({"reconstruction": torch.full((48, 7), float("inf"))}, "W in .* holds values that are no numbers"),
        ({"reconstruction": torch.zeros(48, 7, dtype=torch.int64)}, "W in .* holds values that are no numbers"),
        ({"energies": torch.zeros(6)}, r"holds \(6,\) energies of 7 codes"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved: Path, tensors: dict[str, Tensor], said: str) -> None:
    rewrite(saved, **tensors)
    with pytest.raises(WeightsError, match=said):
        LabelCodes.load(saved)


def test_file_without_p_is_refused(saved: Path) -> None:
    tensors, header = read_safetensors(saved)
    save_file({"reconstruction": tensors["reconstruction"]}, saved, header)
    with pytest.raises(WeightsError, match=r"header of .* is damaged \(KeyError\('projection'\)\)"):
        LabelCodes.load(saved)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_truncated_file_is_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="is no whole safetensors file"):
        LabelCodes.load(saved)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"label codes '.*none' do not exist; give the path of their file"):
        LabelCodes.load(tmp_path / "none")


def test_encode_and_decode_multiply_each_patch_in_the_order_class_row_column(codes: LabelCodes, masks: Tensor) -> None:
    encoded = codes.encode(masks, VOID)
    assert encoded.shape == (2, 7, 5, 7)
    decoded = codes.decode(encoded, (18, 27))
    assert decoded.shape == (2, 3, 18, 27)
    for image, top, left in ((0, 0, 0), (1, 2, 3), (1, 4, 6)):
        vector = torch.zeros(48)
        for row in range(4):
            for column in range(4):
                y, x = 4 * top + row, 4 * left + column
                if y < 18 and x < 27 and masks[image, y, x] != VOID:
                    vector[int(masks[image, y, x]) * 16 + row * 4 + column] = 1
        code = codes.projection @ vector
        torch.testing.assert_close(encoded[image, :, top, left], code)
        again = (codes.reconstruction @ code).view(3, 4, 4)[:, : 18 - 4 * top, : 27 - 4 * left]
        torch.testing.assert_close(decoded[image, :, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4], again)


def test_layer_that_takes_the_codes_over_encodes_and_decodes_alike(codes: LabelCodes, masks: Tensor) -> None:
    layer = DUpsample(7, 3, 4, trains_on_codes=True)
    layer.set_codes(codes.reconstruction, codes.projection)
    assert layer.is_fitted
    encoded = layer.encode(masks, VOID)
    torch.testing.assert_close(encoded, codes.encode(masks, VOID))
    torch.testing.assert_close(layer(encoded, (18, 27)), codes.decode(encoded, (18, 27)))


def test_shorter_codes_are_those_fitted_at_that_length(codes: LabelCodes) -> None:
    fitted = fit_patches(patches_of(draw_maps(20, 3, (32, 48), seed=0), 3, 4), CLASSES, 4, seed=5)
    shorter = codes.shortened(4)
    torch.testing.assert_close(shorter.projection, fitted.projection, atol=1e-5, rtol=0)
    torch.testing.assert_close(shorter.reconstruction, fitted.reconstruction, atol=1e-5, rtol=0)
    assert shorter.energy == pytest.approx(fitted.energy)
    assert shorter.encode(torch.zeros(1, 4, 4, dtype=torch.long), VOID).shape == (1, 4, 1, 1)


@pytest.mark.parametrize("code_channels", [0, 8])
def test_codes_are_shortened_to_what_they_hold_only(codes: LabelCodes, code_channels: int) -> None:
    with pytest.raises(ConfigError, match=f"7 label codes of method exact cannot be shortened to {code_channels}"):
        codes.shortened(code_channels)


def test_codes_without_an_order_are_not_shortened(codes: LabelCodes) -> None:
    with pytest.raises(ConfigError, match="of method sgd cannot be shortened"):
        replace(codes, method="sgd", energies=None).shortened(4)
