import json
from typing import Any

import pytest

from segwright.errors import WeightsError
from segwright.info import ModelInfo, Preprocessing, generic_palette

INFO = ModelInfo(
    "fast_scnn",
    {"variant": "mmseg"},
    ("road", "Gehweg 歩道"),
    ((128, 64, 128), (244, 35, 232)),
    Preprocessing((0.5, 0.25, 0.125), (1.0, 2.0, 4.0), "BGR", 720),
    {"iters": 160_000, "note": None},
    {"val": {"miou": 0.7096, "per_class": [0.5, None]}},
    {"weights": "CC-BY-4.0"},
)


def test_info_survives_the_header_of_a_file() -> None:
    metadata = INFO.to_metadata()
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())
    again = ModelInfo.from_metadata(metadata, "x")
    assert again == INFO
    assert hash((again.classes, again.palette, again.preprocessing)) == hash(
        (INFO.classes, INFO.palette, INFO.preprocessing)
    )


def test_defaults_survive_too() -> None:
    plain = ModelInfo("icnet", classes=("road",))
    assert ModelInfo.from_metadata(plain.to_metadata(), "x") == plain


def test_classes_are_counted() -> None:
    assert (INFO.num_classes, ModelInfo("icnet").num_classes) == (2, 0)


def test_unknown_lines_are_left_alone() -> None:
    """Another program may add lines of its own."""
    assert ModelInfo.from_metadata({**INFO.to_metadata(), "author": "me"}, "x") == INFO


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}])
def test_metadata_of_another_program_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match="'streets' holds no segwright metadata"):
        ModelInfo.from_metadata(metadata, "streets")


def test_newer_format_is_refused() -> None:
    with pytest.raises(WeightsError, match="'streets' has model file format 2"):
        ModelInfo.from_metadata({**INFO.to_metadata(), "format_version": "2"}, "streets")


@pytest.mark.parametrize(
    "damage",
    [
        {"format_version": "x"},
        {"classes": "{"},
        {"palette": "[[1, 2]]"},
        {"palette": "7"},
        {"preprocessing": "[]"},
        {"preprocessing": '{"mean": [0]}'},
    ],
)
def test_damaged_metadata_names_the_file(damage: dict[str, str]) -> None:
    with pytest.raises(WeightsError, match="'streets' has damaged metadata"):
        ModelInfo.from_metadata({**INFO.to_metadata(), **damage}, "streets")


@pytest.mark.parametrize("missing", sorted(INFO.to_metadata().keys() - {"format"}))
def test_missing_line_is_damage(missing: str) -> None:
    metadata = INFO.to_metadata()
    del metadata[missing]
    with pytest.raises(WeightsError, match=f"damaged metadata .*{missing}"):
        ModelInfo.from_metadata(metadata, "streets")


STEPS = {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "channel_order": "RGB"}


@pytest.mark.parametrize(
    ("field", "found", "allowed"),
    [
        *(("name", value, "the name of a model") for value in (None, 3, [], {}, "\ud800")),
        *(("options", value, "a table") for value in (None, [], 3, "x")),
        *((field, None, "a table") for field in ("provenance", "scores", "licences", "preprocessing")),
        *(
            ("classes", value, "a list of at least one name")
            for value in ([], "road", [["road"]], [None], {}, ["\ud83d"])
        ),
        ("classes", ["road", "sky", "road"], "names that differ"),
        *(
            ("palette[1]", [[0, 0, 0], value], "three whole")
            for value in ([0, 0, 999], [0, 0, -1], [0, 0], 7, [0, 0, 0.5])
        ),
        ("palette", {}, "a list of colours"),
        ("palette", [[1, 2, 3]], "a colour for each of the 2 classes"),
        ("format_version", 0, "a whole number from 1"),
        ("format_version", True, "a whole number from 1"),
    ],
)
def test_field_that_no_model_file_could_hold_is_named(field: str, found: Any, allowed: str) -> None:
    line = field.partition("[")[0]
    with pytest.raises(WeightsError) as caught:
        ModelInfo.from_metadata({**INFO.to_metadata(), line: json.dumps(found)}, "streets")
    assert caught.value.message.startswith(f"'streets' has damaged metadata ({field} must ")
    assert allowed in caught.value.message
    assert "got " in caught.value.message


