from pathlib import Path

import numpy as np
import pytest

from segwright.analysis.patches import LabelPatches, read_patches
from segwright.errors import ConfigError, DataError
from tests.analysis.maps import VOID, draw_maps, patches_of, windows_of, write_data

CLASSES = ("sky", "road", "car")


def test_patches_are_the_windows_of_the_masks_padded_with_void() -> None:
    masks = draw_maps(6, 3, (21, 34), seed=0, void=True)
    patches = patches_of(masks, 3, 4)
    windows = windows_of(masks, 4)
    is_mixed = [len(np.unique(window)) > 1 for window in windows]
    np.testing.assert_array_equal(patches.mixed, [w.ravel() for w, m in zip(windows, is_mixed, strict=True) if m])
    alone = [int(w[0, 0]) for w, m in zip(windows, is_mixed, strict=True) if not m]
    np.testing.assert_array_equal(patches.constant, [alone.count(index) for index in range(3)])
    assert patches.void_only == alone.count(VOID) > 0
    assert patches.count == len(windows) - patches.void_only


def test_masks_of_any_size_go_together() -> None:
    masks = [*draw_maps(2, 3, (16, 24), seed=0), *draw_maps(2, 3, (9, 7), seed=1)]
    patches = patches_of(masks, 3, 8)
    assert patches.count + patches.void_only == 2 * 6 + 2 * 2


def test_class_of_a_single_patch_is_counted_among_thousands() -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[8:16, 16:24] = 2
    assert patches_of([mask], 3, 8, memory_mb=1).constant.tolist() == [1023, 0, 1]


def test_masks_of_more_than_255_classes_keep_their_classes() -> None:
    mask = np.array([[300, 300, 7, 65535]] * 2, np.uint16)
    patches = LabelPatches.from_masks([mask], ratio=2, num_classes=301, void=65535)
    assert patches.constant[300] == 1
    np.testing.assert_array_equal(patches.mixed, [[7, 65535, 7, 65535]])


def noise(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 2, (64, 64)).astype(np.uint8) for _ in range(count)]


def test_mixed_patches_beyond_a_quarter_of_the_memory_are_a_uniform_sample() -> None:
    patches = patches_of(noise(300), 2, 8, memory_mb=1)
    assert patches.mixed_total == 300 * 64
    assert patches.mixed.nbytes <= 2**20 // 4
    assert patches.weight == pytest.approx(300 * 64 / len(patches.mixed))
    everything = patches_of(noise(300), 2, 8).mixed
    place = {row.tobytes(): index for index, row in enumerate(everything)}
    places = np.array([place[row.tobytes()] for row in patches.mixed])
    assert len(np.unique(places)) == len(places)
    tenths = np.histogram(places, 10, (0, len(everything)))[0]
    assert tenths.min() > 0.8 * tenths.mean()


def test_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (patches_of(noise(300), 2, 8, memory_mb=1, seed=seed).mixed for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_read_patches_equal_those_of_the_masks_and_progress_reaches_the_total(tmp_path: Path) -> None:
    masks = draw_maps(5, 3, (20, 28), seed=0, void=True)
    steps: list[tuple[int, int]] = []
    read = read_patches(
        write_data(tmp_path, masks, CLASSES), ratio=8, progress=lambda done, total: steps.append((done, total))
    )
    np.testing.assert_array_equal(read.mixed, patches_of(masks, 3, 8).mixed)
    assert steps == [(done, 5) for done in range(1, 6)]


def test_max_masks_reads_a_random_sample_of_the_masks(tmp_path: Path) -> None:
    folder = write_data(tmp_path, [np.full((8, 8), index, np.uint8) for index in range(3)], CLASSES)
    samples = [read_patches(folder, ratio=8, max_masks=2, seed=seed).constant.tolist() for seed in range(8)]
    assert {sum(sample) for sample in samples} == {2}
    assert len({tuple(sample) for sample in samples}) > 1
    assert read_patches(folder, ratio=8, max_masks=9).count == 3


def test_masks_of_void_only_are_refused(tmp_path: Path) -> None:
    folder = write_data(tmp_path, [np.full((8, 8), VOID, np.uint8)] * 2, CLASSES)
    with pytest.raises(DataError, match=r"the 2 masks of split 'train' of .* hold no labelled pixel; label some"):
        read_patches(folder, ratio=8)


def test_value_that_means_nothing_is_named_with_its_file(tmp_path: Path) -> None:
    folder = write_data(tmp_path, [np.full((8, 8), 7, np.uint8)], CLASSES)
    with pytest.raises(DataError, match=r"000\.png' holds value 7 \(64 px\)"):
        read_patches(folder, ratio=8)


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    folder = write_data(tmp_path, draw_maps(1, 3, (8, 8), seed=0), CLASSES)
    with pytest.raises(DataError, match="has no split 'val'"):
        read_patches(folder, ratio=8, split="val")


@pytest.mark.parametrize(("options", "said"), [({"ratio": 0}, "ratio is 0"), ({"ratio": 8, "max_masks": 0}, "max_m")])
def test_numbers_out_of_range_are_refused(tmp_path: Path, options: dict[str, int], said: str) -> None:
    folder = write_data(tmp_path, draw_maps(1, 3, (8, 8), seed=0), CLASSES)
    with pytest.raises(ConfigError, match=said):
        read_patches(folder, **options)
