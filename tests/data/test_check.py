import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from segwright.data import DataReport, Problem, check_data, load_data
from segwright.data.transforms import EXIF_ORIENTATION
from segwright.errors import ConfigError, DataError

NAMES = ("sky", "road", "car")


@pytest.fixture
def root(write_data: Callable[..., Path]) -> Path:
    """Pictures train_0 to train_4 and val_5 to val_7, without a fault."""
    return write_data()


def codes(report: DataReport) -> list[tuple[str, str]]:
    return [(problem.code, Path(problem.file).name) for problem in report.problems]


def set_mask(root: Path, stem: str, pixels: np.ndarray) -> Path:
    path = root / "masks" / stem.split("_")[0] / f"{stem}.png"
    Image.fromarray(pixels).save(path)
    return path


def replace_values(root: Path, split: str, old: int, new: int) -> None:
    for path in (root / "masks" / split).iterdir():
        mask = np.asarray(Image.open(path)).copy()
        mask[mask == old] = new
        Image.fromarray(mask).save(path)


def only(report: DataReport) -> Problem:
    assert len(report.problems) == 1
    return report.problems[0]


def test_a_good_data_set_has_no_problem_and_exact_counts(root: Path) -> None:
    report = check_data(root)
    assert report.ok
    assert report.problems == ()
    assert report.images == {"train": 5, "val": 3}
    for split in ("train", "val"):
        masks = np.concatenate([np.asarray(Image.open(path)).ravel() for path in (root / "masks" / split).iterdir()])
        expected = [int((masks == index).sum()) for index in range(3)]
        assert report.class_counts(split) == expected
        assert report.classes[split] == dict(zip(NAMES, expected, strict=True))
    report.raise_if_bad()


def test_a_loaded_data_set_and_a_choice_of_splits_can_be_checked(root: Path) -> None:
    (root / "images/train/train_0.png").write_bytes(b"")
    report = check_data(load_data(root), splits=["val", "val"])
    assert report.ok
    assert report.images == {"val": 3}
    assert list(report.classes) == ["val"]


def test_an_unknown_split_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="has no split 'test'"):
        check_data(root, splits=["test"])