@pytest.mark.parametrize(
    ("field", "found", "allowed"),
    [
        *(
            ("mean", value, "3 finite numbers")
            for value in ([0.5] * 2, ["a"] * 3, "RGB", 0.5, [float("nan"), 0, 0], None)
        ),
        *(("std", value, "3 positive numbers") for value in ([1, 0, 1], [1, -1, 1], [1, 1, 10**400], [True] * 3, [])),
        *(("unit", value, "a positive number") for value in (0, -255, "255", None, float("inf"))),
        *(("channel_order", value, "RGB or BGR") for value in ("XYZ", None, [], "rgb")),
        *(("short_side", value, "in 1..16384") for value in (0, -5, "a", 10**9, 0.5, True)),
        *(("bands", value, "in 1..65536") for value in (0, -1, "4", 3.0, 10**9)),
    ],
)
def test_preprocessing_that_no_model_file_could_hold_is_named(field: str, found: Any, allowed: str) -> None:
    steps = json.dumps({**STEPS, field: found})
    with pytest.raises(
        WeightsError, match=rf"'streets' has damaged metadata \(preprocessing\.{field} must be"
    ) as caught:
        ModelInfo.from_metadata({**INFO.to_metadata(), "preprocessing": steps}, "streets")
    assert allowed in caught.value.message


def test_mean_and_std_have_a_number_for_each_band() -> None:
    steps = {**STEPS, "bands": 4}
    with pytest.raises(WeightsError, match=r"preprocessing\.mean must be 4 finite numbers, got \[0\.5, 0\.5, 0\.5\]"):
        ModelInfo.from_metadata({**INFO.to_metadata(), "preprocessing": json.dumps(steps)}, "x")
    steps |= {"mean": [0] * 4, "std": [1] * 4}
    info = ModelInfo.from_metadata({**INFO.to_metadata(), "preprocessing": json.dumps(steps)}, "x")
    assert info.preprocessing == Preprocessing((0,) * 4, (1,) * 4, bands=4)


@pytest.mark.parametrize("line", sorted(INFO.to_metadata().keys() - {"format"}))
def test_endless_brackets_are_damage(line: str) -> None:
    with pytest.raises(WeightsError, match=rf"damaged metadata \({line} is no JSON: nested too deeply\)"):
        ModelInfo.from_metadata({**INFO.to_metadata(), line: "[" * 50_000}, "streets")


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(WeightsError) as caught:
        ModelInfo.from_metadata({**INFO.to_metadata(), "name": json.dumps(["x" * 10_000])}, "streets")
    assert len(caught.value.message) < 200


def test_model_without_palette_is_read() -> None:
    assert ModelInfo.from_metadata({**INFO.to_metadata(), "palette": "[]"}, "x").palette == ()


def test_more_classes_than_a_byte_counts_are_read() -> None:
    many = ModelInfo("icnet", {}, tuple(f"class {index}" for index in range(300)), generic_palette(300))
    assert ModelInfo.from_metadata(many.to_metadata(), "x") == many


def test_generic_palette_is_pascal_voc_s() -> None:
    palette = generic_palette(256)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0)}
    known |= {15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: palette[index] for index in known} == known
    assert len(set(palette)) == 256
    assert generic_palette(21) == palette[:21]


def test_a_file_from_before_short_sides_leaves_pictures_as_they_are() -> None:
    steps = '{"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "channel_order": "RGB"}'
    info = ModelInfo.from_metadata({**INFO.to_metadata(), "preprocessing": steps}, "x")
    assert info.preprocessing.size_of((360, 480)) == (360, 480)


@pytest.mark.parametrize(
    ("size", "scale", "seen"),
    [
        ((360, 480), 1.0, (720, 960)),
        ((1080, 1920), 1.0, (720, 1280)),
        ((480, 360), 0.5, (480, 360)),
        ((1, 9), 1.0, (720, 6480)),
    ],
)
def test_the_shorter_side_becomes_what_the_network_wants(
    size: tuple[int, int], scale: float, seen: tuple[int, int]
) -> None:
    assert INFO.preprocessing.size_of(size, scale) == seen
