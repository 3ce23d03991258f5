import pytest
import torch

from segwright import zoo
from segwright.errors import ConfigError, WeightsError
from segwright.zoo.systems import ARCHITECTURES


def test_catalog_lists_each_id_once_and_sorted() -> None:
    ids = [entry.id for entry in zoo.catalog()]
    assert ids == sorted(set(ids))
    assert {"mmseg/fast_scnn", "tramac/fast_scnn"} <= set(ids)


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.id)
def test_entry_names_its_network(entry: zoo.Entry) -> None:
    with torch.device("meta"):
        info = zoo.create(entry.id).info
    assert (info.name, info.options, info.num_classes) == (entry.model, entry.options, entry.num_classes)
    assert entry.source


def test_created_network_has_the_given_classes() -> None:
    assert zoo.create("mmseg/fast_scnn").num_classes == 19
    assert zoo.create("mmseg/fast_scnn", num_classes=3).num_classes == 3


def test_zero_classes_are_an_error_and_not_the_default() -> None:
    with pytest.raises(ConfigError, match="num_classes must be at least 1, got 0"):
        zoo.create("mmseg/fast_scnn", num_classes=0)


def test_unknown_id_names_the_nearest() -> None:
    with pytest.raises(WeightsError, match="did you mean 'mmseg/fast_scnn'"):
        zoo.create("mmseg/fastscnn")
