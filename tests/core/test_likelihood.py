"""Likelihood: exact densities of mixtures on every path, estimates with their error, and what has no density."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.flow import Stepped, decode, encode, velocity
from sciflow.grids import LogSNR, Uniform
from sciflow.integrate import TABLEAUS, Adaptive, Fixed, integrate
from sciflow.likelihood import Hutchinson, log_density
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear, SubVP, marginal
from sciflow.paths.gaussian import Coefficients
from sciflow.prediction import combine
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean, Symmetric, Torus
from sciflow.system import Network
from tests.core.analytic import F64, MIXTURE, Law, one, slope

PATHS: dict[str, GaussianPath] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(0.01, 80.0),
    "cosine": Cosine(),
    "linear": Linear(),
}
CORNERED = Law((0.3, 0.7), (-1.0, 0.6), 0.12)


def draws(law: Law, path: GaussianPath, seed: int, *shape: int) -> Tensor:
    """Data of the law, with the noise that the path leaves at t = 1."""
    streams = Streams.range(seed, 0, shape[0])
    p = torch.tensor(law.weights, dtype=F64).expand(*shape, -1)
    means = torch.tensor(law.means, dtype=F64)[streams.categorical(p)]
    return means + math.hypot(law.std, path.at(1.0).s) * streams.normal(shape[1:], F64)


def rotated(law: Law, system: System, turn: Tensor) -> Network:
    """The perfect network for x = u @ turn, where the elements of u are independent."""

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        output = {}
        for name, component in system.items():
            assert isinstance(component.path, GaussianPath)
            c = component.path.coefficients(t)
            output[name] = combine(component.kind, c, law.ends(c, state[name] @ turn.T)) @ turn
        return output

    return network


def turned(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=F64)


def log_p(law: Law, path: GaussianPath, u: Tensor) -> Tensor:
    return law.density(path.at(1.0), u).log().flatten(1).sum(1)


# ---- the integrator
@pytest.mark.parametrize("scheme", TABLEAUS)
def test_order_of_every_scheme(scheme: str) -> None:
    def f(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        return {"y": -2 * t.unsqueeze(1) * y["y"] ** 2}

    start = torch.tensor([[1.0], [2.0]], dtype=F64)
    exact = 1 / (1 / start + 1)
    steps = (8, 16) if scheme == "dopri5" else (32, 64)
    errors = []
    for count in steps:
        end = integrate(f, {"y": start}, 0.0, 1.0, Fixed(scheme, count)).y["y"]
        errors.append(float((end - exact).abs().max()))
    assert slope(steps, errors) > TABLEAUS[scheme].order - 0.3


def test_adaptive_steps_meet_the_tolerance_sample_by_sample() -> None:
    rate = torch.tensor([[1.0], [20.0]], dtype=F64)

    def f(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        own = rate if rows is None else rate[rows]
        return {"y": torch.cos(own * t.unsqueeze(1)) * own}

    start = torch.zeros(2, 1, dtype=F64)
    for tolerance in (1e-4, 1e-7):
        found = integrate(f, {"y": start}, 0.0, 1.0, Adaptive(tolerance, tolerance))
        assert float((found.y["y"] - torch.sin(rate)).abs().max()) < 30 * tolerance
        assert found.calls[1] > 2 * found.calls[0]
    back = integrate(f, found.y, 1.0, 0.0, Adaptive(1e-7, 1e-7)).y["y"]
    assert float(back.abs().max()) < 1e-5


def test_a_tolerance_that_cannot_be_met_is_refused() -> None:
    def f(y: Mapping[str, Tensor], t: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        return {"y": y["y"] / (t - 0.5).unsqueeze(1) ** 2}

    start = {"y": torch.ones(1, 1, dtype=F64)}
    with pytest.raises(SciflowError, match="t = 0.4"):
        integrate(f, start, 0.0, 1.0, Adaptive(calls=1000))
    with pytest.raises(SciflowError, match="float64"):
        integrate(f, {"y": torch.ones(1, 1)}, 0.0, 1.0, Adaptive(1e-9))
    with pytest.raises(SciflowError, match="did you mean 'rk4'"):
        Fixed("rk5")
    with pytest.raises(SciflowError, match="tolerance"):
        Adaptive(absolute=0.0)


# ---- densities
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vp", "data"),
        ("vp", "velocity"),
        ("subvp", "v"),
        ("ve", "noise"),
        ("cosine", "data"),
        ("linear", "velocity"),
    ],
)
def test_exact_density_of_a_mixture(name: str, kind: str) -> None:
    path = PATHS[name]
    system, turn = one(path, kind), turned(0.5)
    u = draws(CORNERED, path, 1, 24, 2)
    found = log_density(system, rotated(CORNERED, system, turn), State({"x": u @ turn}))
    off = found.value - log_p(CORNERED, path, u)
    assert float(off.abs().mean()) < 3e-3
    # Some signal is left at t = 0 by VP, subVP and VE, which their prior leaves out.
    assert abs(float(off.mean())) < (2e-4 if path.at(0.0).a == 0 else 1e-3)
    assert not found.error.any()
    assert torch.allclose(found.bits_per_dimension, -found.value / (2 * math.log(2)))


def test_estimates_are_unbiased_and_know_their_error() -> None:
    system, turn = one(Linear(), "velocity"), turned(0.6)
    network = rotated(CORNERED, system, turn)
    u = draws(CORNERED, Linear(), 2, 128, 2)
    data = State({"x": u @ turn})
    found = log_density(system, network, data, trace=Hutchinson(6), method=Fixed("rk4", 30))
    off = found.value - log_p(CORNERED, Linear(), u)
    assert float(found.error.mean()) > 0.01
    assert abs(float(off.mean())) < 4 * float(off.std()) / 128**0.5
    assert 0.7 < float(off.square().mean() / found.error.square().mean()) < 1.4
    again = log_density(system, network, data, trace=Hutchinson(6, 1), method=Fixed("rk4", 30))
    assert not torch.allclose(again.value, found.value)


def test_a_sample_does_not_depend_on_its_batch_nor_on_padding() -> None:
    system = one(Cosine(), "v")
    network = MIXTURE.network(system)
    x = draws(MIXTURE, Cosine(), 3, 6, 3, 2)
    whole = log_density(system, network, State({"x": x}))
    part = log_density(system, network, State({"x": x[2:4]}))
    assert torch.allclose(whole.value[2:4], part.value, atol=1e-12)
    mask = torch.tensor([True, True, False]).expand(6, 3)
    padded = State({"x": x * mask.unsqueeze(-1)}, {"x": mask})
    for trace in ("exact", Hutchinson(3)):
        masked = log_density(system, network, padded, trace=trace)
        assert torch.allclose(masked.value, log_p(MIXTURE, Cosine(), x[:, :2]), atol=2e-3)
        assert not masked.noise["x"][:, 2].any()
        assert masked.dimension.tolist() == [4.0] * 6


def test_a_symmetric_matrix_counts_each_pair_once() -> None:
    system = System({"x": Component(Symmetric(), Linear(), "velocity")})
    i, j = torch.tril_indices(3, 3, -1)
    u = draws(MIXTURE, Linear(), 4, 5, 3)
    x = u.new_zeros(5, 3, 3)
    x[:, i, j] = u
    x[:, j, i] = u
    for trace in ("exact", "hutchinson"):
        found = log_density(system, MIXTURE.network(system), State({"x": x}), trace=trace)
        assert torch.allclose(found.value, log_p(MIXTURE, Linear(), u), atol=1e-3)
        assert found.dimension.tolist() == [3.0] * 5


@pytest.mark.parametrize("name", ["midpoint", "dpm++2m"])
def test_any_solver_of_the_flow_gives_the_density(name: str) -> None:
    path, law = VE(0.2, 4.0), Law((0.35, 0.65), (-1.0, 0.8), 0.6)
    system, turn = one(path), turned(0.4)
    network, data = rotated(law, system, turn), State({"x": draws(law, path, 5, 6, 2) @ turn})
    exact = log_density(system, network, data, method=Fixed("rk4", 40)).value
    grid = LogSNR() if name == "dpm++2m" else Uniform()
    errors, steps = [], (16, 32)
    for count in steps:
        found = log_density(system, network, data, method=Stepped(make(name), grid, count))
        errors.append(float((found.value - exact).square().mean().sqrt()))
        assert found.calls.tolist() == [count * make(name).calls] * 6
    assert slope(steps, errors) > 1.7


def test_components_that_know_of_each_other() -> None:
    """x and y on different paths, with one Gaussian law for both."""
    system = System(
        {"x": Component(Euclidean(), Cosine()), "y": Component(Euclidean(), Linear(), "v")}
    )
    covariance = torch.tensor([[1.0, 0.72], [0.72, 0.64]], dtype=F64)
    mean = torch.tensor([0.5, -0.3], dtype=F64)

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        cs = [c.path.coefficients(t) for c in system.values()]  # type: ignore[attr-defined]
        a, s = (torch.stack([getattr(c, k) for c in cs], 1) for k in ("a", "s"))
        z = torch.cat([state["x"], state["y"]], 1)
        inner = a.unsqueeze(2) * covariance * a.unsqueeze(1) + torch.diag_embed(s**2)
        pull = torch.linalg.solve(inner, (z - a * mean).unsqueeze(2)).squeeze(2)
        x1, x0 = mean + (pull * a) @ covariance, s * pull
        return {"x": x1[:, :1], "y": (a * x0 - s * x1)[:, 1:]}

    z = mean + Streams.range(6, 0, 12).normal((2,), F64) @ torch.linalg.cholesky(covariance).T
    found = log_density(system, network, State({"x": z[:, :1], "y": z[:, 1:]}))
    law = torch.distributions.MultivariateNormal(mean, covariance)
    assert torch.allclose(found.value, law.log_prob(z), atol=1e-3)


def test_density_on_a_torus() -> None:
    """v = k sin(2 pi x) / 2 pi carries tan(pi x) to e^k tan(pi x)."""
    system = System({"x": Component(Torus(1.0), Linear(), "velocity")})

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        assert bool(((state["x"] >= 0) & (state["x"] < 1)).all())
        return {"x": 0.8 * torch.sin(2 * math.pi * state["x"]) / (2 * math.pi)}

    x = Streams.range(7, 0, 20).uniform((1,), F64)
    found = log_density(system, network, State({"x": x}), method=Adaptive(1e-8, 1e-8))
    shrink, (c, s) = math.exp(-0.8), (torch.cos(math.pi * x), torch.sin(math.pi * x))
    exact = (shrink / (c**2 + shrink**2 * s**2)).log().sum(1)
    assert torch.allclose(found.value, exact, atol=1e-6)


def test_flow_between_two_data_sets_needs_the_density_of_the_first() -> None:
    system = System({"x": Component(Euclidean(), Linear(), "velocity", source="from")})

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        # x0 ~ N(1, 0.5^2), x1 ~ N(-2, 0.3^2), independent.
        t = t.unsqueeze(1)
        variance = (0.3 * t) ** 2 + (0.5 * (1 - t)) ** 2
        off = state["x"] - (1 - t) + 2 * t
        return {"x": -3 + (0.09 * t - 0.25 * (1 - t)) / variance * off}

    x = -2 + 0.3 * Streams.range(8, 0, 20).normal((1,), F64)
    data = State({"x": x}, {}, {"from": x})
    with pytest.raises(SciflowError, match="log_prior"):
        log_density(system, network, data)
    first, last = (torch.distributions.Normal(m, s) for m, s in ((1.0, 0.5), (-2.0, 0.3)))
    found = log_density(
        system, network, data, log_prior=lambda state: first.log_prob(state["x"]).sum(1)
    )
    assert torch.allclose(found.value, last.log_prob(x).sum(1), atol=1e-4)


# ---- there and back
@pytest.mark.parametrize("path", [VE(0.01, 80.0), Linear()], ids=["ve", "linear"])
def test_data_are_encoded_and_decoded(path: GaussianPath) -> None:
    system = one(path)
    network = CORNERED.network(system)
    data = State({"x": draws(CORNERED, path, 9, 8, 2)})
    noise = encode(system, network, data, Adaptive(1e-7, 1e-7))
    back = decode(system, network, noise, Adaptive(1e-7, 1e-7))
    assert float((back["x"] - data["x"]).square().mean().sqrt()) < 1e-5
    flow = CORNERED.flow(path, noise["x"])
    assert float((flow - data["x"]).square().mean().sqrt()) < 1e-4


def test_forty_steps_of_heun_encode_and_decode() -> None:
    system = one(Linear(), "velocity")
    network = CORNERED.network(system)
    data = State({"x": draws(CORNERED, Linear(), 10, 64, 2)})
    method = Fixed("heun", 40)
    back = decode(system, network, encode(system, network, data, method), method)
    assert float((back["x"] - data["x"]).square().mean().sqrt()) < 1e-3


def test_velocity_is_that_of_the_law() -> None:
    c = Coefficients(0.3, 0.7, 1.0, -1.0)
    x = draws(MIXTURE, Linear(), 11, 5, 2)
    ends = MIXTURE.ends(c, x)
    assert ends.x0 is not None
    for kind in ("data", "noise", "velocity", "v"):
        system = one(Linear(), kind)
        t = torch.full((5,), 0.3, dtype=F64)
        found = velocity(system, MIXTURE.network(system))(State({"x": x}), t)["x"]
        assert torch.allclose(found, ends.x1 - ends.x0, atol=1e-12)


# ---- what has no density
def test_labels_and_noisy_solvers_are_refused() -> None:
    jumps = System({"x": Component(Categorical(3), marginal([1 / 3] * 3), "logits")})
    labels = State({"x": torch.zeros(2, 3, dtype=torch.int64)})
    with pytest.raises(SciflowError, match="'x' on path .* jumps between labels"):
        log_density(jumps, lambda state, t: {}, labels)
    system = one(VP())
    data = State({"x": torch.zeros(2, 1, dtype=F64)})
    network = MIXTURE.network(system)
    with pytest.raises(SciflowError, match="draws noise"):
        log_density(system, network, data, method=Stepped(make("ancestral")))
    with pytest.raises(SciflowError, match="trace"):
        log_density(system, network, data, trace="hutch")
    with pytest.raises(SciflowError, match="probes"):
        Hutchinson(1)
