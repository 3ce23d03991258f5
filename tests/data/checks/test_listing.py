from pathlib import Path

import pytest

from segwright.data import Problem, check_data, load_data
from segwright.data.checks.listing import list_split
from segwright.data.dataset import IMAGE_SUFFIXES, find_files
from tests.support.closed import close_folders

from ..faults import Plot


def test_the_same_files_are_found_as_for_training(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    images = plot.root / "images/train"
    for name in (
        "deep/er/a.b.PNG",
        ".hidden/a.png",
        "deep/.a.png",
        "folder.png/inside.jpg",
        "no_suffix",
        "a.txt",
        "z.",
    ):
        path = images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (images / "link.png").symlink_to("train_0.png")
    (images / "linked").symlink_to(images / "deep")
    expected = find_files(images, IMAGE_SUFFIXES).by_stem
    jobs = [job for job in list_split(load_data(plot.root), "train", []) if job.image is not None]
    assert [job.image for job in jobs] == [str(expected[stem]) for stem in sorted(expected)]
    assert len(jobs) == 5 + 4
    monkeypatch.chdir(images.parent)
    (images.parent / "data.yaml").write_text(
        "path: train\ntrain: {images: ., masks: ../../masks/train}\nclasses: [sky, road, car]\n"
    )
    relative = [job.image for job in list_split(load_data(Path("data.yaml")), "train", []) if job.image is not None]
    assert [Path(path).resolve() for path in relative] == [Path(job.image or "").resolve() for job in jobs]


def lonely(plot: Plot) -> list[Problem]:
    return [problem for problem in check_data(plot.root).problems if problem.code.startswith("missing")]


@pytest.mark.parametrize(
    ("picture", "mask", "reason"),
    [("caf\u00e9", "cafe\u0301", "Unicode NFC and NFD"), ("Tree", "tree", "upper and lower case")],
)
def test_names_that_fail_to_match_are_told_why(plot: Plot, picture: str, mask: str, reason: str) -> None:
    image, labels = plot.pair("pair")
    image.rename(image.with_stem(picture))
    labels.rename(labels.with_stem(mask))
    problems = lonely(plot)
    assert {problem.code for problem in problems} == {"missing-mask", "missing-picture"}
    assert all(reason in problem.message for problem in problems)
    assert all(problem.fix.startswith("rename one of the two") for problem in problems)


def test_files_that_nobody_reads_are_one_warning_for_each_folder(plot: Plot) -> None:
    for name in ("a.heic", "b.HEIC", "c.gif", "notes.txt", "Thumbs.db"):
        plot.image(name).write_bytes(b"x")
    (problem,) = check_data(plot.root).problems
    assert (problem.code, problem.severity, problem.count) == ("file-not-read", "warning", 3)
    assert "'a.heic', 'b.HEIC', 'c.gif'" in problem.message


def test_a_folder_that_may_not_be_read_is_named(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    (plot.root / "images/train/closed").mkdir()
    close_folders(monkeypatch)
    (problem,) = check_data(plot.root).problems
    assert (problem.code, problem.file) == ("unreadable-folder", str(plot.root / "images/train/closed"))
