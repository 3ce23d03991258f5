"""Published networks and weights: the catalog, the key maps that make them ours, and ``load_model``."""

from segwright.zoo.catalog import Entry, catalog, create
from segwright.zoo.convert import convert
from segwright.zoo.load import load_model

__all__ = ["Entry", "catalog", "convert", "create", "load_model"]
