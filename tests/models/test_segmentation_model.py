import pytest

from segwright.errors import ConfigError
from segwright.info import ModelInfo, generic_palette
from segwright.models import SegmentationModel, build_model, check_options, create_model, list_models, model_builder


def test_models_are_listed_and_found_by_name() -> None:
    assert "fast_scnn" in list_models()
    assert model_builder("fast_scnn").__name__ == "fast_scnn"


def test_fresh_model_numbers_its_classes() -> None:
    info = create_model("fast_scnn", num_classes=2, variant="tramac").info
    assert info == ModelInfo("fast_scnn", {"variant": "tramac"}, ("class 0", "class 1"), generic_palette(2))


@pytest.mark.parametrize(
    ("name", "num_classes", "options", "message"),
    [
        ("fast_scn", 19, {}, "unknown model 'fast_scn'; did you mean 'fast_scnn'"),
        ("fast_scnn", 19, {"varian": "mmseg"}, "has no option 'varian'; did you mean 'variant'"),
        ("fast_scnn", 19, {"num_classes": 3}, "has no option 'num_classes'"),
        (
            "fast_scnn",
            19,
            {"variant": "mine"},
            "variant of model 'fast_scnn' must be one of paper, mmseg, tramac, got 'mine'",
        ),
        ("fast_scnn", 0, {}, "num_classes must be at least 1, got 0"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_built(
    name: str, num_classes: int, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(name, num_classes, options)


def test_options_that_fit_pass() -> None:
    check_options("fast_scnn", {"variant": "mmseg"})
    check_options("fast_scnn", {})


def test_network_without_logits_says_so() -> None:
    with pytest.raises(NotImplementedError, match="SegmentationModel does not implement strided_logits"):
        SegmentationModel().strided_logits(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "option"), [("encoder_decoder", "upsampler"), ("deeplabv3", "output_stride")])
def test_choices_of_an_option_that_may_be_left_out_are_checked(name: str, option: str) -> None:
    check_options(name, {option: None})
    with pytest.raises(ConfigError, match=f"{option} of model '{name}' must be one of"):
        check_options(name, {option: "cubic"})
