"""``data_check.html``: what a check has found, as one page that needs no other file, no network and no script."""

import os
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from segwright.analysis.choice import choose_candidates, codes_of, list_candidates
from segwright.analysis.page import bar, counted, document, legend, percent, picture, swatch, table, text
from segwright.analysis.previews import Preview, draw_previews, palette_of, show_size, typical_tile
from segwright.data.check import DataReport, Problem
from segwright.data.dataset import SegmentationData
from segwright.data.masks import MaskReader
from segwright.runtime.files import write_atomically

_PAIRS = 12  # of each split
_TILE_WIDTH = 192
_OPEN_ROWS = 8  # of the problems of one code; the others are folded away
_PARTS = ("picture", "mask", "overlay")


def write_check_page(report: DataReport, data: SegmentationData, path: Path) -> None:
    """Write the page, whole or not at all.

    It shows the verdict, every problem with its fix, the share of each class, and about twelve pairs of each split:
    those at fault first, then some that show every class between them. What cannot be read is a labelled box.

    Args:
        report: of :func:`segwright.data.check_data`.
        data: what was checked.
        path: the file; its folder must exist.

    Raises:
        RunError: the file could not be written.
    """
    parts = [
        headline(report, data),
        problem_tables(report, data),
        class_shares(report, data),
        *(pairs_of(split, report, data) for split in report.images),
        how_to_go_on(report, data),
    ]
    write_atomically(path, document(f"{data.name}: data check", parts).encode())


def headline(report: DataReport, data: SegmentationData) -> str:
    """Which data set this is, whether it is in order, and how much there is of it."""
    errors = sum(problem.severity == "error" for problem in report.problems)
    warnings = len(report.problems) - errors
    verdict = [f'<span class="bad">{counted(errors, "error")}</span>' if errors else '<span class="good">ok</span>']
    if warnings:
        verdict.append(f'<span class="warn">{counted(warnings, "warning")}</span>')
    splits = ", ".join(
        f"{split} {counted(count, 'picture')}{_sizes(report, split)}" for split, count in report.images.items()
    )
    lines = [
        f"<h1>{text(data.name)}</h1>",
        f'<p class="headline">{", ".join(verdict)}</p>',
        f"<p>{text(splits)}; {len(data.classes)} {'class' if len(data.classes) == 1 else 'classes'}</p>",
        f'<p class="faint">{text(report.source)}</p>' if report.source else "",
        *(f'<p class="faint">understood: {text(sentence)}</p>' for sentence in data.understood),
    ]
    return "\n".join(line for line in lines if line)


def problem_tables(report: DataReport, data: SegmentationData) -> str:
    """All problems by code, errors first."""
    by_code: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for severity in ("error", "warning"):
        for problem in report.problems:
            if problem.severity == severity:
                by_code[severity, problem.code].append(problem)
    if not by_code:
        return "<h2>Problems</h2>\n<p>None: every picture and every mask was read in full.</p>"
    groups = [_problem_group(*key, problems, data) for key, problems in by_code.items()]
    return "<h2>Problems</h2>\n" + "\n".join(groups)


def class_shares(report: DataReport, data: SegmentationData) -> str:
    """A row per class, and for each split a bar, the share of the labelled pixels, and in how many masks they are."""
    if not report.classes:
        return ""
    columns = {split: _shares(report.class_counts(split)) for split in report.classes}
    longest = max(max(column, default=0) for column in columns.values()) or 1
    head, kinds = ["class"], ["name"]
    for split in columns:
        head += [text(split), "of the pixels", *(["masks"] if split in report.masks_with else [])]
        kinds += ["track", "number", *(["number"] if split in report.masks_with else [])]
    rows = []
    for index, (name, colour) in enumerate(zip(data.classes, palette_of(data.labels), strict=True)):
        row = [swatch(colour) + text(name)]
        for split, column in columns.items():
            row.append(bar(column[index] / longest, colour) if column[index] else "")
            row.append(percent(column[index]) if column[index] else '<span class="faint">none</span>')
            row += [f"{report.masks_with[split][name]:,}"] if split in report.masks_with else []
        rows.append(row)
    note = "Of the labelled pixels of all masks that could be read; "
    ignored = ", ".join(f"{split} {_ignored(report, split)}" for split in columns if split in report.ignored)
    note += f"ignored: {ignored}." if ignored else "ignored pixels do not count."
    return f'<h2>Classes</h2>\n<p class="faint">{text(note)}</p>\n{table(head, rows, kinds=kinds)}'


def pairs_of(split: str, report: DataReport, data: SegmentationData) -> str:
    """Picture, mask and overlay of the chosen pairs of a split."""
    candidates = list_candidates(data, split)
    if not candidates:
        return ""
    codes = _codes_by_file(report)
    wanted = [index for index, pixels in enumerate(report.class_counts(split)) if pixels]
    chosen = choose_candidates(candidates, codes, MaskReader(data.labels), wanted, _PAIRS)
    tile = typical_tile([candidate.image for candidate in chosen if candidate.image], _TILE_WIDTH)
    previews = draw_previews(chosen, data.labels, tile)
    errors = {problem.code for problem in report.problems if problem.severity == "error"}
    figures = [
        _figure(preview, codes_of(candidate, codes), errors)
        for preview, candidate in zip(previews, chosen, strict=True)
    ]
    shown = {index for preview in previews for index in preview.present}
    unseen = [data.classes[index] for index in wanted if index not in shown]
    also = f'<p class="faint">In none of these: {text(", ".join(unseen))}.</p>' if unseen else ""
    named = [(data.classes[index], palette_of(data.labels)[index]) for index in sorted(shown)]
    key = legend(named, has_unknown=any(preview.has_unknown for preview in previews))
    head = f"<h2>{text(split)}: {len(chosen)} of {counted(len(candidates), 'pair')}</h2>\n{also}{key}"
    shape = f"--shape:{tile[1]}/{tile[0]}"
    return "\n".join([head, f'<div class="pairs" style="{shape}">', *figures, "</div>"])


