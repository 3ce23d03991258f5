import json
from collections.abc import Mapping

import pytest

from segwright.analysis.bounds import Bound, Limits, Sample, Sufferer, advise, first_sufferer, lowest_class


def linear(mious: Mapping[int, float], **ious: float | None) -> list[Bound]:
    return [Bound(stride, "bilinear", None, miou, {"road": miou, **ious}, 0.5) for stride, miou in mious.items()]


def coded(mious: Mapping[tuple[int, int], float]) -> list[Bound]:
    return [Bound(stride, "dupsampling", length, miou, {"road": miou}, 0.5) for (stride, length), miou in mious.items()]


def test_bilinear_is_advised_as_far_as_it_keeps_the_labels() -> None:
    advice = advise([*linear({8: 0.98, 16: 0.971, 32: 0.95}), *coded({(16, 64): 0.99, (32, 64): 0.96})])
    assert (advice.stride, advice.upsampler, advice.code_channels) == (16, "bilinear", None)
    assert "keeps mIoU* at 97 or above up to stride 16 (97.10) and falls to 95.00 at stride 32" in advice.sentence
    assert "DUpsampling reaches 96.00 at stride 32 with 64 codes" in advice.sentence


def test_the_shortest_codes_that_buy_a_larger_stride_are_advised() -> None:
    mious = {(16, 64): 0.98, (32, 64): 0.96, (32, 128): 0.975, (32, 256): 0.99}
    advice = advise([*linear({8: 0.98, 16: 0.95, 32: 0.9}), *coded(mious)])
    assert (advice.stride, advice.upsampler, advice.code_channels) == (32, "dupsampling", 128)
    assert "up to stride 8 (98.00) and falls to 95.00 at stride 16" in advice.sentence
    assert "DUpsampling with 128 codes keeps 97 up to stride 32 (97.50)" in advice.sentence


def test_dupsampling_is_not_advised_where_bilinear_suffices() -> None:
    advice = advise([*linear({4: 0.99, 8: 0.98}), *coded({(4, 64): 1.0, (8, 64): 1.0})])
    assert (advice.stride, advice.upsampler) == (8, "bilinear")
    assert "gains little" in advice.sentence


def test_codes_may_serve_where_bilinear_serves_nowhere() -> None:
    advice = advise([*linear({4: 0.93, 8: 0.85}), *coded({(4, 64): 0.99, (8, 64): 0.96, (8, 128): 0.978})])
    assert (advice.stride, advice.upsampler, advice.code_channels) == (8, "dupsampling", 128)
    assert "below mIoU* 97 at stride 4 already (93.00)" in advice.sentence


def test_the_best_bound_is_advised_where_nothing_keeps_the_labels() -> None:
    advice = advise([*linear({4: 0.8, 8: 0.7}), *coded({(4, 32): 0.9, (4, 64): 0.95, (8, 64): 0.9})])
    assert (advice.stride, advice.upsampler, advice.code_channels) == (4, "dupsampling", 64)
    assert "DUpsampling reaches 95.00 at stride 4 with 64 codes" in advice.sentence


def test_the_advice_does_without_dupsampling() -> None:
    advice = advise(linear({4: 0.99, 8: 0.7}))
    assert (advice.stride, advice.upsampler) == (4, "bilinear")
    assert "DUpsampling" not in advice.sentence


def test_the_advice_names_the_class_that_suffers_first() -> None:
    bounds = [*linear({4: 0.99}, pole=0.95, sign=0.92), *linear({8: 0.98}, pole=0.6, sign=0.7)]
    assert "look at 'pole', whose best IoU under bilinear is 60.00 at stride 8" in advise(bounds).sentence
    assert "no class suffers; the lowest is 'sign'" in advise(bounds[:1]).sentence


def test_an_absent_class_does_not_suffer() -> None:
    (bound,) = linear({4: 0.99}, pole=None, sign=0.92)
    assert lowest_class(bound) == Sufferer("sign", 4, 0.92)


def test_the_first_stride_with_a_class_below_90_decides() -> None:
    suffers = [Sufferer("sign", 16, 0.1), Sufferer("pole", 8, 0.89), Sufferer("car", 4, 0.91)]
    assert first_sufferer(suffers).name == "pole"


def test_without_a_class_below_90_the_largest_stride_decides() -> None:
    assert first_sufferer([Sufferer("sign", 8, 0.92), Sufferer("car", 4, 0.91)]).name == "sign"


@pytest.fixture
def limits() -> Limits:
    bounds = (*linear({8: 0.98}, pole=None), *coded({(8, 64): 0.99}), *linear({16: 0.9}, pole=None))
    return Limits("yard", Sample("val", 5, 9), Sample("train", 9, 9), 3, bounds, ("a note",))


def test_limits_become_a_json_document_and_back(limits: Limits) -> None:
    document = limits.to_json()
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    assert tuple(Bound(**bound) for bound in again["bounds"]) == limits.bounds
    assert (Sample(**again["measured"]), Sample(**again["fitted"])) == (limits.measured, limits.fitted)
    assert again["suffers_first"] == {"name": "road", "stride": 16, "iou": 0.9}
    assert again["advice"]["stride"] == 8
    assert again["notes"] == ["a note"]


def test_strides_stand_once_each(limits: Limits) -> None:
    assert limits.strides == (8, 16)
    assert [sufferer.stride for sufferer in limits.suffers] == [8, 16]
