"""Other people's label formats: one file for each, and the converter to our layout."""

from segwright.data.formats.converter import Conversion, convert
from segwright.data.formats.reading import Options
from segwright.data.formats.registry import FORMATS

__all__ = ["FORMATS", "Conversion", "Options", "convert"]