@pytest.mark.parametrize("content", [b"", b"this is text", "half", "end missing"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_pictures_that_cannot_be_read_in_full_are_found(root: Path, content: bytes | str, suffix: str) -> None:
    path = root / f"images/train/train_0{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    (root / "images/train/train_0.png").unlink()
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    cuts = {"half": whole[: len(whole) // 2], "end missing": whole[:-40]}
    path.write_bytes(content if isinstance(content, bytes) else cuts[content])
    problem = only(check_data(root))
    assert (problem.code, problem.severity, problem.file) == ("unreadable-picture", "error", str(path))
    assert str(path) in problem.message
    assert problem.fix


def test_a_16_bit_picture_among_others_is_an_error_and_a_data_set_of_them_is_not(root: Path) -> None:
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(root / "images/train/train_0.png")
    problem = only(check_data(root))
    assert (problem.code, problem.severity, Path(problem.file).name) == ("mixed-bands", "error", "train_0.png")
    assert "1 picture of train holds 1 band of 16 bits, where most hold 8-bit RGB" in problem.message
    for index, path in enumerate([*root.glob("images/*/*.png")]):
        Image.fromarray(np.full((48, 64), index, np.uint16)).save(path)
    assert check_data(root).problems == ()


def test_truncated_pictures_are_found_even_where_pillow_was_told_to_load_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for path in (root / "images/val/val_5.png", root / "masks/val/val_6.png"):
        path.write_bytes(path.read_bytes()[:-60])
    assert codes(check_data(root)) == [("unreadable-picture", "val_5.png"), ("unreadable-mask", "val_6.png")]
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("content", [b"", b"this is text", "truncated"])
def test_masks_that_cannot_be_read_are_found(root: Path, content: bytes | str) -> None:
    path = root / "masks/val/val_5.png"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:-60])
    problem = only(check_data(root))
    assert (problem.code, problem.severity, problem.file) == ("unreadable-mask", "error", str(path))


def test_sizes_that_differ_are_found(root: Path) -> None:
    path = set_mask(root, "train_1", np.zeros((64, 48), np.uint8))
    problem = only(check_data(root))
    assert (problem.code, problem.severity, problem.file) == ("size-mismatch", "error", str(path))
    assert "is 48x64 (width x height)" in problem.message


def test_the_size_of_a_turned_picture_is_that_shown(root: Path) -> None:
    path = root / "images/train/train_1.png"
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    turned.save(path, exif=exif)
    assert check_data(root).ok
    turned.save(path)
    assert codes(check_data(root)) == [("size-mismatch", "train_1.png"), ("mixed-sizes", "train_1.png")]


@pytest.mark.parametrize("name", ["train_1.jpg", "train_1.png"])
def test_a_jpeg_mask_is_an_error_whatever_its_name(root: Path, name: str) -> None:
    (root / "masks/train/train_1.png").unlink()
    path = root / "masks/train" / name
    Image.fromarray(np.ones((48, 64), np.uint8)).save(path, "JPEG", quality=100)
    problem = only(check_data(root))
    assert (problem.code, problem.severity, problem.file) == ("lossy-mask", "error", str(path))
    assert problem.message == f"mask '{path}' is a JPEG, which smears class values (1 distinct values)"
    assert problem.fix == "export it as PNG from the labelling tool"


def test_unknown_values_of_a_split_are_one_problem_with_one_line_that_mends_all(root: Path) -> None:
    first, second = np.zeros((2, 48, 64), np.uint8)
    first[3, 4:7], second[0, 0] = 9, 9
    second[:2, 2:10] = 77
    path = set_mask(root, "train_1", first)
    set_mask(root, "train_3", second)
    set_mask(root, "val_6", first)
    report = check_data(root)
    assert codes(report) == [("unknown-value", "train_1.png"), ("unknown-value", "val_6.png")]
    train, val = report.problems
    assert (train.severity, train.file) == ("error", str(path))
    assert train.message == (
        "2 masks of train hold the unknown values 77 (16 px in 1 mask), 9 (4 px in 2 masks), "
        f"first in '{path}' (row 3, column 4), also in '{path.with_name('train_3.png')}'; "
        "classes end at 2 and ignore is 255"
    )
    assert train.fix == "add 'map: {77: ignore, 9: ignore}' to data.yaml, or the classes they mean"
    assert [(place.file, place.row, place.column, place.pixels) for place in train.places] == [
        (str(path), 3, 4, 3),
        (str(path.with_name("train_3.png")), 0, 0, 17),
    ]
    assert train.count == 2
    assert "1 mask of val holds the unknown value 9 (3 px in 1 mask)" in val.message
    assert val.fix == train.fix
    with (root / "data.yaml").open("a") as file:
        file.write("map: {77: ignore, 9: ignore}\n")
    assert check_data(root).ok


def test_ten_unknown_values_are_listed_and_the_others_counted(root: Path) -> None:
    set_mask(root, "train_1", np.arange(100, 112, dtype=np.uint8).repeat(256).reshape(48, 64))
    problem = only(check_data(root))
    assert "109 (256 px in 1 mask) and 2 others, first in" in problem.message
    assert "109: ignore}' to data.yaml and the others likewise, or the classes they mean" in problem.fix


def test_colour_masks_without_colours_are_told_from_unknown_colours(root: Path) -> None:
    for stem in ("train_1", "train_2"):
        set_mask(root, stem, np.zeros((48, 64, 3), np.uint8))
    report = check_data(root)
    assert codes(report) == [("colour-mask", "train_1.png")]
    assert "2 masks of train are RGB pictures (first '" in only(report).message
    with (root / "data.yaml").open("a") as file:
        file.write('map: {"1,1,1": sky}\n')
    report = check_data(root)
    assert codes(report) == [("unknown-value", "train_1.png")]
    assert "0,0,0 (6144 px in 2 masks; nearest is 1,1,1 (sky))" in only(report).message
    assert only(report).fix == """add '"0,0,0": ignore' to 'map' in data.yaml, or the class it means"""


def test_masks_named_after_their_pictures_with_an_ending_are_told_to_be_renamed(root: Path) -> None:
    for path in (root / "masks/train").iterdir():
        path.rename(path.with_stem(f"{path.stem}_mask"))
    missing = [problem for problem in check_data(root).problems if problem.code == "missing-mask"]
    assert len(missing) == 5
    assert missing[0].fix.endswith("; the masks' names end in '_mask': rename them to the pictures' stems")


def test_every_lonely_file_is_listed_and_the_pairs_are_still_checked(root: Path) -> None:
    for index in (0, 1):
        (root / f"masks/train/train_{index}.png").unlink()
    (root / "images/train/train_2.png").unlink()
    (root / "masks/train/train_3.png").write_bytes(b"")
    report = check_data(root)
    assert codes(report) == [
        ("missing-mask", "train_0.png"),
        ("missing-mask", "train_1.png"),
        ("missing-picture", "train_2.png"),
        ("unreadable-mask", "train_3.png"),
    ]
    assert not report.ok
    assert report.images == {"train": 4, "val": 3}
    assert sum(report.class_counts("train")) > 0


def test_lonely_files_are_read_too(root: Path) -> None:
    (root / "masks/train/train_0.png").unlink()
    (root / "images/train/train_0.png").write_bytes(b"")
    assert codes(check_data(root)) == [("missing-mask", "train_0.png"), ("unreadable-picture", "train_0.png")]


def test_two_files_of_one_stem_are_found(root: Path) -> None:
    shutil.copy(root / "images/val/val_5.png", root / "images/val/val_5.webp")
    assert codes(check_data(root)) == [("duplicate-stem", "val_5.webp")]


def test_a_missing_folder_is_one_problem_and_the_rest_is_checked(root: Path) -> None:
    shutil.rmtree(root / "images/val")
    (root / "images/train/train_4.png").write_bytes(b"")
    report = check_data(root)
    assert codes(report) == [("missing-folder", "val"), ("unreadable-picture", "train_4.png")]
    assert report.images == {"train": 5, "val": 0}


def test_a_split_without_pictures_is_found(root: Path) -> None:
    for folder in ("images/val", "masks/val"):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()
    assert codes(check_data(root)) == [("no-picture", "val")]


def test_a_mask_that_is_ignored_altogether_is_a_warning(root: Path) -> None:
    path = set_mask(root, "train_1", np.full((48, 64), 255, np.uint8))
    report = check_data(root)
    assert report.ok
    problem = only(report)
    assert (problem.code, problem.severity, problem.file) == ("all-ignored", "warning", str(path))
    report.raise_if_bad()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_labelled_pixel_is_an_error(root: Path, split: str) -> None:
    for value in range(3):
        replace_values(root, split, value, 255)
    report = check_data(root)
    assert {problem.code for problem in report.problems} == {"all-ignored", "nothing-labelled"}
    problem = report.problems[-1]
    assert (problem.code, problem.severity) == ("nothing-labelled", "error")
    assert problem.file == str(root / "masks" / split)
    assert f"masks of {split} hold no labelled pixel" in problem.message
    assert report.class_counts(split) == [0, 0, 0]
    with pytest.raises(DataError, match="hold no labelled pixel"):
        report.raise_if_bad()


def test_a_test_split_may_be_published_without_labels(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder / "val").rename(root / folder / "test")
    text = (root / "data.yaml").read_text().replace("val", "test")
    (root / "data.yaml").write_text(text)
    for value in range(3):
        replace_values(root, "test", value, 255)
    report = check_data(root)
    assert report.ok
    assert [problem.code for problem in report.problems[-4:]] == ["class-absent"] * 3 + ["no-val-split"]


@pytest.mark.parametrize(("kept", "absent"), [("train", "val"), ("val", "train")])
def test_a_split_that_training_needs_and_nobody_gives_is_a_warning(root: Path, kept: str, absent: str) -> None:
    lines = (root / "data.yaml").read_text().splitlines(keepends=True)
    (root / "data.yaml").write_text("".join(line for line in lines if not line.startswith(absent)))
    problem = only(check_data(root))
    assert (problem.code, problem.severity) == (f"no-{absent}-split", "warning")
    assert problem.file == str(root / "data.yaml")
    assert problem.message == f"data set 'data' has no split '{absent}', which training needs"
    assert problem.fix.startswith(
        f"add '{absent}: {{images: ..., masks: ...}}' to data.yaml, or share the pictures out:"
    )
    assert check_data(root, splits=[kept]).problems == ()


def test_of_a_long_table_the_classes_without_a_pixel_are_one_warning(root: Path) -> None:
    text = (root / "data.yaml").read_text()
    more = "".join(f", {index}: class {index}" for index in range(3, 20))
    (root / "data.yaml").write_text(text.replace("2: car", f"2: car{more}"))
    report = check_data(root)
    assert [(problem.code, problem.count) for problem in report.problems] == [("class-absent", 17)] * 2
    train, val = (problem.message for problem in report.problems)
    assert train.startswith(
        "17 classes have no pixel in the 5 masks of train: they are never trained: class 3, class 4"
    )
    assert train.endswith("class 12 and 7 others")
    assert "the 3 masks of val: they cannot be scored there: class 3" in val


def test_a_class_that_only_val_holds_is_an_error_that_can_be_allowed(root: Path) -> None:
    replace_values(root, "train", 2, 1)
    report = check_data(root)
    problem = only(report)
    assert (problem.code, problem.severity, Path(problem.file).name) == ("class-only-in-val", "error", "train")
    assert "class 'car' has no pixel in the 5 masks of train, but in val: it is never trained" in problem.message
    assert problem.fix.endswith("--allow class-only-in-val, in training --set data.allow=class-only-in-val")
    allowed = check_data(root, allow=["class-only-in-val"])
    assert allowed.ok
    assert only(allowed) == replace(problem, severity="warning")


def test_only_what_may_be_meant_can_be_allowed(root: Path) -> None:
    with pytest.raises(ConfigError, match="'size-mismatch' is no problem that can be allowed; allow any of class-only"):
        check_data(root, allow=["size-mismatch"])


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("val",), [("class-absent", "val", "it cannot be scored")]),
        (("train", "val"), [("class-absent", "train", "never trained"), ("class-absent", "val", "cannot be scored")]),
    ],
)
def test_classes_without_a_pixel_are_warnings(
    root: Path, splits: tuple[str, ...], expected: list[tuple[str, str, str]]
) -> None:
    for split in splits:
        replace_values(root, split, 2, 1)
    report = check_data(root)
    assert report.ok
    assert len(report.problems) == len(expected)
    for problem, (code, folder, said) in zip(report.problems, expected, strict=True):
        assert (problem.code, problem.severity, Path(problem.file).name) == (code, "warning", folder)
        assert f"class 'car' has no pixel in the {5 if folder == 'train' else 3} masks of {folder}" in problem.message
        assert said in problem.message


