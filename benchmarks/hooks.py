"""Hooks on exact laws: guidance aside, each is measured against the law that it should reach.

    python benchmarks/hooks.py --json

The data are Gaussian (inverse problems) or eight modes on a ring in the plane (`tests/core/ring.py`), the network is
the one that knows them, in float64. Rows say the figure, the bar, and whether it is met.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import record  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from sciflow import Component, State, Streams, System  # noqa: E402
from sciflow.grids import Grid, Karras, LogSNR, Uniform  # noqa: E402
from sciflow.hooks import (  # noqa: E402
    Candidates,
    GaussianStart,
    Hook,
    Inpaint,
    Moments,
    Observe,
    Particles,
    Rollover,
    Steer,
    convert,
    edit,
)
from sciflow.hooks.edit import follow  # noqa: E402
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear  # noqa: E402
from sciflow.sampling import sample  # noqa: E402
from sciflow.solvers import make  # noqa: E402
from sciflow.spaces import Euclidean  # noqa: E402
from sciflow.state import Frame  # noqa: E402
from sciflow.system import Network  # noqa: E402
from tests.core.ring import F64, Mixture, Quadratic, ring, sliced  # noqa: E402

LAW = ring()
Row = dict[str, Any]


def row(item: str, what: str, value: float, bar: str = "", met: bool | None = None) -> Row:
    """One line of the table."""
    line = {"item": item, "what": what, "value": float(f"{value:.4g}"), "bar": bar}
    print(f"{item:12} {what:60} {value:10.4g}  {bar:28} {'' if met is None else met}", flush=True)
    return line if met is None else {**line, "met": bool(met)}


def one(path: GaussianPath, kind: str = "v") -> System:
    """A system with the component ``x``."""
    return System({"x": Component(Euclidean(), path, kind)})


def run(
    law: tuple[System, Network],
    count: int,
    solver: Any,
    steps: int,
    hooks: list[Hook],
    grid: Grid | None = None,
    start: Tensor | None = None,
    dimension: int = 2,
) -> Tensor:
    """End points of one run."""
    return sample(
        law[0],
        law[1],
        Frame({"x": (dimension,)}),
        Streams.range(0, 0, count),
        solver=make(solver),
        grid=grid or Uniform(),
        steps=steps,
        hooks=hooks,
        start=None if start is None else State({"x": start}),
        dtype=F64,
    )["x"]


def of(law: Mixture, path: GaussianPath, kind: str = "v") -> tuple[System, Network]:
    """The system of a law on a path, and its perfect network."""
    system = one(path, kind)
    return system, law.network(system)


def rms(x: Tensor) -> float:
    """Root mean square over all numbers."""
    return float(x.square().mean().sqrt())


def inverse() -> list[Row]:
    """Linear measurement of Gaussian data: the end is affine in the start, so its law is known exactly."""
    covariance = torch.tensor([[1.0, 0.6, 0.2], [0.6, 1.2, -0.3], [0.2, -0.3, 0.8]], dtype=F64)
    mean = torch.tensor([[0.5, -1.0, 0.3]], dtype=F64)
    prior = Mixture(torch.ones(1, dtype=F64), mean, covariance)
    a = torch.tensor([[1.0, 0.5, 0.0], [0.0, -0.4, 1.0]], dtype=F64)
    y, noise, rows = torch.tensor([[1.2, 0.7]], dtype=F64), 0.3, []
    wanted = prior.given(a, y[0], noise)
    for path, solver in ((Linear(), "midpoint"), (Cosine(), "dpm++2m"), (VP(), "midpoint")):
        for variance in ("full", "scalar"):
            start = torch.cat([torch.zeros(1, 3, dtype=F64), torch.eye(3, dtype=F64)])
            hook = Observe(lambda s: s["x"] @ a.T, y, noise, variance)
            end = run(of(prior, path), 4, solver, 500, [hook], start=start, dimension=3)
            linear = end[1:] - end[:1]
            off = max(
                float((end[0] - wanted.mean).norm() / wanted.mean.norm()),
                float((linear.T @ linear - wanted.covariance).norm() / wanted.covariance.norm()),
            )
            name = f"{type(path).__name__}, {solver}, variance {variance}: mean and covariance"
            bar = ("< .02", off < 0.02) if variance == "full" else ("", None)
            rows.append(row("1 inverse", name, off, *bar))
    return rows


def steering() -> list[Row]:
    """A linear constraint on the ring: residual, and distance to the exact posterior."""
    a, y, noise, count = torch.tensor([[1.0, 0.0]], dtype=F64), 0.95, 0.05, 2000
    posterior = LAW.given(a, torch.tensor([y], dtype=F64), noise)
    fresh, law = posterior.draw(20000), of(LAW, Linear(), "velocity")

    def residual(x: Tensor) -> float:
        return float((x[:, 0] - y).abs().mean())

    plain = run(law, count, "euler", 100, [])
    values = torch.full((count, 1), y, dtype=F64)
    rows = [row("14 steer", "floor of sw2", sliced(posterior.draw(count, 1), fresh))]
    best = float("inf")
    for variance in ("none", "scalar", "full"):
        for solver in ("euler", "ancestral"):
            hook = Observe(lambda s: s["x"][:, :1], values, noise, variance)
            end = run(law, count, solver, 100, [hook])
            distance = sliced(end, fresh)
            best = min(best, distance) if variance == "none" else best
            rows.append(row("14 steer", f"observe, {variance}, {solver}: sw2", distance))
    for solver in ("euler", "ancestral"):
        end = run(law, count, solver, 100, [Steer(lambda s: (s["x"][:, 0] - y) ** 2 / 2)])
        fall, distance = residual(plain) / max(residual(end), 1e-12), sliced(end, fresh)
        rows.append(row("14 steer", f"steer, {solver}: residual falls", fall, ">= 20", fall >= 20))
        met = distance <= 2 * best
        rows.append(row("14 steer", f"steer, {solver}: sw2", distance, "<= 2 x DPS (none)", met))
    return rows


def particles() -> list[Row]:
    """Tilted law of the ring by sequential Monte Carlo, and search at equal cost."""
    reward = Quadratic(torch.tensor([1.0, 0.5], dtype=F64), 1.0)
    tilted, rows = LAW.tilted(reward), []
    modes = LAW.occupation(tilted.draw(400000))
    linear = of(LAW, Linear(), "velocity")
    laws = {"Linear": linear, "VP": of(LAW, VP()), "Linear as VP": convert(*linear, VP())}
    for name, law in laws.items():
        off, tv = [], []
        for seed in range(4):
            hook = Particles(reward, 4096, keep="all")
            end = sample(
                *law,
                Frame({"x": (2,)}),
                Streams.range(seed, 0, 1),
                solver=make("ancestral"),
                grid=Uniform(),
                steps=60,
                hooks=[hook],
                dtype=F64,
            )["x"]
            off.append(float(reward(State({"x": end})).mean()) - tilted.reward(reward))
            tv.append(float((LAW.occupation(end) - modes).abs().sum() / 2))
        bias, spread = sum(off) / 4, sum(tv) / 4
        what = f"SMC 4096, 60 steps, {name}"
        rows.append(row("15 SMC", f"{what}: E[r] - exact", bias, "within .02", abs(bias) <= 0.02))
        rows.append(row("15 SMC", f"{what}: mode TV", spread, "<= .03", spread <= 0.03))
    hooks: dict[str, Hook] = {
        "best of 8": Particles(reward, 8, 1.0, 0.0, "best"),
        "SMC of 8, best, scale 4": Particles(reward, 8, 4.0, keep="best"),
        "SVDD 8, best": Candidates(reward, 8),
        "RBF 8": Rollover(reward, 8),
    }
    last = -float("inf")
    for name, hook in hooks.items():
        end = run(linear, 300, "ancestral", 30, [hook])
        value = float(reward(State({"x": end})).mean())
        rows.append(
            row("15 search", f"{name}: E[r]", value, ">= the row above", value >= last - 0.005)
        )
        last = value
    return rows


def conversion() -> list[Row]:
    """The flow of a trained network on another path ends in the same points."""
    z, origin = Streams.range(0, 0, 1000).normal((2,), F64), of(LAW, Linear(), "velocity")
    converted = convert(*origin, Cosine())
    gap = rms(
        run(converted, 1000, "midpoint", 400, [], start=z)
        - run(origin, 1000, "midpoint", 400, [], start=z)
    )
    return [
        row(
            "15 convert",
            "Linear as Cosine, midpoint, 400 steps: rmse",
            gap,
            "<= 1e-5",
            gap <= 1e-5,
        )
    ]


def beginning() -> list[Row]:
    """Closed-form start on the ring: sigma 5, 3, 2.5 and 1.5 (3.7, 2.2, 1.8 and 1.1 of the norm of the data)."""
    law, rows = of(LAW, VE(0.002, 80.0), "data"), []
    moments = Moments.known(LAW.mean, LAW.total)
    z = 80 * Streams.range(0, 0, 1500).normal((2,), F64)
    reference = run(law, 1500, "heun", 400, [], Karras(), z)
    system = law[0]
    for sigma, error, saved in (
        (5.0, 1.2e-3, 8),
        (3.0, 1.4e-2, 10),
        (2.5, 1.4e-2, 10),
        (1.5, 4.6e-2, 11),
    ):
        hook = GaussianStart({"x": moments}, sigma / moments.scale)
        end = run(law, 1500, "heun", 400, [hook], Karras(), z)
        plan = hook.solver(make("euler")).plan(system, Karras().knots(20, system))
        skipped, gap = 20 - (len(plan) - 1), rms(end - reference)
        rows.append(row("12 start", f"sigma {sigma:g}: rmse", gap, f"<= {error:g}", gap <= error))
        rows.append(
            row(
                "12 start",
                f"sigma {sigma:g}: steps saved of 20",
                skipped,
                f">= {saved}",
                skipped >= saved,
            )
        )
    return rows


def editing() -> list[Row]:
    """Points two off the ring are brought back."""
    law, rows = of(LAW, Linear(), "data"), []
    x = State({"x": LAW.draw(1000, 3)})
    top = 1 / (1 + 1e-3)
    for tau in (0.5, 0.6, 0.8):
        back = follow(*law, follow(*law, x, top, tau, 40), tau, top, 40)["x"]
        gap = rms(back - x["x"])
        rows.append(
            row("17 edit", f"encode to {tau} and decode, Heun 40: rmse", gap, "< 1e-3", gap < 1e-3)
        )
    outside = LAW.draw(600, 4) + torch.tensor([2.0, 0.0], dtype=F64)
    near, last = float(torch.cdist(outside, LAW.means).amin(1).mean()), 0.0
    for confidence in (0.3, 0.8, 0.95, 0.99, None):
        end = edit(*law, State({"x": outside}), confidence=confidence)["x"]
        gain = float((LAW.log_density(end) - LAW.log_density(outside)).mean())
        moved = float((end - outside).norm(dim=1).mean()) / near
        rows.append(row("17 edit", f"kappa {confidence}: rise of log p", gain, ">= 5", gain >= 5))
        met = last <= moved < 1.2
        rows.append(
            row(
                "17 edit", f"kappa {confidence}: moved / nearest mode", moved, "< 1.2, rising", met
            )
        )
        last = moved
    return rows


def inpainting() -> list[Row]:
    """A pair with correlation .8, one of them known: what is left of the tie."""
    rho, x, count, rows = 0.8, 1.5, 1500, []
    pair = Mixture(
        torch.ones(1, dtype=F64),
        torch.zeros(1, 2, dtype=F64),
        torch.tensor([[1.0, rho], [rho, 1.0]], dtype=F64),
    )
    clean = State({"x": torch.full((count, 2), x, dtype=F64)})
    known = {"x": torch.tensor([[True, False]]).expand(count, 2)}
    for path, solver, grid in (
        (Cosine(), "ancestral", Uniform()),
        (Linear(), "midpoint", Uniform()),
        (VP(), "dpm++2m", LogSNR()),
    ):
        last = 0.0
        for repeats, jump in ((1, 1), (3, 1), (10, 1), (10, 5)):
            hook = Inpaint(clean, known, repeats, jump)
            end = run(of(pair, path), count, solver, 60, [hook], grid)
            kept = float(end[:, 1].mean()) / (rho * x)
            what = f"{type(path).__name__}, {solver}, {repeats} repeats of {jump} steps: tie kept"
            rows.append(
                row("2 inpaint", what, kept, "rises with repeats", jump > 1 or kept > last)
            )
            last = kept
    return rows


PARTS: Mapping[str, Callable[[], list[Row]]] = {
    "inverse": inverse,
    "inpainting": inpainting,
    "steering": steering,
    "particles": particles,
    "conversion": conversion,
    "beginning": beginning,
    "editing": editing,
}


def main() -> None:
    """Measure, print, and write the results if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--json", action="store_true", help="write results/hooks.json")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.only:
        started = time.process_time()
        results[name] = {"rows": PARTS[name](), "seconds": round(time.process_time() - started, 1)}
    if arguments.json:
        data = {"ring": 8, "posterior": 3, "pair": 2}
        record.write("hooks", seeds=[0, 1, 2, 3], data=data, results=results)


if __name__ == "__main__":
    main()
