"""Inverse problems: exact where the data are Gaussian and the measurement linear, for every path, kind and solver."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Grid, LogSNR, Uniform
from sciflow.hooks import Hook, Observe, Tilt
from sciflow.paths import VP, Cosine, GaussianPath, Linear, mask
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from tests.core.ring import F64, Mixture

PRIOR = Mixture(
    torch.ones(1, dtype=F64),
    torch.tensor([[0.5, -1.0, 0.3]], dtype=F64),
    torch.tensor([[1.0, 0.6, 0.2], [0.6, 1.2, -0.3], [0.2, -0.3, 0.8]], dtype=F64),
)
A = torch.tensor([[1.0, 0.5, 0.0], [0.0, -0.4, 1.0]], dtype=F64)
Y = torch.tensor([[1.2, 0.7]], dtype=F64)
NOISE = 0.3


def one(path: GaussianPath, kind: str) -> System:
    return System({"x": Component(Euclidean(), path, kind)})


def law_of(
    system: System, solver: str, steps: int, hook: Hook, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the end: on a Gaussian the flow is affine, so four starts tell them exactly."""
    path = system["x"].path
    assert isinstance(path, GaussianPath)
    start = torch.cat([torch.zeros(1, 3, dtype=F64), path.prior_scale * torch.eye(3, dtype=F64)])
    end = sample(
        system,
        PRIOR.network(system),
        Frame({"x": (3,)}),
        Streams.range(0, 0, 4),
        solver=make(solver),
        grid=grid,
        steps=steps,
        hooks=[hook],
        start=State({"x": start}),
        dtype=F64,
    )["x"]
    linear = end[1:] - end[:1]
    return end[0], linear.T @ linear


def off(got: tuple[Tensor, Tensor], wanted: Mixture) -> float:
    return max(
        float((got[0] - wanted.mean).norm() / wanted.mean.norm()),
        float((got[1] - wanted.covariance).norm() / wanted.covariance.norm()),
    )


def observe(variance: str = "full", iterations: int = 2) -> Observe:
    return Observe(lambda s: s["x"] @ A.T, Y, NOISE, variance, spread=1.0, iterations=iterations)


@pytest.mark.parametrize(
    ("path", "kind", "solver", "grid"),
    [
        (Linear(), "velocity", "midpoint", Uniform()),
        (Cosine(), "data", "dpm++2m", Uniform()),
        (VP(), "v", "heun", LogSNR(stop=1 - 1e-5)),
    ],
)
def test_the_posterior_of_a_gaussian_is_exact(
    path: GaussianPath, kind: str, solver: str, grid: Grid
) -> None:
    got = law_of(one(path, kind), solver, 60, observe(), grid)
    assert off(got, PRIOR.given(A, Y[0], NOISE)) < 0.01


def test_the_scalar_variance_is_near_and_exact_for_uncorrelated_data() -> None:
    system = one(Linear(), "velocity")
    got = law_of(system, "midpoint", 60, observe("scalar"), Uniform())
    assert off(got, PRIOR.given(A, Y[0], NOISE)) < 0.12
    plain = Mixture(PRIOR.weights, PRIOR.means, torch.eye(3, dtype=F64))
    network = plain.network(system)
    ends = [
        sample(
            system,
            network,
            Frame({"x": (3,)}),
            Streams.range(0, 0, 5),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=6,
            hooks=[observe(variance)],
            dtype=F64,
        )["x"]
        for variance in ("full", "scalar")
    ]
    assert torch.allclose(*ends, atol=1e-9)


def test_a_linear_tilt_moves_the_mean_of_a_gaussian_and_leaves_its_covariance() -> None:
    slope = torch.tensor([0.4, -0.2, 0.7], dtype=F64)
    got = law_of(one(Cosine(), "v"), "midpoint", 60, Tilt(lambda s: s["x"] @ slope), Uniform())
    wanted = Mixture(PRIOR.weights, PRIOR.means + PRIOR.covariance @ slope, PRIOR.covariance)
    assert off(got, wanted) < 0.01


def test_a_nonlinear_measurement_of_two_components_beside_labels_is_met() -> None:
    """|x| * y = 2 with x and y standard normal and labels that jump beside them."""
    gauss = {
        "x": Component(Euclidean(), Linear(), "velocity"),
        "y": Component(Euclidean(), VP(), "v"),
    }
    system = System({**gauss, "k": Component(Categorical(2), mask(2), "logits")})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        from sciflow.paths.base import Ends
        from sciflow.prediction import combine

        output = {"k": torch.zeros(*state["k"].shape, 2, dtype=F64)}
        for name in gauss:
            path = system[name].path
            assert isinstance(path, GaussianPath)
            c = path.coefficients(t.unsqueeze(1))
            scale = c.a**2 + c.s**2
            x = state[name]
            output[name] = combine(gauss[name].kind, c, Ends(c.a / scale * x, c.s / scale * x))
        return output

    def product(state: State) -> Tensor:
        assert state["k"].shape[-1] == 2  # probabilities
        return state["x"].norm(dim=1, keepdim=True) * state["y"]

    count = 200
    hook = Observe(product, torch.full((count, 1), 2.0, dtype=F64), 0.1)
    end = sample(
        system,
        network,
        Frame({"x": (2,), "y": (1,), "k": (3,)}),
        Streams.range(0, 0, count),
        solver=make("ancestral"),
        grid=Uniform(),
        steps=30,
        hooks=[hook],
        dtype=F64,
    )
    reached = end["x"].norm(dim=1) * end["y"].squeeze(1)
    assert float((reached - 2).abs().median()) < 0.15
    assert float(end["x"].std(0).min()) > 0.3 and set(end["k"].unique().tolist()) <= {0, 1}


def test_a_sample_does_not_depend_on_its_batch() -> None:
    system = one(Linear(), "data")

    def run(start: int, count: int) -> Tensor:
        y = torch.arange(start, start + count, dtype=F64).unsqueeze(1).expand(count, 2)
        return sample(
            system,
            PRIOR.network(system),
            Frame({"x": (3,)}),
            Streams.range(0, start, count),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=5,
            hooks=[Observe(lambda s: s["x"] @ A.T, y, NOISE)],
            dtype=F64,
        )["x"]

    assert torch.allclose(run(0, 4), torch.cat([run(0, 1), run(1, 3)]), atol=1e-10)


def test_what_cannot_be_observed_is_refused() -> None:
    with pytest.raises(SciflowError, match="variance of Observe.*did you mean 'full'"):
        observe("ful")
    with pytest.raises(SciflowError, match="noise of Observe: got 0.0"):
        Observe(lambda s: s["x"], Y, 0.0)
    with pytest.raises(SciflowError, match=r"measure of Observe: got \(4, 3\).*\(4, 2\)"):
        hook = Observe(lambda s: s["x"], Y, 0.1)
        law_of(one(Linear(), "v"), "euler", 2, hook, Uniform())
    labels = System({"k": Component(Categorical(2), mask(2), "logits")})
    with pytest.raises(SciflowError, match="Gaussian path.*use hook Particles"):
        observe().predict(labels, lambda state, t: {})
