from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from segwright.data import Labels, SegmentationData, load_data
from segwright.data.dataset import Folders, find_pairs
from segwright.data.endings import how_masks_end
from segwright.errors import DataError
from segwright.info import generic_palette
from tests.support.closed import close_folders

HEAD = "train: {images: i, masks: m}\n"
THREE = HEAD + "classes: {0: sky, 1: road, 2: car}\n"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def pairing_error(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        find_pairs(Folders(root / "images", root / "masks"))
    return caught.value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes:\n\t0: sky\n", "line 2 is indented with a tab"),
        (HEAD + "classes: {0: sky, 1: road, 0: car}\n", "line 2: '0' stands twice"),
        (THREE + "ignored: [255]\n", "unknown key 'ignored'; did you mean 'ignore'?"),
        (THREE + "validation: {images: i, masks: m}\n", "unknown key 'validation'"),
        (HEAD, "names no classes"),
        (HEAD + "classes: []\n", "names no classes"),
        (HEAD + "classes: {0: sky, 2: road}\n", "must be numbered 0 to 1 without gaps, got [0, 2]"),
        (HEAD + "classes: {1: sky, 2: road}\n", "must be numbered 0 to 1 without gaps, got [1, 2]"),
        (HEAD + "classes: {0: no, 1: yes}\n", "class '0: False' is not a number and a name (YAML reads no, yes"),
        (HEAD + "classes: {sky: 0}\n", "class 'sky: 0' is not a number and a name"),
        (HEAD + "classes: {0: sky, '0': road}\n", "a class index stands twice, in quotes and without"),
        (HEAD + "classes: {true: sky}\n", "class 'True: sky' is not a number and a name"),
        (HEAD + "classes: [sky, road, sky]\n", "class name 'sky' stands twice"),
        (HEAD + "classes: [sky, ignore]\n", "class name 'ignore' stands twice or is reserved"),
        (THREE + "palette: {sky: [1, 2, 3], road: [1, 2, 3]}\n", "'sky' and 'road' are [1, 2, 3]"),
        (THREE + "palette: {rod: [1, 2, 3]}\n", "palette names the unknown class 'rod'; did you mean 'road'?"),
        (THREE + "palette: {sky: [1, 2]}\n", "'[1, 2]' is no colour"),
        (THREE + "palette: {sky: [1, 2, 256]}\n", "leaves 0..255"),
        (THREE + "palette: [[1, 2, 3]]\n", "palette must map class names to colours"),
        (THREE + "ignore: [2]\n", "value 2 is both a class and ignored"),
        (THREE + "ignore: [255]\nmap: {255: car}\n", "value 255 is both a class and ignored"),
        (THREE + "ignore: [-1]\n", "ignore must list mask values"),
        (THREE + "ignore: [true]\n", "ignore must list mask values"),
        (THREE + "ignore: none\n", "ignore must list mask values"),
        (THREE + "map: {7: rode}\n", "map names the unknown class 'rode'; did you mean 'road'?"),
        (THREE + "map: {7: 3}\n", "map names the unknown class '3'"),
        (THREE + "map: {7: true}\n", "map names the unknown class 'True'"),
        (THREE + "map: {65536: road}\n", "map holds the value 65536"),
        (THREE + 'map: {"1,2": road}\n', "'1,2' is no colour"),
        (THREE + "map: {true: road}\n", "'True' is no colour"),
        (THREE + "map: [7]\n", "map must translate values"),
        ("classes: [sky]\n", "names no split"),
        ("classes: [sky]\ntrain: images/train\n", "train must give 'images' and 'masks', got 'images/train'"),
        ("classes: [sky]\nval: {images: i, mask: m}\n", "val must give 'images' and 'masks'"),
    ],
)
def test_a_data_yaml_that_makes_no_sense_is_refused(write_yaml: Callable[[str], Path], text: str, said: str) -> None:
    path = write_yaml(text)
    with pytest.raises(DataError) as caught:
        load_data(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.fix


def test_classes_palette_ignore_and_map_are_understood(write_yaml: Callable[[str], Path]) -> None:
    text = (
        THREE
        + 'palette: {sky: [1, 2, 3], road: "4, 5, 6", car: [7, 8, 9]}\nignore: [255, 254]\n'
        + 'map: {7: road, 12: ignore, 8: 2, "10, 20, 30": sky}\n'
    )
    labels = load_data(write_yaml(text)).labels
    assert labels == Labels(
        classes=("sky", "road", "car"),
        palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)),
        ignore=(255, 254),
        map={7: "road", 12: "ignore", 8: "car", (10, 20, 30): "sky"},
        palette_is_stated=True,
    )


