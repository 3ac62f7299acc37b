"""Diagnostics: meters that read what is known in closed form, and tell a score from what is none."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.diagnostics import (
    fokker_planck_residual,
    jacobian_asymmetry,
    kinetic_energy,
    loop_integral,
    order_of_convergence,
    straightness,
)
from sciflow.diagnostics.transport import gauss_legendre
from sciflow.flow import Adaptive
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear
from sciflow.solvers import make
from sciflow.spaces import Euclidean, Symmetric, Torus
from sciflow.system import Network
from tests.core.analytic import F64, GAUSSIAN, MIXTURE, Law, normal_quantiles, one

WIDE = Law((0.35, 0.65), (-1.0, 0.8), 0.6)


def normal(seed: int, *shape: int) -> Tensor:
    return Streams.range(seed, 0, shape[0]).normal(shape[1:], F64)


def scaled(network: Network, factor: float) -> Network:
    def louder(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {n: factor * x for n, x in network(state, t).items()}

    return louder


def turned(network: Network, angle: float = 0.5) -> Network:
    """The network of the law of x @ turn."""
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=F64)

    def other(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {"x": network(state.replace(x=state["x"] @ turn.T), t)["x"] @ turn}

    return other


# ---- solvers
def test_order_of_convergence_is_measured() -> None:
    system = one(VE(0.1, 5.0))
    start = State({"x": 5 * normal_quantiles(4).unsqueeze(1)})
    network = WIDE.network(system)
    found = order_of_convergence(system, network, start, make("midpoint"), steps=(16, 32))
    assert found.value == pytest.approx(2.0, abs=0.35)
    assert found.errors[0] > found.errors[1] > 0
    exact = State({"x": WIDE.flow(VE(0.1, 5.0), start["x"])})
    again = order_of_convergence(
        system, network, start, make("midpoint"), steps=(16, 32), reference=exact
    )
    assert again.errors == pytest.approx(found.errors, rel=1e-3)
    with pytest.raises(SciflowError, match="Ancestral"):
        order_of_convergence(system, network, start, make("ancestral"))
    with pytest.raises(SciflowError, match="two step counts"):
        order_of_convergence(system, network, start, make("euler"), steps=(8,))


# ---- transport
def test_transport_of_one_gaussian() -> None:
    """On the linear path x_t = m t + r(t) x_0 with r = hypot(c t, 1 - t), so all integrals are in one dimension."""
    system = one(Linear(), "velocity")
    m, c = GAUSSIAN.means[0], GAUSSIAN.std
    x0 = normal(0, 400, 3)
    found = straightness(system, GAUSSIAN.network(system), State({"x": x0}), Adaptive(1e-7, 1e-7))
    t, w = gauss_legendre(40)
    slope = (c**2 * t - (1 - t)) / torch.hypot(c * t, 1 - t)
    second = float(x0.square().sum(1).mean())
    first = float(x0.sum(1).mean())
    energy = 3 * m**2 + 2 * m * (c - 1) * first + float((w * slope**2).sum()) * second
    cost = 3 * m**2 + 2 * m * (c - 1) * first + (c - 1) ** 2 * second
    assert found.energy == pytest.approx(energy, rel=1e-6)
    assert found.cost == pytest.approx(cost, rel=1e-6)
    assert found.straightness == pytest.approx((energy - cost) / cost, rel=1e-5)
    law = 3 * (m**2 + float((w * slope**2).sum()))
    data = State({"x": m + c * normal(1, 4000, 3)})
    seen = kinetic_energy(
        system, GAUSSIAN.network(system), data, Streams.range(2, 0, 4000), points=12
    )
    assert abs(seen.value - law) < 4 * seen.error < 0.1
    assert len(seen.times) == len(seen.profile) == 12


def test_a_translation_is_straight() -> None:
    system = System({"x": Component(Euclidean(), Linear(), "velocity")})

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        return {"x": torch.full_like(state["x"], 0.5)}

    found = straightness(system, network, State({"x": normal(3, 5, 2)}))
    assert found.straightness < 1e-9
    assert found.energy == pytest.approx(0.5)


# ---- scores
PATHS: dict[str, tuple[GaussianPath, str]] = {
    "ve": (VE(0.05, 5.0), "score"),
    "vp": (VP(), "noise"),
    "cosine": (Cosine(), "v"),
    "linear": (Linear(), "data"),
}


@pytest.mark.parametrize("name", PATHS)
def test_an_exact_score_obeys_its_equation(name: str) -> None:
    path, kind = PATHS[name]
    system = one(path, kind)
    network = turned(MIXTURE.network(system))
    t = torch.linspace(0.2, 0.9, 12, dtype=F64)
    state = State({"x": normal(4, 12, 2)})
    assert fokker_planck_residual(system, network, state, t).relative < 1e-12
    assert jacobian_asymmetry(system, network, state, t).relative < 1e-14
    loop = loop_integral(system, network, state, torch.full_like(t, 0.3), radius=0.2)
    assert float(loop.relative.max()) < 1e-10


def test_the_residual_reads_what_is_wrong() -> None:
    system = one(VE(0.05, 5.0), "score")
    t = torch.linspace(0.1, 0.9, 64, dtype=F64)
    # On one Gaussian with a = 1 the residual of 1.05 s is 0.05 d_t (1.05 s), exactly.
    state = State({"x": normal(5, 64, 2)})
    loud = scaled(GAUSSIAN.network(system), 1.05)
    assert fokker_planck_residual(system, loud, state, t).relative == pytest.approx(0.05)
    loud = scaled(turned(MIXTURE.network(system)), 1.05)
    assert fokker_planck_residual(system, loud, state, t).relative == pytest.approx(0.05, rel=0.2)


def test_the_residual_of_components_and_symmetric_matrices() -> None:
    system = System(
        {"x": Component(Euclidean(), Linear(), "data"), "y": Component(Symmetric(), VP(), "noise")}
    )
    mask = torch.tensor([[True, True, True], [True, True, False]])
    pairs = mask.unsqueeze(1) & mask.unsqueeze(2)
    y = Symmetric().project(normal(7, 2, 3, 3), pairs)
    state = State({"x": normal(6, 2, 3) * mask, "y": y}, {"x": mask, "y": pairs})
    t = torch.tensor([0.3, 0.7], dtype=F64)
    found = fokker_planck_residual(system, MIXTURE.network(system), state, t)
    assert found.relative < 1e-12 and bool((found.rate > 0.1).all())
    assert jacobian_asymmetry(system, MIXTURE.network(system), state, t).relative < 1e-14
    loop = loop_integral(system, MIXTURE.network(system), state, t, radius=0.2)
    assert float(loop.relative.max()) < 1e-9


def test_the_residual_can_be_trained_on() -> None:
    factor = torch.tensor(1.2, dtype=F64, requires_grad=True)
    system = one(VE(0.05, 5.0), "score")
    base = GAUSSIAN.network(system)

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        return {"x": factor * base(state, t)["x"]}

    t = torch.full((8,), 0.5, dtype=F64)
    found = fokker_planck_residual(system, network, State({"x": normal(8, 8, 2)}), t, True)
    (slope,) = torch.autograd.grad(found.each.square().mean(), factor)
    assert float(slope) > 0


class Potential(nn.Module):
    """A score that is a gradient by construction."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        with torch.enable_grad():
            x = state["x"]
            x = x if x.requires_grad else x.detach().requires_grad_()
            total = self.net(torch.cat([x, t.unsqueeze(1)], 1)).sum()
            return {"x": torch.autograd.grad(total, x, create_graph=True)[0]}


