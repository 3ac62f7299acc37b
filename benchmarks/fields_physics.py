"""Solvers of the fields domain: measured orders of convergence, errors against exact and published solutions, cost.

    SCIFLOW_DATA=... python benchmarks/fields_physics.py

All on one thread. Errors and orders are in double precision; costs are CPU seconds of drawing and solving in single
precision with the default settings of each equation. Published solutions are read from ``fields/pde`` in SCIFLOW_DATA
and left out without it. Writes ``results/fields_physics.json``.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import write
from torch import Tensor

from sciflow.domains.fields.physics import (
    EQUATIONS,
    Advection,
    Burgers,
    Compressible,
    Incompressible,
    KuramotoSivashinsky,
)
from sciflow.domains.fields.physics.exact import cole_hopf, riemann
from sciflow.streams import Streams

DOUBLE = torch.float64
COUNTS = {"advection": 512, "burgers": 2200, "compressible": 64, "kuramoto": 256, "smoke": 4}


def convergence(what: str, sizes: list[int], error: Callable[[int], float]) -> dict[str, Any]:
    """Errors and orders over a list of sizes, each twice the one before."""
    errors = [error(n) for n in sizes]
    orders = [round(math.log2(a / b), 2) for a, b in zip(errors, errors[1:], strict=False)]
    print(what, dict(zip(sizes, [f"{e:.2e}" for e in errors], strict=True)), orders, flush=True)
    return {"what": what, "sizes": sizes, "errors": errors, "orders": orders}


def largest(a: Tensor, b: Tensor) -> float:
    """Largest difference."""
    return float((a - b).abs().max())


def burgers_error(n: int) -> float:
    """Against Cole-Hopf, between walls."""
    equation = Burgers(n, 1, 0.4, viscosity=0.02, resolution=n, speed=1.5)
    x = equation.coordinates()["x"]
    given = {"u0": (2 * math.pi * x).sin()[None], "f": torch.zeros(1, 1, n, dtype=DOUBLE)}
    exact = cole_hopf(x, 0.4, 0.02, 1.0, 2 * math.pi)
    return largest(equation.solve(given)["u"][0, -1], exact)


def burgers_law_error(n: int) -> float:
    """Relative error of the law's trajectories on n cells, against 1024."""

    def solved(cells: int) -> Tensor:
        equation = Burgers(resolution=cells)
        drawn = Burgers(resolution=1024).draw(Streams.range(0, 0, 16, "burgers"), DOUBLE)
        u0 = drawn["u0"].unflatten(-1, (cells, -1)).mean(-1)
        return equation.solve({"u0": u0, "f": drawn["f"]})["u"]

    if 1024 not in _BEST:
        _BEST[1024] = solved(1024)
    best = _BEST[1024]
    return float((solved(n) - best).norm() / best.norm())


_BEST: dict[int, Tensor] = {}


def kuramoto_error(steps: int) -> float:
    """Against 2048 steps."""

    def final(count: int) -> Tensor:
        equation = KuramotoSivashinsky(64, 1, 1.0, 32.0, resolution=64, steps=count)
        x = equation.coordinates()["x"] * 2 * math.pi / 32
        return equation.solve({"u0": (x.cos() * (1 + x.sin()))[None]})["u"][0, -1]

    return largest(final(steps), final(2048))


