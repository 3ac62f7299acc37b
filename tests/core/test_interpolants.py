"""Stochastic interpolants: closed forms, training between two data sets, one law for every diffusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Uniform
from sciflow.paths import Interpolant, Linear, OneSided, make
from sciflow.paths.interpolant import BASES, GAMMAS
from sciflow.sampling import sample
from sciflow.solvers import make as make_solver
from sciflow.spaces import Categorical, Euclidean, Torus
from sciflow.state import Frame
from tests.core.mixtures import F64, Mixture, ends_between, ring, sliced_distance

TIMES = torch.tensor([0.001, 0.2, 0.5, 0.81, 0.999], dtype=F64)
PATHS = [Interpolant(b, g, 1.7) for b in BASES for g in GAMMAS]
SOURCE, TARGET = ring(3, 0.8, 0.15), ring(4, 1.2, 0.2)
KINDS = ("data", "noise", "velocity")


# ---- closed forms
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_derivatives_are_those_of_the_coefficients(path: Interpolant) -> None:
    t = TIMES.clone().requires_grad_()
    c = path.coefficients(t)
    for value, derivative in ((c.a, c.da), (c.s, c.ds), (c.gamma, c.dgamma)):
        (wanted,) = torch.autograd.grad((value + 0 * t).sum(), t, retain_graph=True)
        assert torch.allclose(wanted, torch.as_tensor(derivative), rtol=1e-9)
    for name in ("a", "s", "da", "ds", "gamma", "dgamma"):
        assert getattr(path.at(0.2), name) == pytest.approx(float(getattr(c, name)[1].detach()))
    first, last = path.at(0.0), path.at(1.0)
    assert (first.a, first.s, last.a, last.s) == (0.0, 1.0, 1.0, 0.0)
    assert first.gamma < 0.01 and last.gamma < 0.01  # the ends are data
    assert math.isfinite(first.dgamma) and math.isfinite(last.dgamma)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_that_knows_the_ends_is_believed_and_has_no_loss(
    path: Interpolant, kind: str
) -> None:
    system = System({"x": Component(Euclidean(), path, kind, source="before")})
    x1, x0 = torch.randn(2, 5, 3, dtype=F64)
    noised = system.corrupt(
        State({"x": x1}, condition={"before": x0}), TIMES, Streams.range(0, 0, 5)
    )
    ends, x_t = noised.ends["x"], noised.state["x"]
    assert torch.equal(ends.x1, x1) and ends.x0 is not None and torch.equal(ends.x0, x0)
    c = path.coefficients(TIMES)
    output = path.combine(kind, c, ends)
    assert output.shape == ((5, 3) if path.heads == 1 else (5, 3, 2))
    assert float(system["x"].error(output, x_t, ends, TIMES).abs().max()) == 0
    believed = system["x"].ends(output, x_t, TIMES)
    assert torch.allclose(believed.x1, x1, atol=1e-9)
    assert believed.x0 is not None and torch.allclose(believed.x0, x0, atol=1e-9)
    if path.heads == 2:
        assert believed.z is not None and ends.z is not None and torch.equal(believed.z, ends.z)
        off = output.clone()
        off[..., 1] += 0.5
        error = system["x"].error(off, x_t, ends, TIMES)
        assert torch.allclose(error, torch.full_like(error, 0.25))


def test_one_sided_is_two_sided_with_normal_noise() -> None:
    """s x_0 + gamma z is one noise: the law, the velocity and the score agree."""
    two, one, data = Interpolant(scale=2.0), OneSided(scale=2.0), TARGET
    source = Mixture((1.0,), ((0.0, 0.0),), 1.0)
    x = torch.randn(7, 2, dtype=F64)
    for t in (0.1, 0.5, 0.9):
        c, d = two.at(t), one.at(t)
        assert d.s == pytest.approx(math.hypot(c.s, c.gamma))
        first, score = ends_between(source, data, c.a, c.s, c.gamma, x)
        second, same = ends_between(source, data, d.a, d.s, 0.0, x)
        assert torch.allclose(score, same)
        assert first.z is not None and torch.allclose(score, -first.z / c.gamma)
        v = path_velocity(two, t, first)
        assert torch.allclose(v, d.da * second.x1 + d.ds * second.x0)
    assert OneSided(scale=0.0).at(0.3) == replace(Linear().at(0.3))


def path_velocity(path: Interpolant, t: float, ends: object) -> Tensor:
    return path.combine("velocity", path.at(t), ends)[..., 0]  # type: ignore[arg-type]


# ---- laws
def run(path: Interpolant | OneSided, solver: str | dict, steps: int, count: int = 1000) -> Tensor:
    system = System({"x": Component(Euclidean(), path, "velocity", source="before")})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        c = path.at(float(t[0]))
        ends, _ = ends_between(SOURCE, TARGET, c.a, c.s, c.gamma, state["x"])
        return {"x": path.combine("velocity", c, ends)}

    before = SOURCE.draw(Streams.range(2, 0, count), even=True)
    frame = Frame({"x": (2,)}, condition={"before": before})
    streams = Streams.range(1, 0, count)
    return sample(
        system,
        network,
        frame,
        streams,
        solver=make_solver(solver),
        grid=Uniform(),
        steps=steps,
        dtype=F64,
    )["x"]


def distance(x: Tensor) -> float:
    return sliced_distance(x, TARGET.draw(Streams.range(3, 0, len(x)), even=True))


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 4.0, "path"])
def test_the_law_does_not_depend_on_the_diffusion(epsilon: float | str) -> None:
    path = Interpolant(scale=2.0)
    assert distance(run(path, {"name": "euler-maruyama", "epsilon": epsilon}, 100)) < 0.12
    few = run(path, {"name": "euler-maruyama", "epsilon": epsilon}, 12)
    assert distance(few) < 0.3  # few steps err, but do not explode


@pytest.mark.parametrize("path", [Interpolant(scale=2.0), Interpolant(gamma="none")], ids=repr)
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun"])
def test_solvers_of_the_flow_carry_one_data_set_to_the_other(path: Interpolant, name: str) -> None:
    assert distance(run(path, name, 40)) < 0.12


def test_strong_diffusion_on_a_gaussian_path_is_held_near_the_data() -> None:
    """At 20 steps eps h = .2 is far above the variance .04 of a mode; plain Euler-Maruyama would explode."""
    system = System({"x": Component(Euclidean(), Linear(), "velocity")})
    source = Mixture((1.0,), ((0.0, 0.0),), 1.0)

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        c = Linear().at(float(t[0]))
        ends, _ = ends_between(source, TARGET, c.a, c.s, 0.0, state["x"])
        return {"x": c.da * ends.x1 + c.ds * ends.x0}

    for epsilon, steps in ((4.0, 20), (4.0, 100)):
        end = sample(
            system,
            network,
            Frame({"x": (2,)}),
            Streams.range(1, 0, 1000),
            solver=make_solver({"name": "euler-maruyama", "epsilon": epsilon}),
            grid=Uniform(),
            steps=steps,
            dtype=F64,
        )["x"]
        assert distance(end) < (0.3 if steps == 20 else 0.12)


# ---- what is not defined
def test_what_is_not_defined_is_said() -> None:
    space = Euclidean()
    silent, path = Component(space, Interpolant(gamma="none"), "velocity"), Interpolant()
    assert "gamma = 'brownian'" in make_solver("euler-maruyama").lacks(silent)
    spoken = Component(space, path, "velocity")
    assert not make_solver("euler-maruyama").lacks(spoken)
    for name in ("ancestral", "dpm++2m", "reverse-diffusion", "predictor-corrector", "s4"):
        assert "no diffusion of the data" in make_solver(name).lacks(spoken)
    with pytest.raises(SciflowError, match="'score'.*knows data, noise, velocity"):
        Component(space, path, "score")
    with pytest.raises(SciflowError, match="labels do not move"):
        Component(Categorical(3), path, "velocity")
    with pytest.raises(SciflowError, match="geodesics"):
        Component(Torus(), Interpolant("cosine"), "velocity")
    with pytest.raises(SciflowError, match=r"\(2, 3\).*expected \(2, 3, 2\)"):
        path.believe("velocity", torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(SciflowError, match="did you mean 'brownian'"):
        make("interpolant", (), {"gamma": "brown"})
    with pytest.raises(SciflowError, match="epsilon.*expected a number >= 0"):
        make_solver({"name": "euler-maruyama", "epsilon": -1.0})


def test_between_points_of_a_torus_it_goes_the_short_way() -> None:
    space, path = Torus(1.0), Interpolant(gamma="parabola", scale=0.01)
    system = System({"x": Component(space, path, "velocity", source="before")})
    x1, x0 = torch.full((5, 1), 0.9, dtype=F64), torch.full((5, 1), 0.05, dtype=F64)
    noised = system.corrupt(
        State({"x": x1}, condition={"before": x0}), TIMES, Streams.range(0, 0, 5)
    )
    ends, x_t = noised.ends["x"], noised.state["x"]
    assert ends.x0 is not None and torch.allclose(ends.x1 - ends.x0, torch.full_like(x1, -0.15))
    c = path.coefficients(TIMES)
    believed = system["x"].ends(path.combine("velocity", c, ends), x_t, TIMES)
    assert torch.allclose(believed.x1, ends.x1) and ((x_t >= 0) & (x_t < 1)).all()
