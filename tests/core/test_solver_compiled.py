"""Compiled steps: the same samples, from one graph for the whole trajectory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sciflow import SciflowError
from sciflow.grids import Uniform
from sciflow.paths import VP
from sciflow.solvers import Compiled, make
from tests.core.analytic import one

PROGRAM = """
import torch
from torch._dynamo.utils import counters
from sciflow import Component, Streams, System
from sciflow.grids import LogSNR
from sciflow.paths import VP
from sciflow.sampling import sample
from sciflow.solvers import Compiled, make
from sciflow.spaces import Euclidean
from sciflow.state import Frame

network = lambda state, t: {"x": torch.tanh(state["x"]) * t[:, None]}
system = System({"x": Component(Euclidean(), VP())})
solver = make(CHOICE)
compiled = Compiled(solver)
for steps, seed in ((20, 3), (12, 4)):
    ends = [
        sample(system, network, Frame({"x": (3,)}), Streams.range(seed, 0, 5), solver=s, grid=LogSNR(), steps=steps,
               dtype=torch.float64)["x"]
        for s in (solver, compiled)
    ]
    assert torch.allclose(*ends, atol=1e-9), (ends[0] - ends[1]).abs().max()
assert counters["stats"]["unique_graphs"] == 1, counters["stats"]
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler for torch.compile")
@pytest.mark.parametrize("choice", ["heun"])
def test_one_graph_serves_every_step_seed_and_number_of_steps(choice: str) -> None:
    """In a fresh interpreter: what checks types in the tests is nothing that a graph can be made of."""
    root = Path(__file__).resolve().parents[2]
    program = PROGRAM.replace("CHOICE", repr(choice))
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_compiled_solver_says_what_its_solver_says() -> None:
    compiled = Compiled(make("unipc"))
    assert (compiled.order, compiled.calls, compiled.least) == (2, 1, 2)
    with pytest.raises(SciflowError, match="adaptive solver decides as it goes"):
        Compiled(make("dopri5")).check(one(VP()))
    plan = Compiled(make("heun")).plan(one(VP()), Uniform().knots(6, one(VP())))
    # All but the first and the last step are made alike.
    assert sum(step.extra.shared for step in plan) >= 4
