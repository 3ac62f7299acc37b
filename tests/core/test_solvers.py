"""Solvers: the order of every one on every path, against exact laws, and what each promises besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import LogSNR, Power, Uniform
from sciflow.paths import VE, VP, Cosine, Ends, GaussianPath, Linear, SubVP, marginal
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, Langevin, Solver, make
from sciflow.solvers.corrector import NORMS, PREDICTORS
from sciflow.spaces import Categorical, Euclidean, Symmetric
from sciflow.state import Frame
from tests.core.analytic import (
    F64,
    GAUSSIAN,
    MIXTURE,
    Given,
    Law,
    Orthogonal,
    flow_errors,
    gaussian_law_error,
    gaussian_law_errors,
    grid_for,
    hadamard,
    mixture_law_errors,
    normal_quantiles,
    one,
    slope,
)

PATHS: dict[str, GaussianPath] = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "linear": Linear(),
}
FLOWS = ("euler", "midpoint", "heun", "dpm++2m")
CORRECTED = {"snr": 0.01}
# Name, options and draws of noise in a step.
DIFFUSIONS: list[tuple[str, dict[str, Any], int]] = [
    ("ancestral", {}, 1),
    ("euler-maruyama", {}, 1),
    ("reverse-diffusion", {}, 1),
    ("predictor-corrector", CORRECTED, 2),
    ("s4", {"snr": 0.0}, 2),
    ("s4", CORRECTED, 3),
]
NAMES = [
    "-".join(map(str, (n, o.get("predictor", ""), o.get("snr", "")))) for n, o, _ in DIFFUSIONS
]


# ---- orders
@pytest.mark.parametrize("law", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", FLOWS)
def test_order_of_the_flow(name: str, path: str, law: Law) -> None:
    solver, steps = make(name), (32, 64)
    errors = flow_errors(solver, PATHS[path], law, grid_for(name, PATHS[path]), steps)
    measured = slope(steps, errors)
    assert measured > solver.order - 0.3
    # One Gaussian on the linear path is so symmetric that the midpoint rule has order 3.
    assert measured < solver.order + 0.3 or (name, path) == ("midpoint", "linear")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "options", "draws"), DIFFUSIONS, ids=NAMES)
def test_weak_order_on_a_gaussian(
    name: str, options: dict[str, Any], draws: int, path: str
) -> None:
    solver, steps = make({"name": name, **options}), (24, 48)
    errors = gaussian_law_errors(solver, PATHS[path], GAUSSIAN, Uniform(), steps)
    assert slope(steps, errors) > solver.order - 0.3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "options", "draws"), DIFFUSIONS, ids=NAMES)
def test_weak_order_on_a_mixture(
    name: str, options: dict[str, Any], draws: int, path: str
) -> None:
    solver, steps = make({"name": name, **options}), (16, 32)
    chosen = PATHS[path] if path != "ve" else VE(0.1, 10.0)
    corrected = options.get("snr", 0) > 0
    errors = mixture_law_errors(solver, chosen, MIXTURE, Uniform(), steps, draws, corrected)
    assert abs(slope(steps, errors) - solver.order) < 0.3


# ---- two components that know of each other
PAIR = System({"x": Component(Euclidean(), Cosine()), "y": Component(Euclidean(), Linear())})
COVARIANCE = torch.tensor([[1.0, 0.72], [0.72, 0.64]], dtype=F64)
MEAN = torch.tensor([0.5, -0.3], dtype=F64)


def pair_ends(t: float, z: Tensor) -> tuple[Tensor, Tensor]:
    """Exact ends of both components, ``[B, 2]`` each: x_t is N(A mean, A cov A + S^2)."""
    cs = [c.path.at(t) for c in PAIR.values()]
    a, s = (torch.tensor([getattr(c, k) for c in cs], dtype=F64) for k in ("a", "s"))
    inverse = torch.linalg.inv(a[:, None] * COVARIANCE * a + torch.diag(s**2))
    pull = (z - a * MEAN) @ inverse
    return MEAN + (pull * a) @ COVARIANCE, s * pull


def pair_network(state: State, t: Tensor) -> Mapping[str, Tensor]:
    x1, _ = pair_ends(float(t[0]), torch.cat([state["x"], state["y"]], 1))
    return {"x": x1[:, :1], "y": x1[:, 1:]}


@pytest.mark.parametrize("name", ["heun", "midpoint", "dpm++2m"])
def test_coupled_components_converge_quadratically(name: str) -> None:
    """A scheme that freezes one component while the other moves is of first order, whatever it is called."""
    z = normal_quantiles(16).unsqueeze(1)
    start = torch.cat([z, z.flip(0).roll(3, 0)], 1)

    def velocity(t: float, y: Tensor) -> Tensor:
        x1, x0 = pair_ends(t, y)
        cs = [c.path.at(t) for c in PAIR.values()]
        da, ds = (torch.tensor([getattr(c, k) for c in cs], dtype=F64) for k in ("da", "ds"))
        return da * x1 + ds * x0

    exact, h = start, 1 / 100
    for i in range(100):
        k1 = velocity(i * h, exact)
        k2 = velocity((i + 0.5) * h, exact + h / 2 * k1)
        k3 = velocity((i + 0.5) * h, exact + h / 2 * k2)
        k4 = velocity((i + 1) * h, exact + h * k3)
        exact = exact + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    errors, steps = [], (32, 64)
    for count in steps:
        end = sample(
            PAIR,
            pair_network,
            Frame({}),
            Streams.range(0, 0, 16),
            solver=make(name),
            grid=LogSNR(start=1e-4, stop=1 - 1e-4) if name == "dpm++2m" else Uniform(),
            steps=count,
            start=State({"x": start[:, :1], "y": start[:, 1:]}),
            dtype=F64,
        )
        errors.append(float((torch.cat([end["x"], end["y"]], 1) - exact).square().mean().sqrt()))
    assert abs(slope(steps, errors) - 2) < 0.3


# ---- single steps against their formulas
def one_step(
    solver: Solver, path: GaussianPath, x: Tensor, knots: list[float], noise: float
) -> tuple[Tensor, Tensor]:
    """The first step between the knots from `x` with all noise equal to `noise`, and the score there."""
    system = one(path)
    step = solver.plan(system, knots)[0]
    c = step.now["x"]
    ends = MIXTURE.ends(c, x)

    def predict(state: State, t: float) -> dict[str, Ends]:
        return {"x": MIXTURE.ends(path.at(t), state["x"])}

    streams = Given(len(x), [noise] * 3)
    moved, _ = solver.step(system, predict, State({"x": x}), step, solver.start(), streams)
    return moved["x"], -ends.x0 / c.s


X = torch.tensor([[-1.2], [0.1], [2.0]], dtype=F64)
KNOTS = [0.4, 0.5, 1.0]


def test_reverse_diffusion_is_ddpm_on_vp_and_smld_on_ve() -> None:
    solver = make("reverse-diffusion")
    path = VP(0.1, 1.0)
    got, score = one_step(solver, path, X, KNOTS, 0.7)
    b = 1 - (path.at(0.4).a / path.at(0.5).a) ** 2
    assert torch.allclose(got, (2 - math.sqrt(1 - b)) * X + b * score + math.sqrt(b) * 0.7)
    path = VE(0.1, 1.0)
    got, score = one_step(solver, path, X, KNOTS, 0.7)
    v = path.at(0.4).s ** 2 - path.at(0.5).s ** 2
    assert torch.allclose(got, X + v * score + math.sqrt(v) * 0.7)


@pytest.mark.parametrize("path", [VP(), SubVP(), VE(0.1, 1.0)], ids=repr)
def test_euler_maruyama_is_the_reversed_sde(path: GaussianPath) -> None:
    """dx = [a'/a x + g^2 score] dt + g dw."""
    got, score = one_step(make("euler-maruyama"), path, X, KNOTS, 0.7)
    c, h = path.at(0.4), 0.1
    drift = c.da / c.a * X + c.diffusion * score
    assert torch.allclose(got, X + h * drift + math.sqrt(h * c.diffusion) * 0.7)


def test_s4_is_half_a_transition_the_drift_and_the_other_half() -> None:
    path = VE(0.1, 1.0)
    got, score = one_step(make({"name": "s4", "snr": 0.0}), path, X, KNOTS, 0.7)
    t, m, s = (path.at(v).s ** 2 for v in (0.4, 0.45, 0.5))
    halves = math.sqrt(t - m) + math.sqrt(m - s)
    assert torch.allclose(got, X + (t - s) * score + halves * 0.7)
    # VP: growing by exp(B / 2) in a step, B the integral of beta, its two halves together are the exact transition.
    path = VP(0.1, 1.0)
    solver = make({"name": "s4", "snr": 0.0})
    split = solver.plan(one(path), KNOTS)[0].extra["x"]
    b = -2 * math.log(path.at(0.4).a / path.at(0.5).a)
    assert split.first.x * split.second.x == pytest.approx(math.exp(b / 2))
    variance = (split.second.x * split.first.noise) ** 2 + split.second.noise**2
    assert variance == pytest.approx(math.exp(b) - 1)
    assert split.drift == pytest.approx(b, rel=0.01)


def test_dpm_solver_starts_as_ddim_and_ends_with_the_believed_data() -> None:
    path = VP()
    got, score = one_step(make("dpm++2m"), path, X, KNOTS, 0.0)
    now, then = path.at(0.4), path.at(0.5)
    noise = -now.s * score
    data = (X - now.s * noise) / now.a
    assert torch.allclose(got, then.a * data + then.s * noise, rtol=1e-12)
    system, seen = one(path), []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        seen.append(MIXTURE.network(system)(state, t)["x"])
        return {"x": seen[-1]}

    args = (Frame({"x": (1,)}), Streams.range(0, 0, 3))
    end = sample(system, network, *args, solver=make("dpm++2m"), grid=LogSNR(), steps=5, dtype=F64)
    assert torch.equal(end["x"], seen[-1])


def test_the_extrapolation_is_bounded_on_a_wild_grid() -> None:
    knots = [0.0, 0.5, 0.5001, 0.9, 1.0]
    weights = [s.extra.extrapolation["x"] for s in make("dpm++2m").plan(one(VP()), knots)]
    assert weights[0] == weights[-1] == 0 and weights[2] == 1 and 0 < weights[1] < 1


@pytest.mark.parametrize("name", [n for n in SOLVERS if n not in FLOWS])
def test_stochastic_solvers_end_with_the_believed_data(name: str) -> None:
    """Without noise, and for VE too, where some is left in x_1."""
    path = VE(0.1, 1.0)
    system, seen = one(path), []

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        seen.append(MIXTURE.network(system)(state, t)["x"])
        return {"x": seen[-1]}

    args = (Frame({"x": (1,)}), Streams.range(0, 0, 3))
    end = sample(system, network, *args, solver=make(name), grid=Uniform(), steps=4, dtype=F64)
    assert torch.equal(end["x"], seen[-1])


# ---- the Langevin corrector
def correct(langevin: Langevin, path: GaussianPath, law: Law, t: float, moves: int) -> Tensor:
    """Elements after some moves at `t`, from the exact law, with orthogonal noise."""
    system = one(path)
    rows = hadamard(8)
    streams = Orthogonal(rows)
    c = path.at(t)
    spread = math.hypot(c.a * law.std, c.s)
    state = State({"x": c.a * law.mean + spread * streams.normal((256,), F64)})
    step = make("ancestral").plan(system, [t, (1 + t) / 2, 1.0])[0]
    for _ in range(moves):
        ends = law.ends(c, state["x"])
        state = langevin.correct(system, state, {"x": -ends.x0 / c.s}, step, streams)
    return state["x"]


@pytest.mark.parametrize("norm", NORMS)
def test_langevin_keeps_the_law_but_for_the_square_of_its_step(norm: str) -> None:
    """One move multiplies the variance v of a Gaussian by 1 + (e / v)^2; many end where the formulas say."""
    law, path, t = Law((1.0,), (0.7,), 0.3), VE(0.5, 2.0), 0.5
    s2 = path.at(t).s ** 2
    variance = law.std**2 + s2
    for snr in (0.2, 0.1, 0.05):
        x = correct(Langevin(snr, norm=norm), path, law, t, 1)
        size = 2 * snr**2 * (s2 if norm == "path" else variance)
        assert float(x.mean()) == pytest.approx(law.mean, abs=1e-12)
        growth = float(x.var(correction=0)) / variance - 1
        assert growth == pytest.approx((size / variance) ** 2, rel=1e-6)
    for scale in (1.0, 0.5):
        x = correct(Langevin(0.2, scale, norm), path, law, t, 150)
        kept = float(x.var(correction=0)) / variance
        if norm == "path":  # v (1 - e / v)^2 + 2 e scale^2 = v
            assert kept == pytest.approx(scale**2 / (1 - 0.2**2 * s2 / variance), rel=1e-4)
        else:  # the move grows as the score shrinks
            assert kept == pytest.approx(scale**2 + 0.2**2, rel=1e-4)


def test_alpha_is_one_minus_beta_on_vp_and_one_on_ve() -> None:
    for path, wanted in ((VP(), (VP().at(0.4).a / VP().at(0.5).a) ** 2), (VE(), 1.0)):
        step = make("ancestral").plan(one(path), KNOTS)[0]
        assert Langevin.alpha(step, "x") == pytest.approx(wanted)


def graph_system(path: GaussianPath, kind: str = "data") -> System:
    return System(
        {
            "nodes": Component(Euclidean(), path, kind),
            "links": Component(Symmetric(), path, kind),
        }
    )


def graph_frame(sizes: list[int], nodes: int = 5) -> Frame:
    node = torch.arange(nodes) < torch.tensor(sizes).unsqueeze(1)
    masks = {"nodes": node, "links": node.unsqueeze(1) & node.unsqueeze(2)}
    return Frame({"nodes": (nodes, 3), "links": (nodes, nodes)}, masks)


def careless(state: State, t: Tensor) -> Mapping[str, Tensor]:
    """A network that knows neither masks nor symmetry."""
    n = state["nodes"].shape[1]
    ramp = torch.arange(n * n, dtype=t.dtype).reshape(n, n) / n**2
    return {"nodes": torch.tanh(state["nodes"]) + 0.1, "links": torch.cos(state["links"]) + ramp}


def run(
    solver: Solver, path: GaussianPath, frame: Frame, streams: Streams, **options: Any
) -> State:
    arguments = {"grid": Uniform(), "steps": 8, **options}
    return sample(graph_system(path), careless, frame, streams, solver=solver, **arguments)


CORRECTORS = [{"name": "predictor-corrector", "snr": 0.2}, {"name": "s4", "snr": 0.2}]


@pytest.mark.parametrize("norm", ["path", "sample"])
@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_a_sample_depends_on_its_batch_only_where_old_results_are_wanted(
    choice: dict[str, Any], norm: str
) -> None:
    frame, path = graph_frame([5, 2, 4]), VE(0.1, 1.0)
    own, old = make({**choice, "norm": norm}), make({**choice, "norm": "batch"})
    whole, together = (run(s, path, frame, Streams.range(0, 0, 3)) for s in (own, old))
    kept = []
    for i in range(3):
        alone = Frame(frame.shapes, {k: v[i : i + 1] for k, v in frame.masks.items()})
        single, apart = (run(s, path, alone, Streams.range(0, i, 1)) for s in (own, old))
        for name in single:
            assert torch.equal(single[name], whole[name][i : i + 1])
        kept.append(torch.allclose(apart["nodes"], together["nodes"][i : i + 1]))
    assert not all(kept)


@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_one_dimension_keeps_its_law_or_at_least_its_samples(choice: dict[str, Any]) -> None:
    """With one element |z| / |score| has no mean: measured by the path the law is kept, else the step is bounded."""
    system, count = one(VE(0.05, 3.0)), 3000
    args = (system, GAUSSIAN.network(system), Frame({"x": (1,)}), Streams.range(0, 0, count))
    for norm in ("path", "sample"):
        solver = make({**choice, "norm": norm})
        end = sample(*args, solver=solver, grid=Uniform(), steps=50, dtype=F64)["x"]
        assert float(end.abs().max()) < 6
        if norm == "path":
            assert float(end.std()) == pytest.approx(GAUSSIAN.std, rel=0.08)


@pytest.mark.parametrize("choice", CORRECTORS, ids=lambda c: c["name"])
def test_corrections_repair_a_coarse_grid_and_spoil_no_fine_one(choice: dict[str, Any]) -> None:
    def error(snr: float, steps: int) -> float:
        solver = make({**choice, "snr": snr})
        return abs(gaussian_law_error(solver, VE(0.3, 5.0), GAUSSIAN, Uniform(), steps)[1])

    assert error(0.2, 10) < 0.95 * error(0.0, 10)
    assert error(0.2, 160) < 0.01


# ---- what all of them promise
@pytest.mark.parametrize("path", [*PATHS.values(), VP(0.1, 1.0)], ids=repr)
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_stays_finite_and_in_the_space(name: str, path: GaussianPath) -> None:
    frame = graph_frame([5, 3, 1])
    for steps, grid in ((1, Uniform()), (3, LogSNR()), (5, Power(9.0))):
        streams = Streams.range(0, 0, 3)
        end = run(make(name), path, frame, streams, grid=grid, steps=steps)
        for field, component in graph_system(path).items():
            x = end[field]
            assert x.dtype == torch.float32 and x.isfinite().all()
            assert torch.equal(component.space.project(x, frame.masks[field]), x)


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_are_the_same_in_any_batch(name: str) -> None:
    frame = graph_frame([5, 3, 4, 2, 5, 1, 4])
    whole = run(make(name), VP(), frame, Streams.range(4, 0, 7))
    for start, stop in ((0, 1), (1, 4), (4, 7)):
        masks = {k: v[start:stop] for k, v in frame.masks.items()}
        part = run(
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
@pytest.mark.parametrize("name", SOLVERS)
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
        # Heun ends with Euler; without signal at t = 0 there is nothing to correct.
        wanted -= name in ("heun", "predictor-corrector")
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
    plain = run(make(name), VP(), graph_frame([4, 5]), Streams.range(0, 0, 2))
    for option in ({"snr": 0.0}, {"corrections": 0}):
        solver = make({"name": "predictor-corrector", "predictor": name, **option})
        both = run(solver, VP(), graph_frame([4, 5]), Streams.range(0, 0, 2))
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
@pytest.mark.parametrize("name", [n for n in SOLVERS if n != "ancestral"])
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
