"""Mean-reverting paths: whatever a solver does to x around a centre, it does to y = x - centre around zero."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import LogSNR
from sciflow.paths import EDM, OU, VP, GaussianPath, KineticOptimal
from sciflow.prediction import combine
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, make
from sciflow.spaces import Euclidean, Symmetric
from sciflow.state import Frame
from tests.core.analytic import F64, MIXTURE

PATHS = {
    "ou": OU(0.1, 12.0, 0.6),
    "vp": VP(),
    "edm": EDM(0.01, 5.0),
    "optimal": KineticOptimal((0.5, 1.0)),
}
KINDS = {"ou": "noise", "vp": "data", "edm": "edm", "optimal": "velocity"}
SHAPE = (3,)
COUNT = 8
GIVEN = torch.linspace(-3, 4, COUNT * 3, dtype=F64).view(COUNT, 3)


def run(
    name: str, path: GaussianPath, kind: str, centre: str | float, shift: Tensor | float
) -> Tensor:
    """Samples of x when the exact network is that of y = x - shift."""
    system = System({"x": Component(Euclidean(), path, kind, centre=centre)})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        c = path.coefficients(t)
        said = combine(kind, c, MIXTURE.ends(c, state["x"] - shift))
        return {"x": said + shift if kind == "data" else said}

    frame = Frame({"x": SHAPE}, condition={"mu": GIVEN})
    streams = Streams.range(0, 0, COUNT)
    return sample(
        system, network, frame, streams, solver=make(name), grid=LogSNR(), steps=8, dtype=F64
    )["x"]


@pytest.mark.parametrize("path", list(PATHS))
# The steps of dopri5 follow the size of x itself.
@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "dopri5"])
def test_around_a_centre_is_around_zero(name: str, path: str) -> None:
    """Item by item to 1e-10: a number, and a condition with a value for every element."""
    component = Component(Euclidean(), PATHS[path], KINDS[path])
    if make(name).lacks(component):
        pytest.skip("the solver does not treat the path at all")
    plain = run(name, PATHS[path], KINDS[path], 0.0, 0.0)
    by_number = run(name, PATHS[path], KINDS[path], 2.5, 2.5)
    by_condition = run(name, PATHS[path], KINDS[path], "mu", GIVEN)
    assert torch.allclose(by_number - 2.5, plain, atol=1e-10, rtol=0)
    assert torch.allclose(by_condition - GIVEN, plain, atol=1e-10, rtol=0)


def test_the_noise_end_lies_around_the_centre() -> None:
    """x_t ~ N(a x_1 + (1 - a) mu, std^2 (1 - a^2)): what Luo et al. call mean-reverting."""
    path, count = OU(4.0, 4.0, 0.5), 20000
    system = System({"x": Component(Euclidean(), path, "noise", centre=3.0)})
    clean = State({"x": torch.full((count, 1), 1.0, dtype=F64)})
    for time in (0.0, 0.4, 0.9):
        t = torch.full((count,), time, dtype=F64)
        x = system.corrupt(clean, t, Streams.range(0, 0, count)).state["x"]
        a = float(torch.as_tensor(path.at(time).a))
        assert float(x.mean()) == pytest.approx(a + (1 - a) * 3.0, abs=0.015)
        assert float(x.var()) == pytest.approx(0.25 * (1 - a**2), rel=0.05)
    start = system.prior({"x": (1,)}, Streams.range(1, 0, count), dtype=F64)["x"]
    assert float(start.mean()) == pytest.approx(3.0, abs=0.02)
    assert float(start.std()) == pytest.approx(0.5, rel=0.03)


def test_the_centre_stays_in_the_space_and_must_be_given() -> None:
    mask = torch.tensor([[True, True, False]]).expand(2, 3)
    pairs = mask.unsqueeze(1) & mask.unsqueeze(2)
    system = System({"x": Component(Symmetric(), OU(), "noise", centre=1.5)})
    clean = State({"x": torch.zeros(2, 3, 3, dtype=F64)}, {"x": pairs})
    x = system.corrupt(clean, torch.tensor([0.1, 0.5], dtype=F64), Streams.range(0, 0, 2)).state[
        "x"
    ]
    assert torch.equal(x, Symmetric().project(x, pairs)) and (x != 0).any()
    named = System({"x": Component(Euclidean(), OU(), "noise", centre="mu")})
    with pytest.raises(SciflowError, match="centre of component 'x'.*'mu'"):
        named.prior({"x": (2,)}, Streams.range(0, 0, 2))
