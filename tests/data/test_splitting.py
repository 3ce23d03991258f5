import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segwright.data import check_data, load_data
from segwright.data.splitting import split_data
from segwright.errors import ConfigError, DataError, Interrupted, RunError

YAML = """\
path: .
train: {images: images/train, masks: masks/train}
classes: {0: sky, 1: road, 2: car}
"""
WriteData = Callable[..., Path]


@pytest.fixture
def pool(write_data: WriteData) -> Path:
    """Twenty pictures called after five sequences; the car is in the first two only."""
    root = write_data(yaml=YAML, counts={"train": 20})
    for index in range(20):
        for folder in ("images", "masks"):
            name = f"seq{index // 4}_{index:02}.png"
            (root / folder / "train" / f"train_{index}.png").rename(root / folder / "train" / name)
        if index > 1:
            path = root / "masks" / "train" / f"seq{index // 4}_{index:02}.png"
            mask = np.array(Image.open(path))
            mask[mask == 2] = 1
            Image.fromarray(mask).save(path)
    return root


def stems(folder: Path, kind: str = "images") -> dict[str, list[str]]:
    return {split.name: sorted(path.stem for path in split.rglob("*.*")) for split in sorted((folder / kind).iterdir())}


def test_every_pair_lands_in_one_split_byte_by_byte_and_passes_the_check(pool: Path, tmp_path: Path) -> None:
    done = split_data(pool, tmp_path / "out", shares=(0.6, 0.2, 0.2))
    found = stems(tmp_path / "out")
    assert {split: len(names) for split, names in found.items()} == done.images == {"train": 12, "val": 4, "test": 4}
    assert sorted(name for names in found.values() for name in names) == stems(pool)["train"]
    assert stems(tmp_path / "out", "masks") == found
    for path in (tmp_path / "out").rglob("*.png"):
        assert (
            path.read_bytes() == (pool / path.relative_to(tmp_path / "out").parts[0] / "train" / path.name).read_bytes()
        )
    assert check_data(tmp_path / "out").ok
    assert load_data(tmp_path / "out").labels == load_data(pool).labels


def test_a_class_in_fewer_masks_than_splits_is_told(pool: Path, tmp_path: Path) -> None:
    done = split_data(pool, tmp_path / "out")
    assert sum(masks["car"] for masks in done.masks.values()) == 2
    assert any(note.startswith("class 'car' is in 2 masks only and missing in ") for note in done.notes)


def test_shares_of_pixels_add_up_and_follow_the_masks(pool: Path, tmp_path: Path) -> None:
    done = split_data(pool, tmp_path / "out", shares=(0.5, 0.5))
    counted = check_data(tmp_path / "out").classes
    assert done.pixels == counted
    assert sum(done.share_of_pixels(split, "road") or 0 for split in ("train", "val")) == pytest.approx(1)


@pytest.mark.parametrize("pattern", [r"(seq\d+)_", "seq?", "*_"])
def test_groups_stay_together(pool: Path, tmp_path: Path, pattern: str) -> None:
    done = split_data(pool, tmp_path / "out", shares=(0.6, 0.4), group=pattern)
    groups = {split: {name[:4] for name in names} for split, names in stems(tmp_path / "out").items()}
    assert groups["train"].isdisjoint(groups["val"])
    assert {split: len(names) for split, names in groups.items()} == done.groups == {"train": 3, "val": 2}


def test_a_name_without_group_is_named(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"finds no group in the name of '.*seq0_00.png', .* and 13 more"):
        split_data(pool, tmp_path / "out", group="seq4")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("group", "message"),
    [("(seq", "no regular expression"), ("(seq)(.)", "2 groups in brackets"), ("(?:seq)", "0 groups")],
)
def test_a_pattern_that_is_none_is_refused(pool: Path, tmp_path: Path, group: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_data(pool, tmp_path / "out", group=group)


def test_fewer_groups_than_splits_are_refused(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="20 pictures in 2 groups cannot make 3 splits"):
        split_data(pool, tmp_path / "out", group="(0|1)")


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.4), (1.0, 0.0), (0.25,) * 4, (float("nan"), 0.5)])
def test_shares_that_are_none_are_refused(pool: Path, tmp_path: Path, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="two or three shares above 0 that add up to 1"):
        split_data(pool, tmp_path / "out", shares=shares)


