"""Bayesian flows: the update is Bayes' rule, the flow is what updates add up to, the schedules are what they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from sciflow.errors import SciflowError
from sciflow.paths import bayes
from sciflow.paths.base import Ends
from sciflow.paths.bayes import (
    AdditiveBayes,
    CategoricalBayes,
    GaussianBayes,
    VonMisesBayes,
    certainty,
)
from sciflow.paths.bayes.entropic import planar_accuracy
from sciflow.paths.bayes.von_mises import entropy, mean_length
from sciflow.solvers import (
    Heun,
    Renewal,
)
from sciflow.spaces import Circle, Euclidean, Simplex, Space
from sciflow.streams import Streams
from sciflow.system import Component, System

F64 = torch.float64
P_MIN = 0.01
FLOWS: list[tuple[Space, AdditiveBayes]] = [
    (Euclidean(), GaussianBayes()),
    (Euclidean(), GaussianBayes(form="whitened", ease=0.05)),
    (Simplex(5), CategoricalBayes(5)),
    (Simplex(5), CategoricalBayes(5, soft=True, form="whitened")),
    (Circle(), VonMisesBayes()),
    (Circle(), VonMisesBayes(form="whitened", ease=0.1)),
]
IDS = [f"{type(p).__name__}-{p.form}" for _, p in FLOWS]


def naturals(path: AdditiveBayes, t: float) -> tuple[float, float]:
    """Accuracy b, and the factor from the state to the natural parameter y."""
    c = path.coefficients(torch.tensor(t, dtype=F64))
    return float(path.accuracy(torch.tensor(t, dtype=F64))), float(c.a) / float(c.s) ** 2


@pytest.mark.parametrize(("space", "path"), FLOWS, ids=IDS)
def test_coefficients_have_the_accuracy_as_signal_to_noise_ratio(
    space: Space, path: AdditiveBayes
) -> None:
    t = torch.linspace(0.01, 1, 50, dtype=F64, requires_grad=True)
    c = path.coefficients(t)
    ratio = c.a**2 / c.s**2
    assert torch.allclose(ratio, path.accuracy(t), rtol=1e-4)
    for value, slope in ((c.a, c.da), (c.s, c.ds)):
        exact = torch.autograd.grad(value.sum(), t, retain_graph=True)[0]
        assert torch.allclose(exact, slope, rtol=1e-6, atol=1e-9)
    assert torch.allclose(path.time_of(path.accuracy(t)), t, atol=1e-8)
    assert float((path.time(path.log_snr(t)) - t).abs().max().detach()) < 1e-5


@pytest.mark.parametrize(("space", "path"), FLOWS, ids=IDS)
def test_posterior_adds_an_observation_to_the_natural_parameter(
    space: Space, path: AdditiveBayes
) -> None:
    x1 = torch.tensor([[0.6, -0.8]], dtype=F64)
    if isinstance(space, Simplex):
        x1 = torch.eye(5, dtype=F64)[:1]
    now, then = (path.at(t) for t in (0.3, 0.7))
    (b, to_y), (later, to_later) = naturals(path, 0.3), naturals(path, 0.7)
    x_t = torch.randn(x1.shape, dtype=F64, generator=torch.Generator().manual_seed(0))
    moved = path.posterior(space, x_t, Ends(x1), now, then, Streams.range(3, 0, 1), None)
    streams = Streams.range(3, 0, 1)
    if isinstance(path, CategoricalBayes) and not path.soft:
        streams.categorical(x1)  # the class is drawn first
    z = streams.normal(x1.shape[1:], F64)
    y = x_t * to_y + (later - b) * x1 + math.sqrt(later - b) * z
    assert torch.allclose(moved * to_later, y, rtol=1e-4)


@pytest.mark.parametrize(("space", "path"), FLOWS, ids=IDS)
def test_updates_add_up_to_the_flow(space: Space, path: AdditiveBayes) -> None:
    """Draw x_.6 at once, or through three updates from the prior: the same Gaussian."""
    count = 20000
    x1 = torch.tensor([[0.6, -0.8]], dtype=F64).repeat(count, 1)
    if isinstance(space, Simplex):
        x1 = torch.eye(5, dtype=F64)[:1].repeat(count, 1)
    streams = Streams.range(1, 0, count)
    x = path.prior(space, x1.shape[1:], streams, None, F64)
    for t, s in ((0.0, 0.05), (0.05, 0.3), (0.3, 0.6)):
        x = path.posterior(space, x, Ends(x1), path.at(t), path.at(s), streams, None)
    c = path.at(0.6)
    z = (x - c.a * x1) / c.s
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > P_MIN
    assert abs(float((z[:, 0] * z[:, 1]).mean())) < 4 / math.sqrt(count)


@pytest.mark.parametrize(("space", "path"), FLOWS, ids=IDS)
def test_forms_have_one_natural_parameter(space: Space, path: AdditiveBayes) -> None:
    t = torch.tensor([0.2, 0.9], dtype=F64)
    x = torch.randn(2, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    c = path.coefficients(t)
    assert torch.allclose(path.natural(x, t), x * (c.a / c.s**2).unsqueeze(1), rtol=1e-4)


def test_eased_schedules_start_straight_and_end_alike() -> None:
    ends = torch.tensor([0.0, 1e-4, 1.0], dtype=F64)
    for path in (GaussianBayes(ease=0.05), VonMisesBayes(ease=0.05)):
        r, dr = path.root(ends)
        assert r[0] == 0 and abs(float(dr[0] / dr[1]) - 1) < 1e-2
        plain = replace(path, ease=0.0)
        assert torch.allclose(r[2], plain.root(ends)[0][2])
        assert float(plain.root(ends)[1][0]) > 1e5  # and this is why


def test_gaussian_belief_is_the_exact_posterior() -> None:
    path = GaussianBayes(sigma_1=0.1)
    c = path.at(0.5)
    gamma = 1 - 0.1 ** (2 * 0.5)
    assert abs(c.a - gamma) < 1e-12
    assert abs(c.s - math.sqrt(gamma * (1 - gamma))) < 2e-6
    # Under the prior N(0, 1) the state is the mean of x_1 given itself, and 1 - gamma the variance.
    mean_weight = c.a / (c.a**2 + c.s**2)
    assert abs(mean_weight - 1) < 1e-5
    assert abs((1 - c.a * mean_weight) - (1 - gamma)) < 1e-5


def test_circle_translates_coordinates() -> None:
    circle = Circle(period=3.0)
    x = torch.tensor([0.0, 0.4, 2.9999999, 1.5], dtype=F64)
    assert torch.allclose(circle.coordinates(circle.vectors(x)), x)
    assert torch.allclose(circle.coordinates(circle.vectors(x - 6)), x)
    assert torch.allclose(circle.coordinates(7.0 * circle.vectors(x)), x)
    edge = circle.coordinates(torch.tensor([1.0, -1e-20], dtype=torch.float32))
    assert 0 <= float(edge) < 3
    y = circle.nearest(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=F64), None)
    assert torch.allclose(y, torch.tensor([[0.6, 0.8], [1.0, 0.0]], dtype=F64))
    with pytest.raises(SciflowError, match="circle"):
        circle.noise((3,), Streams.range(0, 0, 1), None, F64)


def test_certainty_runs_from_nothing_to_one() -> None:
    c = torch.tensor([0.0, 1e-6, 1.0, 1000.0], dtype=F64)
    feature = certainty(c)
    assert feature[0] == 0 and feature[1] < 1e-3 and abs(float(feature[3]) - 1) < 1e-9
    direction, length = bayes.belief(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    assert torch.allclose(direction, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert torch.allclose(length, torch.tensor([5.0, 0.0]))


def test_mean_entropy_of_the_planar_belief_is_linear_in_time() -> None:
    """Against a quadrature of another kind: Gauss-Hermite in the plane, where the module has Gauss-Legendre in c."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    x, w = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    t = torch.linspace(0, 1, 101, dtype=F64)
    b, _ = planar_accuracy(t, 1000.0)
    root = b.sqrt()[:, None, None]
    c = torch.hypot(b[:, None, None] + root * x[:, None], root * x)
    mean = (entropy(c) * w[:, None] * w).sum((1, 2))
    line = math.log(2 * math.pi) + t * (mean[-1] - math.log(2 * math.pi))
    assert float((mean - line).abs().max()) < 1e-6
    assert b[0] == 0 and abs(float(b[-1]) - 1000) < 1e-8
    # Between the knots of the table, and in float32.
    single, _ = planar_accuracy(t.float(), 1000.0)
    assert torch.allclose(single.double()[1:], b[1:], rtol=1e-4)


