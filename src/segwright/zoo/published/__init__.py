"""Published checkpoints, as tables of facts: whose, which network, on which data, how good, where.

``tools/make_catalog.py`` writes the tables. A file's name ends in the first eight digits of its SHA-256.
"""

import json
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from segwright.info import Colour
from segwright.zoo.entry import Entry, Weights

_LICENCES = {"mmseg": "Apache-2.0", "torchvision": "BSD-3-Clause"}
_PROTOCOLS = {"mmseg": "on val", "torchvision": "on COCO val2017, shorter side 520"}


class Dataset(NamedTuple):
    """Labels of a data set that networks were published for.

    Args:
        title: its name.
        terms: under which its pictures may be used; the weights inherit them as far as they reach.
        classes: names in the order of the logits' channels.
        palette: one RGB colour per class.
    """

    title: str
    terms: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]


def published_entries() -> tuple[Entry, ...]:
    """All published checkpoints, by source and name."""
    return tuple(entry for source in _LICENCES for entry in _read_table(source))


def _read_table(source: str) -> list[Entry]:
    base, header, *rows = (files(__package__) / f"{source}.tsv").read_text().splitlines()
    return [
        _entry(source, base.removeprefix("# "), dict(zip(header.split("\t"), row.split("\t"), strict=True)))
        for row in rows
    ]


def _entry(source: str, base: str, row: dict[str, str]) -> Entry:
    weights = Weights(
        url=base + row["file"],
        dataset=row["dataset"],
        miou=float(row["miou"]) if row["miou"] else None,
        miou_multi_scale=float(row["miou_ms"]) if row["miou_ms"] else None,
        protocol=_PROTOCOLS[source] + (f", trained on crops of {row['crop']}" if row["crop"] else ""),
        licence=_LICENCES[source],
        parameters=int(row["params"]) if row["params"] else None,
        tensors=int(row["tensors"]) if row["tensors"] else None,
    )
    return Entry(
        f"{source}/{row['name']}", row["model"], json.loads(row["options"]), int(row["classes"]), weights=weights
    )


@lru_cache(maxsize=1)
def datasets() -> dict[str, Dataset]:
    """By the key that a checkpoint's row names."""
    records = json.loads((files(__package__) / "datasets.json").read_text())
    return {
        key: Dataset(record["title"], record["terms"], tuple(record["classes"]), _colours(record["palette"]))
        for key, record in records.items()
    }


def _colours(text: str) -> tuple[Colour, ...]:
    values = bytes.fromhex(text)
    return tuple((values[start], values[start + 1], values[start + 2]) for start in range(0, len(values), 3))
