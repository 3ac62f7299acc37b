"""The answer of renewal as a mean over fresh draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciflow import grids
from sciflow.errors import SciflowError
from sciflow.paths.bayes import GaussianBayes
from sciflow.sampling import sample
from sciflow.solvers import Renewal
from sciflow.spaces import Euclidean
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, System

PATH = GaussianBayes()
SYSTEM = System({"x": Component(Euclidean(), PATH)})


class Network:
    """The exact mean of data that are -1 with probability .3, or 1; what it adds is wrong and new at each call."""

    def __init__(self, fault: float = 0.0) -> None:
        self.calls, self.fault = 0, fault
        self.noise = torch.Generator().manual_seed(0)

    def __call__(self, state: State, t: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        y = PATH.natural(state["x"], t)
        mean = torch.tanh(y + 0.5 * torch.log(torch.tensor(0.7 / 0.3)))
        return {"x": mean + self.fault * torch.randn(y.shape, generator=self.noise)}


def made(solver: Renewal, network: Network, count: int = 400, start: int = 0) -> Tensor:
    """Return samples ``[count]``."""
    streams = Streams.range(0, start, count, "test")
    frame = Frame({"x": (1,)}, {}, {})
    grid = grids.make({"name": "uniform", "stop": 0.6})
    return sample(SYSTEM, network, frame, streams, solver=solver, grid=grid, steps=6)["x"][:, 0]


def test_a_mean_keeps_what_is_clear_and_calms_what_is_not() -> None:
    solver = Renewal(draws=8, rounds=3, back=0.4, forth=0.6)
    plain, network = made(Renewal(), Network(0.1)), Network(0.1)
    mean = made(solver, network)
    assert network.calls == 6 + 8 * 3
    assert ((plain > 0) == (mean > 0)).float().mean() > 0.99
    assert (mean.abs() - 1).abs().mean() < 0.6 * (plain.abs() - 1).abs().mean()


def test_early_rounds_go_to_the_majority() -> None:
    plain, mean = made(Renewal(), Network()), made(Renewal(draws=8, back=0.02), Network())
    assert (mean > 0).float().mean() > (plain > 0).float().mean() + 0.02


def test_a_sample_does_not_depend_on_its_batch() -> None:
    solver = Renewal(draws=2)
    whole, part = made(solver, Network(), 20), made(solver, Network(), 5, 10)
    assert torch.equal(whole[10:15], part)


@pytest.mark.parametrize("wrong", [{"draws": -1}, {"rounds": 0}, {"back": 0.5, "forth": 0.4}])
def test_settings_that_mean_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(SciflowError, match="renewal"):
        Renewal(**wrong)  # type: ignore[arg-type]


def test_components_that_are_kept_take_the_ancestral_step() -> None:
    """Beside one that is renewed: each as under a solver that treats both so."""
    system = System({"x": SYSTEM["x"], "y": SYSTEM["x"]})

    def both(solver: Renewal, name: str) -> Tensor:
        def network(state: State, t: Tensor) -> dict[str, Tensor]:
            return {k: Network()(State({"x": state[k]}), t)["x"] for k in ("x", "y")}

        streams = Streams.range(0, 0, 50, "test")
        frame = Frame({"x": (1,), "y": (1,)}, {}, {})
        grid = grids.make("uniform")
        return sample(system, network, frame, streams, solver=solver, grid=grid, steps=4)[name]

    mixed = Renewal(keep=("x",))
    assert torch.equal(both(mixed, "x"), both(Renewal(rate=0.0, keep=("x",)), "x"))
    assert torch.equal(both(Renewal(keep=("x", "y")), "y"), both(Renewal(rate=0.0), "y"))
    assert not torch.equal(both(mixed, "y"), both(Renewal(rate=0.0), "y"))
    with pytest.raises(SciflowError, match="'speces'"):
        Renewal(keep=("speces",)).check(system)