def test_planar_belief_is_von_mises() -> None:
    """log N(y; b e^{ix}, b I) as a function of x is c cos(x - m), at every time and with no step count."""
    path = VonMisesBayes()
    for t in (0.05, 0.5, 0.99):
        b, _ = naturals(path, t)
        y = torch.tensor([1.3, -0.4], dtype=F64) * math.sqrt(b)
        x = torch.linspace(-3, 3, 13, dtype=F64)
        u = torch.stack((x.cos(), x.sin()), -1)
        log_p = -((y - b * u) ** 2).sum(-1) / (2 * b)
        m, c = torch.atan2(y[1], y[0]), y.norm()
        expected = c * (x - m).cos()
        assert torch.allclose(log_p - log_p[0], expected - expected[0])


def test_planar_flow_is_the_gaussian_flow_where_it_is_sharp() -> None:
    """At high accuracy an arc is a line: m is x + N(0, 1 / b), the belief N(m, 1 / c)."""
    count, path = 20000, VonMisesBayes(beta_1=1e4)
    line = GaussianBayes(sigma_1=(1 + 1e4) ** -0.5, form="natural")
    one = torch.ones(count, dtype=F64)
    x1 = torch.tensor([[1.0, 0.0]], dtype=F64).repeat(count, 1)
    y, _ = path.corrupt(Circle(), x1, one, Streams.range(0, 0, count), None)
    angle = torch.atan2(y[:, 1], y[:, 0])
    flat, _ = line.corrupt(Euclidean(), 0 * one, one, Streams.range(1, 0, count), None)
    assert stats.ks_2samp(angle.numpy(), (flat / 1e4).numpy()).pvalue > P_MIN
    assert abs(float(y.norm(dim=-1).mean()) / 1e4 - 1) < 1e-3  # c is b, as in the Gaussian flow
    c = torch.tensor(1e4, dtype=F64)
    assert abs(float(entropy(c)) - math.log(2 * math.pi * math.e / 1e4) / 2) < 1e-4
    # The same errors cost the same: A(c) -> 1 in the bound.
    assert abs(float(mean_length(c)) - 1) < 1e-3


