"""The page of a set of samples: what made them, what they are worth, what they look like.

It is built from plain values (the settings and totals that ``metrics.json`` holds), the table of
the samples and one picture, so it looks alike whether the samples were made just now or read from
a folder or a file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from .report import (
    Bars,
    Block,
    Code,
    Facts,
    Metric,
    Metrics,
    Picture,
    Section,
    Table,
    Text,
    number,
)
from .report import page as write_page

LISTED = 200
"""Most rows of the list of samples."""
_NOTE = "As generated: nothing repaired, nothing left out."


def write(
    path: str | Path,
    facts: Mapping[str, Any],
    table: Sequence[Any],
    drawing: str | None = None,
    shown: int = 0,
    pictures: Sequence[tuple[str, str | bytes]] = (),
) -> Path:
    """Write the page.

    Args:
        path: Where to.
        facts: ``domain``, ``made``, ``metrics`` (see `Metrics.summary` in `adapter`) and, where
            known, ``model``, ``settings``, ``seconds``, ``provenance``, ``source`` (the file),
            ``skipped`` (rows that could not be read), ``card``.
        table: One row per sample, mappings or dataclasses.
        drawing: Picture of the first samples, as SVG.
        shown: How many samples it shows.
        pictures: Further pictures with their captions (see `Adapter.pictures`).

    Returns:
        The path.

    Raises:
        SciflowError: The page cannot be written.
    """
    domain, made = str(facts["domain"]), int(facts["made"])
    wanted = int(facts.get("settings", {}).get("n", made))
    title = f"{number(made)} {domain}"
    sections = [
        *_pictures(drawing, shown, made, pictures),
        *_figures(facts.get("metrics", {})),
        *_histograms(facts.get("metrics", {})),
        *_list(table, facts.get("metrics", {}).get("columns")),
        *_model(facts.get("card", {})),
        *_again(facts),
    ]
    lead = _lead(facts)
    if wanted > made:
        lead = f"Interrupted: {number(made)} of {number(wanted)} were made. {lead}"
    return write_page(path, title, sections, settings=_settings(facts), lead=lead)


def _lead(facts: Mapping[str, Any]) -> str:
    if "settings" not in facts:
        skipped = facts.get("skipped", 0)
        rows = f"{number(skipped)} row{'s' * (skipped > 1)}"
        more = f"; {rows} of it could not be read" if skipped else ""
        return f"Read from {facts.get('source', 'a file')}{more}."
    return f"Made by {facts.get('model') or 'a model'} in {_seconds(facts.get('seconds'))}."


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "an unknown time"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _settings(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the order of interest, named as a reader would."""
    settings = {str(k).replace("_", " "): _plain(v) for k, v in facts.get("settings", {}).items()}
    settings.pop("n", None)
    found = {"model": facts["model"]} if facts.get("model") else {}
    found |= settings
    provenance = facts.get("provenance", {})
    found |= {k: v for k, v in provenance.get("versions", {}).items() if k in ("sciflow", "torch")}
    if provenance.get("date"):
        found["made on"] = str(provenance["date"]).replace("T", " ").replace("+00:00", " UTC")
    return found


def _plain(value: Any) -> Any:
    """Return a name and its options, or any other setting, as one word or number."""
    if isinstance(value, Mapping):
        options = [f"{k} {_plain(v)}" for k, v in value.items() if k != "name"]
        name = str(value.get("name", ""))
        return f"{name} ({', '.join(options)})" if name and options else name + ", ".join(options)
    if isinstance(value, list | tuple):
        return ", ".join(str(_plain(v)) for v in value)
    # A seed is a name: 12 345 678 with thin spaces could not be copied.
    return str(value)


def _pictures(
    drawing: str | None, shown: int, made: int, more: Sequence[tuple[str, str | bytes]]
) -> Iterator[Section]:
    if drawing:
        caption = f"The first {number(shown)} of {number(made)}." if shown < made else ""
        others = [Picture(image, text) for text, image in more]
        yield Section("Samples", [Picture(drawing, caption), *others], note=_NOTE)


