"""Bayesian flows drawn by the solvers: the law of the data, whatever the solver, the rate of renewal and the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sciflow import paths
from sciflow.grids import Uniform
from sciflow.paths.base import Ends
from sciflow.paths.bayes import (
    CategoricalBayes,
    GaussianBayes,
    VonMisesBayes,
)
from sciflow.sampling import sample
from sciflow.solvers import (
    Ancestral,
    BayesianUpdate,
    DPMSolverPP2M,
    EulerMaruyama,
    Heun,
    Midpoint,
    Renewal,
    Solver,
)
from sciflow.spaces import Categorical, Circle, Euclidean, Simplex
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, Network, System

F64 = torch.float64
P_MIN = 0.01
LABELS = (0.5, 0.3, 0.15, 0.05)


@pytest.mark.parametrize("steps", [2, 9])
@pytest.mark.parametrize("rate", [0.0, 3.0, math.inf])
@pytest.mark.parametrize("name", ["mask", "uniform", "marginal", "categorical-bayes"])
def test_labels_have_the_exact_law_at_every_rate_of_renewal(
    name: str, rate: float, steps: int
) -> None:
    """Up to the last knot the law is exact on any grid; there the likeliest class is taken, so it is put close to 1."""
    path = paths.make(name, LABELS, {})
    space = Simplex(4) if path.continuous else Categorical(4)
    component = Component(space, path, "logits", marginal=LABELS)
    count = 8000
    streams = Streams.range(5, 0, count)
    x = path.prior(space, (1, 4) if path.continuous else (1,), streams, None, F64)
    solver = Renewal(rate=rate)
    system = System({"x": component})
    knots = [i / steps for i in range(steps)] + [1 - 1e-9, 1.0]
    plan = solver.plan(system, knots)
    state = State({"x": x})

    def predict(state: State, t: float) -> dict[str, Ends]:
        times = torch.full((count,), t, dtype=F64)
        return system.predict(
            lambda s, t: {"x": torch.zeros(count, 1, 4, dtype=F64)}, state, times
        )

    for step in plan:
        state, _ = solver.step(system, predict, state, step, None, streams)
    labels = state["x"].argmax(-1) if path.continuous else state["x"]
    counts = np.bincount(labels.flatten().numpy(), minlength=4)
    assert stats.chisquare(counts, count * np.array(LABELS)).pvalue > P_MIN, counts


MODES = (torch.tensor([0.3, 2.0, -2.2], dtype=F64), torch.tensor([0.5, 0.3, 0.2], dtype=F64))


def on_the_circle(path: VonMisesBayes) -> Network:
    """Exact posterior mean vector for data on three angles."""
    angles, weights = MODES
    u = torch.stack((angles.cos(), angles.sin()), -1)

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        c = path.coefficients(t)
        y = state["x"] * (c.a / c.s**2)[:, None, None]
        return {"x": (y @ u.T + weights.log()).softmax(-1) @ u}

    return network


def test_midpoint_has_order_two_on_the_eased_flow() -> None:
    """Two narrow modes under their exact posterior mean, against many steps of the same method."""
    path = GaussianBayes(form="whitened", ease=0.05)
    system = System({"x": Component(Euclidean(), path)})
    means, spread = torch.tensor([1.0, -0.8], dtype=F64), 0.3

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        c = path.coefficients(t)
        a, s = (torch.as_tensor(v)[:, None] for v in (c.a, c.s))
        v = (a * spread) ** 2 + s**2
        off = state["x"] - a * means
        p = (-(off**2) / (2 * v) + torch.tensor([0.6, 0.4], dtype=F64).log()).softmax(-1)
        return {"x": (p * (means + a * spread**2 * off / v)).sum(-1, keepdim=True)}

    def end(steps: int) -> Tensor:
        start = State({"x": torch.linspace(-2, 2, 9, dtype=F64)[:, None]})
        frame, streams = Frame({"x": (1,)}), Streams.range(0, 0, 9)
        return sample(
            system,
            network,
            frame,
            streams,
            solver=Midpoint(),
            grid=Uniform(),
            steps=steps,
            start=start,
            dtype=F64,
        )["x"]

    exact = end(160)
    coarse, fine = ((end(n) - exact).norm() for n in (20, 40))
    assert math.log2(float(coarse / fine)) > 1.7


def shares(path: VonMisesBayes, solver: Solver, steps: int, count: int = 3000) -> Tensor:
    out = sample(
        System({"x": Component(Circle(), path)}),
        on_the_circle(path),
        Frame({"x": (1, 2)}),
        Streams.range(1, 0, count),
        solver=solver,
        grid=Uniform(),
        steps=steps,
        dtype=F64,
    )["x"][:, 0]
    angle = torch.atan2(out[:, 1], out[:, 0])
    off = torch.remainder(angle[:, None] - MODES[0] + math.pi, 2 * math.pi) - math.pi
    assert float(off.abs().min(1).values.max()) < 0.3
    return torch.bincount(off.abs().argmin(1), minlength=3) / count


@pytest.mark.parametrize(
    ("solver", "path"),
    [
        (BayesianUpdate(), VonMisesBayes()),
        (EulerMaruyama(), VonMisesBayes()),
        (Ancestral(), VonMisesBayes(form="whitened")),
        (Renewal(rate=1.0), VonMisesBayes()),
        (Heun(), VonMisesBayes(form="whitened", ease=0.1)),
    ],
    ids=["update", "sde", "whitened", "some renewal", "ode"],
)
def test_solvers_give_the_right_law_on_the_circle(solver: Solver, path: VonMisesBayes) -> None:
    got = shares(path, solver, 60)
    assert float((got - MODES[1]).abs().max()) < 0.035


def test_exponential_solver_treats_the_planar_flow() -> None:
    for form in ("natural", "whitened"):
        got = shares(VonMisesBayes(form=form), DPMSolverPP2M(), 30)
        assert float((got - MODES[1]).abs().max()) < 0.03


def test_full_renewal_seeks_modes() -> None:
    """What the posterior mean costs when it is taken for the data: the heaviest mode gains."""
    got = shares(VonMisesBayes(), Renewal(), 60)
    assert 0.54 < float(got[0]) < 0.62


def test_renewal_contracts_gaussian_data_as_computed() -> None:
    """v_s = (a_s a_t / (a_t^2 + s_t^2))^2 v_t + s_s^2 for data N(0, 1) under the exact posterior mean."""
    path = GaussianBayes()
    system = System({"x": Component(Euclidean(), path)})

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        c = path.coefficients(t)
        return {"x": state["x"] * (c.a / (c.a**2 + c.s**2)).unsqueeze(1)}

    steps, v = 5, path.at(0.0).s ** 2
    for i in range(steps - 1):
        now, then = path.at(i / steps), path.at((i + 1) / steps)
        v = (then.a * now.a / (now.a**2 + now.s**2)) ** 2 * v + then.s**2
    now = path.at((steps - 1) / steps)
    v *= (now.a / (now.a**2 + now.s**2)) ** 2
    out = sample(
        system,
        network,
        Frame({"x": (4,)}),
        Streams.range(0, 0, 10000),
        solver=Renewal(),
        grid=Uniform(),
        steps=steps,
        dtype=F64,
    )["x"]
    assert abs(float(out.var()) / v - 1) < 0.03
    assert v < 0.95


def test_bayesian_update_is_ancestral_sampling() -> None:
    a, b = (shares(VonMisesBayes(), s, 5, count=200) for s in (Ancestral(), BayesianUpdate()))
    assert torch.equal(a, b)


def test_samples_do_not_depend_on_their_batch() -> None:
    path = CategoricalBayes(4)
    labels = torch.tensor([[0, 1, 2], [3, 2, 1]])
    t = torch.tensor([0.2, 0.8])
    both, _ = path.corrupt(Simplex(4), labels, t, Streams.range(0, 0, 2), None)
    second, _ = path.corrupt(Simplex(4), labels[1:], t[1:], Streams.range(0, 1, 1), None)
    assert torch.equal(both[1:], second)


def test_padding_stays_zero() -> None:
    mask = torch.tensor([[True, False]])
    space, path = Simplex(4), CategoricalBayes(4)
    x, _ = path.corrupt(
        space, torch.tensor([[2, 0]]), torch.tensor([0.5]), Streams.range(0, 0, 1), mask
    )
    assert (x[0, 1] == 0).all() and (x[0, 0] != 0).all()
    assert (path.clean(space, Ends(torch.rand(1, 2, 4)), mask)[0, 1] == 0).all()
    circle = VonMisesBayes().clean(Circle(), Ends(torch.rand(1, 2, 2)), mask)
    assert torch.allclose(circle.norm(dim=-1), torch.tensor([[1.0, 0.0]]))