def test_the_same_picture_in_two_splits_and_twice_in_one_are_warnings(root: Path) -> None:
    shutil.copy(root / "images/train/train_2.png", root / "images/val/val_6.png")
    shutil.copy(root / "images/train/train_2.png", root / "images/train/train_3.png")
    report = check_data(root)
    assert report.ok
    assert codes(report) == [("repeated-picture", "train_3.png"), ("identical-picture", "val_6.png")]
    assert all("train_2.png" in problem.message for problem in report.problems)


def test_all_faults_of_a_data_set_are_found_at_once(root: Path) -> None:
    (root / "images/train/train_0.png").write_bytes(b"")
    set_mask(root, "train_1", np.full((48, 64), 77, np.uint8))
    set_mask(root, "train_2", np.zeros((5, 5), np.uint8))
    (root / "masks/val/val_5.png").unlink()
    (root / "masks/val/val_6.png").write_text("text")
    report = check_data(root)
    assert codes(report) == [
        ("missing-mask", "val_5.png"),
        ("unreadable-picture", "train_0.png"),
        ("size-mismatch", "train_2.png"),
        ("unreadable-mask", "val_6.png"),
        ("unknown-value", "train_1.png"),
    ]


def test_lonely_and_damaged_files_do_not_stop_the_check_of_a_recognised_folder(
    write_data: Callable[..., Path],
) -> None:
    root = write_data(yaml="", counts={"x": 8}, images="images", masks="masks")
    (root / "masks/x_3.png").unlink()
    (root / "masks/x_4.png").write_bytes(b"")
    report = check_data(root)
    assert sum(report.images.values()) == 8
    assert {("missing-mask", "x_3.png"), ("unreadable-mask", "x_4.png")} <= set(codes(report))


