"""A stand-in for mmcv's compiled operators, for which there is no wheel that fits today's torch.

mmsegmentation asks for them while it is imported; none of the networks compared here calls one, and one that did would
stop with an error. Everything else is mmsegmentation's, mmengine's and mmcv's own code.
"""

import sys
import types
from collections.abc import Callable
from typing import Any


class _Absent(types.ModuleType):
    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def operator(*_: object, **__: object) -> None:
            raise RuntimeError(f"mmcv's compiled operator '{name}' is not there")

        return operator


def stand_in() -> None:
    """To be called before mmseg is imported."""
    sys.modules["mmcv._ext"] = _Absent("mmcv._ext")