def test_logits_are_the_likelihood_of_the_classes() -> None:
    for form in ("natural", "whitened"):
        path = CategoricalBayes(3, form=form)
        x = torch.tensor([[0.4, -1.1, 2.0]], dtype=F64)
        t = torch.tensor([0.6], dtype=F64)
        c = path.coefficients(t)
        log_p = -((x.unsqueeze(1) - c.a * torch.eye(3, dtype=F64)) ** 2).sum(-1) / (2 * c.s**2)
        assert torch.allclose(path.evidence(x, t, 3).log_softmax(-1), log_p.log_softmax(-1))


@pytest.mark.parametrize("classes", [2, 20, 1000])
def test_last_belief_names_the_right_class(classes: int) -> None:
    count, path = 4000, CategoricalBayes(classes)
    labels = torch.arange(count) % classes
    t = torch.ones(count)
    x, ends = path.corrupt(Simplex(classes), labels, t, Streams.range(2, 0, count), None)
    assert (x.argmax(-1) == labels).float().mean() > 0.997
    assert (ends.x1.argmax(-1) == labels).all()


def test_weights_are_those_of_the_papers() -> None:
    t = torch.linspace(0, 0.9, 10, dtype=F64)
    sigma, n = 0.05, 10
    gaussian = GaussianBayes(sigma_1=sigma)
    assert torch.allclose(gaussian.weight(t)[1:], -math.log(sigma) * sigma ** (-2 * t[1:]))
    discrete = n * (1 - sigma ** (2 / n)) / (2 * sigma ** (2 * (t + 1 / n)))
    assert torch.allclose(gaussian.weight(t, steps=n), discrete)
    categorical = CategoricalBayes(7, beta_1=2.0)
    assert torch.allclose(categorical.weight(t), 7 * 2.0 * t)
    for path in (gaussian, categorical, VonMisesBayes()):
        fine = path.weight(t[1:], steps=1_000_000)
        assert torch.allclose(fine, path.weight(t[1:]), rtol=1e-3)
        # What the weights of n steps add up to is the information they carry, whatever n.
        for n in (1, 3, 50):
            at = torch.arange(n, dtype=F64) / n
            total = float(path.weight(at, steps=n).mean()) * 2
            last = float(path.accuracy(torch.ones((), dtype=F64)))
            assert abs(total / last - 1) < 1e-9


