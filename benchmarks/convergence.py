"""Order of convergence of every solver on every Gaussian path, beside the order that it states.

    python benchmarks/convergence.py --json benchmarks/results/convergence.json

The laws are exact (`tests/core/analytic.py`): one Gaussian and a mixture of two, with the network that knows them, in
float64. Nothing is sampled, so there is no seed. For solvers of the probability flow the error is the root mean square
distance of 32 end points from the exact ones; for stochastic solvers it is the norm of the errors of mean and standard
deviation (Gaussian), or of E[x], E[x^2], E[cos x] and E[sin 2x] (mixture), of the law that the solver produces.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import sciflow  # noqa: E402
from sciflow.grids import Uniform  # noqa: E402
from sciflow.paths import GAUSSIAN as PATHS  # noqa: E402
from sciflow.paths import GaussianPath  # noqa: E402
from sciflow.solvers import Solver, make  # noqa: E402
from tests.core.analytic import (  # noqa: E402
    GAUSSIAN,
    MIXTURE,
    flow_errors,
    gaussian_law_errors,
    grid_for,
    mixture_law_errors,
    slope,
)

# Solver and options.
FLOWS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in ("euler", "midpoint", "heun", "heun3", "rk4", "ddim", "dpm++2m")),
    *(("dpm-solver", {"order": k}) for k in (2, 3)),
    ("dpm++", {"order": 3}),
    *(("dpm++", {"order": k, "singlestep": True}) for k in (2, 3)),
    *(("unipc", {"order": k, "variant": v}) for k in (2, 3) for v in ("bh1", "bh2")),
)
# Solver, options, draws of noise in a step. The corrector's own error, O(snr^2), has to lie below the predictor's.
DIFFUSIONS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("ancestral", {}, 1),
    ("ddim", {"eta": 1.0}, 1),
    ("dpm++sde", {"order": 1}, 1),
    ("euler-maruyama", {}, 1),
    ("reverse-diffusion", {}, 1),
    ("predictor-corrector", {"snr": 0.01}, 2),
    ("s4", {"snr": 0.01}, 3),
)
STEPS = {"flow": (64, 128, 256), "gaussian": (64, 128, 256), "mixture": (16, 32, 64)}
MARGIN = 0.3


def row(
    name: str,
    options: dict[str, Any],
    solver: Solver,
    path: str,
    law: str,
    steps: tuple[int, ...],
    errors: list[float],
    grid: object,
) -> dict[str, Any]:
    """One line of the table; the order is the slope over the last doubling."""
    return {
        "solver": name,
        "options": options,
        "path": path,
        "law": law,
        "grid": repr(grid),
        "stated": solver.order,
        "measured": round(slope(steps[-2:], errors[-2:]), 3),
        "steps": list(steps),
        "errors": [float(f"{e:.4g}") for e in errors],
    }


def measure() -> list[dict[str, Any]]:
    """Measure every solver on every path, printing as it goes."""
    rows = []
    paths: dict[str, GaussianPath] = {name: path() for name, path in PATHS.items()}
    print(f"{'solver':20} {'path':7} {'law':9} {'stated':>6} {'measured':>8}  errors")

    def keep(line: dict[str, Any]) -> None:
        rows.append(line)
        errors = " ".join(f"{e:.1e}" for e in line["errors"])
        short = line["measured"] < line["stated"] - MARGIN
        mark = "  BELOW" if short else ""
        print(
            f"{line['solver']:20} {line['path']:7} {line['law']:9} {line['stated']:6.0f} {line['measured']:8.2f}"
            f"  {errors}{mark}",
            flush=True,
        )

    for name, options in FLOWS:
        for label, path in paths.items():
            for law, value in (("gaussian", GAUSSIAN), ("mixture", MIXTURE)):
                solver = make({"name": name, **options})
                # The reference is known to 1e-9, so order 4 is measured where errors are larger.
                steps = STEPS["flow" if solver.order < 4 else "mixture"]
                grid = grid_for(name, path, solver.order)
                errors = flow_errors(solver, path, value, grid, steps)
                keep(row(name, options, solver, label, law, steps, errors, grid))
    for name, options, draws in DIFFUSIONS:
        solver, grid = make({"name": name, **options}), Uniform()
        for label, path in paths.items():
            steps = STEPS["gaussian"]
            errors = gaussian_law_errors(solver, path, GAUSSIAN, grid, steps)
            keep(row(name, options, solver, label, "gaussian", steps, errors, grid))
            steps, corrected = STEPS["mixture"], "snr" in options
            errors = mixture_law_errors(solver, path, MIXTURE, grid, steps, draws, corrected)
            keep(row(name, options, solver, label, "mixture", steps, errors, grid))
    return rows


def commit() -> str:
    """The commit that is measured, marked where what is measured differs from it."""

    def git(*words: str) -> str:
        say = ["git", "-C", str(ROOT), *words]
        return subprocess.run(say, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "sciflow/solvers", "sciflow/paths", "tests/core")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if changed else "")


def main() -> int:
    """Measure, print and write; 1 if a solver falls short of its order."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = ROOT / "benchmarks" / "results" / "convergence.json"
    parser.add_argument("--json", type=Path, default=default, help="where the table is written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    rows = measure()
    short = [r for r in rows if r["measured"] < r["stated"] - MARGIN]
    report = {
        "command": shlex.join(["python", "benchmarks/convergence.py"]),
        "commit": commit(),
        "seed": None,
        "device": "cpu, 1 thread, float64",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "sciflow": sciflow.__version__,
        },
        "cpu_seconds": round(time.process_time() - begin, 1),
        "margin": MARGIN,
        "below": len(short),
        "rows": rows,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} rows, {len(short)} below their order by more than {MARGIN}")
    return bool(short)


if __name__ == "__main__":
    sys.exit(main())
