import pytest

from segwright.data import Problem, check_data

from ..faults import Plot


def warnings_of(plot: Plot) -> list[Problem]:
    report = check_data(plot.root)
    assert report.ok
    return list(report.problems)


@pytest.mark.parametrize("name", ["Road", "ROAD", "'road '", "ro ad", "r-o-a-d"])
def test_names_that_differ_in_case_and_spaces_alone_are_a_warning(plot: Plot, name: str) -> None:
    text = (plot.root / "data.yaml").read_text()
    plot.write_yaml(text.replace("2: car", f"2: {name}"))
    (problem,) = warnings_of(plot)
    assert (problem.code, problem.severity) == ("similar-classes", "warning")
    assert problem.file == str(plot.root / "data.yaml")


def test_a_colour_of_two_classes_is_a_warning(plot: Plot) -> None:
    palette = "palette: {sky: [1, 1, 1], road: [2, 2, 2], car: [3, 3, 3]}\n"
    plot.write_yaml(more=palette + 'map: {"2,2,2": car, "3,3,3": car}\n')
    (problem,) = warnings_of(plot)
    assert problem.code == "colour-collision"
    assert "colour 2,2,2 is 'road' in palette and 'car' in map" in problem.message


def test_a_map_that_forgets_values_which_are_indices_as_well_is_a_warning(plot: Plot) -> None:
    plot.write_yaml(more="map: {1: car}\n")
    problem = next(problem for problem in warnings_of(plot) if problem.code == "moved-index")
    assert "1 ('road' by its index) to 'car'; but the values 0, 2, which it leaves out, still mean" in problem.message


@pytest.mark.parametrize("table", ["{0: car, 1: road, 2: sky}", "{7: road}", "{1: ignore}"])
def test_a_map_of_all_values_or_of_others_or_to_ignore_is_fine(plot: Plot, table: str) -> None:
    plot.write_yaml(more=f"map: {table}\n")
    assert "moved-index" not in {problem.code for problem in warnings_of(plot)}
