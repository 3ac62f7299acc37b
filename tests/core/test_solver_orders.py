"""Solvers of the probability flow: the order of every one on every path, alone and with coupled components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow import Component, State, Streams, System
from sciflow.grids import LogSNR, Uniform
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear, SubVP
from sciflow.sampling import sample
from sciflow.solvers import Work, make
from sciflow.spaces import Euclidean
from sciflow.state import Frame
from tests.core.analytic import (
    EXPONENTIAL,
    F64,
    GAUSSIAN,
    MIXTURE,
    flow_errors,
    grid_for,
    normal_quantiles,
    slope,
)

PATHS: dict[str, GaussianPath] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "linear": Linear(),
}
FLOWS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ("euler", "midpoint", "heun", "heun3", "rk4", "ddim", "dpm++2m")),
    *(("dpm-solver", {"order": k}) for k in (2, 3)),
    ("dpm++", {"order": 3}),
    *(("dpm++", {"order": k, "singlestep": True}) for k in (2, 3)),
    ("unipc", {"variant": "bh1"}),
    ("unipc", {"variant": "bh2"}),
    ("unipc", {"order": 3}),
]
NAMES = ["-".join([n, *(f"{k}={v}" for k, v in o.items())]) for n, o in FLOWS]


# ---- orders
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "options"), FLOWS, ids=NAMES)
def test_order_of_the_flow(name: str, options: dict[str, Any], path: str) -> None:
    solver, steps = make({"name": name, **options}), (32, 64)
    if (name, solver.calls) == ("dpm++", 1):
        steps = (64, 128)  # order 3 from values of three steps shows late
    grid = grid_for(name, PATHS[path], solver.order)
    errors = flow_errors(solver, PATHS[path], MIXTURE, grid, steps)
    measured = slope(steps, errors)
    assert measured > solver.order - 0.3
    # UniPC's corrector adds one order.
    assert measured < solver.order + (1.4 if name == "unipc" else 0.4) or errors[1] < 1e-6


@pytest.mark.parametrize("path", ["vp", "linear"])
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun", "heun3", "dpm++2m", "unipc"])
def test_order_of_the_flow_on_one_gaussian(name: str, path: str) -> None:
    solver, steps = make(name), (32, 64)
    errors = flow_errors(solver, PATHS[path], GAUSSIAN, grid_for(name, PATHS[path]), steps)
    # One Gaussian is so symmetric that some have a higher order.
    assert slope(steps, errors) > solver.order - 0.3


@pytest.mark.parametrize(("singlestep", "bound"), [("dpm-solver", 1e-6), ("dpm++", 2e-6)])
def test_one_gaussian_is_solved_by_order_three_in_twenty_steps(
    singlestep: str, bound: float
) -> None:
    """Over noise levels from 1 to 0.1: steps of 0.12 in log(a / s)."""
    options = {"singlestep": True} if singlestep == "dpm++" else {}
    solver = make({"name": singlestep, "order": 3, **options})
    assert flow_errors(solver, VE(0.1, 1.0), GAUSSIAN, LogSNR(), (20,))[0] < bound


@pytest.mark.parametrize("path", PATHS)
def test_orders_one_are_all_ddim(path: str) -> None:
    grid = grid_for("ddim", PATHS[path])
    starts = [
        flow_errors(make(c), PATHS[path], MIXTURE, grid, (8,))[0]
        for c in (
            "ddim",
            {"name": "dpm-solver", "order": 1},
            {"name": "dpm++", "order": 1},
            {"name": "dpm++", "order": 1, "singlestep": True},
            {"name": "dpm++sde", "order": 1, "eta": 0.0},
        )[: 4 if path == "ve" else 5]
    ]
    assert max(starts) - min(starts) < 1e-12


# ---- the adaptive solver
@pytest.mark.parametrize("path", PATHS)
def test_the_error_follows_the_tolerance(path: str) -> None:
    errors, works = [], []
    for tol in (1e-3, 1e-6):
        solver = make({"name": "dopri5", "rtol": tol, "atol": tol / 10, "report": works.append})
        errors += flow_errors(solver, PATHS[path], MIXTURE, Uniform(), (1,))
        assert errors[-1] < 30 * tol  # tolerances are of a step, errors of the end
    first, second = works
    assert isinstance(first, Work) and first.calls < second.calls < 300
    # Two calls before the first step and six for each that any sample tries; the last looks at the data once.
    assert (first.calls - 2) % 6 in (0, 1)
    assert int(first.accepted.min()) > 0 and 6 * int(first.accepted.max()) <= first.calls


def test_knots_do_not_disturb_the_adaptive_solver() -> None:
    one, three = (
        flow_errors(
            make({"name": "dopri5", "rtol": 1e-7, "atol": 1e-8}),
            Cosine(),
            MIXTURE,
            Uniform(),
            (k,),
        )[0]
        for k in (1, 3)
    )
    assert one < 1e-6 and three < 1e-6


# ---- two components that know of each other
PAIR = System({"x": Component(Euclidean(), Cosine()), "y": Component(Euclidean(), Linear())})
COVARIANCE = torch.tensor([[1.0, 0.72], [0.72, 0.64]], dtype=F64)
MEAN = torch.tensor([0.5, -0.3], dtype=F64)


def pair_ends(t: float, z: Tensor) -> tuple[Tensor, Tensor]:
    """Exact ends of both components, ``[B, 2]`` each: x_t is N(A mean, A cov A + S^2)."""
    cs = [c.path.at(t) for c in PAIR.values()]
    a, s = (torch.tensor([getattr(c, k) for c in cs], dtype=F64) for k in ("a", "s"))
    inverse = torch.linalg.inv(a[:, None] * COVARIANCE * a + torch.diag(s**2))
    pull = (z - a * MEAN) @ inverse
    return MEAN + (pull * a) @ COVARIANCE, s * pull


def pair_network(state: State, t: Tensor) -> Mapping[str, Tensor]:
    x1, _ = pair_ends(float(t[0]), torch.cat([state["x"], state["y"]], 1))
    return {"x": x1[:, :1], "y": x1[:, 1:]}


@pytest.mark.parametrize("name", ["heun", "midpoint", "dpm++2m", "dpm-solver"])
def test_coupled_components_converge_quadratically(name: str) -> None:
    """A scheme that freezes one component while the other moves is of first order, whatever it is called."""
    z = normal_quantiles(16).unsqueeze(1)
    start = torch.cat([z, z.flip(0).roll(3, 0)], 1)

    def velocity(t: float, y: Tensor) -> Tensor:
        x1, x0 = pair_ends(t, y)
        cs = [c.path.at(t) for c in PAIR.values()]
        da, ds = (torch.tensor([getattr(c, k) for c in cs], dtype=F64) for k in ("da", "ds"))
        return da * x1 + ds * x0

    exact, h = start, 1 / 100
    for i in range(100):
        k1 = velocity(i * h, exact)
        k2 = velocity((i + 0.5) * h, exact + h / 2 * k1)
        k3 = velocity((i + 0.5) * h, exact + h / 2 * k2)
        k4 = velocity((i + 1) * h, exact + h * k3)
        exact = exact + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    errors, steps = [], (32, 64)
    solver = make({"name": name, "order": 2} if name == "dpm-solver" else name)
    for count in steps:
        end = sample(
            PAIR,
            pair_network,
            Frame({}),
            Streams.range(0, 0, 16),
            solver=solver,
            grid=LogSNR(start=1e-4, stop=1 - 1e-4) if name in EXPONENTIAL else Uniform(),
            steps=count,
            start=State({"x": start[:, :1], "y": start[:, 1:]}),
            dtype=F64,
        )
        errors.append(float((torch.cat([end["x"], end["y"]], 1) - exact).square().mean().sqrt()))
    assert abs(slope(steps, errors) - 2) < 0.3
