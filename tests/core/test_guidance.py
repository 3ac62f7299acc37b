"""Guidance: exact where the guided law is known, the same for every kind, path and solver; what it asks of training."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import LogSNR, Uniform
from sciflow.hooks import Autoguidance, Guidance, Hook
from sciflow.learning import Dropout, Objective
from sciflow.paths import VP, Cosine, GaussianPath, Linear, mask, uniform
from sciflow.paths.base import Ends
from sciflow.prediction import combine
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.analytic import F64, one

CLASSES = 3


def exact(system: System, calls: list[int] | None = None) -> Network:
    """The perfect network of data N(c, 1) given the condition c, and of labels whose logits are c (0, 1, 2).

    Both are affine in c, so guidance by weight w away from c = 0 is the law of the condition w c.
    """

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        if calls is not None:
            calls.append(state.batch_size)
        c = state.condition["c"].unsqueeze(1)
        output = {}
        for name, component in system.items():
            x = state[name]
            if isinstance(component.path, GaussianPath):
                k = component.path.coefficients(t.unsqueeze(1))
                off = (x - k.a * c) / (k.a**2 + k.s**2)
                output[name] = combine(component.kind, k, Ends(c + k.a * off, k.s * off))
            else:
                output[name] = (
                    (c * torch.arange(CLASSES, dtype=F64)).unsqueeze(1).expand(*x.shape, -1)
                )
        return output

    return network


def run(
    system: System,
    shape: dict[str, tuple[int, ...]],
    condition: float,
    hooks: list[Hook],
    solver: str = "midpoint",
    count: int = 6,
    calls: list[int] | None = None,
    start: int = 0,
) -> State:
    c = torch.full((count,), condition, dtype=F64)
    return sample(
        system,
        exact(system, calls),
        Frame(shape, condition={"c": c}),
        Streams.range(0, start, count),
        solver=make(solver),
        grid=LogSNR() if solver == "dpm++2m" else Uniform(),
        steps=8,
        hooks=hooks,
        dtype=F64,
    )


@pytest.mark.parametrize("path", [Linear(), Cosine(), VP()])
@pytest.mark.parametrize("kind", ["data", "velocity", "v", "noise"])
def test_every_kind_and_path_is_guided_to_the_same_law(path: GaussianPath, kind: str) -> None:
    if kind == "noise" and path.at(0.0).a == 0:
        pytest.skip("says nothing of the data at t = 0")
    system = one(path, kind)
    guided = run(system, {"x": (2,)}, 1.0, [Guidance(3.0, null={"c": 0.0})])["x"]
    assert torch.allclose(guided, run(system, {"x": (2,)}, 3.0, [])["x"], atol=1e-9)
    assert not torch.allclose(guided, run(system, {"x": (2,)}, 1.0, [])["x"], atol=0.5)


@pytest.mark.parametrize("solver", ["midpoint", "dpm++2m", "ancestral", "euler-maruyama"])
def test_every_solver_is_guided(solver: str) -> None:
    system, hook = one(Linear(), "velocity"), Guidance(2.5, null={"c": 0.0})
    guided = run(system, {"x": (2,)}, 1.0, [hook], solver)["x"]
    assert torch.allclose(guided, run(system, {"x": (2,)}, 2.5, [], solver)["x"], atol=1e-9)


@pytest.mark.parametrize("path", [mask(CLASSES), uniform(CLASSES)])
def test_jumps_are_guided_in_logits_beside_a_continuous_component(path: object) -> None:
    marginal = (0.5, 0.25, 0.25)
    system = System(
        {
            "x": Component(Euclidean(), Cosine(), "v"),
            "k": Component(Categorical(CLASSES), path, "logits", marginal=marginal),  # type: ignore[arg-type]
        }
    )
    shape = {"x": (2,), "k": (40,)}
    guided = run(system, shape, 0.5, [Guidance(3.0, null={"c": 0.0})], "ancestral", 20)
    wanted = run(system, shape, 1.5, [], "ancestral", 20)
    assert torch.equal(guided["k"], wanted["k"])
    assert torch.allclose(guided["x"], wanted["x"], atol=1e-9)
    assert not torch.equal(guided["k"], run(system, shape, 0.5, [], "ancestral", 20)["k"])


def test_one_call_of_twice_the_batch_within_the_interval_and_a_plain_one_outside() -> None:
    calls: list[int] = []
    hook = Guidance(2.0, 0.25, 0.5, null={"c": 0.0})
    run(one(Linear()), {"x": (2,)}, 1.0, [hook], "euler", calls=calls)
    assert calls == [6, 6, 12, 12, 12, 6, 6, 6]


def test_weights_0_and_1_are_the_plain_laws_and_each_sample_may_have_its_own() -> None:
    system, null = one(Linear()), {"c": 0.0}
    zero, unit = (run(system, {"x": (2,)}, c, [])["x"] for c in (0.0, 1.0))
    assert torch.allclose(run(system, {"x": (2,)}, 1.0, [Guidance(0.0, null=null)])["x"], zero)
    calls: list[int] = []
    same = run(system, {"x": (2,)}, 1.0, [Guidance(1.0, null=null)], calls=calls)["x"]
    assert torch.equal(same, unit) and set(calls) == {6}
    weight = torch.tensor([0.0, 1.0, 0.0, 1.0, 2.0, 2.0])
    each = run(system, {"x": (2,)}, 1.0, [Guidance(weight, null=null)])["x"]
    assert torch.allclose(each[0], zero[0]) and torch.allclose(each[3], unit[3])
    assert torch.allclose(each[4], run(system, {"x": (2,)}, 2.0, [])["x"][4])


def test_a_guided_sample_does_not_depend_on_its_batch() -> None:
    system, hook = one(Linear()), Guidance(2.0, null={"c": 0.0})
    whole = run(system, {"x": (2,)}, 1.0, [hook], "ancestral")["x"]
    part = run(system, {"x": (2,)}, 1.0, [hook], "ancestral", count=2, start=3)["x"]
    assert torch.equal(whole[3:5], part)


def test_autoguidance_leaves_a_worse_network() -> None:
    system = one(Linear())
    wide = exact(system)

    def worse(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return wide(state.with_condition(c=0.25 * state.condition["c"]), t)

    guided = run(system, {"x": (2,)}, 1.0, [Autoguidance(2.0, worse=worse)])["x"]
    assert torch.allclose(guided, run(system, {"x": (2,)}, 1.75, [])["x"], atol=1e-9)


def test_dropout_hides_a_share_of_the_conditions_whatever_the_batch() -> None:
    count = 4000
    state = State(
        {"x": torch.zeros(count, 2)},
        condition={"c": torch.ones(count, 3), "k": torch.full((count,), 2)},
    )
    hide = Dropout({"c": -1.0, "k": 9}, 0.3)
    hidden = hide(state, Streams.range(1, 0, count, "d"))
    gone = (hidden.condition["c"] == -1).all(1)
    assert torch.equal(gone, hidden.condition["k"] == 9)
    assert (hidden.condition["c"][~gone] == 1).all() and hidden.condition["k"].dtype == torch.int64
    assert abs(float(gone.double().mean()) - 0.3) < 4 * (0.21 / count) ** 0.5
    part = hide(state.select(slice(7, 30)), Streams.range(1, 7, 23, "d"))
    assert torch.equal(part.condition["c"], hidden.condition["c"][7:30])
    apart = Dropout({"c": -1.0, "k": 9}, 0.5, together=False)
    lots = apart(state, Streams.range(1, 0, count, "d")).condition
    both = ((lots["c"] == -1).all(1) & (lots["k"] == 9)).double().mean()
    assert abs(float(both) - 0.25) < 4 * (0.1875 / count) ** 0.5


class Taught(torch.nn.Module):
    """Predicts the data from the condition alone, by a table: what it learns is the mean of each condition."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(3, 1)

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        return {"x": self.table(state.condition["k"])}