def _figures(summary: Mapping[str, Any]) -> Iterator[Section]:
    groups: dict[str, list[Metric]] = {}
    absent: dict[str, list[str]] = {}
    for name, figure in summary.get("figures", {}).items():
        label = figure.get("label") or str(name).replace("_", " ")
        if figure.get("value") is None:
            absent.setdefault(figure.get("note") or "no value", []).append(label)
            continue
        over = figure.get("over")
        notes = [f"of {number(over)}" if over is not None else "", figure.get("note", "")]
        metric = Metric(
            label,
            figure["value"],
            figure.get("reference"),
            figure.get("floor"),
            "; ".join(note for note in notes if note),
            percent=figure.get("kind") == "share",
            better=figure.get("better", ""),
        )
        groups.setdefault(figure.get("group", ""), []).append(metric)
    blocks: list[Block] = [Metrics(rows, caption=group) for group, rows in groups.items()]
    if absent:
        reasons = (f"{', '.join(labels)} ({reason})" for reason, labels in absent.items())
        blocks.append(Text(f"Not taken: {'; '.join(reasons)}."))
    if blocks:
        sets = ((summary.get("reference"), "reference"), (summary.get("train"), "training set"))
        counted = [f"{name} of {number(count)}" for count, name in sets if count]
        yield Section(
            "Metrics", blocks, note=f"Against a {', and a '.join(counted)}." * bool(counted)
        )


def _histograms(summary: Mapping[str, Any]) -> Iterator[Section]:
    blocks: list[Block] = []
    for name, histogram in summary.get("histograms", {}).items():
        bins = histogram.get("bins", [])
        if not bins:
            continue
        series = {"generated": histogram["generated"]}
        if histogram.get("reference") is not None:
            series["reference"] = histogram["reference"]
        percent = histogram.get("kind", "share") == "share"
        caption = f"{name}: {histogram['unit']}" if histogram.get("unit") else str(name)
        blocks.append(
            Bars([str(b) for b in bins], series, caption[:1].upper() + caption[1:], percent)
        )
    if blocks:
        yield Section("Distributions", blocks)


def _list(table: Sequence[Any], listed: Sequence[str] | None) -> Iterator[Section]:
    rows = [asdict(row) if is_dataclass(row) else dict(row) for row in table[:LISTED]]  # type: ignore[arg-type]
    if not rows:
        return
    # A column without a single value says nothing.
    columns = [c for c in listed or rows[0] if any(row.get(c) is not None for row in rows)]
    cells = [[k, *(_cell(row.get(c)) for c in columns)] for k, row in enumerate(rows, 1)]
    left = len(table) - len(rows)
    caption = (
        f"The first {number(len(rows))}; {number(left)} more are in the file." if left else ""
    )
    heads = ["", *(c.replace("_", " ") for c in columns)]
    yield Section("List", [Table(heads, cells, caption)])


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if value is None or isinstance(value, int | float) else str(value)


def _model(card: Mapping[str, Any]) -> Iterator[Section]:
    """What is known of the model: its card."""
    blocks: list[Block] = []
    plain = {k: _plain(v) for k, v in card.items() if k not in ("description", "measured")}
    if plain:
        blocks.append(Facts(plain))
    measured = [[str(k).replace("_", " "), _plain(v)] for k, v in card.get("measured", {}).items()]
    if measured:
        blocks.append(Table(["measured before", ""], measured))
    if blocks:
        yield Section("Model", blocks, note=str(card.get("description", "")))


def _again(facts: Mapping[str, Any]) -> Iterator[Section]:
    """The command that makes the same samples."""
    settings = facts.get("settings")
    if not settings or not facts.get("model"):
        return
    words = ["sciflow", "generate", str(facts["domain"]), "--model", str(facts["model"])]
    words += ["-n", str(settings["n"]), "--seed", str(settings["seed"])]
    words += ["--steps", str(settings["steps"])]
    for name in ("solver", "grid"):
        words += [f"--{name}", choice(settings[name])]
    for key, value in settings.get("options", {}).items():
        words += ["--option", f"{key}={value}"]
    yield Section("Again", [Code(shlex.join([*words, "-o", "again"]))])


def choice(value: str | Mapping[str, Any]) -> str:
    """Return a solver or grid as the command line takes it: ``name:option=value,...``."""
    if isinstance(value, str):
        return value
    options = ",".join(f"{k}={v}" for k, v in value.items() if k != "name")
    return f"{value.get('name', '')}:{options}" if options else str(value.get("name", ""))


__all__ = ["LISTED", "choice", "write"]
