import json

import pytest

from segwright.cli.facts import model_facts

from .conftest import Command


def test_list_names_networks_and_published_ones(segwright: Command) -> None:
    result = segwright("models", "list")
    assert result.code == 0
    assert "fast_scnn" in result.out
    assert "mmseg/fast_scnn" in result.out
    assert result.err.startswith("next: segwright models show ")


def test_show_gives_size_work_options_and_paper(segwright: Command) -> None:
    facts = json.loads(segwright("models", "show", "fast_scnn", "--json").out)
    assert facts["system"] == "Fast-SCNN: Fast Semantic Segmentation Network"
    assert "BMVC 2019" in facts["paper"]
    assert facts["parameters"] == 1_137_795
    assert facts["parameters_in_training"] > facts["parameters"]
    assert facts["gmacs"] == pytest.approx(6.7, abs=0.1)
    assert facts["options"]["variant"] == {"default": "paper", "choices": ["paper", "mmseg", "tramac"]}
    assert "1,137,795" in segwright("models", "show", "fast_scnn").out


def test_parameters_of_evaluation_leave_auxiliary_heads_out() -> None:
    facts = model_facts("fast_scnn", {"variant": "tramac"})
    one_head = 64 * 32 * 9 + 2 * 32 + 32 * 19 + 19  # convolution, norm, classifier
    assert facts["parameters_in_training"] - facts["parameters"] == one_head


def test_unknown_model_suggests_the_nearest(segwright: Command) -> None:
    result = segwright("models", "show", "fast_scn")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'fast_scnn'?" in result.err
