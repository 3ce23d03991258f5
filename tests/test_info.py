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
    assert ModelInfo.from_metadata(ModelInfo("icnet").to_metadata(), "x") == ModelInfo("icnet")


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
