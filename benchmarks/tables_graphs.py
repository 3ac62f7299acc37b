"""The table of generic graphs: our models, GDSS's weights under our sampler, published figures, the floor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SHOWN = ("degree", "clustering", "orbit", "average", "spectral")
HEAD = ["MMD, draws of 20 graphs", *SHOWN, "copies of training graphs", "unique"]


COMMUNITIES = {
    "sciflow `community-small`": "graphs-community-small",
    "GDSS, authors' weights, our sampler": "graphs-gdss-community-small",
}
GRIDS = {"sciflow, 39 CPU minutes": "graphs-grid"}


def table(ours: Mapping[str, str] = COMMUNITIES) -> str:
    """Means over draws, the spread over draws in brackets; `ours`: the result file of each label."""
    rows = []
    floor: Mapping[str, Any] = {}
    published: Mapping[str, Mapping[str, float]] = {}
    for label, name in ours.items():
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            continue
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        found, floor = results["figures"], results["figures"]
        cells = [
            _spread(found[key]["mean"], found[key]["lowest"], found[key]["highest"])
            for key in SHOWN
        ]
        rows.append(
            [label, *cells, *(_percent(found[key]["mean"]) for key in ("copies", "unique"))]
        )
        published = results["published"]
    for label, row in published.items():
        cells = [f"{row[key]:.3f}" if key in row else "–" for key in SHOWN]
        rows.append([f"{label}, published", *cells, "–", "–"])
    if floor:
        cells = [_spread(floor[key]["floor"], *floor[key]["floor_spread"]) for key in SHOWN]
        rows.append(["floor: training graphs", *cells, "100.0 %", "–"])
        shares = [_percent(floor[key]["reference"]) for key in ("copies", "unique")]
        rows.append(["data (held out)", *["–"] * len(SHOWN), *shares])
    parts = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join("| " + " | ".join(part) + " |" for part in parts)


def _spread(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} ({low:.3f}–{high:.3f})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