def test_the_only_pair_of_a_recognised_folder_is_no_leak(write_data: Callable[..., Path]) -> None:
    root = write_data(yaml="", counts={"x": 1}, images="images", masks="masks")
    report = check_data(root)
    assert report.images == {"train": 1, "val": 1}
    assert report.problems == ()
    assert report.source == root


def test_a_data_yaml_whose_splits_share_a_folder_is_a_leak(root: Path) -> None:
    text = (root / "data.yaml").read_text().replace("images/val, masks: masks/val", "images/train, masks: masks/train")
    (root / "data.yaml").write_text(text)
    assert [problem.code for problem in check_data(root).problems] == ["identical-picture"] * 5


def test_what_cannot_be_checked_at_all_is_raised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        check_data(tmp_path / "nowhere")


def test_json_holds_what_scripts_rely_on(root: Path) -> None:
    path = set_mask(root, "train_1", np.full((48, 64), 77, np.uint8))
    content = json.loads(json.dumps(check_data(root).to_json()))
    assert set(content) == {"ok", "images", "classes", "problems"}
    assert content["ok"] is False
    assert content["images"] == {"train": 5, "val": 3}
    assert list(content["classes"]["train"]) == list(NAMES)
    assert set(content["problems"][0]) == {"code", "file", "message", "fix", "severity", "count", "places"}
    assert content["problems"][0]["places"] == [{"file": str(path), "row": 0, "column": 0, "pixels": 48 * 64}]
    assert content["problems"][0]["file"] == str(path)


def test_errors_are_raised_with_the_first_named_and_all_counted() -> None:
    problems = tuple(
        Problem("unknown-value", "error", f"{index}.png", f"mask {index} is bad", "mend it") for index in range(5)
    )
    warning = Problem("class-absent", "warning", "masks", "no car", "add one")
    with pytest.raises(DataError) as caught:
        DataReport({}, {}, (warning, *problems), Path("my data/data.yaml")).raise_if_bad(limit=2)
    assert caught.value.message == "the data set has 5 errors: mask 0 is bad; mask 1 is bad (and 3 more)"
    assert caught.value.fix == "segwright data check 'my data/data.yaml' lists all"
    with pytest.raises(DataError, match=r"the data set has 1 error: mask 0 is bad; check_data\(data\) lists all"):
        DataReport({}, {}, problems[:1]).raise_if_bad()
    DataReport({}, {}, (warning,)).raise_if_bad()


def test_progress_counts_every_pair_and_lonely_file(root: Path) -> None:
    (root / "masks/train/train_0.png").unlink()
    seen: list[tuple[int, int]] = []
    check_data(root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]
