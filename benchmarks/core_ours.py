"""Our samplers on an exact law: every solver of the registry on every Gaussian path and grid that suits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from core_laws import F64, Mixture, Start
from core_sampler import TOLERANCES, Outcome, Sampler
from torch import Tensor

from sciflow import grids, paths, solvers
from sciflow.paths.gaussian import GaussianPath
from sciflow.sampling import sample
from sciflow.solvers import Solver
from sciflow.spaces import Euclidean
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, System

LIBRARY = "sciflow"

PATHS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine": {},
    "vp": {},
    "ve": {"sigma_min": 0.002, "sigma_max": 80.0},
    "edm": {"sigma_min": 0.0, "sigma_max": 80.0},
}
_EVEN = ("uniform", {"name": "uniform"})
_WIDE = ("log-SNR", {"name": "log-snr"})
_KARRAS = ("Karras", {"name": "karras"})
_SHORT = ("Karras to .02", {"name": "karras", "sigma_min": 0.02})
_CHART = ("chart 1.5", {"name": "chart", "power": 1.5})
_FLOW = (
    _EVEN,
    ("power 1.5", {"name": "power", "power": 1.5}),
    ("log-SNR .98", {"name": "log-snr", "start": 0.02, "stop": 0.98}),
)
GRIDS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "linear": _FLOW,
    "cosine": _FLOW,
    "vp": (
        _EVEN,
        ("power 2", {"name": "power", "power": 2.0}),
        _CHART,
        _WIDE,
        ("log-SNR .99", {"name": "log-snr", "stop": 0.99}),
        _KARRAS,
    ),
    "ve": (_EVEN,),
    "edm": (_EVEN, _CHART, _KARRAS, _SHORT, ("log-SNR .7", {"name": "log-snr", "stop": 0.7})),
}

# Name in the tables, name in the registry, options, family, whether it draws noise.
SOLVERS: tuple[tuple[str, str, dict[str, Any], str, bool], ...] = (
    ("Euler", "euler", {}, "ddim", False),
    ("DDIM", "ddim", {}, "ddim", False),
    ("midpoint", "midpoint", {}, "midpoint", False),
    ("Heun", "heun", {}, "heun", False),
    ("Heun 3", "heun3", {}, "heun3", False),
    ("RK4", "rk4", {}, "rk4", False),
    *((f"Adams {k}", "adams", {"points": k}, "adams", False) for k in (2, 3, 4)),
    *((f"DPM-Solver-{k}", "dpm-solver", {"order": k}, "dpm-solver-single", False) for k in (2, 3)),
    *((f"DPM++ {k}M", "dpm++", {"order": k}, f"dpm++{k}m", False) for k in (2, 3)),
    *(
        (f"DPM++ single {k}", "dpm++", {"order": k, "singlestep": True}, "dpm++single", False)
        for k in (2, 3)
    ),
    *((f"UniPC {k}", "unipc", {"order": k}, "unipc", False) for k in (2, 3)),
    ("dopri5", "dopri5", {}, "adaptive", False),
    ("dopri5, shared steps", "dopri5", {"shared": True}, "adaptive", False),
    ("ancestral", "ancestral", {}, "ancestral", True),
    ("DDIM, eta 1", "ddim", {"eta": 1.0}, "ancestral", True),
    *((f"DPM++ {k}M SDE", "dpm++sde", {"order": k}, "dpm++sde", True) for k in (1, 2, 3)),
    ("Euler-Maruyama", "euler-maruyama", {}, "euler-maruyama", True),
    ("Heun, churn 40", "heun", {"churn": 40.0}, "euler-maruyama", True),
    ("reverse diffusion", "reverse-diffusion", {}, "reverse-diffusion", True),
    ("predictor-corrector", "predictor-corrector", {}, "predictor-corrector", True),
    ("S4", "s4", {}, "predictor-corrector", True),
)
_TOLERANCE = ("rtol", "tolerance", "tol")


def network(law: Mixture, path: GaussianPath) -> Any:
    """The network that knows the law: the expectation of the data."""

    def exact(state: State, t: Tensor) -> dict[str, Tensor]:
        if bool((t == t[0]).all()):
            c = path.at(float(t[0]))
            return {"x": law.data(state["x"], float(c.a), float(c.s))}
        c = path.coefficients(t)
        return {"x": law.data(state["x"], c.a, c.s)}

    return exact


def steps_within(
    count: int, law: Mixture, solver: Solver, path: GaussianPath, grid: grids.Grid
) -> int:
    """Largest number of steps that takes at most `count` network calls; short last steps are counted on one sample."""
    small, few = Mixture(law.name, law.weights, law.means, law.std, 1), 4
    run(small, small.start(0), solver, path, grid, few, 0)
    return (count - small.calls) // solver.calls + few


def run(
    law: Mixture,
    noise: Tensor,
    solver: Solver,
    path: GaussianPath,
    grid: grids.Grid,
    steps: int,
    seed: int,
) -> Outcome:
    """Sample with one solver, path and grid."""
    system = System({"x": Component(Euclidean(), path)})
    first = path.at(0.0)
    start = Start(noise * path.prior_scale, float(first.a), float(first.s))
    end = sample(
        system,
        network(law, path),
        Frame({"x": (law.dimension,)}),
        Streams.range(seed, 0, len(noise)),
        solver=solver,
        grid=grid,
        steps=steps,
        start=State({"x": start.x}),
        dtype=F64,
    )["x"]
    return Outcome(end, start)


def ours() -> Iterator[Sampler]:
    """Every setting that the solvers, paths and grids of this version offer."""
    for name, registered, options, family, drawn in SOLVERS:
        if registered not in solvers.SOLVERS:
            continue
        fields = solvers.SOLVERS[registered].__dataclass_fields__  # type: ignore[attr-defined]
        adaptive = next((f for f in _TOLERANCE if f in fields), "")
        if not set(options) <= set(fields):
            continue
        for label, path_options in PATHS.items():
            if label not in paths.GAUSSIAN:
                continue
            path = paths.make(label, (), path_options)
            assert isinstance(path, GaussianPath)
            for grid_label, choice in GRIDS[label][: 1 if adaptive else None]:
                if choice["name"] not in grids.GRIDS:
                    continue
                yield _sampler(
                    name, registered, options, family, drawn, adaptive, label, path, grid_label, choice
                )  # fmt: skip


def _sampler(
    name: str,
    registered: str,
    options: Mapping[str, Any],
    family: str,
    drawn: bool,
    adaptive: str,
    label: str,
    path: GaussianPath,
    grid_label: str,
    choice: Mapping[str, Any],
) -> Sampler:
    grid = grids.make(choice)
    known: dict[int, int] = {}

    def one(law: Mixture, noise: Tensor, count: int) -> Outcome:
        given = dict(options)
        if adaptive:
            given[adaptive] = TOLERANCES[count]
            if "atol" in solvers.SOLVERS[registered].__dataclass_fields__:  # type: ignore[attr-defined]
                given["atol"] = TOLERANCES[count]
        solver = solvers.make({"name": registered, **given})
        seed = int(torch.initial_seed() % 2**31)
        if adaptive:
            return run(law, noise, solver, path, grid, 1, seed)
        if count not in known:
            known[count] = steps_within(count, law, solver, path, grid)
        return run(law, noise, solver, path, grid, known[count], seed)

    setting = label + ("" if adaptive else f", {grid_label}")
    return Sampler(LIBRARY, name, setting, family, one, drawn, bool(adaptive))


__all__ = ["LIBRARY", "ours"]
