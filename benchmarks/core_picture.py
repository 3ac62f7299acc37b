"""Pictures of the accuracy results: error against network calls, ours in colour, the best of other libraries grey."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core_laws import LAWS
from core_ours import LIBRARY
from record import RESULTS

Row = dict[str, Any]
INK, GREY, PALE = "#22262b", "#8d949c", "#dfe3e7"
COLOURS = ("#0b5fa5", "#d1495b", "#2a9d6f", "#b5651d")
BUDGETS = (10, 20, 40, 80)
SW2_TICKS = (0.02, 0.05, 0.1, 0.2)
LIMITS = (6.6, 86.0)
GREYS = 5
"""How many samplers of other libraries are drawn: the best of each library first."""


@dataclass(frozen=True)
class Label:
    """What is written beside the end (x, y) of a line."""

    text: str
    setting: str
    colour: str
    x: float
    y: float


def curves(rows: Sequence[Row], law: str, measure: str, drawn: bool) -> list[dict[str, Any]]:
    """Return one curve for each sampler, best first (geometric mean of the errors)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        fits = row.get("law") == law and row.get("stochastic") == drawn and not row["adaptive"]
        if fits and row.get(measure):
            key = (row["library"], row["sampler"])
            curve = found.setdefault(key, {"x": [], "y": [], "family": row["family"]})
            curve |= {"library": key[0], "sampler": key[1], "setting": row["setting"]}
            curve["x"].append(row["calls"])
            curve["y"].append(row[measure])
    whole = [c for c in found.values() if len(c["y"]) == len(BUDGETS)]
    return sorted(whole, key=lambda c: sum(map(math.log, c["y"])))


def best_of_each(found: Sequence[dict[str, Any]], key: str, count: int) -> list[dict[str, Any]]:
    """Return the best curve of each value of `key`, the best `count` of them."""
    chosen: dict[str, dict[str, Any]] = {}
    for curve in found:
        chosen.setdefault(curve[key], curve)
    return list(chosen.values())[:count]


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Return label heights at least `least` apart, in the same order and as near to `heights` as they come."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = [heights[i] for i in order]
    for _ in range(300):
        for i in range(len(placed) - 1):
            lack = least - (placed[i + 1] - placed[i])
            if lack > 1e-6:
                placed[i] -= lack / 2
                placed[i + 1] += lack / 2
    result = [0.0] * len(placed)
    for i, height in zip(order, placed, strict=True):
        result[i] = height
    return result


def picture(rows: Sequence[Row], law: str, measure: str, drawn: bool, path: Path) -> None:
    """Draw one law: log-log, a label at the end of each line."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    found = curves(rows, law, measure, drawn)
    mine = best_of_each([c for c in found if c["library"] == LIBRARY], "family", len(COLOURS))
    others = best_of_each([c for c in found if c["library"] != LIBRARY], "library", GREYS)
    floor = next(r for r in rows if r["law"] == law and "floor" in r)["floor"]
    style = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "sciflow",
        "axes.edgecolor": PALE,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(7.6, 4.6))
        figure.subplots_adjust(left=0.085, right=0.6, top=0.83, bottom=0.12)
        labels: list[Label] = []
        for curve in others:
            axes.plot(curve["x"], curve["y"], color=GREY, lw=1.1, marker="o", ms=2.6, zorder=2)
            name = f"{curve['library']} {curve['sampler']}"
            labels.append(Label(name, "", GREY, curve["x"][-1], curve["y"][-1]))
        for curve, colour in zip(mine, COLOURS, strict=False):
            axes.plot(curve["x"], curve["y"], color=colour, lw=2.2, marker="o", ms=4.2, zorder=3)
            name, setting = curve["sampler"], curve["setting"]
            labels.append(Label(name, setting, colour, curve["x"][-1], curve["y"][-1]))
        if measure == "sw2":
            axes.axhline(floor, color=GREY, lw=0.8, ls=(0, (2, 3)))
            labels.append(Label("an exact set", "", GREY, LIMITS[1], floor))
        axes.set(xscale="log", yscale="log", xlim=LIMITS)
        axes.set_xticks(BUDGETS, [str(b) for b in BUDGETS])
        axes.minorticks_off()
        if measure == "sw2":
            axes.set_ylim(0.7 * floor, 0.3)
            axes.set_yticks(SW2_TICKS, [f"{tick:g}".lstrip("0") for tick in SW2_TICKS])
        axes.tick_params(length=0, colors=INK)
        axes.grid(True, color=PALE, lw=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        _write(axes, labels)
        title = "distance from the exact end points (rmse)"
        if measure == "sw2":
            title = "sliced Wasserstein-2 distance from the law"
        kind = "stochastic" if drawn else "deterministic"
        figure.text(
            0.03, 0.94, f"{LAWS[law]().name}: {title}", color=INK, size=12.5, weight="bold"
        )
        say = f"{kind} samplers, exact network; sciflow in colour, the best of each other library in grey"
        figure.text(0.03, 0.885, say, color=GREY, size=9)
        axes.set_xlabel("network calls", color=INK)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _write(axes: Any, labels: Sequence[Label]) -> None:
    """Write a label beside the end of each line, moved where they would touch."""
    low, high = (math.log(v) for v in axes.get_ylim())
    ends = [(math.log(label.y) - low) / (high - low) for label in labels]
    for label, at, place in zip(labels, ends, spread(ends, 0.06), strict=True):
        right = math.log(label.x / LIMITS[0]) / math.log(LIMITS[1] / LIMITS[0])
        axes.plot(
            [right + 0.012, 1.035],
            [at, place],
            color=label.colour,
            lw=0.6,
            clip_on=False,
            transform=axes.transAxes,
        )
        words = axes.text(
            1.045,
            place,
            label.text,
            color=label.colour,
            weight="bold" if label.setting else "normal",
            va="center",
            transform=axes.transAxes,
        )
        small = {"color": GREY, "fontsize": 8, "va": "center"}
        axes.annotate(f"  {label.setting}", (1, 0.5), xycoords=words, **small)


def draw(say: Callable[[str], None]) -> None:
    """Draw every law that has been measured."""
    for law in LAWS:
        source = RESULTS / f"core-{law}.json"
        if not source.exists():
            continue
        rows = json.loads(source.read_text())["results"]["rows"]
        for measure, drawn in (("rmse", False), ("sw2", True)):
            name = f"core-{law}-{'stochastic' if drawn else 'flow'}.svg"
            picture(rows, law, measure, drawn, RESULTS / name)
            say(f"benchmarks/results/{name}")
