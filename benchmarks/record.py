"""Result files: what was measured, by which command, on what."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sciflow.runtime.provenance import commit, provenance

RESULTS = Path(__file__).parent / "results"
COMMIT = commit()
"""Commit at the start of the run: long ones may end on another."""


def cpu() -> str:
    """Model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next(
        (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "unknown"
    )


def command() -> str:
    """The command that runs, without the folders of this machine."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return "python benchmarks/" + " ".join(
        Path(w).name if Path(w).is_absolute() else w for w in words
    )


def write(
    name: str, *, seeds: list[int], data: dict[str, Any], results: Any, device: str = "cpu"
) -> Path:
    """Write ``results/<name>.json`` and return its path.

    Args:
        name: Name of the benchmark.
        seeds: Seeds used.
        data: Data sets and their sizes.
        results: Figures, JSON-able.
        device: Where it ran.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "command": command(),
        "commit": COMMIT,
        "seeds": seeds,
        "device": device,
        "cpu": cpu(),
        "data": data,
        **provenance(),
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
