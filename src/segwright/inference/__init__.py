"""From a picture of any size to a mask."""

from segwright.inference.predictor import Predictor
from segwright.inference.rasters import predict_raster
from segwright.inference.result import Prediction

__all__ = ["Prediction", "Predictor", "predict_raster"]
