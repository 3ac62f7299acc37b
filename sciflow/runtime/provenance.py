"""Provenance: what a result was made with, as plain values to be kept beside it."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import __version__

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, if it is one."""


@cache
def commit() -> str | None:
    """Commit of the checkout that runs, with ``+`` behind it where files differ.

    None where there is no checkout.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()


def version(distribution: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of sciflow and what it stands on."""
    own = {"sciflow": __version__ + (f" ({commit()})" if commit() else "")}
    numpy = version("numpy")
    return own | {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **({"numpy": numpy} if numpy else {}),
    }


def provenance() -> dict[str, Any]:
    """Versions, machine and time (UTC)."""
    return {
        "versions": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


__all__ = ["commit", "provenance", "version", "versions"]
