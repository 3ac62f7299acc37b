"""sciflow: generative learning for science, one house for many kinds of things.

A public name loads its room when it is first used, so ``import sciflow`` itself loads nothing. Whatever needs more
than torch (tables, pictures, a domain's own libraries) is imported by the function that uses it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapter import Adapter as Adapter
    from .errors import SciflowError as SciflowError
    from .model import Model as Model
    from .model import load as load
    from .runtime.evaluate import evaluate as evaluate
    from .runtime.generate import Generated as Generated
    from .runtime.generate import generate as generate
    from .sampling import sample as sample
    from .state import State as State
    from .streams import Streams as Streams
    from .system import Component as Component
    from .system import System as System

__version__ = "0.1.0"

_HOME = {
    "Adapter": "adapter",
    "SciflowError": "errors",
    "Model": "model",
    "load": "model",
    "evaluate": "runtime.evaluate",
    "Generated": "runtime.generate",
    "generate": "runtime.generate",
    "sample": "sampling",
    "State": "state",
    "Streams": "streams",
    "Component": "system",
    "System": "system",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def _rooms() -> set[str]:
    return {room.name for room in iter_modules(__path__) if not room.name.startswith("_")}


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name in _rooms():
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_rooms()})