class Free(nn.Module):
    """A score that is whatever it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        return {"x": self.net(torch.cat([state["x"], t.unsqueeze(1)], 1))}


def test_a_potential_is_told_from_a_free_network() -> None:
    system = one(VE(0.05, 5.0), "score")
    state, t = State({"x": normal(9, 16, 2).float()}), torch.full((16,), 0.5)
    assert jacobian_asymmetry(system, Potential(), state, t).relative < 1e-6
    assert jacobian_asymmetry(system, Free(), state, t).relative > 1e-2
    assert float(loop_integral(system, Potential(), state, t).relative.max()) < 1e-5
    assert float(loop_integral(system, Free(), state, t).relative.median()) > 1e-2


def test_a_rotation_is_pure_asymmetry() -> None:
    """s = A x with A antisymmetric: |J - J^T| / |J| = 2, and the loop holds 2 pi r^2 in its plane."""
    system = one(VE(0.05, 5.0), "score")

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        x = state["x"]
        return {"x": torch.stack([-x[:, 1], x[:, 0]], 1)}

    state, t = State({"x": normal(10, 4, 2)}), torch.full((4,), 0.5, dtype=F64)
    assert jacobian_asymmetry(system, network, state, t).relative == pytest.approx(2.0)
    loop = loop_integral(
        system, network, State({"x": torch.zeros(4, 2, dtype=F64)}), t, radius=0.3
    )
    assert torch.allclose(loop.value.abs(), torch.full((4,), 2 * math.pi * 0.09, dtype=F64))
    assert torch.allclose(loop.relative, torch.ones(4, dtype=F64))


def test_what_has_no_score_or_no_loop_is_refused() -> None:
    torus = System({"x": Component(Torus(1.0), Linear(), "velocity")})
    t = torch.full((2,), 0.5, dtype=F64)
    with pytest.raises(SciflowError, match="no Gaussian score"):
        jacobian_asymmetry(
            torus, lambda state, t: {"x": state["x"]}, State({"x": normal(11, 2, 2)}), t
        )
    system = one(VP(), "noise")
    with pytest.raises(SciflowError, match="at least 2 for a loop"):
        loop_integral(system, MIXTURE.network(system), State({"x": normal(12, 2, 1)}), t)
