"""The doctor: what is installed, what runs here, and what is missing."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import torch

from .. import model, registry
from ..errors import SciflowError
from . import device
from .provenance import ROOT, provenance, version

DISTRIBUTION = "sciflow-toolkit"


def examine() -> dict[str, Any]:
    """Return the state of the installation as plain values.

    Entries: ``versions``, ``platform``, ``date``, ``device`` (what ``auto`` means here),
        ``threads``, ``cores``, ``libraries``
    (name to version or None), ``domains`` (name to ``usable``, ``problem`` and ``libraries``),
    ``models`` and ``problems``, a list of sentences, empty where all is well.
    """
    facts = provenance()
    found = {
        **facts,
        "device": device.describe(device.choose("auto")),
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "libraries": {name: version(name) for name in requirements()},
        "domains": {name: _domain(name) for name in registry.names()},
        "models": {name: card["domain"] for name, card in _cards().items()},
    }
    missing = [name for name, has in found["libraries"].items() if has is None]
    problems = [f"missing: {', '.join(missing)}; do: pip install ."] if missing else []
    for name, domain in found["domains"].items():
        absent = [library for library, has in domain["libraries"].items() if has is None]
        if not domain["usable"]:
            problems.append(domain["problem"])
        elif absent:
            lacking = ", ".join(absent)
            problems.append(f"domain {name} lacks {lacking}; do: pip install '.[{name}]'")
    return {**found, "problems": problems}


def text(found: dict[str, Any]) -> str:
    """Return the findings of `examine` for a terminal."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found["versions"].items():
        yield f"{name:12} {value}"
    yield f"{'platform':12} {found['platform']}, {found['cores']} cores"
    yield f"{'device':12} {found['device']}"
    yield f"{'libraries':12} {_list(found['libraries'])}"
    yield ""
    for name, domain in found["domains"].items():
        state = "usable" if domain["usable"] else "NOT usable"
        yield f"domain {name}: {state}"
        if domain["libraries"]:
            yield f"  libraries  {_list(domain['libraries'])}"
        models = [model for model, of in found["models"].items() if of == name]
        yield f"  models     {', '.join(models) or 'none shipped'}"
    if not found["domains"]:
        yield "no domain is installed"
    yield ""
    yield from found["problems"] or ["all is well"]


def _list(libraries: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {has or 'MISSING'}" for name, has in libraries.items())


def _cards() -> dict[str, dict[str, Any]]:
    try:
        return model.cards()
    except SciflowError:
        return {}  # a damaged one is named by `sciflow models`


def _domain(name: str) -> dict[str, Any]:
    libraries = {library: version(library) for library in requirements(name)}
    try:
        registry.adapter(name)
    except (SciflowError, ImportError) as error:
        return {"usable": False, "problem": str(error), "libraries": libraries}
    return {"usable": True, "problem": "", "libraries": libraries}


def requirements(extra: str = "") -> list[str]:
    """Distributions that this one requires, or that an extra of it adds, by their names."""
    if (ROOT / "pyproject.toml").is_file():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = project.get("optional-dependencies", {}).get(extra, []) if extra else None
        return [_bare(line) for line in (project["dependencies"] if wanted is None else wanted)]
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    marked = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
    found = [(_bare(line), marked.search(line)) for line in lines]
    return [name for name, mark in found if (mark.group(1) if mark else "") == extra]


def _bare(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return match.group() if match else requirement


__all__ = ["examine", "requirements", "text"]
