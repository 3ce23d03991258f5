"""Published networks and weights: the catalog, the key maps that make them ours, and ``load_model``.

``zoo.load`` is ``segwright.load_model``.
"""

from segwright.models.transfer import create_model, start_from, use_loader
from segwright.zoo.catalog import catalog, create, find
from segwright.zoo.convert import convert
from segwright.zoo.download import fetch
from segwright.zoo.entry import Entry
from segwright.zoo.loading import load_model
from segwright.zoo.own import own_infos

load = load_model
use_loader(load_model)  # create_model(weights=...) then takes ids and other programs' files

__all__ = [
    "Entry",
    "catalog",
    "convert",
    "create",
    "create_model",
    "fetch",
    "find",
    "load",
    "load_model",
    "own_infos",
    "start_from",
]
