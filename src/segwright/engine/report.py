"""The report of a run: one HTML page that needs no other file, no network and no script."""

import base64
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from segwright.config import Config, read_config
from segwright.engine.folder import RunFolder, write_text
from segwright.errors import ConfigError, WeightsError
from segwright.info import Colour, ModelInfo
from segwright.metrics import Scores
from segwright.models.weights import read_safetensors

Record = Mapping[str, Any]
Point = tuple[float, float]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 388, 10, 184  # of a chart's area, in a drawing of 400 x 220
_MOST_DOTS = 40  # with more points than this, a curve is drawn without a dot at each

_STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --faint: #667085; --line: #dfe3ea; --page: #fff; --card: #f4f5f8;
  --blue: #2563eb; --orange: #c2570c; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --faint: #98a2b3; --line: #333b48; --page: #14181f;
  --card: #1d232c; --blue: #7aa7ff; --orange: #f5a15b; } }
body { margin: 0 auto; max-width: 1000px; padding: 24px 20px 60px; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 22px; } h2 { margin: 40px 0 12px; font-size: 18px; } p { margin: 4px 0; }
.faint, figcaption, th { color: var(--faint); font-size: 14px; font-weight: 400; }
.score { margin: 16px 0 0; font-size: 40px; font-weight: 600; line-height: 1.2; }
.score small { font-size: 18px; font-weight: 400; }
figure { margin: 0 0 16px; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(290px, 100%), 1fr)); gap: 16px; }
.curves figure { margin: 0; padding: 12px; border-radius: 8px; background: var(--card); }
img, svg { display: block; }
img { max-width: 100%; border-radius: 6px; }
svg text { fill: var(--faint); font-size: 12px; }
svg line { stroke: var(--line); }
polyline { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
circle { fill: currentColor; }
.series-0 { color: var(--blue); } .series-1 { color: var(--orange); }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line); text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { width: 45%; }
.bar { height: 14px; border-radius: 2px; background: var(--blue); }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 8px; border: 1px solid var(--line); }
pre { margin: 0 0 4px; padding: 10px 12px; border-radius: 6px; background: var(--card); overflow: auto; }
"""


def write_report(folder: RunFolder) -> None:
    """Write ``report.html`` atomically from what lies in the run folder; parts that are not there yet are left out.

    Raises:
        RunError: the file cannot be written.
    """
    records = folder.records()
    validations = [record for record in records if math.isfinite(record.get("miou", math.nan))]
    best = max(validations, key=lambda record: float(record["miou"]), default=None)
    scores = Scores(**best["scores"]) if best else None
    config = _config_of(folder)
    parts = [
        headline(folder, config, records),
        score(scores, best["step"]) if scores and best else "<p>No validation is recorded yet.</p>",
        curves(records),
        class_table(scores, _palette_of(folder)) if scores else "",
        pictures(folder),
        next_commands(folder, config),
        settings(folder),
    ]
    write_text(folder.report, page(folder.path.resolve().name, parts))


def page(title: str, parts: Iterable[str]) -> str:
    """A whole HTML document."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>"
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def headline(folder: RunFolder, config: Config | None, records: Sequence[Record]) -> str:
    """Which run this is, how far it came, how fast, and how smoothly."""
    what = f"{config.model.name} on {config.data.path}" if config else ""
    facts = [f"step {records[-1]['step'] if records else 0}" + (f" of {config.train.iters}" if config else "")]
    lines = [record for record in records if "loss" in record]
    if lines:
        speed, skipped = median(record["images_per_second"] for record in lines), lines[-1]["skipped"]
        facts.append(f"{speed:.3g} pictures per second in training (median)")
        facts.append(f"{skipped} steps left out (loss or gradient not finite)")
    title = f"<h1>{_text(folder.path.resolve().name)}</h1>"
    return f'{title}\n<p>{_text(what)}</p>\n<p class="faint">{_text("; ".join(facts))}</p>'


