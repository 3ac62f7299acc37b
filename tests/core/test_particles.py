"""Particle methods: the tilted law is reached, groups do not know each other, budgets hold, rewards may misbehave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Uniform
from sciflow.hooks import Candidates, Hook, Inpaint, Particles, Rollover, convert
from sciflow.paths import VP, Cosine, GaussianPath, Linear, mask
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.ring import F64, Quadratic, ring

LAW = ring()
REWARD = Quadratic(torch.tensor([1.0, 0.5], dtype=F64), 1.0)
TILTED = LAW.tilted(REWARD)


def one(path: GaussianPath) -> System:
    return System({"x": Component(Euclidean(), path, "v")})


def run(
    hooks: list[Hook],
    count: int,
    path: GaussianPath | None = None,
    solver: Any = "ancestral",
    steps: int = 20,
    start: int = 0,
    calls: list[int] | None = None,
    law: tuple[System, Network] | None = None,
    record: Any = None,
) -> Tensor:
    system = one(path or Linear())
    system, exact = law or (system, LAW.network(system))

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        if calls is not None:
            calls.append(state.batch_size)
        return exact(state, t)

    return sample(
        system,
        network,
        Frame({"x": (2,)}),
        Streams.range(0, start, count),
        solver=make(solver),
        grid=Uniform(),
        steps=steps,
        hooks=hooks,
        record=record,
        dtype=F64,
    )["x"]


def judged(x: Tensor) -> float:
    return float(REWARD(State({"x": x})).mean())


def far(x: Tensor) -> float:
    """Total variation distance of the modes that samples lie in from those of the tilted law."""
    return float((LAW.occupation(x) - LAW.occupation(TILTED.draw(50000))).abs().sum() / 2)


@pytest.mark.parametrize("path", [VP(), Linear()])
def test_many_particles_have_the_tilted_law(path: GaussianPath) -> None:
    end = run([Particles(REWARD, 4096, keep="all")], 1, path, steps=60)
    assert len(end) == 4096
    assert abs(judged(end) - TILTED.reward(REWARD)) < 0.05
    assert far(end) < 0.035


def test_one_of_each_group_has_nearly_the_tilted_law_and_best_of_n_does_not() -> None:
    one_of = run([Particles(REWARD, 16)], 150)
    assert len(one_of) == 150
    assert abs(judged(one_of) - TILTED.reward(REWARD)) < 0.25 and far(one_of) < 0.17
    best = run([Particles(REWARD, 16, threshold=0.0, keep="best")], 150)
    assert judged(best) > judged(one_of) + 0.15


def test_a_trained_flow_is_converted_and_steered() -> None:
    system = System({"x": Component(Euclidean(), Linear(), "velocity")})
    law = convert(system, LAW.network(system), VP())
    end = run([Particles(REWARD, 2048, keep="all")], 1, steps=40, law=law)
    assert abs(judged(end) - TILTED.reward(REWARD)) < 0.08 and far(end) < 0.05


def test_groups_know_nothing_of_each_other_and_streams_nothing_of_the_batch() -> None:
    for hook in (
        Particles(REWARD, 4),
        Particles(REWARD, 4, keep="best"),
        Candidates(REWARD, 3, 2.0),
        Candidates(REWARD, 3),
        Rollover(REWARD, 3),
    ):
        whole, part = run([hook], 6, steps=6), run([hook], 2, steps=6, start=3)
        assert torch.equal(whole[3:5], part)
    assert torch.equal(
        run([Particles(REWARD, 3, keep="all")], 4, steps=5)[6:9],
        run([Particles(REWARD, 3, keep="all")], 1, steps=5, start=2),
    )


def test_a_reward_that_is_even_changes_nothing() -> None:
    flat = Particles(lambda s: torch.zeros(s.batch_size), 3, keep="all")
    never = Particles(REWARD, 3, threshold=0.0, scale=0.0, keep="all")
    assert torch.allclose(run([flat], 4, steps=5), run([never], 4, steps=5), atol=1e-12)


def test_search_at_equal_cost_climbs_in_the_order_of_its_freedom() -> None:
    def found(hook: Hook) -> float:
        return judged(run([hook], 60, steps=10))

    best_of = found(Particles(REWARD, 5, 1.0, 0.0, "best"))
    steered = found(Particles(REWARD, 5, 4.0, keep="best"))
    drawn, forced = found(Candidates(REWARD, 5)), found(Rollover(REWARD, 5))
    assert best_of < steered < drawn < 0.0 and drawn - 0.02 < forced < 0.0
    assert LAW.reward(REWARD) < found(Candidates(REWARD, 5, 1.0)) < drawn


def test_no_call_is_made_beyond_those_of_the_particles() -> None:
    calls: list[int] = []
    run([Particles(REWARD, 5)], 2, steps=4, calls=calls)
    assert calls == [10] * 4
    calls.clear()
    run([Candidates(REWARD, 3)], 2, steps=4, calls=calls)
    assert calls == [2] * (
        1 + 3 * 3
    )  # one to begin with, three draws of three steps; the last is made once
    calls.clear()
    run([Rollover(REWARD, 3)], 2, steps=4, calls=calls)
    assert sum(calls) <= 2 * (1 + 3 * 3) and calls[0] == calls[1] == 2


def test_unused_draws_roll_over() -> None:
    """A reward that falls at every step needs all draws; one that rises needs one each, and leaves the rest."""
    spent: list[list[int]] = []
    for sign in (1.0, -1.0):
        calls: list[int] = []
        judged_so_far = [0.0]

        def reward(
            s: State, sign: float = sign, judged_so_far: list[float] = judged_so_far
        ) -> Tensor:
            judged_so_far[0] += sign
            return torch.full((s.batch_size,), judged_so_far[0], dtype=F64)

        run([Rollover(reward, 4)], 1, steps=5, calls=calls)
        spent.append(calls)
    assert len(spent[0]) == 1 + 4 and len(spent[1]) == 1 + 4 * 4
    up = iter([0.0, 1.0, 2.0] + [1.0] * 50)
    calls = []
    run([Rollover(lambda s: [next(up)], 4)], 1, steps=5, calls=calls)
    assert len(calls) == 1 + 2 + (4 + 6) + 4  # two steps of one draw leave six more to the third


def test_labels_are_steered_too_and_known_elements_stay() -> None:
    system = System({"k": Component(Categorical(3), mask(3), "logits", marginal=(1 / 3,) * 3)})

    def reward(s: State) -> Tensor:
        return (s["k"] == 2).double().sum(1)

    def share(hooks: list[Hook]) -> Tensor:
        return sample(
            system,
            lambda state, t: {"k": torch.zeros(*state["k"].shape, 3)},
            Frame({"k": (6,)}),
            Streams.range(0, 0, 40),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=12,
            hooks=hooks,
        )["k"]

    plain = float((share([]) == 2).double().mean())
    for hook in (Particles(reward, 8, 3.0), Candidates(reward, 4), Rollover(reward, 4)):
        known = {"k": torch.arange(6).expand(40, 6) == 0}
        hold = Inpaint(State({"k": torch.zeros(40, 6, dtype=torch.int64)}), known)
        end = share([hook, hold])
        assert (end[:, 0] == 0).all()
        assert float((end[:, 1:] == 2).double().mean()) > plain + 0.1


@pytest.mark.parametrize("solver", ["ancestral", "euler-maruyama", "dpm++2m"])
def test_carries_go_with_their_particles(solver: str) -> None:
    """With a flat start of weights nothing is resampled: particles of a group are plain samples of their streams."""
    states: list[Tensor] = []
    hook = Particles(REWARD, 2, threshold=1.0, keep="all")
    end = run([hook], 3, Cosine(), solver, 8, record=lambda t, s: states.append(s["x"]))
    assert end.shape == (6, 2) and end.isfinite().all() and len(states) == 9
    assert judged(end) > judged(run([], 6, Cosine(), solver, 8))


def test_rewards_that_misbehave_are_named_and_those_without_a_value_are_dropped() -> None:
    def broken(s: State) -> Tensor:
        raise KeyError("mass")

    with pytest.raises(
        SciflowError, match="reward broken: raised KeyError: 'mass'; expected one number"
    ):
        run([Particles(broken, 2)], 2, steps=2)
    with pytest.raises(
        SciflowError, match=r"reward: got \(3,\), expected one number for each of 4"
    ):
        run([Particles(lambda s: [0.0] * 3, 2)], 2, steps=2)

    def left_half(s: State) -> Tensor:
        return torch.where(s["x"][:, 0] < 0, 0.0, torch.nan)

    end = run([Particles(left_half, 32)], 40, steps=10)
    assert float((end[:, 0] < 0).double().mean()) > 0.95
    nowhere = run([Particles(lambda s: [float("nan")] * s.batch_size, 4)], 3, steps=4)
    assert nowhere.isfinite().all()


@pytest.mark.parametrize(
    ("make_hook", "message"),
    [
        (lambda: Particles(REWARD, 0), "number of particles: got 0"),
        (lambda: Particles(REWARD, 2, threshold=1.5), "threshold of particles"),
        (lambda: Particles(REWARD, 2, keep="bst"), "did you mean 'best'"),
        (lambda: Candidates(REWARD, 0), "draws per step"),
        (lambda: Rollover(REWARD, 2, low=2.0), "time from which draws are chosen"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make_hook: Any, message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        make_hook()


def test_particles_draw_by_lot_each_for_itself() -> None:
    def lot(condition: Mapping[str, Tensor], streams: Streams) -> Mapping[str, Tensor]:
        return {"side": condition["side"] * torch.where(streams.uniform((1,)) < 0.5, -1.0, 1.0)}

    system = System({"x": Component(Euclidean(), Linear(), "data")})

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        return {"x": state.condition["side"].expand_as(state["x"])}

    frame = Frame({"x": (1,)}, condition={"side": torch.ones(200, 1)}, lot=lot)
    how: dict[str, Any] = {"solver": make("ancestral"), "grid": Uniform(), "steps": 3}
    args = (system, network, frame, Streams.range(0, 0, 200))
    plain = sample(*args, **how)["x"]
    assert 0.3 < float((plain > 0).double().mean()) < 0.7
    again = Frame({"x": (1,)}, condition={"side": torch.ones(3, 1)}, lot=lot)
    few = sample(system, network, again, Streams.range(0, 5, 3), **how)["x"]
    assert torch.equal(few, plain[5:8])
    # The side that no condition of the frame has: only what each particle draws brings it.
    best = Particles(lambda data: -data["x"][:, 0], 8, threshold=0.0, keep="best")
    found = sample(*args, **how, hooks=[best])["x"]
    assert float((found < 0).double().mean()) > 0.97  # all eight of a group lose once in 256
