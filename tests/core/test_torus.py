"""Paths on a torus: exact laws of wrapped mixtures, no dependence on images or on the origin."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import LogSNR, Uniform
from sciflow.paths import EDM, VE, VP, Cosine, Ends, GaussianPath, Linear
from sciflow.paths.wrapped import pull
from sciflow.prediction import combine
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, Solver, make
from sciflow.spaces import Torus
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.analytic import F64

L = 2.0
SPACE = Torus(L)
WEIGHTS, MEANS, STD = (0.35, 0.65), (0.1, 1.3), 0.12
"""The data: a mixture of two wrapped normal laws; the first lies across the seam."""
FIELDS = [(VE(0.02, 3.0), "velocity"), (EDM(0.02, 3.0), "score"), (EDM(0.02, 3.0), "data")]
FIELDS += [(Linear(), "velocity"), (Linear(), "data")]
IDS = [f"{type(p).__name__}-{k}" for p, k in FIELDS]


def images(x: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Ways from the means to `x` over 13 images, ``[..., 26]``, and the log-weights of these."""
    k = torch.arange(-6, 7, dtype=F64) * L
    ways = torch.cat([x.unsqueeze(-1) - m + k for m in MEANS], -1)
    log_w = torch.tensor(WEIGHTS, dtype=F64).log().repeat_interleave(13)
    return ways, log_w - ways**2 / (2 * std.unsqueeze(-1) ** 2)


def ends_of(path: GaussianPath, t: Tensor, x: Tensor) -> Ends:
    """Exact expected ends of the mixture, in the coordinates around x."""
    if path.at(0.0).a == 1:
        s = torch.as_tensor(path.coefficients(t).s).view(-1, *(1,) * (x.dim() - 1)).expand_as(x)
        ways, log_p = images(x, (STD**2 + s**2).sqrt())
        off = (log_p.softmax(-1) * ways).sum(-1) * s**2 / (STD**2 + s**2)
        return Ends(x - off, off / s)
    # Along geodesics, x_1 - x = (1 - t) d with d uniform in a period, weighed by the density of x_1.
    left = (1 - t).view(-1, *(1,) * x.dim())
    ways, _ = images(x, torch.ones_like(x))
    weights = torch.tensor(WEIGHTS, dtype=F64).repeat_interleave(13)
    low, high = ((ways + side * left * L / 2) / STD for side in (-1, 1))
    mass = torch.special.ndtr(high) - torch.special.ndtr(low)
    edge = ((-(high**2) / 2).exp() - (-(low**2) / 2).exp()) / math.sqrt(2 * math.pi)
    v = (
        (weights * (-ways * mass - STD * edge)).sum(-1)
        / (weights * mass).sum(-1)
        / left.squeeze(-1)
    )
    return Ends(x + left.squeeze(-1) * v, x - t.view(-1, *(1,) * (x.dim() - 1)) * v)


def network_of(path: GaussianPath, kind: str) -> Network:
    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        ends = ends_of(path, t, state["x"])
        return {"x": combine(kind, path.coefficients(t), ends)}

    return network


def moments(x: Tensor) -> Tensor:
    """E[exp(2 pi i n x / L)] for n = 1, 2, 3: what a law on a circle is made of."""
    angle = 2 * math.pi / L * torch.arange(1, 4, dtype=F64) * x.reshape(-1, 1)
    return torch.complex(angle.cos().mean(0), angle.sin().mean(0))


def data_moments(std: float) -> Tensor:
    n = torch.arange(1, 4, dtype=F64)
    total = torch.zeros(3, dtype=torch.complex128)
    for w, m in zip(WEIGHTS, MEANS, strict=True):
        total += w * torch.exp(2j * math.pi / L * n * m)
    return total * torch.exp(-2 * (math.pi * n * std / L) ** 2)


def run(
    solver: Solver, path: GaussianPath, kind: str, steps: int, shift: float = 0.0, count: int = 300
) -> Tensor:
    system = System({"x": Component(SPACE, path, kind)})
    start = (torch.arange(count, dtype=F64).unsqueeze(1) + 0.5) / count * L
    grid = Uniform() if path.at(0.0).a == 0 else LogSNR()
    inner = network_of(path, kind)

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        moved = state.replace(x=SPACE.project(state["x"] - shift, None))
        output = inner(moved, t)["x"]
        return {"x": output + shift if kind == "data" else output}

    streams = Streams.range(3, 0, count)
    return sample(
        system,
        network,
        Frame({"x": (1,)}),
        streams,
        solver=solver,
        grid=grid,
        steps=steps,
        start=State({"x": SPACE.project(start + shift, None)}),
        dtype=F64,
    )["x"]


