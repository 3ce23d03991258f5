"""What our pages about data have in common: one HTML file, no script, nothing from elsewhere, light and dark."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from segwright.analysis.previews import IGNORED_STRIPES, UNKNOWN_STRIPES
from segwright.info import Colour

_STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --faint: #5d6779; --line: #dfe3ea; --page: #fff; --card: #f4f5f8;
  --good: #157347; --bad: #c02626; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --faint: #9aa4b5; --line: #333b48; --page: #14181f;
  --card: #1d232c; --good: #58c48b; --bad: #ff8a80; --warn: #f0b357; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 20px 60px; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 22px; } h2 { margin: 40px 0 10px; font-size: 18px; }
h3 { margin: 26px 0 6px; font-size: 15px; } p { margin: 4px 0; }
.faint, figcaption, th { color: var(--faint); font-size: 14px; font-weight: 400; }
.headline { margin: 12px 0 4px; font-size: 32px; font-weight: 600; line-height: 1.2; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
.name { white-space: nowrap; } .files td:first-child { width: 34%; }
.track { min-width: 120px; padding-left: 14px; }
.bar { height: 12px; margin-top: 5px; min-width: 1px; border-radius: 2px; box-shadow: inset 0 0 0 1px #8888; }
.swatch { display: inline-block; width: 13px; height: 13px; margin-right: 7px; border-radius: 2px;
  vertical-align: -1px; box-shadow: inset 0 0 0 1px #8888; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0 16px; font-size: 14px; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(480px, 100%), 1fr)); gap: 20px 24px; }
figure { margin: 0; break-inside: avoid; }
figcaption { display: flex; gap: 12px; justify-content: space-between; margin-bottom: 4px; line-height: 1.35; }
figcaption span:last-child { white-space: nowrap; }
.three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 4px; }
.three > * { display: flex; align-items: center; justify-content: center; width: 100%; height: auto;
  aspect-ratio: var(--shape); border-radius: 3px; background: var(--card); object-fit: contain; }
.empty { padding: 4px; border: 1px dashed var(--line); color: var(--faint); font-size: 13px; text-align: center; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { margin: 6px 0; padding: 10px 12px; border-radius: 6px; background: var(--card); white-space: pre-wrap; }
summary { margin: 6px 0; color: var(--faint); font-size: 14px; cursor: pointer; }
.wide { width: 34%; }
.heat td, .heat th { padding: 1px; border: 0; vertical-align: middle; }
.heat td div, .heat th span { padding: 3px 6px; }
.index { display: inline-block; min-width: 2em; color: var(--faint); font-variant-numeric: tabular-nums; }
* { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
@media print { :root { --text: #000; --faint: #444; --line: #ccc; --page: #fff; --card: #f4f5f8; --good: #157347;
  --bad: #c02626; --warn: #9a5b00; } body { max-width: none; padding: 0; font-size: 13px; }
  h2, h3 { break-after: avoid; } .pairs { grid-template-columns: 1fr 1fr; } tr { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A whole HTML page of parts that are HTML already; empty ones are left out."""
    head = [
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title>",
        f"<style>{_STYLE}</style>",
    ]
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{"".join(head)}</head>\n<body>\n{body}\n</body>\n</html>\n'


def text(words: object) -> str:
    """Words of anybody's, safe in HTML and in its attributes; what cannot be written as UTF-8 becomes a mark."""
    return escape(str(words).encode("utf-8", "replace").decode())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kinds: Sequence[str], of: str = "") -> str:
    """A table of cells that are HTML already.

    Args:
        head: one heading a column.
        rows: the cells of each row.
        kinds: CSS class of each column, ``number`` or ``name`` or another; may be empty.
        of: CSS class of the table.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="{kind}">{cell}</{tag}>' if kind else f"<{tag}>{cell}</{tag}>"
            for cell, kind in zip(row, kinds, strict=True)
        )

    lines = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{of}">\n<tr>{cells("th", head)}</tr>\n{lines}\n</table></div>'


def swatch(colour: Colour) -> str:
    """A small patch of a colour."""
    return f'<span class="swatch" style="background:{_rgb(colour)}"></span>'


def striped_swatch(stripes: tuple[Colour, Colour]) -> str:
    """A small patch in stripes of two colours."""
    first, second = map(_rgb, stripes)
    pattern = f"repeating-linear-gradient(135deg,{first} 0 3px,{second} 3px 6px)"
    return f'<span class="swatch" style="background:{pattern}"></span>'


def legend(named: Iterable[tuple[str, Colour]], *, has_unknown: bool) -> str:
    """Names beside their colours, and what the stripes mean."""
    entries = [swatch(colour) + text(name) for name, colour in named]
    entries.append(striped_swatch(IGNORED_STRIPES) + "ignored")
    if has_unknown:
        entries.append(striped_swatch(UNKNOWN_STRIPES) + "unknown value")
    return '<div class="legend">' + "".join(f"<span>{entry}</span>" for entry in entries) + "</div>"


def bar(share: float, colour: Colour) -> str:
    """A bar in a class's colour, ``share`` (0..1) of the column long."""
    return f'<div class="bar" style="width:{100 * share:.2f}%;background:{_rgb(colour)}"></div>'


def picture(image: Image.Image, alt: str, *, is_photo: bool) -> str:
    """A picture inside the page: a JPEG, or a PNG where few colours must stay as they are."""
    file = io.BytesIO()
    if is_photo:
        image.save(file, format="JPEG", quality=74)
    else:
        image.quantize(256, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    kind = "jpeg" if is_photo else "png"
    data = base64.b64encode(file.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img src="data:image/{kind};base64,{data}" {size} alt="{text(alt)}">'


def counted(number: int, noun: str) -> str:
    """``1 picture``, ``1,234 pictures``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float) -> str:
    """A share (0..1) in percent: two digits, and a third where it would be shown as 0."""
    value = 100 * share
    if value == 0 or value >= 0.01:
        return f"{value:.2f} %"
    return f"{value:.3f} %" if value >= 0.001 else "under 0.001 %"


def _rgb(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
