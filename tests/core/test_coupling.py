"""Couplings: the best permutation, what may never be exchanged, and that noise stays noise."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.coupling import Independent, Stored, Transport, assign, augment, make, sinkhorn
from sciflow.grids import Uniform
from sciflow.learning import Objective
from sciflow.learning.reflow import pairs
from sciflow.paths import VE, Cosine, Linear
from sciflow.solvers import Heun
from sciflow.solvers import make as solver_of
from sciflow.spaces import Euclidean, Symmetric, Torus
from sciflow.state import Frame
from tests.core.analytic import F64, MIXTURE, one

LINE = one(Linear(), "velocity")


def normal(seed: int, *shape: int) -> Tensor:
    return Streams.range(seed, 0, shape[0]).normal(shape[1:], F64)


def streams(count: int, seed: int = 0) -> Streams:
    return Streams.range(seed, 0, count, "training")


def total(cost: Tensor, chosen: Tensor) -> float:
    return float(cost.gather(1, chosen.unsqueeze(1)).sum())


# ---- the assignment
def test_assignment_is_the_best_of_all_permutations() -> None:
    cost = normal(0, 6, 6)
    best = min(sum(float(cost[i, j]) for i, j in enumerate(p)) for p in
               itertools.permutations(range(6)))  # fmt: skip
    for chosen in (assign(cost), augment(cost)):
        assert sorted(chosen.tolist()) == list(range(6))
        assert total(cost, chosen) == pytest.approx(best, abs=1e-12)


def test_assignment_without_scipy_agrees_with_scipy() -> None:
    pytest.importorskip("scipy")
    for count in (1, 2, 17, 64):
        cost = normal(count, count, count) ** 2
        assert total(cost, augment(cost)) == pytest.approx(total(cost, assign(cost)), abs=1e-10)


def test_sinkhorn_lies_between_the_best_and_the_independent_plan() -> None:
    x, y = normal(0, 24, 2), normal(1, 24, 2)
    cost = torch.cdist(x, y) ** 2
    best = total(cost, assign(cost))
    costs = []
    for blur in (0.002, 0.05, 1.0, 1e4):
        plan = sinkhorn(cost, blur, 800)
        assert torch.allclose(plan.sum(0), torch.ones(24, dtype=F64), atol=2e-3)
        costs.append(float((plan * cost).sum()))
    assert best - 1e-9 <= costs[0] < 1.02 * best
    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(24 * float(cost.mean()), rel=1e-3)


# ---- pairs
def test_transport_lowers_the_cost_and_keeps_the_noise() -> None:
    clean = State({"x": 2 * normal(3, 64, 3)})
    drawn = LINE.corrupt(clean, torch.zeros(64, dtype=F64), streams(64)).ends["x"].x0
    assert drawn is not None
    _, noise = Transport().pair(LINE, clean, streams(64))
    assert torch.equal(noise["x"].sort(0).values, drawn.sort(0).values)
    after, before = ((clean["x"] - x).square().sum() for x in (noise["x"], drawn))
    assert after < 0.8 * before
    _, same = Independent().pair(LINE, clean, streams(64))
    assert same == {}


def test_one_permutation_moves_all_components() -> None:
    system = System({"a": Component(Euclidean(), Linear()), "b": Component(Symmetric(), Cosine())})
    raw = normal(5, 16, 3, 3)
    clean = State({"a": normal(4, 16, 2), "b": Symmetric().project(raw, None)})
    ends = system.corrupt(clean, torch.zeros(16, dtype=F64), streams(16)).ends
    drawn = {n: e.x0 for n, e in ends.items() if e.x0 is not None}
    _, noise = Transport().pair(system, clean, streams(16))
    moved = {n: torch.cdist(noise[n].flatten(1), drawn[n].flatten(1)).argmin(1) for n in noise}
    assert torch.equal(moved["a"], moved["b"])
    # Each unordered pair of a symmetric matrix counts once.
    by_hand = sum(float((clean["a"][2] - drawn["a"][7]).square().sum()) for _ in range(1))
    i, j = torch.tril_indices(3, 3, -1)
    by_hand += float((clean["b"][2] - drawn["b"][7])[i, j].square().sum())
    assert float(Transport().cost(system, clean, drawn)[2, 7]) == pytest.approx(by_hand, rel=1e-12)


def test_distance_on_a_torus_is_the_short_way_round() -> None:
    system = System({"x": Component(Torus(1.0), Linear(), "velocity")})
    clean = State({"x": torch.tensor([[0.02], [0.5]], dtype=F64)})
    cost = Transport().cost(system, clean, {"x": torch.tensor([[0.98], [0.6]], dtype=F64)})
    assert torch.allclose(cost, torch.tensor([[0.0016, 0.1764], [0.2304, 0.01]], dtype=F64))
    many = State({"x": Streams.range(2, 0, 32).uniform((3,), F64)})
    _, noise = Transport().pair(system, many, streams(32))
    assert float((noise["x"] - many["x"]).abs().max()) <= 0.5  # lifted beside its data
    x_t = system.corrupt(many, torch.full((32,), 0.3, dtype=F64), streams(32), noise).state["x"]
    assert float(x_t.min()) >= 0 and float(x_t.max()) < 1


@pytest.mark.parametrize("method", ["exact", "sinkhorn"])
def test_noise_never_crosses_a_condition_or_a_mask(method: str) -> None:
    kind = torch.arange(40) % 3
    mask = (torch.arange(40) % 2 == 0).unsqueeze(1) | torch.tensor([True, True, False])
    x = normal(6, 40, 3) * mask
    clean = State({"x": x}, {"x": mask}, {"kind": kind})
    drawn = LINE.corrupt(clean, torch.zeros(40, dtype=F64), streams(40)).ends["x"].x0
    assert drawn is not None
    _, noise = Transport(method).pair(LINE, clean, streams(40))
    came_from = torch.cdist(noise["x"], drawn).argmin(1)
    assert torch.equal(kind[came_from], kind)
    assert torch.equal(mask[came_from], mask)
    assert not (noise["x"] * ~mask).any()
    assert not torch.equal(came_from, torch.arange(40))


def test_continuous_conditions_are_weighed() -> None:
    c = normal(7, 48, 1)
    clean = State({"x": normal(8, 48, 2) + c}, {}, {"c": c})
    with pytest.raises(SciflowError, match="penalty"):
        Transport().pair(LINE, clean, streams(48))
    drawn = LINE.corrupt(clean, torch.zeros(48, dtype=F64), streams(48)).ends["x"].x0
    assert drawn is not None
    distance = []
    for weight in (0.0, 3.0, 1e6):
        _, noise = Transport(penalty={"c": weight}).pair(LINE, clean, streams(48))
        came_from = torch.cdist(noise["x"], drawn).argmin(1)
        distance.append(float((c[came_from] - c).square().mean()))
    assert distance[0] > distance[1] > distance[2] == 0
    with pytest.raises(SciflowError, match="nothing"):
        Transport(penalty={"nothing": 1.0}).pair(LINE, clean, streams(48))


def test_samples_of_two_data_sets_are_paired() -> None:
    system = System({"x": Component(Euclidean(), Linear(), "velocity", source="from")})
    x = normal(9, 20, 2)
    clean = State({"x": x}, {}, {"from": x.flip(0) + 0.01})
    _, noise = Transport().pair(system, clean, streams(20))
    assert torch.allclose(noise["x"], x + 0.01)


# ---- in training
class Nothing(nn.Module):
    """Predicts a learned constant, so the loss is the spread of the target."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(2, dtype=F64))

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        assert not state.condition
        return {"x": self.value.expand_as(state["x"])}


