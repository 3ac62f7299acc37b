"""Systems: what a loss measures, what a perfect network attains, and what padding may not change."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.paths import VE, VP, Cosine, Ends, Linear, marginal, uniform
from sciflow.prediction import combine
from sciflow.spaces import Categorical, Euclidean, Symmetric
from sciflow.system import Noised
from tests.core.analytic import F64, GAUSSIAN, MIXTURE, normal_quantiles, one

KINDS = ["data", "noise", "score", "velocity", "v"]


def two() -> System:
    return System(
        {
            "nodes": Component(Euclidean(), VP(0.1, 1.0), "score", measure="noise"),
            "links": Component(Symmetric(), VE(0.1, 1.0), "score", measure="noise"),
        },
        reduction="sample",
    )


def batch() -> State:
    node = torch.tensor([[True, True, True, False], [True, True, False, False]])
    pair = node.unsqueeze(1) & node.unsqueeze(2)
    nodes = torch.randn(2, 4, 3, dtype=F64) * node.unsqueeze(-1)
    links = Symmetric().noise((4, 4), Streams.range(7, 0, 2), pair, F64)
    return State({"nodes": nodes, "links": links}, {"nodes": node, "links": pair})


T = torch.tensor([0.3, 0.8], dtype=F64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_knows_the_ends_has_no_loss(kind: str) -> None:
    system = System(
        {
            "a": Component(Euclidean(), Cosine(), kind),
            "b": Component(Symmetric(), VP(), kind, measure="data"),
        }
    )
    clean = State({"a": torch.randn(2, 5, dtype=F64), "b": batch()["links"]})
    noised = system.corrupt(clean, T, Streams.range(0, 0, 2))

    def knows(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {
            k: combine(kind, c.path.coefficients(t), Ends(clean[k], noised.ends[k].x0))
            for k, c in system.items()
        }

    assert float(system.loss_of(knows, noised).total) < 1e-24
    ends = system.predict(knows, noised.state, T)
    for name in system:
        assert torch.allclose(ends[name].x1, clean[name], atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_denoiser_has_the_least_loss_and_the_known_one(kind: str) -> None:
    """E |x_1 - E[x_1 | x_t]|^2 = c^2 s^2 / (a^2 c^2 + s^2) for one Gaussian."""
    path, t = VP(), torch.full((1,), 0.7, dtype=F64)
    system = System({"x": Component(Euclidean(), path, kind, measure="data")})
    law = GAUSSIAN
    clean = State({"x": law.means[0] + law.std * normal_quantiles(20001).unsqueeze(0)})
    noised = system.corrupt(clean, t, Streams.range(0, 0, 1))
    perfect = law.network(system)

    def loss(scale: float, shift: float) -> float:
        def network(state: State, time: Tensor) -> Mapping[str, Tensor]:
            return {"x": perfect(state, time)["x"] * scale + shift}

        return float(system.loss_of(network, noised).total)

    best = loss(1.0, 0.0)
    c, s2 = path.at(0.7), path.at(0.7).s ** 2
    assert best == pytest.approx(law.std**2 * s2 / (c.a**2 * law.std**2 + s2), rel=0.03)
    for scale, shift in ((0.9, 0.0), (1.1, 0.0), (1.0, 0.1), (1.0, -0.1)):
        assert loss(scale, shift) > best


def test_score_measured_as_noise_is_denoising_score_matching() -> None:
    """GDSS: half the sum over all elements of (score s + noise)^2, averaged over the batch."""
    system, clean = two(), batch()
    noised = system.corrupt(clean, T, Streams.range(0, 0, 2))

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {k: torch.sin(3 * v) * system[k].space.project(v, None) for k, v in state.items()}

    wanted = 0.0
    for name, component in system.items():
        s = torch.as_tensor(component.path.coefficients(T).s).view(2, 1, 1)
        score = network(noised.state, T)[name] * clean.mask(name).reshape(
            *clean.mask(name).shape, *(1,) * (3 - clean.mask(name).dim())
        )
        wanted += float(0.5 * ((score * s + noised.ends[name].x0) ** 2).sum() / 2)
    assert float(system.loss_of(network, noised).total) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("reduction", ["element", "sample"])
def test_padding_does_not_matter(reduction: str) -> None:
    system = System(dict(two()), reduction)
    clean = batch()
    noised = system.corrupt(clean, T, Streams.range(0, 0, 2))

    def network(junk: float) -> float:
        def call(state: State, t: Tensor) -> Mapping[str, Tensor]:
            node, pair = state.mask("nodes").unsqueeze(-1), state.mask("links")
            return {
                "nodes": torch.where(node, state["nodes"], junk),
                "links": torch.where(pair, state["links"], -junk),
            }

        return float(system.loss_of(call, noised).total)

    assert network(0.0) == network(1e3)
    dirty = clean.replace(
        nodes=torch.where(clean.mask("nodes").unsqueeze(-1), clean["nodes"], 9.0)
    )
    again = system.corrupt(dirty, T, Streams.range(0, 0, 2))
    assert torch.equal(again.ends["nodes"].x0, noised.ends["nodes"].x0)


def test_element_reduction_weighs_every_real_element_alike() -> None:
    system = System(
        {
            "a": Component(Euclidean(), Linear(), weight=2.0),
            "b": Component(Euclidean(), Linear()),
        }
    )
    mask = torch.tensor([[True, True, False]])
    clean = State({"a": torch.zeros(1, 3), "b": torch.zeros(1, 2)}, {"a": mask})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        return {"a": torch.ones(1, 3), "b": torch.full((1, 2), 3.0)}

    loss = system.loss(network, clean, torch.tensor([0.5]), Streams.range(0, 0, 1))
    assert float(loss.total) == pytest.approx((2 * 2 * 1 + 2 * 9) / 4)
    assert float(loss.parts["a"]) == pytest.approx(1) and float(loss.parts["b"]) == pytest.approx(
        9
    )


def test_a_silent_network_with_the_marginal_is_the_single_element_posterior() -> None:
    """log marginal + log q(x_t | x_1), normalised, is Bayes: nothing smaller is possible for independent elements."""
    law = (0.5, 0.3, 0.2)
    path = marginal(law)
    component = Component(Categorical(3), path, "logits", marginal=law)
    t = torch.tensor([0.6, 0.1], dtype=F64)
    x_t = torch.tensor([[0, 1, 2], [0, 1, 2]])
    ends = component.ends(torch.zeros(2, 3, 3, dtype=F64), x_t, t)
    for b, time in enumerate(t.tolist()):
        q = time * torch.eye(3, dtype=F64) + (1 - time) * torch.tensor(law, dtype=F64)
        joint = torch.tensor(law, dtype=F64).unsqueeze(1) * q
        assert torch.allclose(ends.x1[b], (joint / joint.sum(0)).T, atol=1e-12)
    system = System({"x": component})
    labels = torch.multinomial(torch.tensor(law), 3000, replacement=True).reshape(1, -1)
    noised = system.corrupt(State({"x": labels}), t[:1], Streams.range(0, 0, 1))

    def loss(tilt: Tensor) -> float:
        return float(system.loss_of(lambda s, _: {"x": tilt.expand(1, 3000, 3)}, noised).total)

    best = loss(torch.zeros(3, dtype=F64))
    for k in range(3):
        for sign in (-0.5, 0.5):
            assert loss(sign * F.one_hot(torch.tensor(k), 3).to(F64)) > best


def test_class_probabilities_on_a_gaussian_path() -> None:
    component = Component(Euclidean(), Linear(), "logits", marginal=(0.5, 0.5))
    x1 = F.one_hot(torch.tensor([[0, 1]]), 2).to(F64)
    t = torch.tensor([0.6], dtype=F64)
    x_t, ends = component.path.corrupt(Euclidean(), x1, t, Streams.range(0, 0, 1), None)
    sure = component.ends(100 * (x1 - 0.5), x_t, t)
    assert torch.allclose(sure.x1, x1) and torch.allclose(sure.x0, ends.x0, atol=1e-9)
    error = component.error(torch.zeros(1, 2, 2, dtype=F64), x_t, ends, t)
    as_labels = component.error(torch.zeros(1, 2, 2, dtype=F64), x_t, Ends(x1.argmax(-1)), t)
    assert torch.allclose(error, as_labels)


def test_all_components_share_one_call_and_draw_in_their_order() -> None:
    calls = []
    system = two()

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        calls.append(t)
        return dict(state)

    system.loss(network, batch(), T, Streams.range(0, 0, 2))
    system.predict(network, batch(), T)
    assert len(calls) == 2
    streams = Streams.range(0, 0, 2)
    noised = system.corrupt(batch(), T, streams)
    fresh = Streams.range(0, 0, 2)
    first = Euclidean().noise((4, 3), fresh, batch().mask("nodes"), F64)
    second = Symmetric().noise((4, 4), fresh, batch().mask("links"), F64)
    assert torch.equal(noised.ends["nodes"].x0, first) and torch.equal(
        noised.ends["links"].x0, second
    )
    prior = system.prior({"nodes": (4, 3), "links": (4, 4)}, Streams.range(0, 0, 2), dtype=F64)
    assert prior["links"].dtype == F64 and not noised.state.condition
    assert isinstance(noised, Noised)


def test_the_perfect_network_of_the_tests_is_perfect() -> None:
    """The mixture's believed ends against quadrature over the data."""
    path, t = VP(), 0.4
    c = path.at(t)
    data = torch.linspace(-5, 5, 4001, dtype=F64)
    density = sum(
        w * torch.exp(-((data - m) ** 2) / (2 * MIXTURE.std**2))
        for w, m in zip(MIXTURE.weights, MIXTURE.means, strict=True)
    )
    for x in (-1.3, 0.0, 0.9):
        weight = density * torch.exp(-((x - c.a * data) ** 2) / (2 * c.s**2))
        wanted = float((weight * data).sum() / weight.sum())
        state = State({"x": torch.tensor([[x]], dtype=F64)})
        system = one(path, "v")
        ends = system.predict(MIXTURE.network(system), state, torch.tensor([t], dtype=F64))
        assert float(ends["x"].x1) == pytest.approx(wanted, abs=1e-9)


def test_what_cannot_be_is_refused_with_the_remedy() -> None:
    with pytest.raises(SciflowError, match="at least one"):
        System({})
    with pytest.raises(SciflowError, match="did you mean 'sample'"):
        System({"x": Component(Euclidean(), VP())}, "samples")
    with pytest.raises(SciflowError, match="set kind = 'logits'"):
        Component(Categorical(3), uniform(3), "data")
    with pytest.raises(SciflowError, match="did you mean 'score'"):
        Component(Euclidean(), VP(), "scores")
