import inspect

import pytest

from segwright import errors
from segwright.errors import DataError, SegmentationError, did_you_mean

EXIT_CODES = {
    "SegmentationError": 1,
    "ConfigError": 2,
    "ShapeError": 2,
    "DataError": 3,
    "WeightsError": 3,
    "MissingExtraError": 4,
    "RunError": 1,
    "ProcessError": 1,
    "Interrupted": 130,
}


def test_every_error_has_its_exit_code() -> None:
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    codes = {name: kind.exit_code for name, kind in classes.items() if issubclass(kind, SegmentationError)}
    assert codes == EXIT_CODES


@pytest.mark.parametrize("name", EXIT_CODES)
def test_tree_in_the_docstring_names_every_error_with_its_code(name: str) -> None:
    assert errors.__doc__
    (line,) = [line for line in errors.__doc__.splitlines() if name in line.split()]
    assert f" {EXIT_CODES[name]}:" in line


def test_message_and_fix_are_kept_apart_and_shown_together() -> None:
    error = DataError("mask 'a.png' holds value 34", fix="map it")
    assert (error.message, error.fix) == ("mask 'a.png' holds value 34", "map it")
    assert str(error) == "mask 'a.png' holds value 34; map it"


def test_error_without_a_fix_is_its_message() -> None:
    assert str(DataError("no pictures")) == "no pictures"


@pytest.mark.parametrize(
    ("word", "hint"), [("fast_scn", "; did you mean 'fast_scnn'?"), ("icnett", "; did you mean 'icnet'?"), ("xyz", "")]
)
def test_nearest_known_word_is_named(word: str, hint: str) -> None:
    assert did_you_mean(word, ["fast_scnn", "icnet", "bisenet"]) == hint
