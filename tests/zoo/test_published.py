"""The tables of published checkpoints: complete, consistent, and buildable."""

import gzip
import json
import re
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from segwright import zoo
from segwright.zoo.entry import Entry
from segwright.zoo.published import datasets, published_entries
from tests.support.reference import ROOT

FACTS = ROOT.parent / "shared" / "zoo"
ENTRIES = published_entries()


def networks() -> list[Entry]:
    """One entry of each network that is published, with a parameter count."""
    found = {
        (entry.publisher, entry.model, str(sorted(entry.options.items())), entry.num_classes): entry
        for entry in ENTRIES
        if entry.weights is not None and entry.weights.parameters is not None
    }
    return list(found.values())


def facts() -> list[dict[str, Any]]:
    if not FACTS.is_dir():
        pytest.skip(f"{FACTS} is not there")
    return list(json.loads((FACTS / "mmseg_catalog.json").read_text()))


def listed_networks() -> dict[str, list[Any]]:
    """Keys and shapes of the networks whose lists are known, by the id of one of their checkpoints."""
    rows = facts()
    lists = json.loads(gzip.decompress((FACTS / "mmseg_keys.json.gz").read_bytes()))
    return {row["id"]: lists[row["keys_sha"]] for row in reversed(rows) if row["keys_listed"]}


def test_every_published_checkpoint_is_in_the_table() -> None:
    files = {entry.weights.file for entry in ENTRIES if entry.weights is not None}
    assert {row["url"].rpartition("/")[2] for row in facts()} <= files
    assert Counter(entry.publisher for entry in ENTRIES) == {"mmseg": 242, "torchvision": 5}
    assert {row["id"] for row in facts()} <= {entry.id for entry in ENTRIES}


def test_scores_are_those_published() -> None:
    ours = {entry.weights.file: entry.weights for entry in ENTRIES if entry.weights is not None}
    for row in facts():
        weights = ours[row["url"].rpartition("/")[2]]
        assert (weights.miou, weights.miou_multi_scale) == (row["miou"], row["miou_ms_flip"])
        assert weights.url == row["url"].replace("oz1z1penmmlab", "openmmlab")


@pytest.mark.parametrize("entry", networks(), ids=lambda entry: entry.id)
def test_network_has_the_published_parameters(entry: Entry) -> None:
    assert entry.weights is not None
    with torch.device("meta"):
        model = zoo.create(entry.id)
    assert sum(parameter.numel() for parameter in model.parameters()) == entry.weights.parameters
    assert len(model.state_dict()) == entry.weights.tensors


def test_listed_keys_convert_strictly() -> None:
    problems = {}
    lists = listed_networks()
    for id, keys in lists.items():
        state: dict[str, Tensor] = {key: torch.empty(shape, device="meta") for key, shape, *_ in keys}
        try:
            zoo.convert(id, state)
        except Exception as error:
            problems[id] = str(error)
    assert problems == {}
    assert sum(row["keys_listed"] and row["id"] in lists for row in facts()) == 115


def test_every_file_is_named_by_its_hash_and_once() -> None:
    weights = [entry.weights for entry in ENTRIES if entry.weights is not None]
    assert [w.file for w in weights if not re.fullmatch(r"[0-9a-f]{8}", w.sha256_start)] == []
    assert max(Counter(w.url for w in weights).values()) == 1
    assert max(Counter(entry.id for entry in ENTRIES).values()) == 1


def test_every_entry_has_names_and_colours_for_its_classes() -> None:
    for entry in ENTRIES:
        assert entry.weights is not None
        labels = datasets()[entry.weights.dataset]
        assert entry.num_classes <= len(labels.classes) == len(labels.palette)
        assert len(labels.classes) - entry.num_classes <= (1 if entry.weights.dataset == "mapillary_v1_2" else 0)


def test_cityscapes_is_in_the_order_of_its_train_ids() -> None:
    labels = datasets()["cityscapes"]
    assert (labels.classes[0], labels.classes[13], labels.palette[13]) == ("road", "car", (0, 0, 142))


def test_preprocessing_is_the_publisher_s() -> None:
    for row in facts():
        ours = zoo.find(row["id"]).preprocessing
        assert [255 * value for value in ours.mean] == pytest.approx(row["mean"])
        assert [255 * value for value in ours.std] == pytest.approx(row["std"])
    assert zoo.find("caffe/icnet").preprocessing.channel_order == "BGR"
