"""Solvers: what all of them promise, for every system, batch and kind of prediction, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import LogSNR, Power, Uniform
from sciflow.hooks import Hook
from sciflow.paths import VE, VP, Cosine, GaussianPath, Linear, SubVP, marginal
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, make
from sciflow.solvers.corrector import PREDICTORS
from sciflow.spaces import Categorical, Euclidean
from sciflow.state import Frame
from sciflow.system import Network
from tests.core.analytic import (
    F64,
    MIXTURE,
    careless,
    graph_frame,
    graph_system,
    one,
    run_graph,
)

PATHS: dict[str, GaussianPath] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "linear": Linear(),
}
JUMPING = ("ancestral", "renewal", "bayesian-update")
CHOICES: list[dict[str, Any]] = [
    {"name": "heun", "churn": 10.0},
    {"name": "ddim", "eta": 0.5},
    {"name": "dpm-solver", "order": 2},
    {"name": "dpm++", "order": 3},
    {"name": "dpm++", "order": 3, "singlestep": True},
    {"name": "dpm++sde", "order": 3},
    {"name": "unipc", "order": 3, "variant": "bh1"},
    {"name": "dopri5", "shared": True},
]


# ---- what all of them promise
@pytest.mark.parametrize("path", [*PATHS.values(), VP(0.1, 1.0)], ids=repr)
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_stays_finite_and_in_the_space(name: str, path: GaussianPath) -> None:
    frame, least = graph_frame([5, 3, 1]), make(name).least
    for steps, grid in ((least, Uniform()), (3, LogSNR()), (5, Power(9.0))):
        streams = Streams.range(0, 0, 3)
        end = run_graph(make(name), path, frame, streams, grid=grid, steps=steps)
        for field, component in graph_system(path).items():
            x = end[field]
            assert x.dtype == torch.float32 and x.isfinite().all()
            assert torch.equal(component.space.project(x, frame.masks[field]), x)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: "-".join(map(str, c.values())))
def test_every_option_stays_finite_and_in_the_space(choice: dict[str, Any]) -> None:
    for path in (VP(), Linear(), VE(0.1, 10.0)):
        frame = graph_frame([5, 1])
        end = run_graph(make(choice), path, frame, Streams.range(0, 0, 2), steps=5)
        for field, component in graph_system(path).items():
            assert end[field].isfinite().all()
            assert torch.equal(component.space.project(end[field], frame.masks[field]), end[field])


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_are_the_same_in_any_batch(name: str) -> None:
    frame = graph_frame([5, 3, 4, 2, 5, 1, 4])
    whole = run_graph(make(name), VP(), frame, Streams.range(4, 0, 7))
    for start, stop in ((0, 1), (1, 4), (4, 7)):
        masks = {k: v[start:stop] for k, v in frame.masks.items()}
        part = run_graph(
            make(name), VP(), Frame(frame.shapes, masks), Streams.range(4, start, stop - start)
        )
        for field in part:
            assert torch.equal(part[field], whole[field][start:stop])


@pytest.mark.parametrize("name", SOLVERS)
def test_padding_changes_nothing(name: str) -> None:
    """Up to rounding, since norms and networks sum over more zeros."""

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {k: torch.tanh(v) for k, v in state.items()}

    ends = []
    for nodes in (4, 7):
        args = (graph_system(VE(0.1, 1.0)), network, graph_frame([4], nodes))
        end = sample(
            *args, Streams.range(0, 0, 1), solver=make(name), grid=Uniform(), steps=8, dtype=F64
        )
        ends.append((end["nodes"][:, :4], end["links"][:, :4, :4]))
    for a, b in zip(*ends, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("path", [VE(), Cosine()], ids=repr)
@pytest.mark.parametrize("name", [n for n in SOLVERS if n != "dopri5"])
def test_each_stage_is_one_call_for_the_whole_state(name: str, path: GaussianPath) -> None:
    calls = []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        assert set(state) == {"nodes", "links"}
        calls.append(float(t[0]))
        return careless(state, t)

    solver = make(name)
    sample(
        graph_system(path),
        network,
        graph_frame([5]),
        Streams.range(0, 0, 1),
        solver=solver,
        grid=Uniform(),
        steps=6,
    )
    wanted = 6 * solver.calls
    if isinstance(path, Cosine):
        assert max(calls) < 1  # never where no noise is left
        # Heun ends with Euler, RK4 with Heun of order 3; without signal at t = 0 there is nothing to correct, and the
        # first and last step of an exponential integrator are infinite, which leaves order 1.
        wanted -= {"heun": 1, "rk4": 1, "predictor-corrector": 1, "dpm-solver": 4}.get(name, 0)
    assert len(calls) == wanted


@pytest.mark.parametrize("name", SOLVERS)
def test_the_kind_of_prediction_does_not_matter(name: str) -> None:
    ends = []
    for kind in ("data", "noise", "score", "velocity", "v"):
        system = one(VP(), kind)
        args = (system, MIXTURE.network(system), Frame({"x": (3,)}), Streams.range(0, 0, 4))
        ends.append(sample(*args, solver=make(name), grid=Uniform(), steps=5, dtype=F64)["x"])
        assert torch.allclose(ends[0], ends[-1], atol=1e-9)


@pytest.mark.parametrize("name", PREDICTORS)
def test_without_snr_or_corrections_the_predictor_is_left(name: str) -> None:
    plain = run_graph(make(name), VP(), graph_frame([4, 5]), Streams.range(0, 0, 2))
    for option in ({"snr": 0.0}, {"corrections": 0}):
        solver = make({"name": "predictor-corrector", "predictor": name, **option})
        both = run_graph(solver, VP(), graph_frame([4, 5]), Streams.range(0, 0, 2))
        assert all(torch.equal(plain[k], both[k]) for k in plain)
        assert (solver.order, solver.calls) == (make(name).order, make(name).calls)


# ---- jumps
def test_ancestral_jumps_sample_a_joint_law() -> None:
    """Two coupled labels with the exact belief, enumerated; with many steps both are right together."""
    law = torch.tensor([[0.4, 0.1], [0.05, 0.45]], dtype=F64)
    path = marginal(law.sum(1).tolist())
    other = marginal(law.sum(0).tolist())
    spaces = {"x": path, "y": other}
    system = System({k: Component(Categorical(2), p, "logits") for k, p in spaces.items()})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        time = float(t[0])
        seen = {}
        for k, p in spaces.items():
            pi = torch.tensor(p.prior_probabilities, dtype=F64)
            q = time * torch.eye(2, dtype=F64) + (1 - time) * pi
            seen[k] = q[:, state[k].squeeze(1)].T
        joint = law * seen["x"].unsqueeze(2) * seen["y"].unsqueeze(1)
        joint = joint / joint.sum((1, 2), keepdim=True)
        return {"x": joint.sum(2).log().unsqueeze(1), "y": joint.sum(1).log().unsqueeze(1)}

    count = 8000
    args = (system, network, Frame({"x": (1,), "y": (1,)}), Streams.range(0, 0, count))
    end = sample(*args, solver=make("ancestral"), grid=Power(2.0), steps=40, dtype=F64)
    seen = torch.bincount((2 * end["x"] + end["y"]).flatten(), minlength=4).to(F64) / count
    assert (seen - law.flatten()).abs().max() < 0.022  # 4 standard errors


# ---- refusals
@pytest.mark.parametrize("name", [n for n in SOLVERS if n not in JUMPING])
def test_jumps_are_refused_by_name_with_the_remedy(name: str) -> None:
    solver = make(name)
    labels = Component(Categorical(2), marginal((0.5, 0.5)), "logits")
    system = System({"x": Component(Euclidean(), VP()), "labels": labels})
    pattern = f"solver {type(solver).__name__}.*'labels' on path Jump.*labels jump.*use solver 'ancestral'"
    with pytest.raises(SciflowError, match=pattern):
        solver.check(system)
    make("ancestral").check(system)


def test_a_kind_that_is_silent_at_the_start_is_refused() -> None:
    for kind in ("noise", "score"):
        with pytest.raises(
            SciflowError, match=r"Euler.*'x'.*kind '\w+' says nothing.*use kind 'velocity'"
        ):
            make("euler").check(one(Cosine(), kind))
        make("euler").check(one(VP(), kind))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("mid-point", "did you mean 'midpoint'"),
        ({"name": "dpm++", "order": 4}, "order of solver DPMSolverPP: got 4, expected 1, 2 or 3"),
        ({"name": "dpm-solver", "order": 0}, "order of solver DPMSolver: got 0"),
        ({"name": "unipc", "order": 1}, "order of solver UniPC: got 1, expected 2 or 3"),
        ({"name": "unipc", "variant": "bh3"}, "did you mean 'bh"),
        ({"name": "dopri5", "rtol": 0.0}, "rtol of solver Dopri5: got 0.0"),
        ({"name": "ddim", "eta": 2.0}, "eta of solver DDIM: got 2.0"),
        ({"name": "heun", "churn": -1.0}, "churn of solver Heun: got -1.0"),
        ({"name": "s4", "sn": 0.1}, "did you mean 'snr'"),
        ({"name": "s4", "snr": -1.0}, "snr of the Langevin corrector: got -1.0"),
        ({"name": "s4", "norm": "batches"}, "did you mean 'batch'"),
        ({"name": "predictor-corrector", "predictor": "reverse"}, "did you mean 'reverse-diff"),
        ({"name": "predictor-corrector", "corrections": -1}, "corrections per step: got -1"),
        ({"name": "predictor-corrector", "scale": math.nan}, "scale of the Langevin corrector"),
    ],
)
def test_bad_options_are_refused(choice: str | dict[str, Any], message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        make(choice)


@pytest.mark.parametrize(
    "choice",
    [
        "dpm++2m",
        {"name": "dpm++", "order": 3},
        {"name": "dpm++sde", "order": 3},
        {"name": "unipc", "order": 3},
    ],
    ids=str,
)
def test_fewer_steps_than_the_order_are_refused(choice: str | dict[str, Any]) -> None:
    solver = make(choice)
    args = (one(VP()), MIXTURE.network(one(VP())), Frame({"x": (1,)}), Streams.range(0, 0, 1))
    pattern = f"steps of solver {type(solver).__name__}: got {solver.least - 1}, expected at least"
    with pytest.raises(SciflowError, match=pattern):
        sample(*args, solver=solver, grid=LogSNR(), steps=solver.least - 1)


@pytest.mark.parametrize("name", ["euler", "dpm++2m", "ancestral", "dopri5"])
def test_what_is_no_number_is_named_with_solver_component_and_time(name: str) -> None:
    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        good = careless(state, t)
        late = (t > 0.3).reshape(-1, 1, 1) & (torch.arange(len(t)) == 1).reshape(-1, 1, 1)
        return {**good, "links": good["links"].masked_fill(late, math.nan)}

    pattern = f"solver {type(make(name)).__name__}: got .*component 'links' .*not finite.*t = 0.[2-9].*sample 1"
    if name == "dopri5":
        pattern = (
            "solver Dopri5: got .*component 'links' .*not finite, in sample 1 near t = 0.[2-9]"
        )
    with pytest.raises(SciflowError, match=pattern):
        sample(
            graph_system(VP()),
            network,
            graph_frame([5, 5, 4]),
            Streams.range(0, 0, 3),
            solver=make(name),
            grid=Uniform(),
            steps=40,
        )


def test_a_tolerance_that_cannot_be_met_is_named_with_the_remedy() -> None:
    def noisy(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {"x": torch.sign(torch.sin(1e9 * state["x"]))}  # no slope at any scale

    solver = make({"name": "dopri5", "rtol": 1e-9, "atol": 1e-9, "most": 300})
    system = System({"x": Component(Euclidean(), Linear(), "velocity")})
    args = (system, noisy, Frame({"x": (2,)}), Streams.range(0, 0, 2))
    with pytest.raises(
        SciflowError, match=r"Dopri5: got component 'x' of sample .*rtol = 1e-09.*loosen"
    ):
        sample(*args, solver=solver, grid=Uniform(), steps=1)


def test_hooks_that_change_predictions_need_a_shared_time() -> None:
    class Louder(Hook):
        def network(self, network: Network, t: float) -> Network:
            return lambda state, times: {k: 1.1 * v for k, v in network(state, times).items()}

    def end(solver: Any) -> Tensor:
        args = (one(VP()), MIXTURE.network(one(VP())), Frame({"x": (1,)}), Streams.range(0, 0, 3))
        return sample(*args, solver=make(solver), grid=Uniform(), steps=1, hooks=[Louder()])["x"]

    with pytest.raises(SciflowError, match=r"Dopri5: got hook Louder.*set shared = true"):
        end("dopri5")
    assert end({"name": "dopri5", "shared": True}).isfinite().all()
