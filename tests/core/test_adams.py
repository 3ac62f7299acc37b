"""Adams' predictor and corrector: order on exact laws, one chart for every path, one call per step."""

import pytest
import torch

from sciflow import grids, solvers
from sciflow.errors import SciflowError
from sciflow.paths import EDM, VE, VP, Cosine, Linear
from sciflow.sampling import sample
from sciflow.solvers.adams import Adams, integral
from sciflow.state import Frame, State
from sciflow.streams import Streams
from tests.core.analytic import F64, GAUSSIAN, MIXTURE, flow_errors, one, slope

PATHS = {"linear": Linear(), "cosine": Cosine(), "vp": VP(), "ve": VE(), "edm": EDM(sigma_min=0.0)}


def test_integral_is_exact_for_polynomials():
    points = [0.9, 0.4, 0.3, 0.1]
    for power in range(4):
        shares = integral(points, 0.9, 1.4)
        exact = (1.4 ** (power + 1) - 0.9 ** (power + 1)) / (power + 1)
        assert sum(w * p**power for w, p in zip(shares, points, strict=True)) == pytest.approx(
            exact
        )


@pytest.mark.parametrize("path", ["linear", "vp", "edm"])
@pytest.mark.parametrize(
    ("points", "correct"), [(1, True), (2, True), (3, True), (4, True), (2, False)]
)
def test_order(path, points, correct):
    solver, grid = Adams(points, correct), grids.make({"name": "chart", "power": 1.0})
    for law in (GAUSSIAN, MIXTURE):
        errors = flow_errors(solver, PATHS[path], law, grid, (96, 192))
        assert errors[-1] < 1e-9 or slope((96, 192), errors) > solver.order - 0.3


def run(path, kind="data", grid="chart", solver=None, calls=None):
    system = one(path, kind)
    exact = MIXTURE.network(system)

    def network(state, t):
        if calls is not None:
            calls.append(float(t[0]))
        return exact(state, t)

    z = torch.linspace(-2, 2, 16, dtype=F64).unsqueeze(1)
    return sample(
        system, network, Frame({"x": (1,)}), Streams.range(0, 0, 16), solver=solver or Adams(),
        grid=grids.make(grid), steps=12, start=State({"x": z * path.prior_scale}), dtype=F64,
    )["x"]  # fmt: skip


def test_every_path_is_the_straight_one_in_the_chart():
    assert torch.allclose(run(Linear()), run(Cosine()), atol=1e-10)


def test_what_the_network_says_does_not_matter_and_it_says_it_once_per_step():
    calls: list[float] = []
    data = run(Linear(), calls=calls)
    assert len(calls) == 12
    assert torch.allclose(data, run(Linear(), "velocity"), atol=1e-10)


def test_one_point_is_euler_on_the_straight_path():
    plain = run(Linear(), grid="uniform", solver=Adams(1, correct=False))
    assert torch.allclose(plain, run(Linear(), grid="uniform", solver=solvers.Euler()), atol=1e-12)


def test_points_are_refused():
    with pytest.raises(SciflowError, match="points of solver Adams: got 5"):
        Adams(5)
