"""timm, imported so that it works beside a torch that torchvision was not built for.

timm imports torchvision. Where the two come from different builds (a CPU wheel of torch beside the registry's
torchvision, a torch built on the board itself), torchvision's compiled operators do not load, and its import fails
because it describes operators that nobody declared. No backbone calls any of them; declared without a kernel, they let
the import pass, and a call would still fail with torch's own message.
"""

import importlib
from typing import Any

import torch

_SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))
_libraries: list[torch.library.Library] = []  # a declaration lives as long as its library object


def import_torchvision() -> None:
    """Import torchvision, with its two unguarded operators declared where its compiled part is missing.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: it cannot be imported for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _libraries.append(library)
        importlib.import_module("torchvision")


class Library:
    """timm, imported when something of it is first asked for.

    It takes torchvision along and as long to import as torch, and half of the networks need neither.
    """

    def __getattr__(self, name: str) -> Any:
        import_torchvision()
        return getattr(importlib.import_module("timm"), name)


timm: Any = Library()
