"""The sampling loop: when hooks, recorder and progress are called, where it starts, what it refuses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Grid, Power, Uniform
from sciflow.hooks import Hook
from sciflow.paths import VP, Ends, Linear
from sciflow.sampling import sample
from sciflow.solvers import make
from sciflow.spaces import Euclidean
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.analytic import F64, MIXTURE, one

SYSTEM = one(Linear())
FRAME = Frame({"x": (2,)})


class Diary(Hook):
    """Writes down what it is asked, and adds to what it is given."""

    def __init__(self, name: str, pages: list[str], shift: float = 0.0) -> None:
        self.name, self.pages, self.shift = name, pages, shift

    def network(self, network: Network, t: float) -> Network:
        def wrapped(state: State, t: Tensor) -> Mapping[str, Tensor]:
            self.pages.append(f"{self.name} network")
            return network(state, t)

        return wrapped

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        self.pages.append(f"{self.name} ends {t:g}")
        return {k: Ends(e.x1 + self.shift, e.x0) for k, e in ends.items()}

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        self.pages.append(f"{self.name} state {t:g}")
        return state.replace(x=state["x"] + self.shift)


def test_hooks_are_called_in_order_at_every_knot_and_call() -> None:
    pages: list[str] = []
    sample(
        SYSTEM,
        MIXTURE.network(SYSTEM),
        FRAME,
        Streams.range(0, 0, 3),
        solver=make("ancestral"),
        grid=Uniform(),
        steps=2,
        hooks=[Diary("a", pages), Diary("b", pages)],
        record=lambda t, state: pages.append(f"record {t:g}"),
        progress=lambda done, of: pages.append(f"progress {done}/{of}"),
    )
    call = "b network, a network, a ends {0}, b ends {0}"
    wanted = ", ".join(
        [
            "a state 0, b state 0, record 0",
            call.format("0"),
            "a state 0.5, b state 0.5, record 0.5, progress 1/2",
            call.format("0.5"),
            "a state 1, b state 1, record 1, progress 2/2",
        ]
    )
    assert ", ".join(pages) == wanted


def test_what_hooks_change_is_what_counts() -> None:
    """The last step returns the believed data: both shifts of the ends, then both of the state."""
    shifts = [Diary("a", [], 0.25), Diary("b", [], 0.5)]
    args = (SYSTEM, lambda state, t: {"x": torch.ones_like(state["x"])}, FRAME)
    end = sample(
        *args,
        Streams.range(0, 0, 3),
        solver=make("ancestral"),
        grid=Uniform(),
        steps=3,
        hooks=shifts,
    )
    assert torch.allclose(end["x"], torch.full((3, 2), 1 + 2 * 0.75))


def test_the_loop_starts_from_the_prior_or_from_where_it_is_told() -> None:
    seen: list[State] = []
    options = {"solver": make("euler"), "grid": Uniform(), "steps": 4, "dtype": F64}
    args = (SYSTEM, MIXTURE.network(SYSTEM), FRAME)
    first = sample(*args, Streams.range(7, 0, 3), record=lambda t, s: seen.append(s), **options)
    prior = SYSTEM.prior(FRAME.shapes, Streams.range(7, 0, 3), dtype=F64)
    assert torch.equal(seen[0]["x"], prior["x"]) and torch.equal(seen[-1]["x"], first["x"])
    again = sample(*args, Streams.range(99, 0, 3), start=prior, **options)
    assert torch.equal(again["x"], first["x"])
    assert first["x"].dtype == F64 and not first["x"].requires_grad


def test_masks_and_condition_reach_the_network() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    wish = torch.tensor([[3.0], [5.0]])
    frame = Frame({"x": (2,)}, {"x": mask}, {"wish": wish})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        assert torch.equal(state.mask("x"), mask) and t.shape == (2,)
        return {"x": state.condition["wish"].expand(2, 2)}

    args = (SYSTEM, network, frame, Streams.range(0, 0, 2))
    end = sample(*args, solver=make("ancestral"), grid=Uniform(), steps=3)
    assert torch.allclose(end["x"], torch.tensor([[3.0, 0.0], [5.0, 5.0]]))


def test_a_knot_that_rounds_to_one_is_still_before_it() -> None:
    """1 - 1e-9 is 1 in float32, where no noise is left to resolve."""
    system = one(VP())
    args = (system, MIXTURE.network(system), FRAME, Streams.range(0, 0, 3))
    for name in ("ancestral", "midpoint", "dpm++2m"):
        end = sample(*args, solver=make(name), grid=Power(9.0), steps=10)
        assert end["x"].isfinite().all()


@pytest.mark.parametrize("grid", [Uniform(), Power(2.0)])
def test_no_steps_are_refused(grid: Grid) -> None:
    with pytest.raises(SciflowError, match="steps: got 0, expected at least 1"):
        args = (SYSTEM, MIXTURE.network(SYSTEM), FRAME, Streams.range(0, 0, 1))
        sample(*args, solver=make("euler"), grid=grid, steps=0)


def test_single_precision_follows_double() -> None:
    system = System({"x": Component(Euclidean(), Linear(), "velocity")})
    start = torch.randn(20, 2, dtype=F64)
    for name in ("euler", "midpoint", "heun", "dpm++2m"):
        ends = [
            sample(
                system,
                MIXTURE.network(system),
                FRAME,
                Streams.range(0, 0, 20),
                solver=make(name),
                grid=Uniform(),
                steps=10,
                start=State({"x": start.to(dtype)}),
                dtype=dtype,
            )["x"]
            for dtype in (torch.float32, F64)
        ]
        assert ends[0].dtype == torch.float32
        assert torch.allclose(ends[0].double(), ends[1], atol=3e-5)
