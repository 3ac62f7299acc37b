"""Steering: the constraint is met without a backward pass through the network, and the law stays near the posterior."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Uniform
from sciflow.hooks import Hook, Observe, Steer
from sciflow.paths import Linear, mask
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from tests.core.ring import F64, ring, sliced

LAW = ring()
SYSTEM = System({"x": Component(Euclidean(), Linear(), "velocity")})
A, Y, NOISE = torch.tensor([[1.0, 0.0]], dtype=F64), torch.tensor([0.95], dtype=F64), 0.05


def off(samples: State) -> Tensor:
    return samples["x"] @ A.T - Y


def run(hooks: list[Hook], solver: str, steps: int, count: int = 600, start: int = 0) -> Tensor:
    exact, calls = LAW.network(SYSTEM), []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        calls.append(torch.is_grad_enabled())
        return exact(state, t)

    end = sample(
        SYSTEM,
        network,
        Frame({"x": (2,)}),
        Streams.range(0, start, count),
        solver=make(solver),
        grid=Uniform(),
        steps=steps,
        hooks=hooks,
        dtype=F64,
    )["x"]
    if hooks and isinstance(hooks[0], Steer):
        assert calls == [False] * steps  # as often as without the hook, and never recorded
    return end


@pytest.mark.parametrize("solver", ["euler", "ancestral"])
def test_a_linear_constraint_is_met_and_the_law_is_near_the_posterior(solver: str) -> None:
    steer = Steer(lambda s: (off(s) ** 2).sum(1) / 2)
    posterior = LAW.given(A, Y, NOISE).draw(10000)
    end = run([steer], solver, 50)
    plain = run([], solver, 50)
    met, unmet = (float(off(State({"x": x})).abs().mean()) for x in (end, plain))
    assert met < unmet / 20
    through = Observe(lambda s: s["x"] @ A.T, Y.expand(600, 1), NOISE, "none")
    assert sliced(end, posterior) < 0.3
    assert sliced(end, posterior) < 2 * sliced(run([through], "ancestral", 50), posterior)


def test_it_acts_within_its_interval_and_counts_its_steps_down() -> None:
    loss = Steer(lambda s: (off(s) ** 2).sum(1) / 2, low=0.9999)
    assert torch.equal(run([loss], "euler", 10, 5), run([], "euler", 10, 5))
    # Two steps of rate .5 leave a quarter of the residual, one of rate .75 too.
    twice = Steer(lambda s: (off(s) ** 2).sum(1) / 2, 0.5, 2)
    once = Steer(lambda s: (off(s) ** 2).sum(1) / 2, 0.75)
    assert torch.allclose(run([twice], "euler", 10, 5), run([once], "euler", 10, 5), atol=1e-9)


def test_a_steered_sample_does_not_depend_on_its_batch() -> None:
    hook = Steer(lambda s: (off(s) ** 2).sum(1) / 2)
    whole, part = run([hook], "ancestral", 8, 6), run([hook], "ancestral", 8, 2, 3)
    assert torch.allclose(whole[3:5], part, atol=1e-12)


def test_labels_are_steered_through_their_probabilities() -> None:
    system = System({"k": Component(Categorical(3), mask(3), "logits")})

    def share(rate: float) -> float:
        end = sample(
            system,
            lambda state, t: {"k": torch.zeros(*state["k"].shape, 3)},
            Frame({"k": (4,)}),
            Streams.range(0, 0, 200),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=20,
            hooks=[Steer(lambda s: -s["k"][..., 2].sum(1), rate)],
        )["k"]
        return float((end == 2).double().mean())

    assert share(1e-9) < 0.45 and share(30.0) > 0.9


def test_settings_that_make_no_sense_are_refused() -> None:
    for options in ({"low": 0.5, "high": 0.2}, {"iterations": 0}):
        with pytest.raises(SciflowError, match="of steering"):
            Steer(lambda s: s["x"].sum(1), **options)  # type: ignore[arg-type]
