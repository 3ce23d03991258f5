import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segwright.analysis import limits as module
from segwright.analysis.bounds import Bound, Limits
from segwright.analysis.limits import label_limits
from segwright.analysis.upsamplers import Averager
from segwright.errors import ConfigError, DataError
from segwright.metrics import BoundaryF, ConfusionMatrix

from .maps import VOID, Masks, draw_maps, write_data

NAMES = ("ground", "box", "disk")
SIZE = (64, 64)


def write_splits(folder: Path, splits: dict[str, Masks]) -> Path:
    for split, masks in splits.items():
        write_data(folder, masks, NAMES, split)
    lines = [f"{split}: {{images: images/{split}, masks: masks/{split}}}" for split in splits]
    classes = ", ".join(f"{index}: {name}" for index, name in enumerate(NAMES))
    (folder / "data.yaml").write_text("\n".join(["path: .", *lines, f"classes: {{{classes}}}"]) + "\n")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty maps to fit to and twenty to measure on; those have void."""
    splits = {"train": draw_maps(60, 3, SIZE, seed=0), "val": draw_maps(20, 3, SIZE, seed=1, void=True)}
    return write_splits(tmp_path_factory.mktemp("limits") / "drawn", splits)


@pytest.fixture(scope="module")
def limits(drawn: Path) -> Limits:
    return label_limits(drawn, strides=(16, 4, 8, 8), code_lengths=(12, 3, 48))


@pytest.fixture
def one_mask(tmp_path: Path) -> Callable[..., Path]:
    """A data set whose two splits hold the same mask."""
    return lambda mask: write_splits(tmp_path / "one", {"train": [mask], "val": [mask]})


def bound_of(limits: Limits, stride: int, upsampler: str, code_channels: int | None = None) -> Bound:
    wanted = (stride, upsampler, code_channels)
    return next(bound for bound in limits.bounds if (bound.stride, bound.upsampler, bound.code_channels) == wanted)


def test_nearest_is_known_by_hand(one_mask: Callable[..., Path]) -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 3] = 1  # a quarter of the left window is lost to class 0
    mask[:, 4:] = 2
    found = label_limits(one_mask(mask), strides=[4], code_lengths=[])
    assert bound_of(found, 4, "nearest").iou_per_class == {"ground": 0.75, "box": 0.0, "disk": 1.0}
    assert bound_of(found, 4, "nearest").miou == pytest.approx(1.75 / 3)


def test_bilinear_is_known_by_hand(one_mask: Callable[..., Path]) -> None:
    mask = np.zeros((2, 8), np.uint8)
    mask[:, 5:] = 1
    # The cells' shares of class 1 are 0 and 3/4: it wins from 2/3 of the way on, at 1.5 + 4 * 2/3 = 4.17 pixels.
    found = label_limits(one_mask(mask), strides=[4], code_lengths=[])
    assert bound_of(found, 4, "bilinear").iou_per_class == {"ground": 1.0, "box": 1.0, "disk": None}
    mask[:, 4], mask[:, 5] = 1, 0  # the same shares, but the two pixels are taken for each other
    found = label_limits(one_mask(mask), strides=[4], code_lengths=[])
    assert bound_of(found, 4, "bilinear").iou_per_class == {"ground": 4 / 6, "box": 2 / 4, "disk": None}


def test_scores_are_those_of_one_matrix_over_the_split(drawn: Path, limits: Limits) -> None:
    matrix, outlines = ConfusionMatrix(3), BoundaryF(3, (3,))
    for path in sorted((drawn / "masks" / "val").iterdir()):
        mask = np.asarray(Image.open(path))
        prediction = Averager(mask, 3).bilinear(8)
        matrix.update(prediction, mask)
        outlines.update(prediction, mask)
    bound = bound_of(limits, 8, "bilinear")
    assert bound.miou == matrix.compute(NAMES).miou
    assert bound.iou_per_class == matrix.compute(NAMES).iou_per_class
    assert bound.boundary_f == outlines.compute()[3]


def test_bounds_fall_as_the_stride_grows(limits: Limits) -> None:
    for upsampler, length in (("nearest", None), ("bilinear", None), ("dupsampling", 12)):
        bounds = [bound_of(limits, stride, upsampler, length) for stride in (4, 8, 16)]
        assert bounds[0].miou > bounds[1].miou > bounds[2].miou
        assert bounds[0].boundary_f >= bounds[1].boundary_f > bounds[2].boundary_f


@pytest.mark.parametrize("stride", [4, 8])
def test_dupsampling_is_above_bilinear_with_four_codes_a_class_and_below_with_one(limits: Limits, stride: int) -> None:
    linear = bound_of(limits, stride, "bilinear").miou
    assert bound_of(limits, stride, "dupsampling", 3).miou < linear
    assert bound_of(limits, stride, "dupsampling", 12).miou > linear + 0.01
    assert bound_of(limits, stride, "dupsampling", 48).miou > bound_of(limits, stride, "dupsampling", 12).miou


def test_bounds_stand_by_stride_and_upsampler(limits: Limits) -> None:
    kinds = [("nearest", None), ("bilinear", None), *(("dupsampling", length) for length in (3, 12, 48))]
    expected = [(stride, *kind) for stride in (4, 8, 16) for kind in kinds]
    assert [(bound.stride, bound.upsampler, bound.code_channels) for bound in limits.bounds] == expected


def test_void_counts_nowhere(tmp_path: Path) -> None:
    masks = draw_maps(4, 3, (48, 64), seed=3)
    cut = [mask[:, :32].copy() for mask in masks]
    for mask in masks:
        mask[:, 32:] = VOID
    with_void, without = (
        label_limits(write_splits(tmp_path / name, {"train": some, "val": some}), strides=[8, 16], code_lengths=[12])
        for name, some in (("void", masks), ("cut", cut))
    )
    assert [bound.miou for bound in with_void.bounds] == [bound.miou for bound in without.bounds]


def test_sides_need_not_divide_and_strides_may_exceed_the_picture(tmp_path: Path) -> None:
    masks = draw_maps(8, 3, (13, 11), seed=2, void=True)
    found = label_limits(write_splits(tmp_path, {"train": masks, "val": masks}), strides=[5, 16], code_lengths=[6])
    assert all(0 < bound.miou <= 1 for bound in found.bounds)
    assert bound_of(found, 5, "bilinear").miou > bound_of(found, 16, "bilinear").miou
    assert bound_of(found, 16, "nearest").miou == bound_of(found, 16, "bilinear").miou


def test_the_result_does_not_depend_on_the_number_of_threads(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label_limits(drawn, strides=[8], code_lengths=[6], max_images=8)
    monkeypatch.setattr(module, "_MOST_THREADS", 1)
    assert label_limits(drawn, strides=[8], code_lengths=[6], max_images=8) == first


def test_torch_has_its_threads_back(drawn: Path) -> None:
    torch.set_num_threads(2)
    label_limits(drawn, strides=[8], code_lengths=[], max_images=1)
    assert torch.get_num_threads() == 2


def test_a_sample_is_seeded_and_counted(drawn: Path) -> None:
    samples = [label_limits(drawn, strides=[8], code_lengths=[4], max_images=5, seed=seed) for seed in (0, 0, 1)]
    assert samples[0] == samples[1]
    assert samples[0].bounds != samples[2].bounds
    assert (samples[0].measured.masks, samples[0].measured.masks_in_split) == (5, 20)
    assert (samples[0].fitted.masks, samples[0].fitted.masks_in_split) == (5, 60)


def test_a_sample_of_more_than_there_is_is_everything(drawn: Path) -> None:
    few = label_limits(drawn, strides=[16], code_lengths=[], max_images=99)
    assert (few.measured.masks, few.fitted.masks) == (20, 0)
    assert few.bounds == label_limits(drawn, strides=[16], code_lengths=[]).bounds


def test_the_progress_is_told_step_by_step(drawn: Path) -> None:
    told: list[tuple[str, int, int]] = []
    label_limits(drawn, strides=[16], code_lengths=[4], progress=lambda *facts: told.append(facts))
    assert [facts for facts in told if facts[0] == "measuring"] == [("measuring", done, 20) for done in range(1, 21)]
    assert ("stride 16: reading", 60, 60) in told


def test_lengths_that_suit_a_stride_are_kept_and_the_others_noted(drawn: Path) -> None:
    found = label_limits(drawn, strides=[2, 4], code_lengths=[10, 20])
    assert [(bound.stride, bound.code_channels) for bound in found.bounds if bound.code_channels] == [
        (2, 10),
        (4, 10),
        (4, 20),
    ]
    (note,) = found.notes
    assert "at stride 2 a patch has 12 values" in note
    assert "20" in note


def test_codes_longer_than_every_patch_are_refused(drawn: Path) -> None:
    with pytest.raises(ConfigError, match="at stride 4 a patch has 48 values, fewer than codes of 49 channels"):
        label_limits(drawn, strides=[2, 4], code_lengths=[49])


def test_too_few_patches_for_any_code_are_refused(tmp_path: Path) -> None:
    masks = draw_maps(2, 3, (16, 16), seed=0)
    with pytest.raises(DataError, match="at stride 16 train has 2 patches, fewer than codes of 3, 32 channels"):
        label_limits(write_splits(tmp_path, {"train": masks, "val": masks}), strides=[16], code_lengths=[32, 3])


@pytest.mark.parametrize("strides", [[], [0], [-4], [1], [4, 3.5], [True], [129]])
def test_strides_that_cannot_be_used_are_refused(drawn: Path, strides: list[int]) -> None:
    with pytest.raises(ConfigError, match="strides are"):
        label_limits(drawn, strides=strides)


@pytest.mark.parametrize("lengths", [[0], [-1], [8, 2.5]])
def test_code_lengths_that_cannot_be_used_are_refused(drawn: Path, lengths: list[int]) -> None:
    with pytest.raises(ConfigError, match="code lengths are"):
        label_limits(drawn, code_lengths=lengths)


def test_no_image_is_no_sample(drawn: Path) -> None:
    with pytest.raises(ConfigError, match="number of images is 0"):
        label_limits(drawn, max_images=0)


@pytest.mark.parametrize("lengths", [[], [4]])
def test_labels_of_void_only_are_refused(one_mask: Callable[..., Path], lengths: list[int]) -> None:
    with pytest.raises(DataError, match="no labelled pixel"):
        label_limits(one_mask(np.full((16, 16), VOID, np.uint8)), strides=[4], code_lengths=lengths)


def test_boundary_scores_are_numbers(limits: Limits) -> None:
    assert not any(math.isnan(bound.boundary_f) for bound in limits.bounds)
