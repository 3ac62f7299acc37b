"""The registry: names of domains to their adapters, and the models that come with them.

A domain is a folder ``sciflow/domains/<name>`` (in a checkout ``domains/<name>``), or a package of
a third party under the entry-point group ``sciflow.domains``. Its ``__init__`` exposes
``ADAPTER``, a subclass of `Adapter`. Beside it may lie ``models/<model>/``, the shipped models,
and ``examples.toml``, command lines for the help texts by verb, with a table ``verbs`` of the
verbs that the domain brings along and what they do (see `Adapter.commands`). A domain may share
its rooms with another: a folder inside it whose ``examples.toml`` says ``domain = "NAME"`` is a
domain of that name, laid out like any. Names, models and examples are found without importing the
domain, so they need none of its libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import tomllib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import SciflowError, expected, unknown

if TYPE_CHECKING:
    from .adapter import Adapter

GROUP = "sciflow.domains"


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def names() -> tuple[str, ...]:
    """Names of the domains that are installed, without importing them."""
    return tuple(sorted({*_homes(), *_inner()}))


@cache
def _homes() -> tuple[str, ...]:
    folder = importlib.import_module(GROUP)
    found = {module.name for module in pkgutil.iter_modules(folder.__path__) if module.ispkg}
    return tuple(sorted(found | set(_points())))


@cache
def _inner() -> dict[str, tuple[str, Path]]:
    """Domains inside others: name to the place they are imported from, and their folder."""
    found = {}
    for name in _homes():
        home = folder(name)
        for path in sorted(home.glob("*/examples.toml")) if home else ():
            inner = tomllib.loads(path.read_text("utf-8")).get("domain")
            if isinstance(inner, str):
                found[inner] = (f"{_place(name)}.{path.parent.name}", path.parent)
    return found


def module(name: str) -> ModuleType:
    """Import a domain.

    Raises:
        SciflowError: There is no domain of this name, or a library that it needs is not installed.
    """
    if name not in names():
        raise unknown("domain", name, names())
    if name in _points():
        return _foreign(_points()[name])
    try:
        return importlib.import_module(_place(name))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "sciflow":
            raise
        raise SciflowError(
            f"domain {name}: got no library {error.name!r}, expected it to be installed; do: "
            f"pip install '.[{name}]' in a checkout of sciflow"
        ) from error


def _foreign(point: EntryPoint) -> ModuleType:
    """Import the domain of a third party; whatever is wrong with it must not stop the others."""
    try:
        found = point.load()
        found.ADAPTER  # noqa: B018
    except Exception as error:
        raise expected(
            f"domain {point.name} of package {point.value!r}",
            f"{type(error).__name__}: {error}",
            "a module that can be imported and has an ADAPTER",
            "mend that package, install what it needs, or uninstall it",
        ) from error
    return found


def adapter(name: str) -> type[Adapter]:
    """Adapter class of a domain.

    Raises:
        SciflowError: There is no domain of this name, or a library that it needs is not installed.
    """
    return module(name).ADAPTER


def adapters() -> dict[str, type[Adapter]]:
    """Adapter classes of the domains whose libraries are installed, by name."""
    found = {}
    for name in names():
        try:
            found[name] = adapter(name)
        except SciflowError:
            continue  # `sciflow doctor` tells what is missing
    return found


def adapter_of(path: str | Path, domain: str | None = None) -> type[Adapter]:
    """Adapter class for a file, by its suffix (``.gz`` set aside) unless the domain is named.

    Raises:
        SciflowError: No domain, or more than one, reads such files.
    """
    if domain:
        return adapter(domain)
    name = Path(path).name.lower().removesuffix(".gz")
    known = adapters()
    fitting = [a for a in known.values() if name.endswith(a.suffixes)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        which = " or ".join(a.name for a in fitting)
        raise expected(str(path), f"a file of {which}", "one domain", "add --domain")
    suffixes = sorted({suffix for a in known.values() for suffix in a.suffixes})
    raise unknown(f"{path}: file type", Path(name).suffix, suffixes)


def folder(name: str) -> Path | None:
    """Folder of a domain, found without importing it; None where it has none."""
    if name not in _homes() and name in _inner():
        return _inner()[name][1]  # its place could not be looked up without importing its home
    spec = importlib.util.find_spec(_place(name))
    return Path(spec.origin).parent if spec and spec.origin else None


def shipped(domain: str | None = None) -> dict[str, Path]:
    """Folders of the models that come with the installed domains, or one of them, by name."""
    found = {}
    for name in names() if domain is None else (domain,):
        home = folder(name)
        for path in sorted(home.glob("models/*/model.json")) if home else ():
            found[path.parent.name] = path.parent
    return found


def examples(verb: str) -> list[str]:
    """Command lines that the domains give as examples of a verb."""
    return [line for table in _tables().values() for line in table.get(verb, [])]


def verbs() -> dict[str, tuple[str, str]]:
    """Verbs that the domains bring along: their domain, and what they do."""
    return {
        verb: (name, text)
        for name, table in _tables().items()
        for verb, text in table.get("verbs", {}).items()
    }


@cache
def _tables() -> dict[str, dict[str, Any]]:
    found = {}
    for name in names():
        home = folder(name)
        if home and (home / "examples.toml").is_file():
            found[name] = tomllib.loads((home / "examples.toml").read_text("utf-8"))
    return found


def _place(name: str) -> str:
    if name in _points():
        return _points()[name].module
    return f"{GROUP}.{name}" if name in _homes() else _inner().get(name, (f"{GROUP}.{name}",))[0]
