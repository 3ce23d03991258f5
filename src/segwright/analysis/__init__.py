"""What a data set's labels tell before anything is trained."""

from segwright.analysis.bounds import Limits
from segwright.analysis.fitting import fit_label_codes
from segwright.analysis.label_codes import LabelCodes
from segwright.analysis.limits import label_limits

__all__ = ["LabelCodes", "Limits", "fit_label_codes", "label_limits"]