def score(scores: Scores, step: int) -> str:
    """The best validation's mIoU, and how it was measured."""
    protocol = "; ".join(f"{key}: {value}" for key, value in scores.protocol.items())
    measured = f"{scores.classes_counted} classes, one confusion matrix over all {scores.images} pictures; {protocol}"
    return (
        f'<p class="score">{100 * scores.miou:.2f} % <small>best val mIoU, at step {step}</small></p>\n'
        f'<p>Pixel accuracy {100 * scores.pixel_accuracy:.2f} %</p>\n<p class="faint">{_text(measured)}</p>'
    )


def curves(records: Sequence[Record]) -> str:
    """Loss, learning rate and validation mIoU over the steps."""
    losses = {"loss": _points(records, "loss"), "main output alone": _points(records, "main")}
    if losses["loss"] == losses["main output alone"]:  # a network without auxiliary outputs
        del losses["main output alone"]
    charts = [
        chart("Training loss", losses),
        chart("Learning rate", {"lr": _points(records, "lr")}),
        chart("Validation mIoU in %", {"miou": [(step, 100 * miou) for step, miou in _points(records, "miou")]}),
    ]
    drawn = [drawing for drawing in charts if drawing]
    return '<h2>Curves</h2>\n<div class="curves">\n' + "\n".join(drawn) + "\n</div>" if drawn else ""


def chart(title: str, series: Mapping[str, Sequence[Point]]) -> str:
    """A figure with one curve per series of (step, value) points; both axes begin at 0. Empty without any point."""
    points = [point for curve in series.values() for point in curve]
    if not points:
        return ""
    last_step, levels = max(1, *(step for step, _ in points)), ticks(max(value for _, value in points))
    middle, foot, ends = (_LEFT + _RIGHT) / 2, _BOTTOM + 16, f'x1="{_LEFT}" x2="{_RIGHT}"'

    def place(point: Point) -> Point:
        across, up = point[0] / last_step, point[1] / levels[-1]
        return round(_LEFT + across * (_RIGHT - _LEFT), 1), round(_BOTTOM - up * (_BOTTOM - _TOP), 1)

    shapes = [f'<text x="{middle}" y="{foot + 16}" text-anchor="middle">step</text>']
    for level in levels:
        y = place((0, level))[1]
        shapes.append(f'<line {ends} y1="{y}" y2="{y}"/>')
        shapes.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:g}</text>')
    for step in (step for step in ticks(last_step, least=1) if step <= last_step):
        shapes.append(f'<text x="{place((step, 0))[0]}" y="{foot}" text-anchor="middle">{step:.0f}</text>')
    for number, curve in enumerate(series.values()):
        corners = [place(point) for point in curve]
        shapes.append(f'<polyline class="series-{number}" points="{" ".join(f"{x},{y}" for x, y in corners)}"/>')
        for (x, y), (step, value) in zip(corners, curve if len(curve) <= _MOST_DOTS else (), strict=False):
            hint = f"<title>step {step}: {value:.4g}</title>"
            shapes.append(f'<circle class="series-{number}" cx="{x}" cy="{y}" r="2.5">{hint}</circle>')
    legend = ", ".join(f'<span class="series-{number}">{_text(name)}</span>' for number, name in enumerate(series))
    drawing = f'<svg viewBox="0 0 400 220" role="img" aria-label="{_text(title)}">{"".join(shapes)}</svg>'
    caption = f"{_text(title)}: {legend}" if len(series) > 1 else _text(title)
    return f"<figure><figcaption>{caption}</figcaption>{drawing}</figure>"


def ticks(highest: float, *, least: float = 0.0) -> list[float]:
    """Round numbers from 0, at least ``least`` apart; the last of the two to six is not below ``highest``."""
    highest = highest if highest > 0 else 1.0
    raw = highest / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = max(least, next(factor * power for factor in (1, 2, 5, 10) if factor * power > raw * (1 - 1e-9)))
    return [step * number for number in range(max(1, math.ceil(highest / step - 1e-9)) + 1)]