# ---- the wrapped normal law
def test_the_pull_is_the_gradient_of_the_wrapped_density() -> None:
    """-s^2 d log q / dd for all sizes of the noise, also where the series change hands."""
    d = torch.linspace(-L / 2, L / 2, 41, dtype=F64, requires_grad=True)
    for s in (0.01 * L, 0.2 * L, 0.499 * L, 0.5 * L, 0.7 * L, 2 * L):
        k = torch.arange(-40, 41, dtype=F64) * L
        log_q = (-((d.unsqueeze(-1) + k) ** 2) / (2 * s**2)).logsumexp(-1)
        (wanted,) = torch.autograd.grad(-(s**2) * log_q.sum(), d)
        got = pull(d, torch.tensor(s, dtype=F64), L)
        assert torch.allclose(got, wanted, atol=1e-9 * max(1, s**2))
        assert (got.abs() <= d.abs() + 1e-12).all()
    for s in (0.0, 1e-30, 1e6):  # nothing is infinite at the ends of a path
        assert pull(d, torch.tensor(s, dtype=F64), L).isfinite().all()


def test_noise_ends_are_expectations_over_images() -> None:
    """They give x_t with x_1, agree with raw noise on average, and vary less."""
    path, count = VE(0.02, 2.0), 20000
    x1 = torch.full((count, 1), 0.3, dtype=F64)
    t = torch.full((count,), 0.2, dtype=F64)  # s = .8, .4 of the period
    s = path.at(0.2).s
    x_t, ends = path.corrupt(SPACE, x1, t, Streams.range(0, 0, count), None)
    assert ends.x0 is not None and ((x_t >= 0) & (x_t < L)).all()
    assert torch.allclose(ends.x1 + s * ends.x0, x_t)
    raw = SPACE.noise((1,), Streams.range(0, 0, count), None, F64)
    assert torch.allclose(SPACE.difference(x_t, x1 + s * raw), torch.zeros_like(x_t), atol=1e-9)
    side = SPACE.difference(x_t, x1).sign()  # any function of (x_t, x_1)
    assert float((side * (raw - ends.x0)).mean().abs()) < 0.02
    assert float(ends.x0.var()) < 0.6 * float(raw.var())


def test_geodesics_are_the_shortest_way() -> None:
    count = 1000
    x1 = torch.full((count, 1), 1.9, dtype=F64)
    t = torch.linspace(0, 1, count, dtype=F64)
    x_t, ends = Linear().corrupt(SPACE, x1, t, Streams.range(0, 0, count), None)
    assert ends.x0 is not None and ((ends.x1 - ends.x0).abs() <= L / 2).all()
    assert torch.allclose(t.view(-1, 1) * (ends.x1 - ends.x0) + ends.x0, x_t)
    zero = torch.zeros_like(x1)
    assert torch.allclose(SPACE.difference(ends.x1, x1), zero, atol=1e-12)


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=IDS)
def test_training_does_not_see_images_or_the_origin(path: GaussianPath, kind: str) -> None:
    """Data moved by a period give the same loss; data and network moved together, too."""
    system = System({"x": Component(SPACE, path, kind)})
    x1 = Streams.range(5, 0, 64).uniform((3,), F64) * L
    t = Streams.range(6, 0, 64).uniform((), F64)

    def loss(x1: Tensor, shift: float, streams: Streams) -> Tensor:
        def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
            angle = 2 * math.pi / L * (state["x"] - shift)
            output = angle.sin() * t.view(-1, 1)
            return {"x": state["x"] + 0.3 * output if kind == "data" else output}

        return system.loss(network, State({"x": x1}), t, streams).total

    streams = [Streams.range(7, 0, 64) for _ in range(3)]
    here = loss(x1, 0.0, streams[0])
    assert torch.allclose(loss(x1 + 3 * L, 0.0, streams[1]), here)
    if path.at(0.0).a == 1:  # its noise does not depend on the place
        assert torch.allclose(loss(x1 + 0.7, 0.7, streams[2]), here)


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=IDS)
def test_the_exact_field_is_the_best_network(path: GaussianPath, kind: str) -> None:
    """The gradient of the loss by a change of the field vanishes at the exact one, on average."""
    system = System({"x": Component(SPACE, path, kind)})
    count = 20000
    streams = Streams.range(8, 0, count)
    mode = streams.categorical(torch.tensor(WEIGHTS, dtype=F64).expand(count, 1, 2))
    x1 = torch.tensor(MEANS, dtype=F64)[mode] + STD * streams.normal((1,), F64)
    for time in (0.3, 0.7):
        t = torch.full((count,), time, dtype=F64)
        noised = system.corrupt(State({"x": SPACE.project(x1, None)}), t, streams)
        weight = torch.zeros(2, dtype=F64, requires_grad=True)
        angle = 2 * math.pi / L * noised.state["x"]
        change = weight[0] * angle.sin() + weight[1] * angle.cos()
        exact = network_of(path, kind)(noised.state, t)["x"]
        x_t = noised.state["x"]
        error = system["x"].error(exact + change, x_t, noised.ends["x"], t)
        (gradient,) = torch.autograd.grad(error.mean(), weight)
        spread = float(error.mean().detach().sqrt()) * 2 / math.sqrt(count)
        assert float(gradient.abs().max()) < 4 * spread


