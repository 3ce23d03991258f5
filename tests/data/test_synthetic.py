"""The drawn street scenes: same seed same bytes, masks that fit, and a data set that is written whole or not at all."""

import errno
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from segwright.data.synthetic import CLASSES, IGNORE_INDEX, PALETTE, draw_scene, write_dataset
from segwright.data.synthetic.canvas import Canvas
from segwright.data.synthetic.classes import PERSON, POLE, ROAD, SKY
from segwright.errors import ConfigError, DataError, RunError, ShapeError

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]
SIZE = (48, 64)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed, (180, 240)) for seed in range(30)]


def test_same_seed_and_size_give_the_same_bytes() -> None:
    first, second = draw_scene(7), draw_scene(7)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_different_seeds_give_different_scenes(scenes: list[Scene]) -> None:
    assert len({mask.tobytes() for _, mask in scenes}) == len(scenes)


@pytest.mark.parametrize("size", [(360, 480), (64, 64), (65, 97), (33, 131), (200, 77), (32, 32)])
def test_any_size_gives_an_image_and_a_mask_of_that_size(size: tuple[int, int]) -> None:
    for seed in range(3):
        image, mask = draw_scene(seed, size)
        assert image.shape == (*size, 3)
        assert mask.shape == size
        assert image.dtype == mask.dtype == np.uint8


def test_masks_hold_only_classes_and_ignore(scenes: list[Scene]) -> None:
    values = np.unique(np.concatenate([np.unique(mask) for _, mask in scenes]))
    assert set(values.tolist()) <= {*range(len(CLASSES)), IGNORE_INDEX}


def test_every_class_occurs_regularly(scenes: list[Scene]) -> None:
    shares = np.array([np.bincount(mask.ravel(), minlength=256)[: len(CLASSES)] / mask.size for _, mask in scenes])
    assert (shares.mean(axis=0) >= 0.003).all(), dict(zip(CLASSES, shares.mean(axis=0), strict=True))
    assert ((shares > 0).mean(axis=0) >= 0.4).all(), dict(zip(CLASSES, (shares > 0).mean(axis=0), strict=True))


def test_some_scenes_show_our_own_bonnet_and_most_do_not(scenes: list[Scene]) -> None:
    with_bonnet = sum(bool((mask[-1] == IGNORE_INDEX).any()) for _, mask in scenes)
    assert 0 < with_bonnet < len(scenes) / 2


def test_sky_lies_above_the_road(scenes: list[Scene]) -> None:
    for _, mask in scenes:
        lowest_sky, highest_road = np.nonzero(mask == SKY)[0].max(), np.nonzero(mask == ROAD)[0].min()
        assert lowest_sky < highest_road


def test_poles_are_thin() -> None:
    widths = [
        len(list(run))
        for seed in range(4)
        for row in draw_scene(seed)[1]
        for label, run in groupby(row.tolist())
        if label == POLE
    ]
    assert np.mean(np.array(widths) <= 3) > 0.5


def test_hours_of_the_day_differ(scenes: list[Scene]) -> None:
    brightness = [float(image.mean()) for image, _ in scenes]
    assert max(brightness) > 2 * min(brightness)


def test_a_shape_has_the_same_edges_in_picture_and_mask() -> None:
    canvas = Canvas(40, 50)
    canvas.polygon([(7.3, 5.1), (41.8, 12.6), (22.4, 35.9)], (240.0, 240.0, 240.0), PERSON)
    canvas.ellipse(12.2, 28.7, (6.4, 3.3), (240.0, 240.0, 240.0), PERSON, glow=True)
    coverage, inside = canvas.picture()[..., 0] / 240, canvas.mask() == PERSON
    assert (inside[coverage == 1]).all()
    assert not inside[coverage == 0].any()
    assert 0.35 < (coverage[inside].min() + coverage[~inside].max()) / 2 < 0.65


def test_replacing_the_picture_keeps_untouched_pixels_exactly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.float32)
    canvas = Canvas(20, 30)
    canvas.replace_picture(pixels)
    assert np.array_equal(canvas.picture(), pixels)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="-1"):
        draw_scene(-1)


def test_a_size_too_small_is_refused() -> None:
    with pytest.raises(ShapeError, match="16x480"):
        draw_scene(0, (16, 480))


def test_written_masks_are_index_pngs_that_equal_the_drawn_masks(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "streets", counts={"train": 2, "val": 1}, size=SIZE, seed=0)
    stored = Image.open(folder / "masks/train/scene_0001.png")
    assert stored.mode == "P"
    assert np.array_equal(np.asarray(stored), draw_scene(1, SIZE)[1])
    assert (stored.getpalette() or [])[: 3 * len(PALETTE)] == [value for colour in PALETTE for value in colour]
    image = np.asarray(Image.open(folder / "images/train/scene_0001.jpg"), np.float32)
    assert np.abs(image - draw_scene(1, SIZE)[0]).mean() < 8  # JPEG


def test_data_yaml_names_splits_classes_palette_and_ignore(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "streets", counts={"train": 1, "val": 1, "test": 1}, size=SIZE)
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert data == {
        "path": ".",
        **{split: {"images": f"images/{split}", "masks": f"masks/{split}"} for split in ("train", "val", "test")},
        "classes": dict(enumerate(CLASSES)),
        "palette": {name: list(colour) for name, colour in zip(CLASSES, PALETTE, strict=True)},
        "ignore": [255],
    }


def test_no_scene_occurs_twice_in_a_data_set_or_in_the_next_seeds(tmp_path: Path) -> None:
    counts = {"train": 3, "val": 3, "test": 3}
    masks = [
        path.read_bytes()
        for seed in (0, 1)
        for path in write_dataset(tmp_path / str(seed), counts=counts, size=SIZE, seed=seed).glob("masks/*/*.png")
    ]
    assert len(masks) == len(set(masks)) == 18


def test_progress_counts_the_scenes(tmp_path: Path) -> None:
    calls: list[int] = []
    write_dataset(tmp_path / "streets", counts={"train": 2, "val": 1}, size=SIZE, progress=calls.append)
    assert calls == [1, 2, 3]


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(DataError, match=tmp_path.name):
        write_dataset(tmp_path, counts={"train": 1}, size=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert write_dataset(folder, counts={"train": 1}, size=SIZE) == folder
    assert (folder / "data.yaml").is_file()


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "streets", counts={"train": 2}, size=SIZE, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", [OSError(errno.ENOSPC, "No space left on device"), OSError("encoder error -2")])
def test_a_full_disk_names_the_folder_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: OSError
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise reason

    monkeypatch.setattr(Image.Image, "save", refuse)
    with pytest.raises(RunError) as caught:
        write_dataset(tmp_path / "streets", counts={"train": 1}, size=SIZE)
    assert caught.value.message == f"could not write '{tmp_path / 'streets'}': {reason.strerror or reason}"
    assert "disk with space" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_none_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    with pytest.raises(RunError, match=r"could not write '.*/file/streets': "):
        write_dataset(tmp_path / "file" / "streets", counts={"train": 1}, size=SIZE)


@pytest.mark.parametrize("counts", [{"../train": 1}, {"train": -1}, {"train": 0, "val": 0}, {}])
def test_splits_that_cannot_be_written_are_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        write_dataset(tmp_path / "streets", counts=counts, size=SIZE)
    assert list(tmp_path.iterdir()) == []
