import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from segwright.deploy.manifest import MANIFEST, Manifest, fingerprint
from segwright.errors import ConfigError, RunError
from segwright.inference.jobs import Job

MADE_WITH = {"model": "runs/a", "fingerprint": "1234", "scales": (0.5, 1.0), "window": None}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def job(tmp_path: Path, out: Path) -> Job:
    source = tmp_path / "a.jpg"
    source.write_bytes(b"picture")
    return Job(source, out / "deep" / "a.png", None, None)


def finish(out: Path, job: Job, error: str | None = None) -> None:
    """As a run would: its files, then its line."""
    with Manifest(out, MADE_WITH) as manifest:
        for path in () if error else job.outputs():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"mask")
        status = job.source.stat()
        manifest.add(job, status.st_size, status.st_mtime_ns, error)


def is_done(out: Path, job: Job) -> bool:
    with Manifest(out, MADE_WITH) as manifest:
        return manifest.is_done(job)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()]


def test_finished_picture_is_done(out: Path, job: Job) -> None:
    assert not is_done(out, job)
    finish(out, job)
    assert is_done(out, job)
    head, line = lines(out)
    assert head == {"manifest": 1, **MADE_WITH, "scales": [0.5, 1.0]}
    expected = {"source": str(job.source), "size": 7, "mask": "deep/a.png", "status": "done", "error": None}
    assert line == expected | {"mtime_ns": job.source.stat().st_mtime_ns}


def test_changed_picture_is_not_done(out: Path, job: Job) -> None:
    finish(out, job)
    os.utime(job.source, ns=(0, 1_000))
    assert not is_done(out, job)
    finish(out, job)
    job.source.write_bytes(b"another picture")
    os.utime(job.source, ns=(0, 1_000))
    assert not is_done(out, job)


@pytest.mark.parametrize("content", [None, b""])
def test_picture_whose_mask_is_gone_or_empty_is_not_done(out: Path, job: Job, content: bytes | None) -> None:
    finish(out, job)
    assert job.mask
    job.mask.unlink()
    if content is not None:
        job.mask.write_bytes(content)
    assert not is_done(out, job)


def test_picture_of_which_more_files_are_wanted_is_not_done(out: Path, job: Job) -> None:
    finish(out, job)
    both = job._replace(overlay=out / "deep" / "a_overlay.jpg")
    both.overlay.write_bytes(b"of another program")
    assert not is_done(out, both)
    finish(out, both)
    assert is_done(out, both)
    assert is_done(out, job)


def test_failed_picture_is_tried_again(out: Path, job: Job) -> None:
    finish(out, job)
    finish(out, job, "damaged")
    assert not is_done(out, job)
    assert (lines(out)[-1]["status"], lines(out)[-1]["error"]) == ("failed", "damaged")


def test_half_written_last_line_costs_its_picture_alone(out: Path, job: Job, tmp_path: Path) -> None:
    finish(out, job)
    with (out / MANIFEST).open("ab") as file:
        file.write(b'{"source": "b.jpg", "si')
    other = Job(tmp_path / "c.jpg", out / "c.png", None, None)
    other.source.write_bytes(b"third")
    finish(out, other)
    assert [line.get("source") for line in lines(out)] == [None, str(job.source), str(other.source)]
    assert is_done(out, job)
    assert is_done(out, other)


def test_damaged_line_is_told_and_passed_over(out: Path, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    finish(out, job)
    with (out / MANIFEST).open("ab") as file:
        file.write(b"\0\0\n[1]\n\xff\n")
    with caplog.at_level(logging.WARNING):
        assert is_done(out, job)
    assert "3 damaged lines" in caplog.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "5678", "model": "runs/b"}, "another model ('runs/a', now 'runs/b')"),
        ({"scales": (1.0,)}, "with scales [0.5, 1.0], now it is (1.0,)"),
    ],
)
def test_manifest_of_another_model_or_other_settings_is_refused(
    out: Path, job: Job, changed: dict[str, Any], said: str
) -> None:
    finish(out, job)
    before = (out / MANIFEST).read_bytes()
    with pytest.raises(ConfigError) as caught:
        Manifest(out, MADE_WITH | changed)
    assert said in caught.value.message
    assert (out / MANIFEST).read_bytes() == before


def test_moved_model_is_the_same_model(out: Path, job: Job) -> None:
    finish(out, job)
    with Manifest(out, MADE_WITH | {"model": "elsewhere/a"}) as manifest:
        assert manifest.is_done(job)


@pytest.mark.parametrize("content", ["", "no json", '{"manifest": 2}\n', '["manifest"]\n'])
def test_file_that_is_no_manifest_is_refused(out: Path, content: str) -> None:
    out.mkdir()
    (out / MANIFEST).write_text(content)
    with pytest.raises(ConfigError, match="is no manifest"):
        Manifest(out, MADE_WITH)
    assert (out / MANIFEST).read_text() == content


def test_manifest_without_a_picture_is_not_left_behind(out: Path) -> None:
    with Manifest(out, MADE_WITH):
        assert (out / MANIFEST).exists()
    assert not out.exists()
    out.mkdir()
    with Manifest(out, MADE_WITH):
        pass
    assert list(out.iterdir()) == []


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Manifest(tmp_path / "file" / "out", MADE_WITH)


def test_fingerprint_tells_contents_apart_and_takes_ids_as_they_are(tmp_path: Path) -> None:
    first, second, run = tmp_path / "a.safetensors", tmp_path / "b.xml", tmp_path / "run"
    run.mkdir()
    for path in (first, second, run / "model.safetensors"):
        path.write_bytes(b"weights")
    assert fingerprint(str(first)) == fingerprint(str(run)) == fingerprint(str(second))
    second.with_suffix(".bin").write_bytes(b"more")
    assert fingerprint(str(first)) != fingerprint(str(second))
    assert fingerprint("source/name") == "source/name"
