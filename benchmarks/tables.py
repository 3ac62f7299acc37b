"""The tables of the README, filled from the committed results: nothing is typed by hand.

    python benchmarks/tables.py            # rewrites the tables between their markers
    python benchmarks/tables.py --check    # only says whether they are up to date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NONE = "–"

Cell = Callable[[float | None], str]


def percent(x: float | None) -> str:
    """A share as per cent."""
    return NONE if x is None else f"{100 * x:.1f} %"


def number(digits: int) -> Cell:
    """A number with so many decimals."""
    return lambda x: NONE if x is None else f"{x:.{digits}f}"


def points(digits: int, cell: Cell) -> Cell:
    """A spread, in the unit of `cell`."""
    if cell is percent:
        return lambda x: NONE if x is None else f"{100 * x:.1f} pt"
    return number(digits)


def read(name: str) -> dict[str, Any]:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def lines(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    parts = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(part) + " |" for part in parts)


MOLECULES: tuple[tuple[str, str, Cell, int], ...] = (
    ("valid", "valid as generated", percent, 1),
    ("connected", "connected", percent, 1),
    ("valid_and_connected", "valid and connected", percent, 1),
    ("unique", "unique", percent, 1),
    ("novel", "novel", percent, 1),
    ("aromatic", "with an aromatic ring", percent, 1),
    ("large_rings", "with a ring of 8 or more atoms", percent, 1),
    ("gdss_valid", "valid, GDSS's protocol (w/o correction)", percent, 1),
    ("nspdk", "NSPDK MMD", number(4), 4),
    ("fcd", "FCD", number(3), 3),
)


def molecules() -> str:
    """The shipped QM9 model beside the data, the floor, and GDSS."""
    ours = read("molecules-qm9")["results"]
    gdss = {row["sampler"]: row for row in read("gdss-qm9")["results"]["rows"]}
    columns: dict[str, Mapping[str, Any]] = {"GDSS, authors' code": gdss["authors' code"]}
    for norm in ("sample", "batch"):
        row = gdss.get(f"ours, {norm} norms")
        if row is not None:
            columns[f"GDSS, our sampler ({norm} norms)"] = row
    retrained = RESULTS / "molecules-gdss-qm9.json"
    if retrained.is_file():
        run = read("molecules-gdss-qm9")["results"]["runs"][0]
        columns["GDSS, retrained by us"] = run
    rows = []
    for key, label, cell, digits in MOLECULES:
        figure = ours["figures"][key]
        rows.append(
            [
                label,
                cell(figure["mean"]),
                points(digits, cell)(figure["spread"]),
                cell(figure["reference"]),
                cell(figure["floor"]),
                *(cell(row["figures"].get(key, {}).get("value")) for row in columns.values()),
            ]
        )
    cost = [number(0)(row["cpu_seconds_per_1000"]) for row in columns.values()]
    mean = number(1)(ours["cpu_seconds_per_1000"]["mean"])
    rows.append(["CPU seconds per 1000, one thread", mean, NONE, "", "", *cost])
    head = [
        "",
        "sciflow `qm9`",
        "spread over seeds",
        "data (held out)",
        "floor: training molecules",
    ]
    return lines([*head, *columns], rows)


TABLES: dict[str, Callable[[], str]] = {"molecules": molecules}


def filled(text: str) -> str:
    """Return a text with its tables filled."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.S)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = filled(before)
    if check:
        print("up to date" if after == before else "out of date: run python benchmarks/tables.py")
        return int(after != before)
    readme.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
