"""Gradients through sampling: exact on one Gaussian, alike in every way of keeping memory, and warned of when wrong."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from sciflow import SciflowError, State, Streams
from sciflow.flow import Adaptive, Fixed, Method, Stepped
from sciflow.gradients import GradientWarning, differentiable_sample, trusted
from sciflow.grids import Uniform
from sciflow.paths import VE, Cosine, Ends, GaussianPath, Linear
from sciflow.prediction import combine
from sciflow.solvers import make
from tests.core.analytic import F64, Law, one

MODES = Law((0.3, 0.7), (-1.0, 0.6), 0.12)


class Perfect(nn.Module):
    """The perfect network of a mixture whose means are parameters; a condition shifts them."""

    def __init__(self, path: GaussianPath, kind: str, law: Law) -> None:
        super().__init__()
        self.path, self.kind, self.law = path, kind, law
        self.means = nn.Parameter(torch.tensor(law.means, dtype=F64))

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        c = self.path.coefficients(t)
        a, s = (torch.as_tensor(v).unsqueeze(1) for v in (c.a, c.s))
        means = self.means
        if "shift" in state.condition:
            means = means + state.condition["shift"].unsqueeze(-1)
        x = state["x"].unsqueeze(-1)
        a, s = a.unsqueeze(-1), s.unsqueeze(-1)
        variance = (a * self.law.std) ** 2 + s**2
        off = x - a * means
        p = (x.new_tensor(self.law.weights).log() - off**2 / (2 * variance)).softmax(-1)
        x1 = (p * (means + a * self.law.std**2 * off / variance)).sum(-1)
        ends = Ends(x1, (p * s * off / variance).sum(-1))
        return {"x": combine(self.kind, c, ends)}


def normal(seed: int, *shape: int) -> Tensor:
    return Streams.range(seed, 0, shape[0]).normal(shape[1:], F64)


def gradients(
    network: Perfect, start: Tensor, method: Method, memory: str, shift: Tensor | None = None
) -> list[Tensor]:
    """Gradients of sum x_1^2 / 2 with respect to start, means and shift."""
    system = one(network.path, network.kind)
    x = start.clone().requires_grad_()
    condition = {} if shift is None else {"shift": shift.clone().requires_grad_()}
    end = differentiable_sample(
        system,
        network,
        State({"x": x}, {}, condition),
        method,
        memory=memory,
        parameters=network.parameters(),
        tolerance=float("inf"),
    )
    inputs = [x, network.means, *condition.values()]
    return list(torch.autograd.grad(end["x"].square().sum() / 2, inputs))


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize(
    "path", [Linear(), Cosine(), VE(0.01, 20.0)], ids=["linear", "cosine", "ve"]
)
@pytest.mark.parametrize("memory", ["store", "adjoint"])
def test_one_gaussian_exactly(path: GaussianPath, memory: str) -> None:
    """x_1 = m_1 + (x_0 - m_0) r with means m and the ratio r of standard deviations at both ends."""
    network = Perfect(path, "data", Law((1.0,), (0.7,), 0.6))
    first, last = path.at(0.0), path.at(1.0)
    scale = [(c.a**2 * 0.36 + c.s**2) ** 0.5 for c in (first, last)]
    ratio = scale[1] / scale[0]
    start, shift = scale[0] * normal(0, 6, 2), 0.3 * normal(1, 6, 2)
    mean = 0.7 + shift
    end = last.a * mean + (start - first.a * mean) * ratio
    by_mean = end * (last.a - first.a * ratio)
    found = gradients(network, start, Adaptive(1e-8, 1e-8), memory, shift)
    assert relative(found[0], end * ratio) < 1e-5
    assert relative(found[1], by_mean.sum().unsqueeze(0)) < 1e-5
    assert relative(found[2], by_mean) < 1e-5


def test_adjoint_meets_the_tolerances_of_the_paper() -> None:
    network, start = Perfect(VE(0.01, 5.0), "noise", MODES), 5 * normal(2, 16, 2)
    exact = gradients(network, start, Adaptive(1e-9, 1e-9), "store")
    errors = []
    for tolerance in (1e-5, 1e-7):
        found = gradients(network, start, Adaptive(tolerance, tolerance), "adjoint")
        errors.append([relative(f, e) for f, e in zip(found, exact, strict=True)])
    assert errors[0][0] < 3.8e-3 and errors[1][0] < 2.2e-5
    assert errors[0][1] < 5.7e-4 and errors[1][1] < 4.2e-6


@pytest.mark.parametrize("name", ["midpoint", "dpm++2m", "ancestral"])
def test_checkpoints_change_nothing(name: str) -> None:
    path = VE(0.05, 5.0)
    network, x = Perfect(path, "data", MODES), 5 * normal(3, 4, 2)
    found: dict[str, Sequence[Tensor]] = {}
    for memory in ("store", "checkpoint"):
        start = x.clone().requires_grad_()
        end = differentiable_sample(
            one(path),
            network,
            State({"x": start}),
            Stepped(make(name), Uniform(), 7),
            memory=memory,
            streams=Streams.range(0, 0, 4),
        )["x"]
        grads = torch.autograd.grad(end.square().sum(), [start, network.means])
        found[memory] = [end, *grads]
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))
    assert all(bool(g.any()) for g in found["store"])


def saved(method: Method, memory: str) -> int:
    """Numbers that the forward pass keeps for the backward pass."""
    network, start = Perfect(Linear(), "velocity", MODES), normal(4, 32, 2)
    count = 0

    def pack(x: Tensor) -> Tensor:
        nonlocal count
        count += x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        differentiable_sample(
            one(Linear(), "velocity"),
            network,
            State({"x": start.requires_grad_()}),
            method,
            memory=memory,
            parameters=network.parameters(),
        )
    return count


def test_memory_of_the_adjoint_does_not_grow() -> None:
    few, many = (saved(Fixed("midpoint", k), "adjoint") for k in (4, 40))
    assert many == few
    few, many = (saved(Fixed("midpoint", k), "store") for k in (4, 40))
    assert many > 9 * few


def test_a_gradient_that_cannot_be_trusted_is_told() -> None:
    path = VE(0.01, 5.0)
    network, start = Perfect(path, "noise", MODES), 5 * normal(5, 24, 2)
    system = one(path, "noise")

    def run(method: Method) -> None:
        x = start.clone().requires_grad_()
        end = differentiable_sample(system, network, State({"x": x}), method, memory="adjoint")
        torch.autograd.grad(end["x"].sum(), x)

    with pytest.warns(GradientWarning, match="try a relative tolerance of 3e-05"):
        run(Adaptive(3e-3, 3e-3))
    with pytest.warns(GradientWarning, match="40 steps"):
        run(Fixed("heun", 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(Adaptive(1e-7, 1e-7))
    good = trusted(system, network, State({"x": start}), Adaptive(1e-7, 1e-7))
    coarse = trusted(system, network, State({"x": start}), Fixed("euler", 10))
    assert bool(good.all()) and not bool(coarse.all())


def test_ways_and_methods_that_do_not_go_together() -> None:
    network = Perfect(Linear(), "velocity", MODES)
    system, start = one(Linear(), "velocity"), State({"x": normal(6, 2, 1)})
    with pytest.raises(SciflowError, match="memory"):
        differentiable_sample(system, network, start, Fixed(), memory="all")
    with pytest.raises(SciflowError, match="adjoint"):
        differentiable_sample(system, network, start, Fixed(), memory="checkpoint")
    with pytest.raises(SciflowError, match="random streams"):
        differentiable_sample(system, network, start, Stepped(make("euler-maruyama")))
    with pytest.raises(SciflowError, match="draws noise"):
        differentiable_sample(
            system, network, start, Stepped(make("euler-maruyama")), memory="adjoint"
        )
