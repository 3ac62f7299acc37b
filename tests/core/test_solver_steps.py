"""Solvers: single steps against their formulas, and the weights of multistep schemes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import State, Streams
from sciflow.grids import LogSNR, Uniform
from sciflow.paths import VE, VP, Ends, GaussianPath, Linear, SubVP
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, Solver, make
from sciflow.solvers.quadrature import moment, weights
from sciflow.state import Frame
from tests.core.analytic import F64, FLOWS, MIXTURE, Given, one


def one_step(
    solver: Solver, path: GaussianPath, x: Tensor, knots: list[float], noise: float
) -> tuple[Tensor, Tensor]:
    """The first step between the knots from `x` with all noise equal to `noise`, and the score there."""
    system = one(path)
    step = solver.plan(system, knots)[0]
    c = step.now["x"]
    ends = MIXTURE.ends(c, x)

    def predict(state: State, t: float) -> dict[str, Ends]:
        return {"x": MIXTURE.ends(path.at(t), state["x"])}

    streams = Given(len(x), [noise] * 3)
    moved, _ = solver.step(system, predict, State({"x": x}), step, solver.start(), streams)
    return moved["x"], -ends.x0 / c.s


X = torch.tensor([[-1.2], [0.1], [2.0]], dtype=F64)
KNOTS = [0.4, 0.5, 1.0]


def test_reverse_diffusion_is_ddpm_on_vp_and_smld_on_ve() -> None:
    solver = make("reverse-diffusion")
    path = VP(0.1, 1.0)
    got, score = one_step(solver, path, X, KNOTS, 0.7)
    b = 1 - (path.at(0.4).a / path.at(0.5).a) ** 2
    assert torch.allclose(got, (2 - math.sqrt(1 - b)) * X + b * score + math.sqrt(b) * 0.7)
    path = VE(0.1, 1.0)
    got, score = one_step(solver, path, X, KNOTS, 0.7)
    v = path.at(0.4).s ** 2 - path.at(0.5).s ** 2
    assert torch.allclose(got, X + v * score + math.sqrt(v) * 0.7)


@pytest.mark.parametrize("path", [VP(), SubVP(), VE(0.1, 1.0)], ids=repr)
def test_euler_maruyama_is_the_reversed_sde(path: GaussianPath) -> None:
    """dx = [a'/a x + g^2 score] dt + g dw."""
    got, score = one_step(make("euler-maruyama"), path, X, KNOTS, 0.7)
    c, h = path.at(0.4), 0.1
    drift = c.da / c.a * X + c.diffusion * score
    assert torch.allclose(got, X + h * drift + math.sqrt(h * c.diffusion) * 0.7)


def test_s4_is_half_a_transition_the_drift_and_the_other_half() -> None:
    path = VE(0.1, 1.0)
    got, score = one_step(make({"name": "s4", "snr": 0.0}), path, X, KNOTS, 0.7)
    t, m, s = (path.at(v).s ** 2 for v in (0.4, 0.45, 0.5))
    halves = math.sqrt(t - m) + math.sqrt(m - s)
    assert torch.allclose(got, X + (t - s) * score + halves * 0.7)
    # VP: growing by exp(B / 2) in a step, B the integral of beta, its two halves together are the exact transition.
    path = VP(0.1, 1.0)
    solver = make({"name": "s4", "snr": 0.0})
    split = solver.plan(one(path), KNOTS)[0].extra["x"]
    b = -2 * math.log(path.at(0.4).a / path.at(0.5).a)
    assert split.first.x * split.second.x == pytest.approx(math.exp(b / 2))
    variance = (split.second.x * split.first.noise) ** 2 + split.second.noise**2
    assert variance == pytest.approx(math.exp(b) - 1)
    assert split.first.x1 == pytest.approx(b, rel=0.01)


def test_dpm_solver_starts_as_ddim_and_ends_with_the_believed_data() -> None:
    path = VP()
    got, score = one_step(make("dpm++2m"), path, X, KNOTS, 0.0)
    now, then = path.at(0.4), path.at(0.5)
    noise = -now.s * score
    data = (X - now.s * noise) / now.a
    assert torch.allclose(got, then.a * data + then.s * noise, rtol=1e-12)
    system, seen = one(path), []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        seen.append(MIXTURE.network(system)(state, t)["x"])
        return {"x": seen[-1]}

    args = (Frame({"x": (1,)}), Streams.range(0, 0, 3))
    end = sample(system, network, *args, solver=make("dpm++2m"), grid=LogSNR(), steps=5, dtype=F64)
    assert torch.equal(end["x"], seen[-1])


def test_the_extrapolation_is_bounded_on_a_wild_grid() -> None:
    knots = [0.0, 0.5, 0.5001, 0.9, 1.0]
    plan = make("dpm++2m").plan(one(VP()), knots)
    shares = [[share[0] for share in step.extra["x"].ends] for step in plan]
    assert len(shares[0]) == len(shares[-1]) == 1
    weights = [-old / (new + old) for new, old in shares[1:3]]
    assert weights[1] == pytest.approx(1) and 0 < weights[0] < 1
    # Order 3 goes down to what order 2 does there.
    third = make({"name": "dpm++", "order": 3}).plan(one(VP()), knots)
    assert third[2].extra == plan[2].extra


@pytest.mark.parametrize("name", [n for n in SOLVERS if n not in FLOWS])
def test_stochastic_solvers_end_with_the_believed_data(name: str) -> None:
    """Without noise, and for VE too, where some is left in x_1."""
    path = VE(0.1, 1.0)
    system, seen = one(path), []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        seen.append(MIXTURE.network(system)(state, t)["x"])
        return {"x": seen[-1]}

    args = (Frame({"x": (1,)}), Streams.range(0, 0, 3))
    end = sample(system, network, *args, solver=make(name), grid=Uniform(), steps=4, dtype=F64)
    assert torch.equal(end["x"], seen[-1])


# ---- exponential quadrature
@pytest.mark.parametrize("rate", [1.0, 2.0, -1.0])
@pytest.mark.parametrize("h", [1e-3, 0.4, 3.0])
def test_moments_are_the_integrals(rate: float, h: float) -> None:
    nodes = torch.linspace(0, 1, 4001, dtype=F64)[1::2] * h  # the midpoint rule
    for power in range(4):
        exact = float((torch.exp(rate * (nodes - h)) * nodes**power).sum()) * h / 2000
        assert moment(rate, h, power) == pytest.approx(exact, rel=2e-6)


def test_weights_integrate_a_polynomial_exactly() -> None:
    h, points = 0.8, [0.0, -0.5, -1.4]
    found = weights(1.0, h, points)
    for power in range(3):
        value = sum(w * p**power for w, p in zip(found, points, strict=True))
        assert value == pytest.approx(moment(1.0, h, power), abs=1e-12)
    assert sum(found) == pytest.approx(-math.expm1(-h), abs=1e-14)
    # Far apart, Adams and Bashforth's weights are left.
    small = weights(1.0, 1e-4, [0.0, -1e-4, -2e-4])
    assert [w / 1e-4 * 12 for w in small] == pytest.approx([23, -16, 5], rel=1e-3)


# ---- what is believed at the end
def test_ddim_with_eta_one_is_ancestral_sampling() -> None:
    for path in (VP(), Linear(), VE(0.1, 5.0)):
        a = one_step(make({"name": "ddim", "eta": 1.0}), path, X, KNOTS, 0.7)[0]
        b = one_step(make("ancestral"), path, X, KNOTS, 0.7)[0]
        assert torch.allclose(a, b, atol=1e-12)


def test_the_step_of_a_diffusion_has_the_variance_of_the_posterior() -> None:
    """2M SDE with eta = 1 draws the posterior's noise: s_s^2 (1 - e^{-2h}) is its variance."""
    path = VP()
    step = make("dpm++sde").plan(one(path), [0.4, 0.5, 1.0])[0]
    now, then = path.at(0.4), path.at(0.5)
    r = now.a * then.s / (then.a * now.s)
    assert step.extra["x"].noise == pytest.approx(then.s * math.sqrt(1 - r**2))


def test_unipc_corrects_by_the_belief_at_the_end_of_the_last_step() -> None:
    """Two steps by hand, order 2, bh2: UniP-1, then UniC-1 and UniP-2 in one."""
    path, knots = VP(), [0.4, 0.5, 0.6, 1.0]
    system = one(path)
    solver = make("unipc")
    steps = solver.plan(system, knots)
    state, carry, xs = State({"x": X}), solver.start(), [X]

    def predict(state: State, t: float) -> dict[str, Ends]:
        return {"x": MIXTURE.ends(path.at(t), state["x"])}

    for step in steps[:2]:
        state, carry = solver.step(system, predict, state, step, carry, Streams.range(0, 0, 3))
        xs.append(state["x"])
    c = [path.at(t) for t in knots[:3]]
    level = [math.log(v.a / v.s) for v in c]
    h = [level[1] - level[0], level[2] - level[1]]
    d0 = MIXTURE.ends(c[0], X).x1
    first = c[1].s / c[0].s * X + c[1].a * -math.expm1(-h[0]) * d0
    assert torch.allclose(xs[1], first)
    d1 = MIXTURE.ends(c[1], first).x1
    corrected = first + c[1].a * -math.expm1(-h[0]) * 0.5 * (d1 - d0)
    slope = h[1] / h[0] * (d1 - d0)
    second = c[2].s / c[1].s * corrected + c[2].a * -math.expm1(-h[1]) * (d1 + 0.5 * slope)
    assert torch.allclose(xs[2], second)
