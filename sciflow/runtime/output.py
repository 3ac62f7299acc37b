"""Output: where samples go while they are made, a file or a folder.

A path with a suffix is a file of the domain. A path without one is a folder: samples in the
domain's default format, ``metrics.json`` (settings, provenance, totals), the picture as
``picture.svg`` and ``picture.png``, and ``page.html``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..adapter import Adapter, Metrics, Writer
from ..errors import SciflowError, expected
from . import page

METRICS = "metrics.json"
PICTURES = ("picture.svg", "picture.png")
PAGE = "page.html"
DRAWN = 100
"""Most objects in a picture."""


def samples_file(path: Path, adapter: type[Adapter]) -> Path:
    """Path of the samples that go to (or lie at) `path`.

    Raises:
        SciflowError: The suffix is none of the domain's.
    """
    if is_folder(path, adapter.suffixes):
        return path / f"samples{adapter.suffixes[0]}"
    if path.suffix.lower() not in adapter.suffixes:
        wanted = f"one of {', '.join(adapter.suffixes)}, or none for a folder"
        raise expected(f"{path}: file type", path.suffix, wanted)
    return path


def refuse(path: Path) -> None:
    """Refuse a file that cannot be written, before any work; leaves everything as it was.

    Raises:
        SciflowError: The place cannot be written.
    """
    if path.is_dir():
        raise expected(str(path), "a folder", "a file")
    missing = [folder for folder in path.parents if not folder.exists()]
    probe = path.with_name(f".{path.name}.probe")
    try:
        checkpoint.write_text(probe, "")
        probe.unlink(missing_ok=True)
    finally:
        for folder in missing:
            with suppress(OSError):  # somebody else may be at work there
                folder.rmdir()


def is_folder(path: Path, suffixes: Sequence[str]) -> bool:
    """True for a folder, or a path without a suffix, which will be one; not for a file that is a folder: ``.zarr``."""
    return path.suffix.lower() not in suffixes and (path.is_dir() or not path.suffix)


class Output:
    """Samples on their way to the disk, opened before they are made and written batch by batch.

    Opening asks whether the place can be written. What stands there is replaced by the first
    batch, not sooner.

    Args:
        path: File or folder.
        adapter: Adapter class of the domain.

    Raises:
        SciflowError: The suffix is unknown, or the place cannot be written.
    """

    def __init__(self, path: str | Path, adapter: type[Adapter]) -> None:
        self.path = Path(path)
        self.adapter = adapter
        self.folder = is_folder(self.path, adapter.suffixes)
        self.samples = samples_file(self.path, adapter)
        self._made = self.folder and not self.path.exists()
        self.writer: Writer = adapter.writer(self.samples)
        self._empty = True

    def append(self, objects: Sequence[Any]) -> None:
        """Write a batch.

        Raises:
            SciflowError: The disk refuses.
        """
        if self._empty and self.folder:
            for name in (METRICS, *PICTURES, PAGE):  # of other samples
                (self.path / name).unlink(missing_ok=True)
        self._empty = False
        self.writer.append(objects)

    def close(self) -> None:
        """Close the file; a folder that was made here and stayed empty is removed."""
        self.writer.__exit__(None, None, None)
        if self._made and self._empty and self.path.is_dir() and not os.listdir(self.path):
            self.path.rmdir()

    def __enter__(self) -> Output:
        self.writer.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish(self, objects: Sequence[Any], facts: Mapping[str, Any], metrics: Metrics) -> None:
        """Write what goes beside the samples of a folder; nothing for a file.

        Args:
            objects: All samples.
            facts: Settings and provenance (see `sciflow.runtime.generate.Generated.facts`).
            metrics: Their metrics.
        """
        if not self.folder:
            return
        everything = {**facts, "samples": self.samples.name, "metrics": metrics.summary()}
        text = json.dumps(everything, indent=1, ensure_ascii=False)
        checkpoint.write_text(self.path / METRICS, text + "\n")
        shown = objects[:DRAWN]
        picture = drawing(self.adapter, shown)
        if picture is not None:
            checkpoint.write_text(self.path / PICTURES[0], picture)
            self.adapter.draw(shown, self.path / PICTURES[1])
        more = self.adapter.pictures(objects)
        page.write(self.path / PAGE, everything, metrics.table, picture, len(shown), more)


def drawing(adapter: type[Adapter], objects: Sequence[Any]) -> str | None:
    """Return the picture of some objects as SVG; None where there is nothing to draw."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.svg"
        try:
            adapter.draw(objects, picture)
        except SciflowError:
            return None
        return picture.read_text(encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Read ``metrics.json`` of a folder written by `Output`.

    Raises:
        SciflowError: It is missing or damaged.
    """
    path = folder / METRICS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts.get("domain"), str) or not isinstance(facts.get("samples"), str):
            raise ValueError("no domain or samples in it")
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SciflowError(
            f"{path}: got {reason!r}, expected the file that 'generate -o {folder}' writes; "
            "generate again, or name the file of samples itself"
        ) from None
    return facts


__all__ = [
    "DRAWN",
    "METRICS",
    "PAGE",
    "PICTURES",
    "Output",
    "drawing",
    "is_folder",
    "read_facts",
    "refuse",
]
