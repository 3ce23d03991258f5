import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from segwright.config import Config, with_settings
from segwright.engine.folder import RunFolder
from segwright.engine.report import ticks, write_report
from segwright.errors import RunError
from segwright.info import ModelInfo
from segwright.metrics import ConfusionMatrix

CLASSES = ("road", "<b>sky</b>", "absent", "only predicted")
PALETTE = ((128, 64, 128), (70, 130, 180), (1, 2, 3), (4, 5, 6))
VALIDATED = {40: 60, 80: 95, 120: 80}  # step to correct pixels of each class, of 100
VOID_TAGS = {"meta", "img"}


class Page(HTMLParser):
    """A page's elements, and the tags that were left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def training_line(step: int) -> dict[str, Any]:
    speed = 10.0 + step / 100
    return {
        "step": step,
        "lr": 0.045 * (1 - step / 121),
        "loss": 300 / step,
        "main": 200 / step,
        "images_per_second": speed,
        "skipped": 3,
    }


def validation_line(step: int, correct: int) -> dict[str, Any]:
    matrix = ConfusionMatrix(len(CLASSES), 255)
    matrix.counts[0, :2] = correct, 100 - correct
    matrix.counts[1, :4] = 0, correct, 0, 100 - correct
    scores = matrix.compute(CLASSES)
    protocol = {"split": "val", "resolution": "the labels' own", "scales": [1.0]}
    return {"step": step, "miou": scores.miou, "best": False, "scores": {**asdict(scores), "protocol": protocol}}


def picture(path: Path, shade: int) -> None:
    Image.fromarray(np.full((8, 24, 3), shade, np.uint8)).save(path)


@pytest.fixture
def started(tmp_path: Path) -> RunFolder:
    """A run with training lines only."""
    folder = RunFolder(tmp_path / "runs & more")
    folder.create()
    settings = {"data.path": "my data/<street>", "train.iters": 120}
    folder.write_config(with_settings(Config(), settings), {"train.iters": "asked <for>"})
    folder.environment.write_text(json.dumps({"cpu": "a <fast> one", "cores": 2}))
    picture(folder.samples / "batch_000000.jpg", 10)
    for step in range(20, 121, 20):
        folder.append(training_line(step))
    return folder


@pytest.fixture
def finished(started: RunFolder) -> RunFolder:
    """A run with three validations, pictures of two and a model file."""
    for step, correct in VALIDATED.items():
        started.append(validation_line(step, correct))
    picture(started.samples / "val_000080.jpg", 20)
    picture(started.samples / "val_000120.jpg", 30)
    info = ModelInfo("fast_scnn", classes=CLASSES, palette=PALETTE)
    save_file({"weight": np.zeros(1, np.float32)}, started.model, info.to_metadata())
    return started


def html_of(folder: RunFolder) -> str:
    write_report(folder)
    return folder.report.read_text(encoding="utf-8")


def class_row(html: str, name: str) -> list[str]:
    """The cells of a class's row as plain text."""
    row = next(row for row in re.findall(r"<tr>(.*?)</tr>", html) if f"{name}</td>" in row)
    return [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]


