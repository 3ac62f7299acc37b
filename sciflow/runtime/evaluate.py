"""Evaluation and show: samples read from a file or folder, judged, and laid out on a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..adapter import Adapter, Metrics, Read
from ..errors import expected
from . import page
from .output import DRAWN, PICTURES, drawing, is_folder, read_facts

OnStage = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done and in all (0 where that is not known)."""
_PAGE, _PICTURE = (".html", ".htm"), (".svg", ".png", ".gif")


@dataclass(frozen=True)
class Evaluation:
    """Samples of a file and their metrics.

    Args:
        read: The samples, and the rows that could not be read.
        metrics: Their metrics; unreadable rows count as failures.
        reference: Data that they were compared with.
    """

    read: Read
    metrics: Metrics
    reference: list[Any] | None = None


def evaluate(
    adapter: type[Adapter],
    file: str | Path,
    against: str | Path | None = None,
    train: str | Path | None = None,
    device: str = "cpu",
    progress: OnStage | None = None,
) -> Evaluation:
    """Judge the samples of a file, or of a folder written by ``generate``.

    Args:
        adapter: Adapter class of the domain.
        file: Samples, read as they are.
        against: Data to compare with, held out of training.
        train: Data of training.
        device: Device for metrics that run a network.
        progress: Told how far it is.

    Raises:
        SciflowError: A file cannot be read.
    """
    samples = read(adapter, _samples(Path(file), adapter.suffixes), True, progress)
    known = read(adapter, against, progress=progress).objects if against else None
    learnt = read(adapter, train, progress=progress).objects if train else None
    metrics = adapter.metrics(
        samples.objects,
        known,
        learnt,
        unreadable=len(samples.skipped),
        device=device,
        progress=progress,
    )
    return Evaluation(samples, metrics, known)


def show(
    path: str | Path,
    out: str | Path,
    domain: str | None = None,
    against: str | Path | None = None,
    train: str | Path | None = None,
    progress: OnStage | None = None,
) -> Path:
    """Write the page, or the picture, of a file of samples or of a folder written by ``generate``.

    Metrics of a folder are those in it, unless data to compare with are given.

    Args:
        path: File or folder.
        out: The page to write (``.html``), or a picture of the first samples (``.svg``, ``.png``; ``.gif`` where the
            domain draws what moves).
        domain: Name of the domain, where the suffix of the file does not tell.
        against: Data to compare with, held out of training.
        train: Data of training.
        progress: Told how far it is.

    Raises:
        SciflowError: The samples cannot be read, or the page cannot be written.
    """
    path, out = Path(path), Path(out)
    kind = out.suffix.lower()
    if kind not in (*_PAGE, *_PICTURE):
        raise expected(
            str(out), out.suffix, f"a page (.html) or a picture ({', '.join(_PICTURE)})"
        )
    if not path.exists():
        raise expected(str(path), "no such file", "samples, or a folder that 'generate -o' wrote")
    suffixes = [suffix for one in registry.adapters().values() for suffix in one.suffixes]
    folder = path.is_dir() and is_folder(path, suffixes)
    facts: dict[str, Any] = read_facts(path) if folder else {"source": path.name}
    adapter = registry.adapter_of(_samples(path, suffixes), domain or facts.get("domain"))
    if kind in _PICTURE:
        adapter.draw(read(adapter, _samples(path, suffixes), True, progress).objects[:DRAWN], out)
        return out
    found = evaluate(adapter, path, against, train, progress=progress)
    facts |= {"domain": adapter.name, "made": len(found.read.objects) + len(found.read.skipped)}
    if found.read.skipped:
        facts["skipped"] = len(found.read.skipped)
    if "metrics" not in facts or against or train:
        facts["metrics"] = found.metrics.summary()
    shown = found.read.objects[:DRAWN]
    # Not every format keeps an object as it was made; the picture in the folder shows it so.
    kept = path / PICTURES[0]
    picture = kept.read_text("utf-8") if kept.is_file() else drawing(adapter, shown)
    more = adapter.pictures(found.read.objects, found.reference)
    return page.write(out, facts, found.metrics.table, picture, len(shown), more)


def _samples(path: Path, suffixes: Sequence[str]) -> Path:
    if path.is_dir() and is_folder(path, suffixes):
        return path / Path(read_facts(path)["samples"]).name
    return path


def read(
    adapter: type[Adapter], path: str | Path, raw: bool = False, progress: OnStage | None = None
) -> Read:
    """Read a file of objects.

    Args:
        adapter: Adapter class of the domain.
        path: The file.
        raw: Keep what breaks the rules of the domain.
        progress: Told how far it is.

    Raises:
        SciflowError: The file cannot be read or holds nothing.
    """
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(f"reading {Path(path).name}", done, 0)

    return adapter.read(path, raw=raw, progress=tell)


__all__ = ["Evaluation", "evaluate", "read", "show"]
