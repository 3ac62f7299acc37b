"""Inpainting: what is known is kept, at every time as it should look, and the rest follows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Uniform
from sciflow.hooks import Inpaint
from sciflow.paths import VE, Cosine, GaussianPath, Jump, Linear, mask, uniform
from sciflow.sampling import sample
from sciflow.solvers import SOLVERS, make
from sciflow.spaces import Categorical, Euclidean, Symmetric, Torus
from sciflow.state import Frame
from tests.core.analytic import F64


def pair_mask(batch: int, nodes: int, known: int) -> Tensor:
    row = (torch.arange(nodes) < known).expand(batch, nodes)
    return row.unsqueeze(1) & row.unsqueeze(2)


@pytest.mark.parametrize("name", SOLVERS)
def test_known_elements_end_exactly_as_given(name: str) -> None:
    path = VE(0.1, 1.0)  # leaves noise at t = 1: the data come back all the same
    system = System({"x": Component(Euclidean(), path), "a": Component(Symmetric(), path)})
    clean = State(
        {
            "x": torch.randn(3, 4),
            "a": Symmetric().noise((4, 4), Streams.range(1, 0, 3), None, torch.float32),
        }
    )
    known = {"x": torch.tensor([[True, False, True, False]] * 3), "a": pair_mask(3, 4, 2)}
    end = sample(
        system,
        lambda state, t: {k: torch.tanh(v) for k, v in state.items()},
        Frame({"x": (4,), "a": (4, 4)}),
        Streams.range(0, 0, 3),
        solver=make(name),
        grid=Uniform(),
        steps=5,
        hooks=[Inpaint(clean, known)],
    )
    for field, where in known.items():
        assert torch.equal(end[field][where], clean[field][where])
        assert not torch.isclose(end[field][~where], clean[field][~where]).all()
    assert torch.equal(end["a"], end["a"].transpose(1, 2))


def test_at_every_knot_the_known_part_has_the_law_of_that_time() -> None:
    count = 3000
    system = System({"x": Component(Euclidean(), Linear())})
    clean = State({"x": torch.full((count, 2), 2.0, dtype=F64)})
    known = {"x": torch.tensor([[True, False]]).expand(count, 2)}
    seen: dict[float, Tensor] = {}
    sample(
        system,
        lambda state, t: {"x": torch.zeros_like(state["x"])},
        Frame({"x": (2,)}),
        Streams.range(0, 0, count),
        solver=make("midpoint"),
        grid=Uniform(),
        steps=4,
        hooks=[Inpaint(clean, known)],
        record=lambda t, state: seen.update({t: state["x"][:, 0]}),
        dtype=F64,
    )
    noise = {t: (x - t * 2.0) / (1 - t) for t, x in seen.items() if t < 1}
    for z in noise.values():
        assert abs(float(z.mean())) < 4 / count**0.5
        assert abs(float(z.var()) - 1) < 4 * (2 / count) ** 0.5
    r = torch.corrcoef(torch.stack(list(noise.values())))  # drawn anew at each knot
    assert (r - torch.eye(len(noise), dtype=F64)).abs().max() < 4 / count**0.5


RHO, KNOWN = 0.8, 1.5


def pair_means(path: GaussianPath, solver: Any, count: int, steps: int, **options: Any) -> float:
    """Mean of y over rho x, of two coupled numbers, x known and y generated with the exact network."""
    system = System({"z": Component(Euclidean(), path)})
    covariance = torch.tensor([[1.0, RHO], [RHO, 1.0]], dtype=F64)

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        c = path.at(float(t[0]))
        total = c.a**2 * covariance + c.s**2 * torch.eye(2, dtype=F64)
        return {"z": state["z"] @ torch.linalg.inv(total) @ (c.a * covariance)}

    clean = State({"z": torch.full((count, 2), KNOWN, dtype=F64)})
    known = {"z": torch.tensor([[True, False]]).expand(count, 2)}
    end = sample(
        system,
        network,
        Frame({"z": (2,)}),
        Streams.range(0, 0, count),
        solver=make(solver),
        grid=Uniform(),
        steps=steps,
        hooks=[Inpaint(clean, known, **options)],
        dtype=F64,
    )["z"]
    assert (end[:, 0] == KNOWN).all()
    return float(end[:, 1].mean()) / (RHO * KNOWN)


def test_corrections_draw_the_rest_given_what_is_known() -> None:
    """Replacing alone weakens the tie, for y has seen other draws of x on its way; corrections restore it."""
    means = []
    for corrections in (0, 1, 5):
        solver = {"name": "predictor-corrector", "snr": 0.3, "corrections": corrections}
        means.append(pair_means(Cosine(), solver, 700, 60))
    assert 0.4 < means[0] < means[1] < means[2]
    assert 0.8 < means[2] < 1.05


@pytest.mark.parametrize(
    ("path", "solver"), [(Cosine(), "ancestral"), (Linear(), "midpoint"), (Linear(), "dpm++2m")]
)
def test_resampling_draws_the_rest_given_what_is_known(path: GaussianPath, solver: str) -> None:
    once, some, many = (pair_means(path, solver, 500, 20, repeats=r) for r in (1, 3, 8))
    assert once < 0.65 and once + 0.1 < some < many - 0.06 and 0.78 < many < 1.05
    assert once + 0.25 < pair_means(path, solver, 500, 20, repeats=8, jump=3) < 1.05


@pytest.mark.parametrize("path", [mask(2), uniform(2)])
def test_resampling_ties_labels_too(path: Jump) -> None:
    """Two labels that are equal with probability .9; the first is known, the second follows it."""
    tie, count = 0.9, 1500
    system = System({"k": Component(Categorical(2), path, "logits")})
    joint = torch.tensor([[tie, 1 - tie], [1 - tie, tie]], dtype=F64) / 2

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        seen = path.evidence(state["k"], t.to(F64), 2).exp()
        weight = joint * seen[:, 0, :, None] * seen[:, 1, None, :]
        return {"k": torch.stack([weight.sum(2), weight.sum(1)], 1).log()}

    def share(repeats: int) -> float:
        end = sample(
            system,
            network,
            Frame({"k": (2,)}),
            Streams.range(0, 0, count),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=10,
            hooks=[
                Inpaint(
                    State({"k": torch.ones(count, 2, dtype=torch.int64)}),
                    {"k": torch.tensor([[True, False]]).expand(count, 2)},
                    repeats,
                )
            ],
            dtype=F64,
        )["k"]
        assert (end[:, 0] == 1).all()
        return float((end[:, 1] == 1).double().mean())

    assert 0.55 < share(1) + 0.05 < share(8) < tie


def test_labels_are_kept_and_masked_as_time_says() -> None:
    count, classes = 2000, 3
    system = System({"x": Component(Categorical(classes), mask(classes), "logits")})
    labels = torch.arange(4).expand(count, 4) % classes
    known = {"x": torch.tensor([[True, True, False, False]]).expand(count, 4)}
    seen: dict[float, Tensor] = {}
    end = sample(
        system,
        lambda state, t: {"x": F.one_hot(torch.full_like(state["x"], 2), classes) * 9.0},
        Frame({"x": (4,)}),
        Streams.range(0, 0, count),
        solver=make("ancestral"),
        grid=Uniform(),
        steps=4,
        hooks=[Inpaint(State({"x": labels}), known)],
        record=lambda t, state: seen.update({t: state["x"]}),
    )
    assert torch.equal(end["x"][:, :2], labels[:, :2]) and (end["x"][:, 2:] == 2).all()
    for t, x in seen.items():
        shown = x[:, :2] == labels[:, :2]
        assert (x[:, :2][~shown] == classes).all()
        assert (
            abs(float(shown.double().mean()) - t) < 4 * (t * (1 - t) / (2 * count)) ** 0.5 + 1e-12
        )


def test_samples_do_not_depend_on_their_batch_and_the_rest_keeps_its_noise() -> None:
    system = System({"x": Component(Euclidean(), Linear())})
    clean, known = torch.randn(5, 3), torch.tensor([[True, False, False]] * 5)

    def run(start: int, stop: int, hook: bool = True, repeats: int = 1) -> Tensor:
        part = slice(start, stop)
        hooks = [Inpaint(State({"x": clean[part]}), {"x": known[part]}, repeats)] if hook else []
        return sample(
            system,
            lambda state, t: {"x": torch.tanh(state["x"])},
            Frame({"x": (3,)}),
            Streams.range(0, start, stop - start),
            solver=make("ancestral"),
            grid=Uniform(),
            steps=6,
            hooks=hooks,
        )["x"]

    assert torch.equal(run(0, 5), torch.cat([run(0, 1), run(1, 5)]))
    again = run(0, 5, repeats=3)
    assert torch.equal(again, torch.cat([run(0, 2, repeats=3), run(2, 5, repeats=3)]))
    assert not torch.isclose(again[:, 1:], run(0, 5)[:, 1:]).any()
    # This network does not couple elements, so the unknown ones are those of a run without the hook.
    assert torch.equal(run(0, 5)[:, 1:], run(0, 5, hook=False)[:, 1:])


def test_repeats_cost_what_they_say() -> None:
    calls: list[float] = []

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        calls.append(float(t[0]))
        return dict(state)

    known = {"x": torch.tensor([[True, False]])}
    for jump in (1, 3, 10):
        calls.clear()
        sample(
            System({"x": Component(Euclidean(), Linear())}),
            network,
            Frame({"x": (2,)}),
            Streams.range(0, 0, 1),
            solver=make("euler"),
            grid=Uniform(),
            steps=7,
            hooks=[Inpaint(State({"x": torch.zeros(1, 2)}), known, 3, jump)],
        )
        assert len(calls) == 3 * 6 + 1  # the last step is made once
        assert calls[:3] == pytest.approx([0, 0, 0] if jump == 1 else [0, 1 / 7, 2 / 7])


@pytest.mark.parametrize("until", [0.0, 0.5, 0.74, 0.75, 1.0])
def test_data_held_up_to_a_time_are_what_generation_begins_from(until: float) -> None:
    system = System({"x": Component(Euclidean(), Linear(), kind="velocity")})
    clean = State({"x": torch.full((4000, 1), 2.0, dtype=F64)})
    known = {"x": torch.ones(4000, dtype=torch.bool)}
    held = max(t for t in (0.0, 0.25, 0.5, 0.75, 1.0) if t <= until)  # the last knot
    end = sample(
        system,
        lambda state, t: {"x": torch.zeros_like(state["x"])},  # nothing moves any more
        Frame({"x": (1,)}),
        Streams.range(0, 0, 4000),
        solver=make("euler"),
        grid=Uniform(),
        steps=4,
        hooks=[Inpaint(clean, known, until=until)],
        dtype=F64,
    )["x"]
    error = 4 * (1 - held) / 4000**0.5
    assert abs(float(end.mean()) - 2 * held) <= error
    assert abs(float(end.std()) - (1 - held)) <= error
    with pytest.raises(SciflowError, match="until of inpainting: got 2"):
        Inpaint(clean, known, until=2)


def bad(**changes: Any) -> Inpaint:
    parts = {"clean": State({"a": torch.zeros(2, 3, 3)}), "known": {"a": pair_mask(2, 3, 2)}}
    return Inpaint(**{**parts, **changes})


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (bad(known={"aa": pair_mask(2, 3, 2)}), "component to inpaint.*did you mean 'a'"),
        (bad(clean=State({"b": torch.zeros(2, 3, 3)})), "component of the known data"),
        (bad(clean=State({"a": torch.zeros(4, 3, 3)})), r"got \(4, 3, 3\).*one sample of known"),
        (bad(known={"a": torch.ones(2, 3)}), "expected booleans"),
        (bad(known={"a": pair_mask(1, 3, 2)}), "expected booleans"),
        (bad(known={"a": torch.tensor([[True, False, False]] * 2)}), "mark both"),
    ],
)
def test_what_does_not_fit_is_refused(hook: Inpaint, message: str) -> None:
    system = System({"a": Component(Symmetric(), Linear())})
    with pytest.raises(SciflowError, match=message):
        sample(
            system,
            lambda state, t: dict(state),
            Frame({"a": (3, 3)}),
            Streams.range(0, 0, 2),
            solver=make("euler"),
            grid=Uniform(),
            steps=2,
            hooks=[hook],
        )


def test_repeats_that_make_no_sense_are_refused() -> None:
    for options in ({"repeats": 0}, {"jump": 0}):
        with pytest.raises(SciflowError, match="of inpainting.*a whole number >= 1"):
            bad(**options)


def test_a_path_without_a_forward_process_is_not_resampled() -> None:
    system = System({"x": Component(Torus(), Linear(), "velocity")})
    known = {"x": torch.tensor([[True, False]])}
    with pytest.raises(SciflowError, match="repeats.*component 'x'.*set repeats = 1"):
        sample(
            system,
            lambda state, t: dict(state),
            Frame({"x": (2,)}),
            Streams.range(0, 0, 1),
            solver=make("euler"),
            grid=Uniform(),
            steps=2,
            hooks=[Inpaint(State({"x": torch.zeros(1, 2)}), known, 2)],
        )
