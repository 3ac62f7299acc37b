"""Path conversion, the Gaussian start and editing: held to the exact flow of a mixture."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Grid, LogSNR, Uniform
from sciflow.hooks import GaussianStart, Hook, Moments, convert, edit
from sciflow.hooks.edit import follow
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear, mask
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.ring import F64, Mixture, ring

LAW = ring()
WIDE = Mixture(
    torch.ones(1, dtype=F64),
    torch.tensor([[0.5, -1.0]], dtype=F64),
    torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=F64),
)


def one(path: GaussianPath, kind: str = "v", centre: float = 0.0) -> System:
    return System({"x": Component(Euclidean(), path, kind, centre=centre)})


def run(
    system: System,
    network: Network,
    start: Tensor,
    solver: str = "midpoint",
    steps: int = 100,
    grid: Grid | None = None,
    hooks: list[Hook] | None = None,
) -> Tensor:
    return sample(
        system,
        network,
        Frame({"x": (2,)}),
        Streams.range(0, 0, len(start)),
        solver=make(solver),
        grid=grid or Uniform(),
        steps=steps,
        hooks=hooks or [],
        start=State({"x": start}),
        dtype=F64,
    )["x"]


def noise(count: int) -> Tensor:
    return Streams.range(0, 0, count).normal((2,), F64)


# ---- conversion
def test_the_flow_ends_in_the_same_points_on_another_path() -> None:
    origin, z = one(Linear(), "velocity"), noise(20)
    network = WIDE.network(origin)
    end = run(origin, network, z, steps=40)
    system, converted = convert(origin, network, Cosine())
    assert system["x"].kind == "v" and isinstance(system["x"].path, Cosine)
    assert torch.allclose(run(system, converted, z, steps=40), end, atol=2e-3)
    # Signal is left at the start of VP: there the trained flow has been on its way for a while.
    system, converted = convert(origin, network, VP())
    t = float(Linear().time(VP().log_snr(torch.tensor(0.0, dtype=F64))))
    grid = LogSNR(stop=1 - 1e-5)
    on_way = follow(origin, network, State({"x": z}), 1e-9, t, 20)["x"]
    back = run(system, converted, on_way * (VP().at(0.0).s / (1 - t)), steps=40, grid=grid)
    assert torch.allclose(back, end, atol=5e-3)


def test_there_and_back_is_the_network_itself() -> None:
    origin = one(Linear(), "v", centre=0.3)
    network = WIDE.network(origin)
    for path in (VP(), VE(0.01, 20.0)):
        system, converted = convert(*convert(origin, network, path), Linear())
        x, t = noise(5), torch.tensor([0.1, 0.3, 0.5, 0.8, 0.95], dtype=F64)
        state = State({"x": x})
        ends, wanted = (
            system.predict(converted, state, t)["x"],
            origin.predict(network, state, t)["x"],
        )
        assert torch.allclose(ends.x1, wanted.x1, atol=1e-8)


def test_components_on_several_paths_are_not_converted() -> None:
    two = System({"x": Component(Euclidean(), Linear()), "y": Component(Euclidean(), VP())})
    with pytest.raises(SciflowError, match="component 'y'.*one Gaussian path"):
        convert(two, lambda state, t: dict(state), Cosine())


# ---- Gaussian start
@pytest.mark.parametrize("path", [VE(0.002, 80.0), VP(), Linear()])
def test_on_one_gaussian_the_jump_is_exact(path: GaussianPath) -> None:
    moments = Moments.known(WIDE.mean, WIDE.covariance)
    x, now, then = noise(6) * path.prior_scale, path.at(0.0), path.at(0.6)
    jumped = moments.flow(x, now, then)
    # The flow of a Gaussian along each principal axis keeps the standardised coordinate.
    values, axes = torch.linalg.eigh(WIDE.covariance)
    for c, at in ((now, x), (then, jumped)):
        y = (at - c.a * WIDE.mean) @ axes / (c.a**2 * values + c.s**2).sqrt()
        first = y if c is now else first  # noqa: F821
        assert torch.allclose(y, first, atol=1e-10)
    low = Moments(WIDE.mean, values[1:], axes.T[1:])  # the rank that is left out has no variance
    flat = Moments.known(WIDE.mean, values[1] * torch.outer(axes[:, 1], axes[:, 1]))
    assert torch.allclose(low.flow(x, now, then), flat.flow(x, now, then), atol=1e-10)


def test_moments_are_measured() -> None:
    data = WIDE.draw(4000)
    moments = Moments.of(data)
    assert moments.directions is not None
    covariance = moments.directions.T * moments.variances @ moments.directions
    assert torch.allclose(covariance, torch.cov(data.T, correction=0), atol=1e-10)
    assert moments.scale == pytest.approx(float(data.square().mean().sqrt()))
    assert len(Moments.of(data, rank=1).variances) == 1


def test_skipped_steps_hardly_change_samples_and_cost_no_calls() -> None:
    system, calls = one(VE(0.002, 80.0), "data"), [0]
    exact = LAW.network(system)

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        calls[0] += 1
        return exact(state, t)

    start, moments = 80 * noise(300), {"x": Moments.known(LAW.mean, LAW.total)}
    plain = run(system, network, start, "heun", 40)
    full = calls[0]
    errors = []
    for level in (5.0, 1.5):
        calls[0] = 0
        end = run(system, network, start, "heun", 40, hooks=[GaussianStart(moments, level)])
        assert calls[0] <= 0.75 * full
        errors.append(float((end - plain).square().mean().sqrt()))
    assert errors[0] < 0.06 and errors[1] < 0.15
    unmoved = run(system, network, start, "heun", 40, hooks=[GaussianStart(moments, 1e6)])
    assert torch.equal(unmoved, plain)


def test_a_start_that_does_not_fit_is_refused() -> None:
    system = one(VE(0.01, 50.0), "data")
    network, start = LAW.network(system), 50 * noise(2)
    with pytest.raises(SciflowError, match="moments of the Gaussian start.*'x' too"):
        run(system, network, start, hooks=[GaussianStart({})])
    three = Moments(torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64))
    with pytest.raises(SciflowError, match=r"mean of component 'x': got \(3,\)"):
        run(system, network, start, hooks=[GaussianStart({"x": three})])
    labels = System({"x": Component(Categorical(2), mask(2), "logits")})
    with pytest.raises(SciflowError, match="leave the hook out"):
        sample(
            labels,
            lambda state, t: {"x": torch.zeros(1, 2, 2)},
            Frame({"x": (2,)}),
            Streams.range(0, 0, 1),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=2,
            hooks=[GaussianStart({"x": three})],
        )


# ---- editing
def test_samples_are_encoded_and_decoded() -> None:
    for path in (Linear(), VP(), VE(0.002, 80.0)):
        system = one(path, "data")
        network, x = LAW.network(system), State({"x": LAW.draw(60)})
        early = float(path.time(torch.tensor(0.0, dtype=F64)))  # as much noise as signal
        top = float(path.time(torch.tensor(13.8, dtype=F64)))
        code = follow(system, network, x, top, early, 40)
        assert not torch.allclose(code["x"], x["x"], atol=0.1)
        back = follow(system, network, code, early, top, 40)
        assert float((back["x"] - x["x"]).square().mean().sqrt()) < 1e-3


def test_what_lies_outside_is_brought_back_and_confidence_says_how_far() -> None:
    system = one(Linear(), "data")
    network = LAW.network(system)
    outside = LAW.draw(120, seed=4) + torch.tensor([2.0, 0.0], dtype=F64)
    nearest = torch.cdist(outside, LAW.means).amin(1).mean()
    moved, gained = [], []
    for confidence in (0.3, 0.8, 0.99, None):
        end = edit(system, network, State({"x": outside}), confidence=confidence, steps=20)["x"]
        moved.append(float((end - outside).norm(dim=1).mean()))
        gained.append(float((LAW.log_density(end) - LAW.log_density(outside)).mean()))
    assert moved == sorted(moved) and gained == sorted(gained)
    assert gained[0] > 5 and moved[-1] < 1.2 * float(nearest)
    inside = State({"x": LAW.draw(60)})
    stay = edit(system, network, inside, confidence=0.3, steps=20)["x"]
    assert float((stay - inside["x"]).norm(dim=1).mean()) < 0.3 * moved[0]


def test_edits_that_make_no_sense_are_refused() -> None:
    system = one(Linear(), "data")
    network, x = LAW.network(system), State({"x": LAW.draw(2)})
    with pytest.raises(SciflowError, match="confidence of editing: got 1.5"):
        edit(system, network, x, confidence=1.5)
    with pytest.raises(SciflowError, match="times of editing"):
        edit(system, network, x, [1.0])
    with pytest.raises(SciflowError, match="time of editing: got 0.9999"):
        edit(system, network, x, [0.9999])
    labels = System({"x": Component(Categorical(2), mask(2), "logits")})
    with pytest.raises(SciflowError, match="editing: got component 'x' on path Jump"):
        edit(labels, network, x)
