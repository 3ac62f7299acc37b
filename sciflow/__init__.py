"""sciflow: generative learning for science, one house for many kinds of things.

A public name loads its room when it is first used, so ``import sciflow`` itself loads nothing. Whatever needs more
than torch (tables, pictures, a domain's own libraries) is imported by the function that uses it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import SciflowError as SciflowError
    from .state import State as State
    from .streams import Streams as Streams
    from .system import Component as Component
    from .system import System as System

__version__ = "0.1.0"

_HOME = {
    "SciflowError": "errors",
    "State": "state",
    "Streams": "streams",
    "Component": "system",
    "System": "system",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def _rooms() -> set[str]:
    return {module.name for module in iter_modules(__path__)}


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif not name.startswith("_") and name in _rooms():
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_rooms()})
