"""What the files of whole splits say together."""

import numpy as np
import pytest
from PIL import Image

from segwright.data import DataReport, Problem, check_data

from ..conftest import YAML
from ..faults import Plot, blob, smooth

TWO_CLASSES = """\
path: .
train: {images: images/train, masks: masks/train}
val: {images: images/val, masks: masks/val}
classes: {0: wall, 1: crack}
"""


def of_code(report: DataReport, code: str) -> list[Problem]:
    return [problem for problem in report.problems if problem.code == code]


def the(report: DataReport, code: str) -> Problem:
    (problem,) = of_code(report, code)
    return problem


@pytest.mark.parametrize("ignore", ["", "ignore: []\n"])
def test_masks_of_0_and_255_alone_are_an_error_whether_255_is_ignored_or_unknown(plot: Plot, ignore: str) -> None:
    plot.write_yaml(TWO_CLASSES, ignore)
    plot.repaint({1: 0, 2: 255})
    report = check_data(plot.root)
    assert [(problem.code, problem.severity, problem.count) for problem in report.problems] == [
        ("binary-mask", "error", 5),
        ("binary-mask", "error", 3),
    ]
    assert report.problems[0].file == str(plot.mask("train_0.png"))
    assert "5 masks of train hold 0 and 255 alone, and 255 is no class" in report.problems[0].message
    assert "'map: {255: crack}'" in report.problems[0].fix
    plot.write_yaml(TWO_CLASSES, "map: {255: crack}\n")
    assert check_data(plot.root).problems == ()


def test_the_class_of_255_is_left_to_fill_in_where_there_are_several(plot: Plot) -> None:
    plot.repaint({1: 0, 2: 255})
    assert "'map: {255: CLASS}'" in of_code(check_data(plot.root), "binary-mask")[0].fix


def test_a_black_and_white_mask_among_others_is_a_warning(plot: Plot) -> None:
    mask = plot.mask_of("drawn", blob(255))
    problem = the(check_data(plot.root), "binary-mask")
    assert (problem.severity, problem.file) == ("warning", str(mask))
    assert "where others hold classes" in problem.message


def test_background_beside_ignored_pixels_is_fine_where_255_is_a_class_of_its_own(plot: Plot) -> None:
    plot.write_yaml(more="map: {255: car}\n")
    plot.mask_of("drawn", blob(255))
    assert check_data(plot.root).problems == ()


def test_values_from_1_on_without_0_are_told_to_be_shifted(plot: Plot) -> None:
    plot.repaint({0: 1, 1: 2, 2: 3})
    report = check_data(plot.root)
    problem = of_code(report, "unknown-value")[0]
    assert "0 never occurs and the values end at 3: they are probably shifted by one" in problem.message
    assert "'map: {1: sky, 2: road, 3: car}'" in problem.fix
    plot.write_yaml(more="map: {1: sky, 2: road, 3: car}\n")
    assert check_data(plot.root).problems == ()


def test_a_stray_3_beside_0_is_not_told_to_be_shifted(plot: Plot) -> None:
    plot.repaint({2: 3})
    assert "shifted" not in of_code(check_data(plot.root), "unknown-value")[0].message


def test_smooth_edges_are_told_with_the_nearest_values(plot: Plot) -> None:
    mask = plot.mask_of("smooth", smooth(blob(255)))
    problem = the(check_data(plot.root), "smeared-mask")
    assert (problem.severity, problem.file) == ("error", str(mask))
    assert "along edges" in problem.message
    assert "nearest is 255" in problem.message
    assert "nearest is 0" in problem.message


def test_smooth_edges_of_coloured_masks_are_told_with_the_nearest_class(plot: Plot) -> None:
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 90]], np.uint8)
    for path in (plot.root / "masks").glob("*/*.png"):
        Image.fromarray(colours[np.asarray(Image.open(path)) % 3]).save(path)
    plot.write_yaml(more="palette: {sky: [0, 0, 0], road: [200, 0, 0], car: [0, 0, 90]}\n")
    assert check_data(plot.root).problems == ()
    picture = Image.fromarray(colours[blob(1)]).resize((171, 129), Image.Resampling.BILINEAR)
    mask = plot.mask_of("smooth", np.asarray(picture.resize((64, 48), Image.Resampling.BILINEAR)))
    problem = the(check_data(plot.root), "smeared-mask")
    assert problem.file == str(mask)
    assert "nearest is 200,0,0 (road)" in problem.message


