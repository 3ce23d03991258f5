"""Networks that we trained ourselves, whose files come with the package."""

from pathlib import Path

from segwright.info import ModelInfo
from segwright.models.weights import read_info

_FOLDER = Path(__file__).parent / "shipped"

OWN: dict[str, Path] = {"camvid/fast_scnn": _FOLDER / "camvid_fast_scnn.safetensors"}
"""Id -> model file, in half precision."""


def own_infos() -> dict[str, ModelInfo]:
    """Id -> what the file says of itself: data, scores with their protocol, licences."""
    return {name: read_info(path) for name, path in OWN.items()}