def how_to_go_on(report: DataReport, data: SegmentationData) -> str:
    """The command that comes next."""
    if report.source is None:
        return ""
    place = shlex.quote(str(report.source))
    words = f"segwright train {place} --model fast_scnn" if report.ok else f"segwright data check {place}"
    why = "train on it" if report.ok else "check again once the errors are mended"
    return f'<h2>How to go on</h2>\n<p class="faint">{why}</p>\n<pre>{text(words)}</pre>'


def _sizes(report: DataReport, split: str) -> str:
    """The size of a split's pictures, or how many sizes there are."""
    sizes = report.sizes.get(split, {})
    if not sizes:
        return ""
    return f" ({show_size(next(iter(sizes)))})" if len(sizes) == 1 else f" ({len(sizes):,} sizes)"


def _shares(counts: Sequence[int]) -> list[float]:
    total = max(1, sum(counts))
    return [count / total for count in counts]


def _ignored(report: DataReport, split: str) -> str:
    """The share of a split's pixels that is ignored."""
    ignored = report.ignored[split]
    return percent(ignored / max(1, ignored + sum(report.class_counts(split))))


def _problem_group(severity: str, code: str, problems: Sequence[Problem], data: SegmentationData) -> str:
    """A table of the problems of one code; a fix that all of them share stands above it."""
    shared = problems[0].fix if len({problem.fix for problem in problems}) == 1 else ""
    kind = "bad" if severity == "error" else "warn"
    lines = [f'<h3><span class="{kind}">{severity}</span> {text(code)} ({len(problems)})</h3>']
    lines += [f"<p>Fix: {text(shared)}</p>"] if shared else []
    lines.append(_problem_table(problems[:_OPEN_ROWS], data, with_fix=not shared))
    if rest := problems[_OPEN_ROWS:]:
        folded = _problem_table(rest, data, with_fix=not shared)
        lines.append(f"<details><summary>{len(rest):,} more</summary>\n{folded}\n</details>")
    return "\n".join(lines)


def _problem_table(problems: Iterable[Problem], data: SegmentationData, *, with_fix: bool) -> str:
    rows = []
    for problem in problems:
        file, found, fix = (text(_short(words, data)) for words in (problem.file, problem.message, problem.fix))
        rows.append([file, found + _places(problem, data), *([fix] if with_fix else [])])
    head = ["file", "found", *(["fix"] if with_fix else [])]
    return table(head, rows, kinds=[""] * len(head), of="files")


def _places(problem: Problem, data: SegmentationData) -> str:
    """The files of a problem of several, folded away."""
    if problem.count < 2:  # then the row says it all
        return ""
    rows = []
    for place in problem.places:
        numbers = ("" if number is None else f"{number:,}" for number in (place.row, place.column, place.pixels))
        rows.append([text(_short(place.file, data)), *numbers])
    more = f", the first {len(rows):,} of them" if problem.count > len(rows) else ""
    head = ["file", "row", "column", "pixels"]
    listed = table(head, rows, kinds=["", *["number"] * 3])
    return f"<details><summary>{counted(problem.count, 'file')}{more}</summary>\n{listed}\n</details>"


def _short(words: str, data: SegmentationData) -> str:
    """Paths within the data set's own folder, whose own path stands in the page's head already."""
    if data.source is None:
        return words
    root = data.source if data.source.is_dir() else data.source.parent
    return words.replace(f"{root}{os.sep}", "")


def _codes_by_file(report: DataReport) -> Mapping[str, list[str]]:
    codes: dict[str, list[str]] = defaultdict(list)
    for problem in report.problems:
        for file in dict.fromkeys((problem.file, *(place.file for place in problem.places))):
            codes[file].append(problem.code)
    return codes


def _figure(preview: Preview, codes: Sequence[str], errors: Collection[str]) -> str:
    """Three pictures below the pair's name, its problems and its size."""
    cells = []
    for part in _PARTS:
        small = getattr(preview, part)
        if small is None:
            cells.append(f'<div class="empty">{part}: {text(preview.reason(part))}</div>')
        else:
            cells.append(picture(small, f"{part} of {preview.name}", is_photo=part != "mask"))
    kind = "bad" if any(code in errors for code in codes) else "warn"
    named = text(preview.name) + (f' <span class="{kind}">{text(", ".join(codes))}</span>' if codes else "")
    caption = f"<figcaption><span>{named}</span><span>{show_size(preview.size)}</span></figcaption>"
    return f'<figure>{caption}<div class="three">{"".join(cells)}</div></figure>'