def test_kullback_leibler_divergence_of_observations() -> None:
    """w |x - x'|^2 over one step is the divergence of N(b x, b) from N(b x', b), and vM's is c A(c) (1 - cos)."""
    c, off = 3.0, 0.7
    y = torch.arange(4096, dtype=F64) * (2 * math.pi / 4096)
    log_p, log_q = c * y.cos(), c * (y - off).cos()
    p = log_p.softmax(0)
    divergence = float((p * (log_p.log_softmax(0) - log_q.log_softmax(0))).sum())
    a = float(mean_length(torch.tensor(c, dtype=F64)))
    assert abs(divergence - c * a * (1 - math.cos(off))) < 1e-9
    path, n = VonMisesBayes(), 20
    t = torch.tensor(0.4, dtype=F64)
    d = float(path.accuracy(t + 1 / n) - path.accuracy(t))
    normal = d * (2 - 2 * math.cos(off)) / 2
    assert abs(n * normal - float(path.weight(t, steps=n)) * (2 - 2 * math.cos(off))) < 1e-9


def test_errors_name_the_remedy() -> None:
    with pytest.raises(SciflowError, match="simplex"):
        Component(Euclidean(), CategoricalBayes(4), "logits")
    with pytest.raises(SciflowError, match="4 classes"):
        Component(Simplex(4), CategoricalBayes(5), "logits")
    with pytest.raises(SciflowError, match="circle"):
        Component(Euclidean(), VonMisesBayes())
    with pytest.raises(SciflowError, match="not Gaussian"):
        Component(Circle(), GaussianBayes())
    with pytest.raises(SciflowError, match="form"):
        GaussianBayes(form="plain")
    with pytest.raises(SciflowError, match="ease = 0.05"):
        Heun().check(System({"x": Component(Euclidean(), GaussianBayes())}))
    with pytest.raises(SciflowError, match="set form = 'whitened', or"):
        Heun().check(System({"x": Component(Simplex(4), CategoricalBayes(4), "logits")}))
    with pytest.raises(SciflowError, match="set form = 'whitened', or"):
        Heun().check(System({"x": Component(Euclidean(), GaussianBayes(ease=0.05))}))
    with pytest.raises(SciflowError, match="rate"):
        Renewal(rate=-1.0)
    with pytest.raises(SciflowError, match="sigma_1"):
        GaussianBayes(sigma_1=1.5)