def test_the_order_in_which_files_were_made_says_nothing_and_the_seed_does(pool: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for path in sorted(pool.rglob("*"), reverse=True):
        if path.is_file():
            (other / path.relative_to(pool)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, other / path.relative_to(pool))
    for name, source, seed in (("a", pool, 0), ("b", other, 0), ("c", pool, 1)):
        split_data(source, tmp_path / name, seed=seed)
    assert stems(tmp_path / "a") == stems(tmp_path / "b") != stems(tmp_path / "c")
    # The same on every machine and in every version: only a change that is meant may change this line.
    assert stems(tmp_path / "a")["val"] == ["seq0_03", "seq3_15"]


def test_the_same_picture_under_two_names_stays_in_one_split(pool: Path, tmp_path: Path) -> None:
    images = pool / "images" / "train"
    for index in (4, 8, 12, 16):
        shutil.copyfile(images / "seq0_00.png", images / f"seq{index // 4}_{index:02}.png")
    for seed in range(4):
        done = split_data(pool, tmp_path / f"out{seed}", shares=(0.5, 0.5), seed=seed)
        twins = {"seq0_00", "seq1_04", "seq2_08", "seq3_12", "seq4_16"}
        assert sum(not twins.isdisjoint(names) for names in stems(tmp_path / f"out{seed}").values()) == 1
    assert any(note.startswith("5 pictures are the same as another, as '") for note in done.notes)


def test_several_splits_are_pooled_and_equal_names_told_apart(write_data: WriteData, tmp_path: Path) -> None:
    root = write_data(counts={"train": 3, "val": 3})
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            for index, path in enumerate(sorted((root / kind / split).iterdir())):
                path.rename(path.with_name(f"{index}.png"))
    done = split_data(root, tmp_path / "out", shares=(0.5, 0.5))
    found = stems(tmp_path / "out")
    assert sorted(found["train"] + found["val"]) == [
        f"{split}_{index}" for split in ("train", "val") for index in range(3)
    ]
    assert "pooled: 3 of train, 3 of val" in done.notes


def test_one_split_is_shared_out_and_the_others_stay(write_data: WriteData, tmp_path: Path) -> None:
    yaml = YAML + "test: {images: images/test, masks: masks/test}\n"
    root = write_data(yaml=yaml, counts={"train": 6, "test": 2})
    done = split_data(root, tmp_path / "out", shares=(0.5, 0.5), from_splits=["train"])
    assert {split: len(names) for split, names in stems(tmp_path / "out").items()} == {"train": 3, "val": 3, "test": 2}
    assert stems(tmp_path / "out")["test"] == stems(root)["test"]
    assert done.images == {"train": 3, "val": 3}
    assert "test is kept as it is" in done.notes


@pytest.mark.parametrize(
    ("name", "message"), [("tarin", "has no split 'tarin'"), ("train", "has a split 'val' already")]
)
def test_a_split_that_is_not_there_or_would_be_made_twice_is_refused(
    write_data: WriteData, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        split_data(write_data(), tmp_path / "out", shares=(0.5, 0.5), from_splits=[name])


def test_links_lead_to_the_files(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    split_data(pool.relative_to(tmp_path), "out", shares=(0.5, 0.5), link=True)
    links = list(Path("out").rglob("*.png"))
    assert len(links) == 40
    assert all(link.is_symlink() and link.resolve().is_relative_to(pool) and link.is_file() for link in links)
    assert check_data("out").ok


def test_a_bad_mask_is_named_and_nothing_is_written(pool: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64), 77, np.uint8)).save(pool / "masks/train/seq0_00.png")
    with pytest.raises(DataError, match=r"seq0_00.png' holds value 77"):
        split_data(pool, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_a_termination_while_files_are_written_leaves_nothing(pool: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "copying" and done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        split_data(pool, tmp_path / "out", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [pool.name]


def test_a_folder_that_cannot_be_written_is_named(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not write"):
        split_data(pool, tmp_path / "file" / "out")


def test_the_data_set_itself_is_no_target(pool: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the data that is read"):
        split_data(pool, pool / "out")


def test_names_that_are_not_utf8_are_shared_out_too(pool: Path, tmp_path: Path) -> None:
    for path in [*(pool / "images/train").glob("seq0_00*"), *(pool / "masks/train").glob("seq0_00*")]:
        try:
            path.rename(path.with_name(f"bad\udcff{path.suffix}"))
        except OSError:
            pytest.skip("the file system takes UTF-8 alone")
    split_data(pool, tmp_path / "out")
    assert "bad\udcff" in {name for names in stems(tmp_path / "out").values() for name in names}
