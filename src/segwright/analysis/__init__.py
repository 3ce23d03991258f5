"""What a data set's labels tell before anything is trained.

PyTorch is loaded when a name that needs it is first used: the pages of a data set do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segwright.analysis.bounds import Limits as Limits
    from segwright.analysis.fitting import fit_label_codes as fit_label_codes
    from segwright.analysis.label_codes import LabelCodes as LabelCodes
    from segwright.analysis.limits import label_limits as label_limits

_PLACES = {"LabelCodes": "label_codes", "Limits": "bounds", "fit_label_codes": "fitting", "label_limits": "limits"}

__all__ = ["LabelCodes", "Limits", "fit_label_codes", "label_limits"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segwright.analysis' has no attribute '{name}'")
    value = getattr(import_module(f"segwright.analysis.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
