"""Stochastic solvers: the weak order of every one on every path, the Langevin corrector, corrected sampling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sciflow import State, Streams
from sciflow.grids import Power, Uniform
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear, SubVP
from sciflow.sampling import sample
from sciflow.solvers import Langevin, make
from sciflow.solvers.corrector import NORMS
from sciflow.state import Frame
from tests.core.analytic import (
    F64,
    GAUSSIAN,
    MIXTURE,
    Law,
    Orthogonal,
    gaussian_law_error,
    gaussian_law_errors,
    graph_frame,
    hadamard,
    mixture_law_errors,
    one,
    run_graph,
    slope,
)

PATHS: dict[str, GaussianPath] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "linear": Linear(),
}
CORRECTED = {"snr": 0.01}
# Name, options and draws of noise in a step.
DIFFUSIONS: list[tuple[str, dict[str, Any], int]] = [
    ("ancestral", {}, 1),
    ("ddim", {"eta": 1.0}, 1),
    ("dpm++sde", {"order": 1}, 1),
    ("euler-maruyama", {}, 1),
    ("reverse-diffusion", {}, 1),
    ("predictor-corrector", CORRECTED, 2),
    ("s4", {"snr": 0.0}, 2),
    ("s4", CORRECTED, 3),
]
NAMES = [
    "-".join(map(str, (n, o.get("predictor", ""), o.get("snr", "")))) for n, o, _ in DIFFUSIONS
]


# ---- orders
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "options", "draws"), DIFFUSIONS, ids=NAMES)
def test_weak_order_on_a_gaussian(
    name: str, options: dict[str, Any], draws: int, path: str
) -> None:
    solver, steps = make({"name": name, **options}), (24, 48)
    errors = gaussian_law_errors(solver, PATHS[path], GAUSSIAN, Uniform(), steps)
    assert slope(steps, errors) > solver.order - 0.3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "options", "draws"), DIFFUSIONS, ids=NAMES)
def test_weak_order_on_a_mixture(
    name: str, options: dict[str, Any], draws: int, path: str
) -> None:
    solver, steps = make({"name": name, **options}), (16, 32)
    chosen = PATHS[path] if path != "ve" else VE(0.1, 10.0)
    corrected = options.get("snr", 0) > 0
    errors = mixture_law_errors(solver, chosen, MIXTURE, Uniform(), steps, draws, corrected)
    assert abs(slope(steps, errors) - solver.order) < 0.3


@pytest.mark.parametrize("order", [2, 3])
def test_extrapolated_data_beat_ancestral_sampling(order: int) -> None:
    """Same noise, same calls: what is left is the error of the data, which extrapolation makes smaller."""
    path, steps = PATHS["vp"], (16, 32)
    grid = Power(2.0)
    plain = gaussian_law_errors(make("ancestral"), path, GAUSSIAN, grid, steps)
    better = gaussian_law_errors(
        make({"name": "dpm++sde", "order": order}), path, GAUSSIAN, grid, steps
    )
    assert all(b < 0.5 * p for b, p in zip(better, plain, strict=True))


def test_churn_keeps_the_law() -> None:
    """Where the flow is exact but for its step, adding noise and taking it away again changes no law."""
    solver = make({"name": "heun", "churn": 20.0})
    errors = gaussian_law_errors(solver, PATHS["linear"], GAUSSIAN, Uniform(), (20, 40))
    assert errors[1] < 0.02 and errors[1] < errors[0]


# ---- the Langevin corrector
def correct(langevin: Langevin, path: GaussianPath, law: Law, t: float, moves: int) -> Tensor:
    """Elements after some moves at `t`, from the exact law, with orthogonal noise."""
    system = one(path)
    rows = hadamard(8)
    streams = Orthogonal(rows)
    c = path.at(t)
    spread = math.hypot(c.a * law.std, c.s)
    state = State({"x": c.a * law.mean + spread * streams.normal((256,), F64)})
    step = make("ancestral").plan(system, [t, (1 + t) / 2, 1.0])[0]
    for _ in range(moves):
        ends = law.ends(c, state["x"])
        state = langevin.correct(system, state, {"x": -ends.x0 / c.s}, step, streams)
    return state["x"]


@pytest.mark.parametrize("norm", NORMS)
def test_langevin_keeps_the_law_but_for_the_square_of_its_step(norm: str) -> None:
    """One move multiplies the variance v of a Gaussian by 1 + (e / v)^2; many end where the formulas say."""
    law, path, t = Law((1.0,), (0.7,), 0.3), VE(0.5, 2.0), 0.5
    s2 = path.at(t).s ** 2
    variance = law.std**2 + s2
    for snr in (0.2, 0.1, 0.05):
        x = correct(Langevin(snr, norm=norm), path, law, t, 1)
        size = 2 * snr**2 * (s2 if norm == "path" else variance)
        assert float(x.mean()) == pytest.approx(law.mean, abs=1e-12)
        growth = float(x.var(correction=0)) / variance - 1
        assert growth == pytest.approx((size / variance) ** 2, rel=1e-6)
    for scale in (1.0, 0.5):
        x = correct(Langevin(0.2, scale, norm), path, law, t, 150)
        kept = float(x.var(correction=0)) / variance
        if norm == "path":  # v (1 - e / v)^2 + 2 e scale^2 = v
            assert kept == pytest.approx(scale**2 / (1 - 0.2**2 * s2 / variance), rel=1e-4)
        else:  # the move grows as the score shrinks
            assert kept == pytest.approx(scale**2 + 0.2**2, rel=1e-4)


def test_alpha_is_one_minus_beta_on_vp_and_one_on_ve() -> None:
    for path, wanted in ((VP(), (VP().at(0.4).a / VP().at(0.5).a) ** 2), (VE(), 1.0)):
        step = make("ancestral").plan(one(path), [0.4, 0.5, 1.0])[0]
        assert Langevin.alpha(step, "x") == pytest.approx(wanted)


CORRECTORS = [{"name": "predictor-corrector", "snr": 0.2}, {"name": "s4", "snr": 0.2}]


@pytest.mark.parametrize("norm", ["path", "sample"])
@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_a_sample_depends_on_its_batch_only_where_old_results_are_wanted(
    choice: dict[str, Any], norm: str
) -> None:
    frame, path = graph_frame([5, 2, 4]), VE(0.1, 1.0)
    own, old = make({**choice, "norm": norm}), make({**choice, "norm": "batch"})
    whole, together = (run_graph(s, path, frame, Streams.range(0, 0, 3)) for s in (own, old))
    kept = []
    for i in range(3):
        alone = Frame(frame.shapes, {k: v[i : i + 1] for k, v in frame.masks.items()})
        single, apart = (run_graph(s, path, alone, Streams.range(0, i, 1)) for s in (own, old))
        for name in single:
            assert torch.equal(single[name], whole[name][i : i + 1])
        kept.append(torch.allclose(apart["nodes"], together["nodes"][i : i + 1]))
    assert not all(kept)


@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_one_dimension_keeps_its_law_or_at_least_its_samples(choice: dict[str, Any]) -> None:
    """With one element |z| / |score| has no mean: measured by the path the law is kept, else the step is bounded."""
    system, count = one(VE(0.05, 3.0)), 3000
    args = (system, GAUSSIAN.network(system), Frame({"x": (1,)}), Streams.range(0, 0, count))
    for norm in ("path", "sample"):
        solver = make({**choice, "norm": norm})
        end = sample(*args, solver=solver, grid=Uniform(), steps=50, dtype=F64)["x"]
        assert float(end.abs().max()) < 6
        if norm == "path":
            assert float(end.std()) == pytest.approx(GAUSSIAN.std, rel=0.08)


@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_corrections_repair_a_coarse_grid_and_spoil_no_fine_one(choice: dict[str, Any]) -> None:
    def error(snr: float, steps: int) -> float:
        solver = make({**choice, "snr": snr})
        return abs(gaussian_law_error(solver, VE(0.3, 5.0), GAUSSIAN, Uniform(), steps)[1])

    assert error(0.2, 10) < 0.95 * error(0.0, 10)
    assert error(0.2, 160) < 0.01
