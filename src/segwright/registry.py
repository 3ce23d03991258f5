"""One registry: names to builders, filled by a decorator, with the nearest name in its errors."""

from collections.abc import Callable, Iterator
from typing import Generic, ParamSpec, TypeVar

from segwright.errors import ConfigError, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


class Registry(Generic[T]):
    """Builders found by their function's name.

    Args:
        kind: what is registered, for messages ("model", "loss").
        hint: where to see all names, for messages.
        suffix: that the functions' names end in and users leave out.
    """

    def __init__(self, kind: str, hint: str = "", suffix: str = "") -> None:
        self.kind, self.hint, self.suffix = kind, hint, suffix
        self._builders: dict[str, Callable[..., T]] = {}

    def register(self, builder: Callable[P, T]) -> Callable[P, T]:
        name = builder.__name__.removesuffix(self.suffix)
        assert name not in self._builders, f"{self.kind} '{name}' is registered twice"
        self._builders[name] = builder
        return builder

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._builders))

    def __getitem__(self, name: str) -> Callable[..., T]:
        if name not in self._builders:
            near = did_you_mean(name, self._builders)
            fix = f"choose one of: {', '.join(self)}" + (f" ({self.hint})" if self.hint else "")
            raise ConfigError(f"unknown {self.kind} '{name}'{near}", fix=fix)
        return self._builders[name]