def test_several_unknown_ids_with_areas_are_no_smooth_edges(plot: Plot) -> None:
    columns = np.arange(64, dtype=np.uint8).repeat(48).reshape(64, 48).T // 8
    plot.mask_of("new", (columns + 70).astype(np.uint8))
    assert {problem.code for problem in check_data(plot.root).problems} == {"unknown-value"}


def test_coloured_masks_without_colours_come_with_a_table_to_fill_in(plot: Plot) -> None:
    mask = plot.mask_of("colours", np.array([[[0, 0, 0]] * 48 + [[255, 0, 0]] * 16] * 48, np.uint8))
    problem = the(check_data(plot.root), "colour-mask")
    assert problem.file == str(mask)
    assert "2 colours: 0,0,0 (75 %), 255,0,0 (25 %)" in problem.message
    assert """'map: {"0,0,0": CLASS, "255,0,0": CLASS}'""" in problem.fix


@pytest.mark.parametrize(
    ("yaml", "levels", "proposed"),
    [
        (YAML, [0, 1, 2], '"0,0,0": sky, "1,1,1": road, "2,2,2": car'),
        (TWO_CLASSES, [0, 255, 255], '"0,0,0": wall, "255,255,255": crack'),
        (YAML, [0, 255, 255], '"0,0,0": CLASS, "255,255,255": CLASS'),
    ],
)
def test_indices_and_black_and_white_saved_as_rgb_come_with_the_map_that_reads_them(
    plot: Plot, yaml: str, levels: list[int], proposed: str
) -> None:
    plot.write_yaml(yaml)
    for path in (plot.root / "masks").glob("*/*.png"):
        indices = np.asarray(Image.open(path)) % 3
        indices[:, :9] = 0
        Image.fromarray(np.array(levels, np.uint8)[indices]).convert("RGB").save(path)
    problem = of_code(check_data(plot.root), "colour-mask")[0]
    assert f"'map: {{{proposed}}}'" in problem.fix
    if "CLASS" not in proposed:
        plot.write_yaml(yaml, f"map: {{{proposed}}}\n")
        assert check_data(plot.root).ok


@pytest.mark.parametrize(("orientation", "turned"), [(2, False), (3, False), (4, False), (6, True), (8, True)])
def test_an_orientation_is_told_where_sizes_cannot_tell_what_the_mask_follows(
    plot: Plot, orientation: int, turned: bool
) -> None:
    for index in range(2):
        image, mask = plot.pair(f"phone_{index}")
        exif = Image.Exif()
        exif[0x0112] = orientation
        side = (40, 40) if turned else (64, 48)
        Image.open(image).resize(side).save(image, exif=exif)
        Image.open(mask).resize(side, Image.Resampling.NEAREST).save(mask)
    problem = the(check_data(plot.root), "orientation")
    assert (problem.severity, problem.count, problem.file) == ("warning", 2, str(plot.image("phone_0.png")))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_of_the_picture_as_stored_is_an_error_of_its_own(plot: Plot, orientation: int) -> None:
    image, mask = plot.pair("phone")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(image).save(image.with_suffix(".jpg"), exif=exif)
    image.unlink()
    problem = the(check_data(plot.root), "orientation-mismatch")
    assert (problem.severity, problem.file) == ("error", str(mask))
    assert f"its EXIF orientation {orientation} (48x64)" in problem.message
    assert not of_code(check_data(plot.root), "size-mismatch")


def test_a_class_with_hardly_a_pixel_or_in_hardly_a_mask_is_a_warning(plot: Plot) -> None:
    plot.repaint({2: 1}, "train")
    for index in range(30):
        plot.mask_of(f"more_{index}", np.ones((48, 64), np.uint8))
    plot.mask_of("rare", np.array([[2] * 5 + [0] * 59] * 48, np.uint8))
    problem = the(check_data(plot.root), "near-empty-class")
    assert problem.severity == "warning"
    assert "class 'car' has 240 px in train" in problem.message
    assert "in 1 mask of 36" in problem.message
    plot.mask_of("rare", np.array([[2] + [0] * 63] + [[0] * 64] * 47, np.uint8))
    assert "class 'car' has 1 px in train" in the(check_data(plot.root), "near-empty-class").message


