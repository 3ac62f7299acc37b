"""Every hook with every kind of solver: finite, in the space, and a function of the sample's own number."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, State, Streams, System
from sciflow.grids import Uniform
from sciflow.hooks import (
    Candidates,
    GaussianStart,
    Guidance,
    Hook,
    Inpaint,
    Moments,
    Observe,
    Particles,
    Rollover,
    Steer,
    Tilt,
)
from sciflow.paths import Cosine
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Euclidean, Symmetric
from sciflow.state import Frame

SOLVERS = ("midpoint", "dpm++2m", "ancestral", "euler-maruyama")
SYSTEM = System(
    {
        "x": Component(Euclidean(), Cosine(), "v"),
        "a": Component(Symmetric(), Cosine(), "velocity"),
    }
)
NODES, TOTAL = 4, 5


def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
    """Something smooth that couples the components and reads its condition; zero on padding."""
    mask = state.masks["x"]
    pull = (state["a"] * mask.unsqueeze(1)).mean(2) + state.condition["c"].unsqueeze(1)
    x = torch.tanh(state["x"] + pull.unsqueeze(2)) * mask.unsqueeze(2)
    a = torch.tanh(state["a"] + x.mean(2).unsqueeze(1) + x.mean(2).unsqueeze(2))
    a = a * (mask.unsqueeze(1) & mask.unsqueeze(2))
    return {"x": x - state["x"], "a": a - torch.diag_embed(a.diagonal(dim1=1, dim2=2))}


def reward(state: State) -> Tensor:
    return state["x"].sum((1, 2))


def square(state: State) -> Tensor:
    return (state["x"].sum((1, 2)) - 1) ** 2 / 20


def hooks(first: int, count: int) -> dict[str, list[Hook]]:
    clean = State(
        {"x": torch.ones(count, NODES, 2) * torch.arange(first, first + count).view(-1, 1, 1)}
    )
    known = {"x": (torch.arange(NODES) == 0).expand(count, NODES)}
    value = torch.arange(first, first + count, dtype=torch.float32).view(-1, 1) / 4
    flat = {
        "x": Moments(torch.zeros(NODES, 2), torch.ones(NODES, 2)),
        "a": Moments(torch.zeros(NODES, NODES), torch.ones(NODES, NODES)),
    }
    observe = Observe(lambda s: s["x"].sum((1, 2)).unsqueeze(1), value, 0.5)
    inpaint, guidance = Inpaint(clean, known), Guidance(2.0, 0.2, 0.8, null={"c": 0.0})
    return {
        "guidance": [guidance],
        "inpaint": [inpaint],
        "resampled": [Inpaint(clean, known, 2, 2)],
        "observe": [observe],
        "tilt": [Tilt(lambda s: -square(s))],
        "steer": [Steer(square)],
        "particles": [Particles(reward, 3)],
        "candidates": [Candidates(reward, 2, 1.0)],
        "rollover": [Rollover(reward, 2)],
        "start": [GaussianStart(flat, 2.0)],
        "guided, held and steered": [guidance, inpaint, Steer(square)],
        "guided, held, observed particles": [Particles(reward, 2), guidance, inpaint, observe],
        "held, guided draws": [inpaint, guidance, Candidates(reward, 2)],
    }


def run(name: str, solver: str, first: int, count: int) -> State:
    sizes = torch.tensor([4, 4, 4, 4, 4] if name == "start" else [4, 3, 2, 4, 3])[
        first : first + count
    ]
    mask = torch.arange(NODES) < sizes.unsqueeze(1)
    masks = {"x": mask, "a": mask.unsqueeze(1) & mask.unsqueeze(2)}
    condition = {"c": torch.linspace(-1, 1, TOTAL)[first : first + count]}
    return sample(
        SYSTEM,
        network,
        Frame({"x": (NODES, 2), "a": (NODES, NODES)}, masks, condition),
        Streams.range(0, first, count),
        solver=make(solver),
        grid=Uniform(),
        steps=5,
        hooks=hooks(first, count)[name],
    )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", hooks(0, TOTAL))
def test_every_hook_with_every_solver(name: str, solver: str) -> None:
    whole, part = run(name, solver, 0, TOTAL), run(name, solver, 1, 3)
    assert whole.batch_size == TOTAL
    for key in ("x", "a"):
        assert whole[key].isfinite().all()
        assert torch.equal(whole[key], SYSTEM[key].space.project(whole[key], whole.mask(key)))
        assert torch.allclose(whole[key][1:4], part[key], atol=1e-5)