def class_table(scores: Scores, palette: Sequence[Colour]) -> str:
    """IoU and accuracy of each class at the best validation; the colours are those of the pictures."""
    head = '<th>class</th><th class="number">IoU %</th><th class="wide"></th><th class="number">accuracy %</th>'
    rows = [f"<tr>{head}</tr>"]
    for (name, iou), colour in zip_longest(scores.iou_per_class.items(), palette[: len(scores.iou_per_class)]):
        accuracy = scores.accuracy_per_class[name]
        swatch = f'<span class="swatch" style="background: rgb{tuple(colour)}"></span>' if colour else ""
        bar = f'<div class="bar" style="width: {100 * (iou or 0):.2f}%"></div>'
        if accuracy is None:
            bar = f'<span class="faint">no pixels of this class{"" if iou is None else ", yet predicted"}</span>'
        rows.append(_class_row(swatch + _text(name), iou, bar, accuracy))
    rows.append(_class_row("mean", scores.miou, "", scores.mean_accuracy))
    return "<h2>Classes, at the best validation</h2>\n<table>\n" + "\n".join(rows) + "\n</table>"


def pictures(folder: RunFolder) -> str:
    """The newest validation pictures and the first training batch."""
    validated = sorted(folder.samples.glob("val_*.jpg"), key=lambda path: (len(path.name), path.name))
    batch = "First training batch as the network sees it: pictures above their masks."
    captions = dict.fromkeys(folder.samples.glob("batch_000000.jpg"), batch)
    for path in validated[-1:]:
        step = path.stem.removeprefix("val_").lstrip("0")
        captions = {path: f"Validation at step {step}. Columns: picture, prediction laid over it, truth.", **captions}
    figures = [_figure(path, caption) for path, caption in captions.items()]
    return "<h2>Pictures</h2>\n" + "\n".join(figures) if figures else ""


def next_commands(folder: RunFolder, config: Config | None) -> str:
    """What to type next."""
    run = shlex.quote(str(folder.path))
    data = f"{shlex.quote(config.data.path)} --split {shlex.quote(config.data.val_split)}" if config else "DATA"
    commands = {}
    if folder.model.is_file():
        commands[f"segwright evaluate {run} {data}"] = "score the best weights again (--scales, --flip: as an average)"
        commands[f"segwright predict {run} PICTURES --out predictions"] = "masks of your own pictures"
    commands[f"segwright train --resume {run}"] = "go on with a run that was stopped; a finished one is left as it is"
    lines = [f'<p class="faint">{_text(why)}</p>\n<pre>{_text(command)}</pre>' for command, why in commands.items()]
    return "<h2>How to go on</h2>\n" + "\n".join(lines)


def settings(folder: RunFolder) -> str:
    """What the run was told, and on what it ran."""
    parts = []
    for title, path in (("Settings (config.yaml)", folder.config), ("Environment", folder.environment)):
        if path.is_file():
            text = _text(path.read_text(encoding="utf-8", errors="replace"))
            parts.append(f"<details><summary>{title}</summary><pre>{text}</pre></details>")
    return "<h2>Settings and environment</h2>\n" + "\n".join(parts) if parts else ""


def _points(records: Iterable[Record], key: str) -> list[Point]:
    return [(record["step"], record[key]) for record in records if math.isfinite(record.get(key, math.nan))]


def _class_row(name: str, iou: float | None, bar: str, accuracy: float | None) -> str:
    numbers = ("-" if share is None else f"{100 * share:.2f}" for share in (iou, accuracy))
    left, right = (f'<td class="number">{number}</td>' for number in numbers)
    return f"<tr><td>{name}</td>{left}<td>{bar}</td>{right}</tr>"


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img src="data:image/jpeg;base64,{data}" alt="{_text(caption)}">'
    return f"<figure>{image}<figcaption>{_text(caption)}</figcaption></figure>"


def _config_of(folder: RunFolder) -> Config | None:
    """The settings, or ``None`` where config.yaml was changed into something else since: the report shows its text."""
    try:
        return read_config(folder.config)
    except ConfigError:
        return None


def _palette_of(folder: RunFolder) -> Sequence[Colour]:
    try:
        return ModelInfo.from_metadata(read_safetensors(folder.model)[1], str(folder.model)).palette
    except WeightsError:  # no model yet: a table without colours
        return ()


def _text(words: str) -> str:
    """Words from outside as HTML text or attribute; bytes of file names that are no UTF-8 become question marks."""
    return escape(words.encode("utf-8", "replace").decode())