def test_masks_of_one_class_alone_are_a_warning(plot: Plot) -> None:
    plot.repaint({1: 0, 2: 0, 255: 0}, "val")
    problem = the(check_data(plot.root), "one-class")
    assert "the 3 masks of val hold the class 'sky' alone" in problem.message
    for index in range(5):
        Image.fromarray(np.full((48, 64), index % 3, np.uint8)).save(plot.mask(f"train_{index}.png"))
    messages = [problem.message for problem in of_code(check_data(plot.root), "one-class")]
    assert messages[0] == "each of the 5 masks of train holds one class alone"


def test_a_split_that_is_mostly_left_out_is_a_warning(plot: Plot) -> None:
    plot.repaint({0: 255, 2: 255}, "train")
    problem = the(check_data(plot.root), "mostly-ignored")
    assert problem.severity == "warning"
    assert "of the pixels of train are left out" in problem.message


def test_sizes_are_one_warning_for_each_split_that_counts_them(plot: Plot) -> None:
    for index, size in enumerate([(30, 20), (30, 20), (50, 40)]):
        image, mask = plot.pair(f"other_{index}")
        Image.open(image).resize(size).save(image)
        Image.open(mask).resize(size, Image.Resampling.NEAREST).save(mask)
    report = check_data(plot.root)
    problem = the(report, "mixed-sizes")
    assert "have 3 sizes (width x height): 64x48 (5), 30x20 (2), 50x40 (1)" in problem.message
    assert problem.file == str(plot.image("other_2.png"))
    assert report.ok
    assert report.sizes["train"] == {(48, 64): 5, (20, 30): 2, (40, 50): 1}


def test_the_report_counts_masks_and_ignored_pixels(plot: Plot) -> None:
    report = check_data(plot.root)
    masks = [np.asarray(Image.open(path)) for path in (plot.root / "masks/train").iterdir()]
    assert report.masks_with["train"] == {
        name: sum((mask == index).any() for mask in masks) for index, name in enumerate(("sky", "road", "car"))
    }
    assert report.ignored["train"] == sum(int((mask == 255).sum()) for mask in masks)


def test_names_that_are_unusual_work(plot: Plot) -> None:
    for stem in (" with spaces ", "line\nbreak", "-rf", "a" * 251, "\u00fc\u65e5\u672c", "cafe\u0301", "a.b.c", "50%"):
        plot.pair(stem)
    report = check_data(plot.root)
    assert report.problems == ()
    assert report.images["train"] == 13


def test_a_folder_that_is_empty_leaves_the_other_files_to_be_named_as_lonely(plot: Plot) -> None:
    for path in (plot.root / "masks/val").iterdir():
        path.unlink()
    assert [problem.code for problem in check_data(plot.root, splits=["val"]).problems] == ["missing-mask"] * 3


def test_a_file_that_may_not_be_read_is_named(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    from segwright.data.checks import files

    refused, opened = str(plot.image("train_1.png")), files.os.open

    def guarded(path: str, flags: int) -> int:
        if path == refused:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags)

    monkeypatch.setattr(files.os, "open", guarded)
    problem = the(check_data(plot.root), "unreadable-picture")
    assert problem.file == refused
    assert "permission denied" in problem.message


@pytest.mark.parametrize(("limits", "what"), [({"max_pixels": 3000}, "3000 px"), ({"max_bytes": 1000}, "1000")])
def test_files_above_the_limits_are_refused_before_they_are_decoded(
    plot: Plot, limits: dict[str, int], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageFile

    def load(picture: ImageFile.ImageFile) -> None:
        assert picture.width * picture.height <= 3000

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    problems = of_code(check_data(plot.root, splits=["val"], **limits), "too-large")
    assert str(plot.image("val_0.png", "val")) in {problem.file for problem in problems}
    assert all(f"more than the limit of {what}" in problem.message for problem in problems)


def test_a_limit_may_be_raised_above_that_of_pillow(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert {problem.code for problem in check_data(plot.root).problems} == {"too-large"}
    assert check_data(plot.root, max_pixels=4000).ok
    assert Image.MAX_IMAGE_PIXELS == 1000
