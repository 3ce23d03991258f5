"""segwright: the classic systems for semantic segmentation, trainable, measurable, shippable.

``import segwright`` is light: PyTorch is loaded when a name that needs it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segwright import zoo as zoo
    from segwright.analysis import fit_label_codes as fit_label_codes
    from segwright.analysis import label_limits as label_limits
    from segwright.data import check_data as check_data
    from segwright.engine import train as train
    from segwright.evaluation import evaluate as evaluate
    from segwright.inference import Predictor as Predictor
    from segwright.models import list_models as list_models
    from segwright.models import register_model as register_model
    from segwright.zoo import create_model as create_model
    from segwright.zoo import load_model as load_model

__version__ = "0.1.0"

_PLACES = {
    "Predictor": "segwright.inference",
    "check_data": "segwright.data",
    "create_model": "segwright.zoo",
    "evaluate": "segwright.evaluation",
    "fit_label_codes": "segwright.analysis",
    "label_limits": "segwright.analysis",
    "list_models": "segwright.models",
    "load_model": "segwright.zoo",
    "register_model": "segwright.models",
    "train": "segwright.engine",
}

__all__ = [
    "Predictor",
    "check_data",
    "create_model",
    "evaluate",
    "fit_label_codes",
    "label_limits",
    "list_models",
    "load_model",
    "register_model",
    "train",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "zoo":
        return import_module("segwright.zoo")
    if name not in _PLACES:
        raise AttributeError(f"module 'segwright' has no attribute '{name}'")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value
