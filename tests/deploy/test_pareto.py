"""The front by hand, and a picture that opens."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from segwright.deploy.benchmark import Report, Row
from segwright.deploy.pareto import Point, front, measure_of, write_pareto_chart
from segwright.errors import ConfigError

ROW = Row(
    "a", "torch", "fp32", (64, 96), 10.0, 12.0, 8.0, 9.0, 100.0, 300.0, 1, 1000, 2.0, 0.5, 4.0, miou=0.6
)  # fmt: skip


def report(*rows: Row, data: str | None = "yard/val") -> Report:
    return Report(rows, (), "a machine", 2, {}, data)


@pytest.mark.parametrize(
    ("points", "more", "less"),
    [
        ([(1, 1), (2, 2), (3, 3)], [0, 1, 2], [0]),
        ([(3, 1), (2, 2), (1, 3)], [2], [2, 1, 0]),
        ([(2, 5), (1, 4), (3, 4.5), (4, 6)], [1, 0, 3], [1]),
        ([(1, 1), (1, 1)], [0, 1], [0, 1]),
        ([(1, 2), (1, 3)], [1], [0]),
        ([(1, 2), (2, 2)], [0], [0]),
        ([], [], []),
    ],
)
def test_on_the_front_is_whom_no_other_beats(
    points: list[tuple[float, float]], more: list[int], less: list[int]
) -> None:
    given = [Point(*point) for point in points]
    assert front(given) == more
    assert front(given, more_is_better=False) == less


def test_time_is_weighed_against_the_first_figure_that_all_rows_have() -> None:
    rows = [ROW, replace(ROW, miou=0.0)]
    assert measure_of(report(*rows)) == ("mIoU on yard/val (%)", (60.0, 0.0), True)
    rows[0] = replace(ROW, miou=None)
    assert measure_of(report(*rows))[1:] == ((2.0, 2.0), False)
    rows[1] = replace(ROW, gmacs=None, miou=None)
    assert measure_of(report(*rows)) == ("parameters (millions)", (0.001, 0.001), False)
    rows[0] = replace(ROW, params=None, miou=None)
    assert measure_of(report(*rows)) == ("peak memory (MB)", (300.0, 300.0), False)
    rows[0] = replace(rows[0], peak_memory_mb=None)
    assert measure_of(report(*rows)).values == (0.0, 0.0)


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("count", [1, 9])
def test_any_number_of_rows_is_drawn(tmp_path: Path, suffix: str, count: int) -> None:
    rows = [replace(ROW, model=f"model {n}", milliseconds_p50=5.0 + n, miou=n / 10) for n in range(count)]
    write_pareto_chart(report(*rows), tmp_path / f"a.{suffix}")
    assert (tmp_path / f"a.{suffix}").stat().st_size > 5000
    if suffix == "svg":
        assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PNG or SVG"):
        write_pareto_chart(report(ROW), tmp_path / "a.pdf")