def test_training_with_dropout_learns_both_laws() -> None:
    network = Taught()
    objective = Objective(one(Linear()), network, dropout=Dropout({"k": 2}, 0.25))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.2)
    labels = torch.arange(128) % 2
    for step in range(50):
        loss = objective(
            {"x": labels.unsqueeze(1) * 4.0}, {}, {"k": labels}, 0, torch.arange(128) + 128 * step, 128
        )["loss"]  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(network.table.weight.squeeze(), torch.tensor([0.0, 4.0, 2.0]), atol=0.3)


@pytest.mark.parametrize(
    ("make_hook", "message"),
    [
        (lambda: Guidance(2.0), "null values of guidance"),
        (lambda: Guidance(2.0, 0.8, 0.2, null={"c": 0.0}), "interval of guidance"),
        (lambda: Autoguidance(2.0), "worse network"),
        (lambda: Dropout({}, 0.1), "null values of condition dropout"),
        (lambda: Dropout({"c": 0.0}, 1.5), "probability of condition dropout"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make_hook: object, message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        make_hook()  # type: ignore[operator]


def test_an_unknown_condition_and_weights_that_do_not_fit_are_refused() -> None:
    system = one(Linear())
    with pytest.raises(SciflowError, match="condition to drop.*did you mean 'c'"):
        run(system, {"x": (2,)}, 1.0, [Guidance(2.0, null={"cc": 0.0})])
    with pytest.raises(SciflowError, match="weights of guidance: got '4 samples'"):
        run(system, {"x": (2,)}, 1.0, [Guidance(torch.ones(4), null={"c": 0.0})])
