"""The tables of the field of molecules, made of results: ours, theirs under our metrics, and what was published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from published import PAPERS

RESULTS = Path(__file__).parent / "results"
NONE = "–"
PEERS = {"grum": "GruM: released samples, under our metrics"}
SHIPPED = {
    "qm9": {"qm9": "sciflow `qm9`"},
    "zinc250k": {
        "zinc250k": "sciflow `zinc250k`",
        "zinc250k-constrained": "the same, `--rings 7 --connected true`",
    },
}
"""Results of our models of each data set, with their titles; the first is that of the model as it is."""
CHOSEN = "S4, 100 steps"
"""The setting with few calls of GDSS's released weights that the tables show."""

Figures = Mapping[str, float | None]


def _read(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else None


def _values(figures: Mapping[str, Any], key: str = "value") -> Figures:
    return {name: figure.get(key) for name, figure in figures.items()}


def _percent(x: float | None) -> str:
    return NONE if x is None else f"{100 * x:.1f} %"


def _number(digits: int) -> Callable[[float | None], str]:
    return lambda x: NONE if x is None else f"{x:.{digits}f}"


COLUMNS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("gdss_valid", "valid, GDSS's protocol", _percent),
    ("valid_and_connected", "strictly valid and connected", _percent),
    ("gdss_nspdk", "NSPDK MMD", _number(4)),
    ("gdss_fcd", "FCD", _number(3)),
    ("unique", "unique", _percent),
    ("novel", "novel", _percent),
    ("aromatic", "aromatic", _percent),
    ("large_rings", "ring of 8 or more", _percent),
)


def _rows(data: str) -> list[tuple[str, Figures, str, str]]:
    """(system, figures, network calls, number of molecules) of what was measured here."""
    rows: list[tuple[str, Figures, str, str]] = []
    found = {title: _read(f"molecules-{name}") for name, title in SHIPPED[data].items()}
    ours, peers = next(iter(found.values())), _read(f"molecules-{data}-peers") or {}
    measured = [(ours["n"], ours["figures"])] if ours else []
    measured += [(row["generated"], row["figures"]) for row in peers.values()]
    if measured:
        rows.append(("held-out molecules", _values(measured[0][1], "reference"), NONE, NONE))
    for n, some in dict(measured).items():
        floor = {k: v for k, v in _values(some, "floor").items() if "fcd" in k or "nspdk" in k}
        rows.append((f"floor: {n:,} training molecules", floor, NONE, f"{n:,}"))
    for title, row in found.items():
        if row:
            steps, n = row["runs"][0]["settings"]["steps"], f"{row['n']:,}"
            n += f" x {len(row['runs'])}" if len(row["runs"]) > 1 else ""
            rows.append((title, _values(row["figures"], "mean"), str(steps), n))
    for name, row in peers.items():
        title = PEERS.get(name.partition("_")[0], name)
        rows.append((title, _values(row["figures"]), NONE, f"{row['generated']:,}"))
    for row in (_read(f"gdss-{data}") or {"rows": ()})["rows"]:
        if row["sampler"] == "authors' code":
            title = "GDSS: released weights, authors' code"
            rows.append((title, _values(row["figures"]), "2000", "1,000"))
    few = _read(f"gdss-{data}-calls")
    for row in few["rows"] if few else ():
        if row["sampler"] == CHOSEN:
            title = f"GDSS: released weights, our sampler ({CHOSEN})"
            rows.append((title, row["mean"], str(row["calls"]), f"{few['n']:,}"))
    return rows


def field(data: str) -> str:
    """The table of a data set in Markdown.

    Args:
        data: ``qm9`` or ``zinc250k``.
    """
    # Of ZINC250k a part of the training molecules is looked up: enough for the floors, not for novelty.
    columns = [column for column in COLUMNS if data == "qm9" or column[0] != "novel"]
    head = ["", *(label for _, label, _ in columns), "network calls", "molecules"]
    table = [head, ["---"] * len(head)]
    for title, figures, calls, n in _rows(data):
        cells = [cell(figures.get(key)) for key, _, cell in columns]
        table.append([title, *cells, calls, n])
    for row in PAPERS[data]:
        shown = {"gdss_valid": row.valid, "gdss_nspdk": row.nspdk, "gdss_fcd": row.fcd}
        cells = [cell(shown.get(key)) for key, _, cell in columns]
        table.append([f"{row.system}, published ({row.source})", *cells, NONE, "10,000"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


def gdss_calls(data: str = "qm9") -> str:
    """GDSS's released weights: quality against network calls, beside the authors' sampler."""
    few, whole = _read(f"gdss-{data}-calls"), _read(f"gdss-{data}")
    keys = [column for column in COLUMNS if column[0] in ("gdss_valid", "valid_and_connected")]
    keys += [column for column in COLUMNS if column[0] in ("gdss_nspdk", "gdss_fcd")]
    head = ["", "network calls", *(label for _, label, _ in keys), "CPU s per 1000", "molecules"]
    table = [head, ["---"] * len(head)]
    for row in whole["rows"] if whole else ():
        cells = [cell(row["figures"][key]["value"]) for key, _, cell in keys]
        cost = f"{row['cpu_seconds_per_1000']:.0f}"
        table.append([row["sampler"], "2000", *cells, cost, str(row.get("n", 1000))])
    if few and not whole:
        # A whole run of their sampler takes hours: what they publish, and the seconds of some of its steps.
        theirs = next(row for row in PAPERS[data] if row.system == "GDSS")
        shown = {"gdss_valid": theirs.valid, "gdss_nspdk": theirs.nspdk, "gdss_fcd": theirs.fcd}
        cells = [cell(shown.get(key)) for key, _, cell in keys]
        cost = f"{few['authors_cpu_seconds_per_1000']:.0f}"
        table.append(["authors' code, quality as published", "2000", *cells, cost, "10,000"])
    for row in few["rows"] if few else ():
        cells = [cell(row["mean"][key]) for key, _, cell in keys]
        cost, n = f"{row['cpu_seconds_per_1000']:.1f}", f"{few['n']} x {len(row['runs'])}"
        table.append([row["sampler"], str(row["calls"]), *cells, cost, n])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


def model_calls(model: str = "qm9") -> str:
    """Our model: quality against network calls."""
    few = _read(f"molecules-{model}-calls")
    keys = COLUMNS
    head = ["network calls", *(label for _, label, _ in keys), "CPU s per 1000"]
    table = [head, ["---"] * len(head)]
    for row in few["rows"] if few else ():
        cells = [cell(row["figures"][key]["mean"]) for key, _, cell in keys]
        table.append([str(row["calls"]), *cells, f"{row['cpu_seconds_per_1000']:.1f}"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


__all__ = ["field", "gdss_calls", "model_calls"]
