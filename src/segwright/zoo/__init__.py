"""Published networks and weights: the catalog, the key maps that make them ours, and ``load_model``.

``zoo.load`` is ``segwright.load_model``.
"""

from segwright.zoo.catalog import catalog, create
from segwright.zoo.convert import convert
from segwright.zoo.entry import Entry
from segwright.zoo.loading import load_model

load = load_model

__all__ = ["Entry", "catalog", "convert", "create", "load", "load_model"]