# ---- sampling
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun", "dpm++2m"])
@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=IDS)
def test_the_flow_ends_in_the_law_of_the_data(path: GaussianPath, kind: str, name: str) -> None:
    left = path.at(1.0).s  # noise that the path leaves
    end = run(make(name), path, kind, 60 if name == "euler" else 40)
    assert ((end >= 0) & (end < L)).all()
    wanted = data_moments(math.hypot(STD, left))
    bound = 0.03 if name == "euler" else 0.012
    assert float((moments(end) - wanted).abs().max()) < bound


@pytest.mark.parametrize(
    "name", ["ancestral", "euler-maruyama", "reverse-diffusion", "predictor-corrector", "s4"]
)
def test_the_diffusion_ends_in_the_law_of_the_data(name: str) -> None:
    end = run(make(name), VE(0.02, 3.0), "score", 60, count=1000)
    assert float((moments(end) - data_moments(STD)).abs().max()) < 0.05


@pytest.mark.parametrize("name", ["midpoint", "dpm++2m", "ancestral"])
@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=IDS)
def test_the_origin_does_not_matter(path: GaussianPath, kind: str, name: str) -> None:
    if Component(SPACE, path, kind).path.lacks(SPACE, make(name).needs):
        pytest.skip("refused")
    here = run(make(name), path, kind, 12)
    there = run(make(name), path, kind, 12, shift=0.77)
    assert torch.allclose(SPACE.difference(there, here + 0.77), torch.zeros_like(here), atol=1e-7)


def test_steps_hold_on_to_their_image() -> None:
    """A point moved by periods, believed data likewise, ends at the same place with every solver."""
    for name in SOLVERS:
        system = System({"x": Component(SPACE, VE(0.02, 3.0), "velocity")})
        # Here the prediction is made for one time of all samples.
        solver = make({"name": name, "shared": True} if name == "dopri5" else name)
        if solver.lacks(system["x"]):
            continue
        first, second = (periods_on(solver, system, k) for k in (0, 2))
        off = SPACE.difference(second, first)
        assert torch.allclose(off, torch.zeros_like(off), atol=1e-9), name


def periods_on(solver: Solver, system: System, k: int) -> Tensor:
    x, x1 = (Streams.range(i, 0, 9).uniform((2,), F64) * L for i in (1, 2))

    def predict(state: State, t: float) -> Mapping[str, Ends]:
        near = SPACE.lift(x1, state["x"])
        return {"x": Ends(near, (state["x"] - near) / system["x"].path.at(t).s)}

    state, carry, streams = State({"x": x + k * L}), solver.start(), Streams.range(0, 0, 9)
    for step in solver.plan(system, Uniform().knots(4, system)):
        state, carry = solver.step(system, predict, state, step, carry, streams)
    return state["x"]


# ---- what means nothing is refused
def test_what_means_nothing_on_a_torus_is_refused() -> None:
    for path in (VP(), Cosine()):
        with pytest.raises(SciflowError, match="a = 1 or a \\+ s = 1"):
            Component(SPACE, path)
    with pytest.raises(SciflowError, match="does not fill the period.*sigma_max >= 1"):
        Component(SPACE, VE(0.01, 0.5))
    with pytest.raises(SciflowError, match="'noise'.*the noise end is a point.*'velocity'"):
        Component(SPACE, Linear(), "noise")
    with pytest.raises(SciflowError, match="'v'.*moved? by a period"):
        Component(SPACE, VE(0.01, 3.0), "v")
    linear = Component(SPACE, Linear(), "velocity")
    assert "uniform" in make("ancestral").lacks(linear)
    assert not make("heun").lacks(linear) and not make("dpm++2m").lacks(linear)