def test_objective_takes_a_coupling() -> None:
    x = normal(10, 64, 2)
    numbers = torch.arange(64)
    losses = {}
    for name in ("independent", "ot", "sinkhorn"):
        objective = Objective(LINE, Nothing(), coupling=make(name))
        losses[name] = objective({"x": x}, {}, {}, 0, numbers, 64)["loss"].item()
    assert losses["ot"] < losses["sinkhorn"] < 0.5 * losses["independent"]
    plain = Objective(LINE, Nothing())({"x": x}, {}, {}, 0, numbers, 64)["loss"].item()
    assert plain == losses["independent"]


def test_names_and_options_are_checked() -> None:
    with pytest.raises(SciflowError, match="did you mean"):
        make("oot")
    with pytest.raises(SciflowError, match="method"):
        Transport("best")
    with pytest.raises(SciflowError, match="blur"):
        Transport("sinkhorn", blur=0.0)
    with pytest.raises(SciflowError, match="stored pairs"):
        Stored().pair(LINE, State({"x": normal(0, 2, 2)}), streams(2))


# ---- pairs of a model
@pytest.mark.parametrize(
    "path", [Linear(), Cosine(), VE(0.01, 5.0)], ids=["linear", "cosine", "ve"]
)
def test_stored_pairs_begin_where_the_model_did(path: Linear | Cosine | VE) -> None:
    system = one(path)
    frames = [(Frame({"x": (2,)}), 5), (Frame({"x": (2,)}), 3)]
    network = MIXTURE.network(system)
    data = pairs(system, network, frames, solver=Heun(), grid=Uniform(), steps=8, seed=4)
    assert len(data) == 8
    clean, noise = Stored().pair(system, data.batch(torch.arange(8)), streams(8))
    assert not clean.condition
    begun = system.corrupt(clean, torch.zeros(8), streams(8), noise).state["x"]
    start = system.prior({"x": (2,)}, Streams.range(4, 0, 8, "reflow"))["x"]
    assert torch.allclose(begun, start, atol=1e-5)
    with pytest.raises(SciflowError, match="Ancestral"):
        pairs(system, network, frames, solver=solver_of("ancestral"), grid=Uniform(), steps=2)
