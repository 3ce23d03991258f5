from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segwright.data import Augmentation, TrainingSamples, load_data
from segwright.data.mixing import box_region, class_region, pasted
from segwright.types import Sample

IGNORED = 255


def sample(mask: list[list[int]], value: int = 0) -> Sample:
    labels = torch.tensor(mask, dtype=torch.uint8)
    return Sample(torch.full((3, *labels.shape), value, dtype=torch.uint8), labels, "street.png")


@pytest.mark.parametrize(("classes", "pasted_classes"), [([0], 0), ([0, 1], 1), ([0, 1, 2], 1), ([4, 2, 1, 7], 2)])
def test_half_of_the_classes_are_taken_whole_and_ignored_pixels_never(classes: list[int], pasted_classes: int) -> None:
    other = sample([[*classes, *classes, IGNORED]])
    for seed in range(20):
        region = class_region(other, IGNORED, np.random.default_rng(seed))
        taken = set(other.mask[region].tolist())
        assert len(taken) == pasted_classes
        assert taken <= set(classes)
        assert int(region.sum()) == 2 * pasted_classes


def test_every_class_is_taken_at_times() -> None:
    other, rng = sample([[0, 1, 2]]), np.random.default_rng(0)
    taken = {value for _ in range(60) for value in other.mask[class_region(other, IGNORED, rng)].tolist()}
    assert taken == {0, 1, 2}


def test_boxes_have_all_areas_and_the_sample_s_proportions() -> None:
    other, rng = sample([[0] * 40 for _ in range(20)]), np.random.default_rng(0)
    regions = [box_region(other, IGNORED, rng) for _ in range(300)]
    for region in regions:
        rows, columns = (int(region.any(dim).sum()) for dim in (1, 0))
        assert int(region.sum()) == rows * columns  # one box
    areas = torch.stack([region.float().mean() for region in regions])
    assert areas.min() < 0.05
    assert areas.max() > 0.6


def test_picture_and_mask_are_pasted_together() -> None:
    street, other = sample([[0, 0], [0, 0]], value=10), sample([[1, 2], [1, IGNORED]], value=20)
    region = torch.tensor([[True, False], [False, True]])
    mixed = pasted(street, other, region)
    assert mixed.mask.tolist() == [[1, 0], [0, IGNORED]]
    assert mixed.image[:, region].unique().tolist() == [20]
    assert mixed.image[:, ~region].unique().tolist() == [10]
    assert mixed.name == "street.png"


@pytest.mark.parametrize("kind", ["classmix", "cutmix"])
def test_the_stream_mixes_the_asked_share_and_depends_on_the_position_alone(
    write_data: Callable[..., Path], kind: str
) -> None:
    data = load_data(write_data())
    augmentation = Augmentation((24, 32))

    def stream(share: float) -> TrainingSamples:
        return TrainingSamples(data.pairs("train"), data.labels, augmentation, 0, **{kind: share})  # type: ignore[arg-type]

    plain, half, always = stream(0.0), stream(0.5), stream(1.0)

    def differ(mixed: TrainingSamples, position: int) -> bool:
        return not torch.equal(mixed[position].image, plain[position].image)

    assert sum(differ(half, position) for position in range(40)) == pytest.approx(20, abs=9)
    assert sum(differ(always, position) for position in range(40)) >= 25  # a crop of one class has none to give
    assert torch.equal(always[7].mask, stream(1.0)[7].mask)
