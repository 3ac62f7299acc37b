"""What the matrix says is defined can be sampled, on every space; what it refuses is refused with its reason."""

from __future__ import annotations

import json
import math

import pytest
import torch
from typer.testing import CliRunner

from sciflow import grids, paths, solvers
from sciflow.cli import app
from sciflow.errors import SciflowError
from sciflow.runtime import matrix
from sciflow.sampling import sample
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import Component, System

CLASSES = matrix.CLASSES
SHAPES = {
    "euclidean": (3,),
    "symmetric": (3, 3),
    "torus": (3,),
    "circle": (3, 2),
    "categorical": (3,),
    "simplex": (3, CLASSES),
}
ROWS = matrix.rows()
DEFINED = [row for row in ROWS if not row.misfit]
COUNT = 4
# A plane and a simplex are Euclidean spaces to a path that does not know better: one such path stands for all there.
PROVEN = [
    row
    for row in DEFINED
    if row.space in ("euclidean", "torus", "categorical")
    or row.path in ("linear", "ve")
    or row.path not in {other.path for other in DEFINED if other.space == "euclidean"}
]


def component_of(row: matrix.Row) -> Component:
    return matrix.component_of(row.space, row.path)


def clean(row: matrix.Row) -> State:
    """Two points of the space, in turn."""
    space, shape, streams = matrix.space_of(row.space), SHAPES[row.space], Streams.range(3, 0, 2)
    if row.space == "categorical":
        two = torch.tensor([[0, 1, 2], [3, 3, 0]])
    elif row.space == "simplex":
        two = torch.eye(CLASSES)[torch.tensor([[0, 1, 2], [3, 3, 0]])]
    else:
        two = space.base(shape, streams, None, torch.float32)
    return State({"x": two[torch.arange(COUNT) % 2]})


def mask(row: matrix.Row) -> torch.Tensor:
    """The last element is padding in all samples but the first."""
    real = torch.ones(COUNT, 3, dtype=torch.bool)
    real[1:, 2] = False
    return real[:, :, None] & real[:, None, :] if row.space == "symmetric" else real


@pytest.mark.parametrize("row", PROVEN, ids=lambda r: f"{r.space}-{r.path}")
def test_what_is_defined_is_sampled(row: matrix.Row) -> None:
    """With a network that knows the data: finite, masked, in the space, whatever the batch, and at the data."""
    component, known = component_of(row), clean(row)
    system, real = System({"x": component}), mask(row)
    known = State({"x": component.space.project(known["x"], real)}, {"x": real})

    def network(state: State, t: torch.Tensor) -> dict[str, torch.Tensor]:
        x1, x_t = known["x"][: state.batch_size], state["x"]
        if component.kind == "logits":
            return {"x": 20.0 * torch.nn.functional.one_hot(x1, CLASSES)}
        if component.kind == "velocity":  # straight to the data
            x1 = component.space.difference(x1, x_t) / (1 - t).reshape(-1, *[1] * (x_t.dim() - 1))
        heads = component.path.heads
        return {"x": x1 if heads == 1 else torch.stack([x1, torch.zeros_like(x1)], -1)}

    noised = system.corrupt(known, torch.full((COUNT,), 0.4), Streams.range(0, 0, COUNT))
    assert noised.state["x"].isfinite().all()
    loss = system.loss(network, known, torch.full((COUNT,), 0.4), Streams.range(0, 0, COUNT))
    assert math.isfinite(float(loss.total))
    for name, why in row.lacks.items():
        if why:
            continue
        made = []
        for count in (COUNT, 2):
            frame = Frame({"x": SHAPES[row.space]}, {"x": real[:count]})
            made.append(
                sample(
                    system, network, frame, Streams.range(1, 0, count),
                    solver=solvers.make(name), grid=grids.Uniform(), steps=4,
                )["x"]
            )  # fmt: skip
        x = made[0]
        assert x.isfinite().all() and torch.equal(component.space.project(x, real), x), name
        assert torch.allclose(made[1], x[:2], rtol=1e-4, atol=1e-5), name
        if solvers.make(name).needs in ("posterior", "renewal", "score"):  # they end in the data
            off = component.space.difference(x.float(), known["x"].float())
            assert (off.abs() < 1e-3).all(), name


def test_what_is_refused_says_why() -> None:
    for row in ROWS:
        if row.misfit:
            with pytest.raises(SciflowError, match="expected a path"):
                component_of(row)
            continue
        for name, why in row.lacks.items():
            if why:
                with pytest.raises(SciflowError) as error:
                    solvers.make(name).check(System({"x": component_of(row)}))
                assert why in str(error.value)


def test_every_path_and_solver_is_good_for_something() -> None:
    assert {row.path for row in DEFINED} == set(paths.names())
    assert {n for row in DEFINED for n, why in row.lacks.items() if not why} == set(
        solvers.SOLVERS
    )


def test_the_command_prints_it() -> None:
    text = CliRunner().invoke(app, ["models", "--matrix"])
    assert text.exit_code == 0 and "torus" in text.stdout and "(1)" in text.stdout
    rows = json.loads(CliRunner().invoke(app, ["models", "--matrix", "--json"]).stdout)
    assert len(rows) == len(ROWS)