def test_page_is_well_formed_and_loads_nothing_from_outside(finished: RunFolder) -> None:
    html = html_of(finished)
    page = Page(html)
    assert page.open == []
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object"}
    addresses = [attributes[key] for _, attributes in page.elements for key in ("src", "href") if key in attributes]
    assert len(addresses) == 2
    assert all(address and address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert not re.search(r"https?://|url\(|@import", html)


def test_words_from_outside_are_escaped(finished: RunFolder) -> None:
    html = html_of(finished)
    assert "&lt;b&gt;sky&lt;/b&gt;" in html
    assert "<title>runs &amp; more</title>" in html
    assert "asked &lt;for&gt;" in html
    assert "a &lt;fast&gt; one" in html
    assert not {tag for tag, _ in Page(html).elements} & {"b", "street", "for", "fast"}


def test_each_curve_has_a_point_per_record(finished: RunFolder) -> None:
    lines = Page(html_of(finished)).all("polyline")
    assert [len((line["points"] or "").split()) for line in lines] == [6, 6, 6, 3]  # loss, main, lr, mIoU


def test_curve_rises_with_the_score_and_ends_at_the_last_step(finished: RunFolder) -> None:
    points = [point.split(",") for point in (Page(html_of(finished)).all("polyline")[3]["points"] or "").split()]
    across, down = np.array(points, float).T
    assert np.allclose(np.diff(across), across[2] - across[1], atol=0.2)
    assert across[2] == 388
    assert down[1] < down[2] < down[0]  # 95, 80, 60 correct: upwards is less


def test_curve_of_the_score_is_in_percent(finished: RunFolder) -> None:
    scores = [validation_line(*validated)["miou"] for validated in VALIDATED.items()]
    hints = re.findall(r"<title>step (\d+): (.*?)</title>", html_of(finished))[-3:]
    assert hints == [(str(step), f"{100 * miou:.4g}") for step, miou in zip(VALIDATED, scores, strict=True)]


def test_values_that_are_not_finite_are_left_out_of_the_curves(started: RunFolder) -> None:
    started.append({**training_line(140), "loss": float("nan")})
    lines = Page(html_of(started)).all("polyline")
    assert [len((line["points"] or "").split()) for line in lines] == [6, 7, 7]
    assert "nan" not in "".join(line["points"] or "" for line in lines)


def test_equal_main_loss_is_drawn_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append({**training_line(20), "main": training_line(20)["loss"]})
    assert len(Page(html_of(folder)).all("polyline")) == 2


def test_best_score_is_the_largest_of_the_records(finished: RunFolder) -> None:
    best = max(record["miou"] for record in finished.records() if "miou" in record)
    html = html_of(finished)
    assert f"{100 * best:.2f} % <small>best val mIoU, at step 80</small>" in html
    assert "split: val; resolution: the labels&#x27; own" in html


def test_table_shows_the_best_validation(finished: RunFolder) -> None:
    scores = validation_line(80, VALIDATED[80])["scores"]
    assert class_row(html_of(finished), "road") == ["road", f"{100 * scores['iou_per_class']['road']:.2f}", "", "95.00"]


def test_absent_class_has_a_dash_and_the_reason(finished: RunFolder) -> None:
    html = html_of(finished)
    assert class_row(html, "absent") == ["absent", "-", "no pixels of this class", "-"]
    predicted = class_row(html, "only predicted")
    assert predicted == ["only predicted", "0.00", "no pixels of this class, yet predicted", "-"]


def test_classes_carry_the_colours_of_the_pictures(finished: RunFolder) -> None:
    swatches = [span["style"] for span in Page(html_of(finished)).all("span") if span.get("class") == "swatch"]
    assert swatches == [f"background: rgb{colour}" for colour in PALETTE]


def test_newest_validation_picture_is_shown(finished: RunFolder) -> None:
    captions = [image["alt"] or "" for image in Page(html_of(finished)).all("img")]
    assert captions[0].startswith("Validation at step 120.")
    assert captions[1].startswith("First training batch")


def test_throughput_and_skipped_steps_are_told(started: RunFolder) -> None:
    assert "10.7 pictures per second" in html_of(started)  # the median of 10.2 ... 11.2
    assert "3 steps left out" in html_of(started)


def test_commands_name_the_run_and_need_a_model(started: RunFolder) -> None:
    html = html_of(started)
    assert "segwright train --resume &#x27;" in html
    assert "segwright evaluate" not in html


def test_commands_of_a_finished_run_say_how_to_use_the_model(finished: RunFolder) -> None:
    html = html_of(finished)
    assert f"segwright predict &#x27;{str(finished.path).replace('&', '&amp;')}&#x27; PICTURES" in html
    assert "&#x27; &#x27;my data/&lt;street&gt;&#x27; --split val" in html


def test_run_without_validation_is_reported(started: RunFolder) -> None:
    html = html_of(started)
    assert "No validation is recorded yet." in html
    assert len(Page(html).all("svg")) == 2
    assert "<table>" not in html


def test_empty_folder_is_reported(tmp_path: Path) -> None:
    assert Page(html_of(RunFolder(tmp_path))).open == []


def test_half_written_last_line_is_left_out(finished: RunFolder) -> None:
    whole = html_of(finished)
    with finished.metrics.open("a") as file:
        file.write('{"step": 140, "loss": 0.')
    assert html_of(finished) == whole


def test_bytes_that_are_no_text_do_not_stop_the_report(started: RunFolder) -> None:
    line = validation_line(40, 60)
    line["scores"]["protocol"] = {"split": "street\udcff"}  # how Python holds a file name that is not UTF-8
    started.append(line)
    assert "split: street?" in html_of(started)


def test_unreadable_config_is_shown_as_it_is(started: RunFolder) -> None:
    started.config.write_text("train: {iterations: <5>}")
    assert "train: {iterations: &lt;5&gt;}" in html_of(started)


def test_report_is_replaced_as_a_whole(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    finished.report.write_text("the old report")

    def full_disk(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(RunError):
        write_report(finished)
    assert finished.report.read_text() == "the old report"
    monkeypatch.undo()
    write_report(finished)
    assert finished.report.read_text().startswith("<!doctype html>")
    assert [path.name for path in finished.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("highest", [0.0, 3e-7, 0.045, 1.0, 2.7, 5.0, 81.3, 99.9, 160000.0])
def test_ticks_are_few_even_and_reach_the_highest_value(highest: float) -> None:
    found = ticks(highest)
    assert found[0] == 0
    assert 4 <= len(found) <= 6
    assert found[-1] >= highest * (1 - 1e-9)
    assert found[-2] < (highest or 1)
    assert np.allclose(np.diff(found), found[1], rtol=1e-9, atol=0)


def test_ticks_of_few_steps_are_whole() -> None:
    assert ticks(2, least=1) == [0, 1, 2]