def test_class_indices_may_stand_in_quotes(write_yaml: Callable[[str], Path]) -> None:
    assert load_data(write_yaml(HEAD + "classes: {'0': sky, '1': road}\n")).classes == ("sky", "road")


def test_missing_colours_are_generic_and_read_no_colour_masks(write_yaml: Callable[[str], Path]) -> None:
    labels = load_data(write_yaml(THREE + "palette: {road: [4, 5, 6]}\n")).labels
    assert labels.palette == (generic_palette(3)[0], (4, 5, 6), generic_palette(3)[2])
    assert labels.colour_table() == {}


@pytest.mark.parametrize(("count", "ignored"), [(255, 255), (256, 65535), (300, 65535)])
def test_the_value_ignored_unasked_is_no_class(write_yaml: Callable[[str], Path], count: int, ignored: int) -> None:
    names = ", ".join(f"plant {index}" for index in range(count))
    assert load_data(write_yaml(HEAD + f"classes: [{names}]\n")).labels.ignore == (ignored,)


def test_255_may_be_mapped_to_a_class_where_nobody_ignores_it(write_yaml: Callable[[str], Path]) -> None:
    labels = load_data(write_yaml(HEAD + "classes: [ground, object]\nmap: {255: object}\n")).labels
    assert labels.ignore == ()
    assert labels.index_table()[255] == 1


def test_folders_are_relative_to_path_which_is_relative_to_the_file(write_yaml: Callable[[str], Path]) -> None:
    path = write_yaml("path: elsewhere\n" + THREE)
    assert load_data(path).folders["train"].images == path.parent / "elsewhere" / "i"


def test_a_path_with_a_tilde_is_the_home_folder(
    write_yaml: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = load_data(write_yaml("path: ~/streets\n" + THREE))
    assert data.folders["train"] == Folders(tmp_path / "home/streets/i", tmp_path / "home/streets/m")


def test_a_path_may_hold_variables_and_one_that_is_not_set_is_named(
    write_yaml: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_yaml(THREE + "path: $DATA_HERE/streets\n")
    monkeypatch.setenv("DATA_HERE", str(tmp_path))
    assert load_data(path).folders["train"].images == tmp_path / "streets" / "i"
    monkeypatch.delenv("DATA_HERE")
    with pytest.raises(DataError, match=r"path '\$DATA_HERE/streets' needs \$DATA_HERE, which is not set"):
        load_data(path)


def test_pairs_share_their_path_without_suffix_at_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "images/b/x.1.JPG", "images/a.png", "masks/b/x.1.png", "masks/a.png", "images/notes.txt")
    touch(tmp_path, "images/.hidden.png", "images/.thumbs/a.png")
    (tmp_path / "masks/folder.png").mkdir()
    pairs = find_pairs(Folders(tmp_path / "images", tmp_path / "masks"))
    assert [pair.image.relative_to(tmp_path).as_posix() for pair in pairs] == ["images/a.png", "images/b/x.1.JPG"]
    assert [pair.mask.relative_to(tmp_path).as_posix() for pair in pairs] == ["masks/a.png", "masks/b/x.1.png"]


def test_only_the_chosen_stems_are_paired(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")
    pairs = find_pairs(Folders(tmp_path / "images", tmp_path / "masks", frozenset({"b"})))
    assert [pair.image.stem for pair in pairs] == ["b"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png")
    assert pairing_error(tmp_path).message == f"folder '{tmp_path / 'masks'}' does not exist"


def test_a_split_without_pictures_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "images/notes.txt", "masks/a.png")
    assert pairing_error(tmp_path).message == f"no picture in '{tmp_path / 'images'}'"


def test_missing_masks_are_counted_and_the_first_five_listed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{index}.png" for index in range(9)), "masks/0.png", "masks/1.png")
    error = pairing_error(tmp_path)
    assert error.message.startswith(f"7 of 9 files have no mask of the same stem in '{tmp_path / 'masks'}': ")
    assert error.message.endswith("6.png' and 2 more")
    assert error.message.count(".png'") == 5


def test_missing_pictures_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "masks/b.png")
    error = pairing_error(tmp_path)
    assert error.message == (
        f"1 of 2 files have no picture of the same stem in '{tmp_path / 'images'}': '{tmp_path / 'masks/b.png'}'"
    )


def test_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    error = pairing_error(tmp_path)
    assert error.message == f"'{tmp_path / 'images/a.jpg'}' and '{tmp_path / 'images/a.png'}' have the same stem"


def test_an_unknown_split_is_answered_with_those_there_are(write_data: Callable[..., Path]) -> None:
    data = load_data(write_data())
    with pytest.raises(DataError, match="it has: train, val"):
        data.pairs("test")


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "palette: {sky: [1, 2, 3], road: [4, 5, 6], car: [7, 8, 9]}\n",
        "palette: {road: [4, 5, 6]}\n",
        'ignore: [255, 7]\nmap: {9: road, "1,2,3": ignore, 12: ignore}\n',
        "ignore: []\n",
        "map: {255: car}\n",
    ],
)
def test_to_yaml_and_back_gives_the_same_data_set(write_yaml: Callable[[str], Path], extra: str) -> None:
    path = write_yaml(THREE + "test: {images: ../far/images, masks: ../far/masks}\n" + extra)
    data = load_data(path)
    path.write_text(data.to_yaml(path.parent), encoding="utf-8")
    again = load_data(path)
    assert again.labels == data.labels
    assert again.folders["train"] == data.folders["train"]
    assert again.folders["test"].images.resolve() == data.folders["test"].images.resolve()


