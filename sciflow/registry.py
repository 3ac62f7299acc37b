"""The registry: names of domains to their adapters.

A domain is a folder ``sciflow/domains/<name>`` (in a checkout ``domains/<name>``), or a package of a third party under the
entry-point group ``sciflow.domains``. Its ``__init__`` exposes ``ADAPTER``, a subclass of `Adapter`, and ``CARDS``, the
folder with its shipped models.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from .adapter import Adapter
from .errors import unknown


@cache
def names() -> tuple[str, ...]:
    """Names of the domains that are installed, without importing them."""
    folder = importlib.import_module("sciflow.domains")
    found = {module.name for module in pkgutil.iter_modules(folder.__path__)}
    return tuple(sorted(found | {point.name for point in entry_points(group="sciflow.domains")}))


def module(name: str) -> ModuleType:
    """Import a domain.

    Raises:
        SciflowError: There is no domain of this name.
    """
    if name not in names():
        raise unknown("domain", name, names())
    for point in entry_points(group="sciflow.domains"):
        if point.name == name:
            return point.load()
    return importlib.import_module(f"sciflow.domains.{name}")


def adapter(name: str) -> type[Adapter]:
    """Adapter class of a domain.

    Raises:
        SciflowError: There is no domain of this name.
    """
    return module(name).ADAPTER


def shipped() -> dict[str, Path]:
    """Folders of the models that come with the installed domains, by model name."""
    found = {}
    for name in names():
        cards = Path(getattr(module(name), "CARDS", ""))
        for path in sorted(cards.glob("*/model.json")) if cards.name else ():
            found[path.parent.name] = path.parent
    return found