def smooth_error(n: int) -> float:
    """A density wave carried along, mean error."""
    equation = Compressible(
        n, 1, 0.5, 1.0, 0.0, boundary="periodic", resolution=n, shear=0, bulk=0
    )
    x = equation.coordinates()["x"]
    wave = 1 + 0.2 * (2 * math.pi * x).sin() * math.sin(math.pi / n) / (math.pi / n)
    one = torch.ones(1, n, dtype=DOUBLE)
    given = {"density0": wave[None], "velocity0": one, "pressure0": one}
    out = equation.solve(given)["density"][0, -1]
    return float((out - wave.roll(n // 2)).abs().mean())


def sod_error(n: int) -> float:
    """Mean error of density, velocity and pressure in Sod's problem."""
    equation = Compressible(n, 1, 0.2, 1.0, -0.5, gamma=1.4, resolution=n, shear=0, bulk=0)
    x = equation.coordinates()["x"]
    given = {
        "density0": torch.where(x < 0, 1.0, 0.125).double()[None],
        "velocity0": torch.zeros(1, n, dtype=DOUBLE),
        "pressure0": torch.where(x < 0, 1.0, 0.1).double()[None],
    }
    out = equation.solve(given)
    mine = torch.stack([out[name][0, -1] for name in ("density", "velocity", "pressure")])
    return float((mine - riemann(x, 0.2, (1, 0, 1), (0.125, 0, 0.1))).abs().mean())


def vortex_error(n: int, boundary: str) -> float:
    """Taylor-Green vortices."""
    side = math.pi * (2 if boundary == "periodic" else 1)
    equation = Incompressible(
        n, 1, 0.4, side, 0.05, boundary=boundary, slip=True, obstacles=(), resolution=n, speed=2.0
    )
    place = equation.coordinates()
    y, x = place["y"][:, None], place["x"]
    half = math.cos(side / n / 2)
    zero, still = torch.zeros(1, n, n, dtype=DOUBLE), torch.zeros(1, 1, n, n, dtype=DOUBLE)
    vx, vy = x.sin() * y.cos(), -x.cos() * y.sin()
    given = {
        "smoke0": zero,
        "vx0": vx[None] / half,
        "vy0": vy[None] / half,
        "cx": still,
        "cy": still,
    }
    out = equation.solve(given)["vx"][0, -1] / half
    return largest(out, math.exp(-2 * 0.05 * 0.4) * vx)


def advection_error() -> float:
    """Two waves after 3.7 units of time."""
    equation = Advection(64, 5, 3.7, resolution=64)
    x, when = equation.coordinates()["x"], equation.coordinates()["time"][:, None]

    def wave(place: Tensor) -> Tensor:
        return (2 * math.pi * place).sin() + 0.3 * (10 * math.pi * place).cos()

    speed = torch.tensor([0.3], dtype=DOUBLE)
    out = equation.solve({"u0": wave(x)[None], "speed": speed})["u"][0]
    return largest(out, wave(x - 0.3 * when))


def published(folder: Path) -> dict[str, float]:
    """Largest differences from the published solutions."""
    from scipy.io import loadmat

    shock = loadmat(folder / "raissi_burgers_shock.mat")["usol"]
    equation = Burgers(
        1024, 3, 0.99, 2.0, -1.0, viscosity=0.01 / math.pi, resolution=1024, speed=1.2
    )
    x = equation.coordinates()["x"]
    still = torch.zeros(1, 3, 1024, dtype=DOUBLE)
    u = equation.solve({"u0": -(math.pi * x).sin()[None], "f": still})["u"][0]
    nodes = np.linspace(-1, 1, 256)[1:-1]
    burgers = max(
        np.abs(np.interp(nodes, x.numpy(), u[k].numpy()) - shock[1:-1, 33 * k]).max()
        for k in (1, 2, 3)
    )
    chaos = loadmat(folder / "raissi_KS.mat")
    law = {
        "transport": 5 / math.pi,
        "growth": 5 / (3 * math.pi**2),
        "damping": 5 / (27 * math.pi**4),
    }
    second = KuramotoSivashinsky(512, 4, 1.0, 2.0, -1.0, **law, resolution=512, steps=500)
    x = second.coordinates()["x"]
    u = second.solve({"u0": -(math.pi * x).sin()[None]})["u"][0]
    kuramoto = max(
        np.abs(
            np.interp(x.numpy(), chaos["x"].ravel(), chaos["uu"][:, 50 * k]) - u[k].numpy()
        ).max()
        for k in (1, 2, 3, 4)
    )
    return {"burgers with a shock": float(burgers), "Kuramoto-Sivashinsky": float(kuramoto)}


def cost(name: str) -> dict[str, Any]:
    """CPU seconds of the default equation."""
    equation = EQUATIONS[name]()
    count = COUNTS[name]
    start = time.process_time()
    equation.simulate(0, count)
    seconds = time.process_time() - start
    print(name, count, round(seconds, 2), "CPU s", flush=True)
    return {"equation": equation.config(), "trajectories": count, "cpu_s": seconds}


def main() -> None:
    """Run everything and write it."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    orders = [
        convergence("burgers, Cole-Hopf, cells", [64, 128, 256, 512], burgers_error),
        convergence("burgers, law of the data, cells", [256, 512], burgers_law_error),
        convergence("kuramoto, steps", [64, 128, 256, 512], kuramoto_error),
        convergence("compressible, smooth wave, cells", [32, 64, 128, 256], smooth_error),
        convergence("compressible, Sod, cells", [64, 128, 256, 512], sod_error),
        convergence(
            "smoke, Taylor-Green, periodic, cells",
            [8, 16, 32, 64],
            lambda n: vortex_error(n, "periodic"),
        ),
        convergence(
            "smoke, Taylor-Green, walls, cells", [8, 16, 32, 64], lambda n: vortex_error(n, "wall")
        ),
    ]
    results: dict[str, Any] = {"convergence": orders, "advection_error": advection_error()}
    folder = Path(os.environ.get("SCIFLOW_DATA", ".")) / "fields" / "pde"
    if folder.is_dir():
        results["published"] = published(folder)
        print(results["published"], flush=True)
    results["cost"] = [cost(name) for name in COUNTS]
    write("fields_physics", seeds=[0], data={"law": "each equation's own"}, results=results)


if __name__ == "__main__":
    main()
