"""The tables of the README and of docs/, filled from the committed results: nothing is typed by hand.

    python benchmarks/tables.py            # rewrites the tables between their markers
    python benchmarks/tables.py --check    # only says whether they are up to date

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import importlib
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
    mean = number(1)(read("molecules-qm9-cost")["results"]["cpu_seconds_per_1000"]["mean"])
    rows.append(["CPU seconds per 1000, one thread", mean, NONE, "", "", *cost])
    head = [
        "",
        "sciflow `qm9`",
        "spread over seeds",
        "data (held out)",
        "floor: training molecules",
    ]
    return lines([*head, *columns], rows)


FAMILIES = {
    "midpoint": "midpoint",
    "heun": "Heun",
    "heun3": "third order, three stages",
    "rk4": "RK4",
    "ddim": "DDIM",
    "dpm-solver-single": "DPM-Solver, single step",
    "dpm++2m": "DPM-Solver++ 2M",
    "dpm++3m": "DPM-Solver++ 3M",
    "dpm++single": "DPM-Solver++, single step",
    "unipc": "UniPC",
    "adams": "Adams",
}


def core() -> str:
    """Our best row of each family of solvers beside the best row of any library, on the ring of eight modes."""
    found = {
        (v["family"], v["budget"]): v
        for v in read("core-ring")["results"]["verdicts"]
        if "ours" in v
    }
    rows = []
    for family, label in FAMILIES.items():
        cells = [label]
        for budget in (10, 20, 40, 80):
            verdict = found.get((family, budget))
            if verdict is None or verdict.get("best") is None:
                cells.append(NONE)
                continue
            ours, best = (f"{verdict[k]:.2g}" for k in ("ours", "best"))
            library = verdict["best_sampler"].split()[0]
            cells.append(f"{ours} / {best} ({library})")
        rows.append(cells)
    return lines(["family: ours / best library", "10 calls", "20", "40", "80"], rows)


def weather() -> str:
    """Forecasts: CRPS of persistence (its mean error), climatology, the linear-Gaussian law, and of the models."""
    found = {}
    for name, data in (("eraint", "eraint"), ("era5_t2m", "era5_t2m")):
        if (RESULTS / f"weather-{name}.json").exists():
            for row in read(f"weather-{name}")["results"]:
                found[data, row["variable"], row["lead_hours"]] = row
    rows = []
    for row in read("fields_weather")["results"]:
        own = found.get((row["data"], row["variable"], row["lead_hours"]))
        rows.append(
            [
                f"{row['data']} {row['variable']} ({row['units']})",
                f"{row['lead_hours']:.0f} h",
                f"{row['persistence']['mae']:.3g}",
                f"{row['climatology']['fair_crps']:.3g}",
                f"{row['linear_gaussian']['crps']:.3g}",
                *(_forecast(own) if own else ["–"] * 4),
            ]
        )
    head = ["field", "lead", "persistence", "climatology", "linear-Gaussian", "sciflow"]
    return lines(
        [*head, "ratio to linear-Gaussian (5-95 %)", "its linear part", "spread-skill"], rows
    )


def _forecast(row: dict[str, Any]) -> list[str]:
    low, high = row["ratio_5_95"]
    return [
        f"{row['model']['fair_crps']:.3g}",
        f"{row['ratio_to_linear_gaussian']:.3f} ({low:.3f}-{high:.3f})",
        f"{row['base']['crps']:.3g}",
        f"{row['model']['spread_skill']:.2f}",
    ]


def burgers() -> str:
    """Burgers: the shipped model by steps of sampling, beside persistence and linear regression."""
    rows = []
    found = dict(read("fields_burgers")["results"])
    linear = read("fields_burgers_linear")["results"]
    found |= {"linear regression": linear["linear"], "dynamic modes": linear["dynamic modes"]}
    found["persistence"] = found.pop("persistence")
    for name, row in found.items():
        if not isinstance(row, dict) or "nrmse" not in row:
            continue
        label = f"sciflow `burgers`, {name}" if name.endswith("steps") else name
        columns = ("nrmse", "ensemble_nrmse", "crps", "spread_skill", "cpu_s_per_trajectory")
        rows.append([label, *(number(3)(row.get(column)) for column in columns)])
    head = ["", "nRMSE, one sample", "nRMSE, mean of 8", "fair CRPS", "spread-skill", "CPU s each"]
    return lines(head, rows)


def beside(name: str = "tables_molecules") -> Any:
    """The module `tables_molecules`, or another that lies beside this file."""
    if str(Path(__file__).parent) not in sys.path:
        sys.path.insert(0, str(Path(__file__).parent))
    return importlib.import_module(name)


TABLES: dict[str, Callable[[], str]] = {
    "burgers": burgers,
    "burgers_rivals": lambda: beside("tables_fields").rivals("burgers"),
    "compressible_rivals": lambda: beside("tables_fields").rivals("compressible"),
    "molecules": molecules,
    "molecules_qm9": lambda: beside().field("qm9"),
    "molecules_zinc250k": lambda: beside().field("zinc250k"),
    "molecules_calls": lambda: beside().model_calls(),
    "gdss_calls": lambda: beside().gdss_calls(),
    "gdss_calls_zinc250k": lambda: beside().gdss_calls("zinc250k"),
    "graphs": lambda: beside("tables_graphs").table(),
    "grids": lambda: (graphs := beside("tables_graphs")).table(graphs.GRIDS),
    "properties": lambda: beside("tables_wishes").properties(),
    "scaffolds": lambda: beside("tables_wishes").scaffolds(),
    "rewards": lambda: beside("tables_wishes").rewards(),
    "core": core,
    "crystals": lambda: beside("tables_crystals").prediction(),
    "crystal_like": lambda: beside("tables_crystals").like(),
    "crystal_processes": lambda: beside("tables_crystals").processes(),
    "crystal_generation": lambda: beside("tables_crystals").generation(),
    "crystal_stability": lambda: beside("tables_crystals").stability(),
    "crystal_energies": lambda: beside("tables_crystals").energies(),
    "crystal_guidance": lambda: beside("tables_crystals").guidance(),
    "crystal_properties": lambda: beside("tables_crystals_wishes").properties(),
    "crystal_symmetry": lambda: beside("tables_crystals_wishes").symmetry(),
    "crystal_symmetry_generation": lambda: beside("tables_crystals_wishes").generation(),
    "crystal_speed": lambda: beside("tables_crystals").speed(),
    "weather": weather,
    "shipped": lambda: beside("tables_shipped").table(),
    "control": lambda: beside("tables_fields").control(),
    "rollout": lambda: beside("tables_fields").rollout(),
    "superresolution": lambda: beside("tables_fields").superresolution(),
}


def pages() -> list[Path]:
    """The pages that have tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    old = False
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after == before:
            continue
        old = True
        if check:
            print(f"{page.relative_to(ROOT)} is out of date: run python benchmarks/tables.py")
        else:
            page.write_text(after, encoding="utf-8")
    return int(check and old)


if __name__ == "__main__":
    sys.exit(main())
