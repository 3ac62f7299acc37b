"""The core beside other libraries: accuracy against network calls, and overhead per step.

    python benchmarks/core.py accuracy --sources FOLDER
    python benchmarks/core.py overhead --sources FOLDER
    python benchmarks/core.py draw

``accuracy``: exact laws (`core_laws.py`), so the network makes no error and all of it is the sampler's. Deterministic
samplers: root mean square distance (rmse) of their end points from the exact ones, from the same noise; all samplers:
sliced Wasserstein-2 distance (sw2) of their samples from the law, whose floor an exact set shows. Float64, a budget
of 10, 20, 40 or 80 network calls, which no run exceeds. Every sampler, ours or not, has several settings (path or
schedule, and grid); one setting is chosen for each law on other noise, by the geometric mean of its errors, and shown.
In many dimensions a single point that ends in another mode may rule the rmse: the median distance stands beside it.
Stochastic samplers are shown as the mean over three seeds.

``overhead``: see `core_overhead.py`. ``draw``: pictures from the results.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for folder in (str(ROOT), str(ROOT / "benchmarks")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

import torch  # noqa: E402
from core_laws import LAWS, Mixture, SlicedW2, Start, distance  # noqa: E402
from core_ours import LIBRARY, ours  # noqa: E402
from core_rivals import installed, rivals  # noqa: E402
from core_sampler import Outcome, Sampler  # noqa: E402
from record import write  # noqa: E402

BUDGETS = (10, 20, 40, 80)
SEEDS = (0, 1, 2)
LEVEL = 1.01
"""An error at most this many times the rival's counts as at its figure: rounding of schedules, in float32 with some.
So does one within two standard errors of it."""
Row = dict[str, Any]


class Bench:
    """Runs samplers on one law and measures where they end.

    Args:
        law: The law.
        size: Number of samples; None takes the law's.
    """

    def __init__(self, law: Mixture, size: int | None = None) -> None:
        self.law = Mixture(law.name, law.weights, law.means, law.std, size or law.size)
        self.sw2 = SlicedW2(self.law)
        self.exact: dict[tuple[float, float, int], torch.Tensor] = {}

    def run(self, sampler: Sampler, budget: int, seed: int) -> tuple[Outcome | None, int, str]:
        """Run once; returns the outcome, the network calls, and what went wrong."""
        noise = self.law.start(seed)
        torch.manual_seed(seed)
        self.law.calls = 0
        try:
            with torch.no_grad():
                outcome = sampler.run(self.law, noise, budget)
        except Exception as error:  # a rival may fail in any way; ours refuse with a reason
            return None, 0, f"{type(error).__name__}: {str(error)[:200]}"
        return outcome, self.law.calls, ""

    def end_of(self, start: Start, seed: int) -> torch.Tensor:
        """The exact end points of a start."""
        key = (start.a, start.s, seed)
        if key not in self.exact:
            self.exact[key] = self.law.flow(start)
        return self.exact[key]

    def errors(self, sampler: Sampler, budget: int, seeds: Sequence[int]) -> Row:
        """Network calls, rmse (deterministic samplers) and sw2, means over the seeds."""
        used, rmse, median, noise, sw2 = 0, [], [], [], []
        for seed in seeds:
            outcome, calls, wrong = self.run(sampler, budget, seed)
            if outcome is None:
                return {"calls": 0, "error": wrong}
            used = max(used, calls)
            if not sampler.stochastic:
                value, error, middle = distance(outcome.end, self.end_of(outcome.start, seed))
                rmse.append(value)
                median.append(middle)
                noise.append(error)
            sw2.append(self.sw2(outcome.end))
        row: Row = {"calls": used, "sw2": _short(statistics.fmean(sw2))}
        if rmse:
            row["rmse"] = _short(statistics.fmean(rmse))
            row["rmse_error"] = _short(max(noise))
            row["median"] = _short(statistics.fmean(median))
        if len(sw2) > 1 and all(map(math.isfinite, sw2)):
            row["sw2_spread"] = _short(statistics.stdev(sw2))
        return row


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _error(row: Row) -> float:
    """The error a row is judged by: rmse where there is one, else sw2; infinite where the sampler failed."""
    value = row.get("rmse", row.get("sw2"))
    return math.inf if value is None else float(value)


def choose(bench: Bench, settings: Sequence[Sampler], keep: int = 1) -> list[Sampler]:
    """Return the settings of one sampler with the smallest geometric mean of errors, best first."""
    if len(settings) <= keep:
        return list(settings)
    scored = []
    for i, sampler in enumerate(settings):
        budgets = (20, 40) if sampler.stochastic else (10, 20, 40)
        total = 0.0
        for budget in budgets:
            error = _error(bench.errors(sampler, budget, (100,)))
            total += math.log(min(max(error, 1e-12), 1e3))
        scored.append((total, i, sampler))
    return [sampler for _, _, sampler in sorted(scored)[:keep]]


def grouped(samplers: Iterable[Sampler]) -> dict[tuple[str, str], list[Sampler]]:
    """Samplers by library and name, each with its settings."""
    groups: dict[tuple[str, str], list[Sampler]] = {}
    for sampler in samplers:
        groups.setdefault((sampler.library, sampler.name), []).append(sampler)
    return groups


def accuracy(
    name: str, groups: Mapping[Any, Sequence[Sampler]], say: Callable[[str], None]
) -> tuple[list[Row], dict[Any, list[Sampler]]]:
    """Measure every sampler on one law, each in its chosen setting.

    Args:
        name: Name of the law.
        groups: Settings to choose from, of each sampler.
        say: Prints a line.

    Returns:
        The rows, and the best two settings of each sampler: enough to choose from on the next law.
    """
    law = LAWS[name]()
    bench = Bench(law)
    # Enough to choose by, on noise that is not shown.
    small = {False: Bench(law, 1500 if law.dimension == 2 else 600), True: Bench(law, 4000)}
    floor = bench.sw2(bench.law.draw(1))
    flow = bench.sw2(bench.end_of(Start(bench.law.start(0), 0.0, 1.0), 0))
    say(f"\n{law.name}: sw2 of an exact set {floor:.3f}, of the exact flow {flow:.3f}")
    rows: list[Row] = [{"law": name, "floor": _short(floor), "flow": _short(flow)}]
    kept = {}
    for key, settings in groups.items():
        drawn = settings[0].stochastic
        kept[key] = choose(small[drawn], settings, 2)
        chosen = kept[key][0]
        line = {
            "law": name,
            "library": chosen.library,
            "sampler": chosen.name,
            "setting": chosen.setting,
            "family": chosen.family,
            "stochastic": drawn,
            "adaptive": chosen.adaptive,
        }
        found = []
        for budget in BUDGETS:
            found.append(bench.errors(chosen, budget, SEEDS if drawn else (0,)))
            rows.append({**line, "budget": budget, **found[-1]})
        cells = " ".join(f"{_cell(row):>13}" for row in found)
        say(f"{chosen.library:13} {chosen.name:26} {chosen.setting:28} {cells}")
    return rows, kept


def settled(
    groups: Mapping[Any, Sequence[Sampler]], rows: Sequence[Row]
) -> dict[Any, list[Sampler]]:
    """Keep the samplers that stand in a result, in the setting that stands there."""
    known = {(r["library"], r["sampler"]): r["setting"] for r in rows if "setting" in r}
    found = {k: [s for s in v if s.setting == known.get(k)] for k, v in groups.items()}
    return {key: settings for key, settings in found.items() if settings}


def _cell(row: Row) -> str:
    error = _error(row)
    return "failed" if not math.isfinite(error) else f"{error:.4f} ({row['calls']})"


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """For each law, kind of solver and budget, our best beside the best library's.

    A sampler stands at a budget with the calls it took, at most the budget; an adaptive one that took more stands at
    none. The kinds ``any deterministic`` and ``any stochastic`` hold all.
    """
    table = []
    measured = [r for r in rows if "family" in r]
    for law in dict.fromkeys(r["law"] for r in measured):
        mine = [r for r in measured if r["law"] == law]
        families = list(dict.fromkeys(r["family"] for r in mine))
        for family in [*families, "any deterministic", "any stochastic"]:
            for budget in BUDGETS:
                fits = [
                    r
                    for r in mine
                    if (r["family"] == family or family == f"any {_kind(r)}")
                    and 0 < r["calls"] <= budget
                    and math.isfinite(_error(r))
                    and (r["budget"] == budget or r["adaptive"])
                ]
                own = min((r for r in fits if r["library"] == LIBRARY), key=_error, default=None)
                other = min((r for r in fits if r["library"] != LIBRARY), key=_error, default=None)
                if own is None and other is None:
                    continue
                table.append(_verdict(law, family, budget, own, other))
    return table


def _noise(row: Row) -> float:
    """Standard error of what a row is judged by."""
    if row["stochastic"]:
        return (row.get("sw2_spread") or 0.0) / math.sqrt(len(SEEDS))
    return row.get("rmse_error") or 0.0


def _kind(row: Row) -> str:
    return "stochastic" if row["stochastic"] else "deterministic"


def _verdict(law: str, family: str, budget: int, own: Row | None, other: Row | None) -> Row:
    line: Row = {"law": law, "family": family, "budget": budget}
    for side, row in (("ours", own), ("best", other)):
        if row is not None:
            line[side] = row.get("rmse", row.get("sw2"))
            who = f"{row['sampler']} ({row['setting']})"
            line[f"{side}_sampler"] = who if side == "ours" else f"{row['library']} {who}"
    if own is None or other is None:
        line["verdict"] = "no rival" if other is None else "not ours"
        return line
    ratio = _error(own) / _error(other) if _error(other) else math.inf
    # Two standard errors of the difference: of the points drawn, or of the seeds.
    spread = math.hypot(*(_noise(row) for row in (own, other)))
    margin = 1 + 2 * spread / _error(other) if _error(other) else 1.0
    line["verdict"] = (
        "below" if ratio < 1 / LEVEL else "at" if ratio <= max(LEVEL, margin) else "ABOVE"
    )
    return line


def show(table: Sequence[Row], say: Callable[[str], None]) -> None:
    """Print the verdicts."""
    say(f"\n{'law':6} {'kind of solver':20} {'calls':>5}  {'ours':>8} {'best':>8}  verdict")
    for r in table:
        mine, its = (f"{r[k]:.4f}" if r.get(k) is not None else "-" for k in ("ours", "best"))
        say(
            f"{r['law']:6} {r['family']:20} {r['budget']:5}  {mine:>8} {its:>8}  {r['verdict']:8} "
            f"{r.get('ours_sampler', '')} | {r.get('best_sampler', '')}"
        )


def main() -> int:
    """Run one of the benchmarks; 1 if some verdict is ABOVE."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("accuracy", "overhead", "draw"))
    parser.add_argument("--laws", nargs="+", default=list(LAWS), choices=list(LAWS))
    parser.add_argument("--libraries", nargs="*", help="rivals to run; all by default")
    parser.add_argument("--installed", type=Path, help="a further folder of installed libraries")
    parser.add_argument("--sources", type=Path, help="folder with checkouts of programs")
    parser.add_argument(
        "--settings", type=Path, help="a result whose samplers and settings are taken"
    )
    parser.add_argument("--name", default="", help="end of the results' names; '-' writes none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if arguments.installed is not None:
        sys.path.append(str(arguments.installed))

    def say(line: str) -> None:
        print(line, flush=True)

    if arguments.what == "draw":
        from core_picture import draw

        draw(say)
        return 0
    if arguments.what == "overhead":
        from core_overhead import measure

        results = measure(arguments.sources, arguments.libraries, say)
        if arguments.name != "-":
            write(f"core-overhead{arguments.name}", seeds=[0], data={}, results=results)
        return 0
    others, missing = rivals(arguments.sources, arguments.libraries)
    for library, why in missing.items():
        say(f"{library}: left out, {why}")
    groups: Mapping[Any, Sequence[Sampler]] = grouped([*ours(), *others])
    if arguments.settings is not None:
        groups = settled(groups, json.loads(arguments.settings.read_text())["results"]["rows"])
    above = 0
    for law in arguments.laws:
        rows, groups = accuracy(law, groups, say)
        table = verdicts(rows)
        show(table, say)
        high = sum(r["verdict"] == "ABOVE" for r in table)
        say(f"{len(table)} comparisons, {high} above the best library")
        above += high
        if arguments.name != "-":
            results = {
                "libraries": installed(others),
                "missing": missing,
                "rows": rows,
                "verdicts": table,
            }
            data = {LAWS[law]().name: LAWS[law]().size}
            write(f"core-{law}{arguments.name}", seeds=list(SEEDS), data=data, results=results)
    return bool(above)


if __name__ == "__main__":
    sys.exit(main())