def test_to_yaml_keeps_folders_outside_the_root_whole(tmp_path: Path) -> None:
    folders = {"train": Folders(tmp_path / "far/images", tmp_path / "root/masks")}
    data = SegmentationData("streets", folders, Labels(("sky",), generic_palette(1)))
    content = yaml.safe_load(data.to_yaml(tmp_path / "root"))
    assert content["train"] == {"images": (tmp_path / "far/images").as_posix(), "masks": "masks"}


def test_a_share_of_a_folder_cannot_be_written(tmp_path: Path) -> None:
    folders = {"val": Folders(tmp_path / "images", tmp_path / "masks", frozenset({"a"}))}
    data = SegmentationData("streets", folders, Labels(("sky",), generic_palette(1)))
    with pytest.raises(DataError, match="split 'val' of 'streets' is a share of one folder"):
        data.to_yaml(tmp_path)


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        (["a_1", "a_11"], ["a_11_L", "a_1_L"], "_L"),
        (["a", "b"], ["a_mask", "c_mask"], "_mask"),
        (["a", "b"], ["a", "b_mask"], None),
        (["a", "b"], ["a_mask", "b_L"], None),
        (["a", "b"], ["mask_a", "mask_b"], None),
        (["a", "b"], [], None),
    ],
)
def test_a_common_ending_of_the_masks_is_told(images: list[str], masks: list[str], ending: str | None) -> None:
    said = f"; the masks' names end in '{ending}': rename them to the pictures' stems" if ending else ""
    assert how_masks_end(images, masks) == said


def test_masks_named_with_an_ending_are_told_when_pairs_are_read(write_data: Callable[..., Path]) -> None:
    root = write_data()
    for path in (root / "masks/train").iterdir():
        path.rename(path.with_stem(f"{path.stem}_L"))
    with pytest.raises(DataError, match="the masks' names end in '_L'"):
        load_data(root).pairs("train")


def test_a_split_that_is_missing_can_be_shared_out(write_data: Callable[..., Path]) -> None:
    data = load_data(write_data(yaml="", counts={"train": 2}))
    with pytest.raises(DataError, match=r"has no split 'val'; it has: train; .* segwright data split .* --to NEW"):
        data.folders_of("val")
    with pytest.raises(DataError, match=r"has no split 'vall'; it has: train$"):
        data.folders_of("vall")


def test_links_to_folders_belong_to_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "more/images/b/c.png", "more/masks/b/c.png")
    for kind in ("images", "masks"):
        (tmp_path / kind / "more").symlink_to(tmp_path / "more" / kind)
    (tmp_path / "images/gone").symlink_to("nowhere")
    pairs = find_pairs(Folders(tmp_path / "images", tmp_path / "masks"))
    assert [pair.mask.relative_to(tmp_path).as_posix() for pair in pairs] == ["masks/a.png", "masks/more/b/c.png"]


def test_a_subfolder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/a.png", "masks/a.png", "images/closed/b.png", "masks/closed/b.png")
    close_folders(monkeypatch)
    assert f"folder '{tmp_path}/images/closed' cannot be read (Permission denied)" in pairing_error(tmp_path).message
