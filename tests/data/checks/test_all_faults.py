"""One data set with one of each fault: every one is named."""

from pathlib import Path

from segwright.data import DataReport, check_data

from ..faults import FAULTS, Plot


def is_named(report: DataReport, code: str, file: Path) -> bool:
    return any(
        problem.code == code and str(file) in (problem.file, *(place.file for place in problem.places))
        for problem in report.problems
    )


def test_the_data_set_into_which_faults_are_planted_has_none(plot: Plot) -> None:
    assert check_data(plot.root).problems == ()


def test_one_of_each_fault_in_one_data_set_is_named_with_its_file(plot: Plot) -> None:
    planted = {what: (code, plant(plot)) for what, (code, plant) in FAULTS.items()}
    report = check_data(plot.root)
    assert [what for what, (code, file) in planted.items() if not is_named(report, code, file)] == []
    assert all(problem.message and problem.fix and problem.file for problem in report.problems)
    assert not report.ok


def test_several_processes_find_the_same_in_the_same_order(plot: Plot) -> None:
    for plant in dict(FAULTS.values()).values():
        plant(plot)
    alone, shared = (check_data(plot.root, processes=count) for count in (1, 3))
    assert shared == alone
