"""Lists of pictures; folders and patterns are tested through the command, in test_predict.py."""

from pathlib import Path

import pytest

from segwright.cli.outputs import plan_jobs
from segwright.errors import ConfigError, DataError
from segwright.inference.jobs import Job


def plan(path: Path | None, *sources: str) -> list[Job]:
    return plan_jobs(
        sources, Path("out"), with_mask=True, with_overlay=False, with_confidence=False, listed=path
    )  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(content: bytes) -> Path:
    path = Path("list.txt")
    path.write_bytes(content)
    return path


def test_list_keeps_the_tree_below_the_common_folder() -> None:
    jobs = plan(written(b"data/a/x.jpg\r\ndata/b/x.jpg\n\n  data/c/../y.jpg \n"))
    masks = [job.mask.as_posix() for job in jobs if job.mask]
    assert masks == ["out/a/x.png", "out/b/x.png", "out/y.png"]
    assert [job.source.as_posix() for job in jobs] == ["data/a/x.jpg", "data/b/x.jpg", "data/c/../y.jpg"]


def test_listed_pictures_need_not_exist_and_count_once() -> None:
    (job,) = plan(written(f"data/x.jpg\n{Path('data/x.jpg').absolute()}\n".encode()))
    assert job.mask == Path("out/x.png")


def test_list_takes_names_in_any_encoding() -> None:
    (job,) = plan(written(b"data/\xff.jpg\n"))
    assert bytes(job.source) == b"data/\xff.jpg"


def test_list_and_sources_go_together() -> None:
    Path("more").mkdir()
    Path("more/z.png").write_bytes(b"")
    assert [job.source.name for job in plan(written(b"data/x.jpg\n"), "more")] == ["z.png", "x.jpg"]


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "names no picture"), (b"\n \n", "names no picture"), (b"\x89PNG\n\0", "is no text")]
)
def test_list_without_pictures_is_told(content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        plan(written(content))


def test_missing_list_is_told() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        plan(Path("nothing.txt"))


def test_two_listed_pictures_of_one_name_are_told() -> None:
    with pytest.raises(ConfigError, match="would both be written"):
        plan(written(b"data/x.jpg\ndata/x.png\n"))


def test_nothing_given_is_wrong_usage() -> None:
    with pytest.raises(ConfigError, match="no picture was given"):
        plan(None)
