"""Weights by time: the losses of Bayesian flows through a component, for every kind that says the same."""

from __future__ import annotations

import math

import pytest
import torch

from sciflow.errors import SciflowError
from sciflow.paths import VE, VP, CategoricalBayes, GaussianBayes, VonMisesBayes
from sciflow.paths.base import Ends
from sciflow.paths.weighting import weight
from sciflow.prediction import combine
from sciflow.spaces import Circle, Euclidean, Simplex
from sciflow.streams import Streams
from sciflow.system import Component

F64 = torch.float64


def test_gaussian_losses_are_those_of_the_paper() -> None:
    sigma, t = 0.0316, torch.tensor([0.3], dtype=F64)
    x1, guess = torch.tensor([[0.5]], dtype=F64), torch.tensor([[0.2]], dtype=F64)
    path = GaussianBayes(sigma)
    continuous = Component(Euclidean(), path, measure="bayes")
    x_t, ends = continuous.corrupt(x1, t, Streams.range(0, 0, 1), None)
    loss = float(continuous.error(guess, x_t, ends, t))
    assert abs(loss - -math.log(sigma) * sigma**-0.6 * 0.3**2) < 1e-9
    discrete = Component(Euclidean(), path, measure="bayes/10")
    expected = 10 * (1 - sigma**0.2) / (2 * sigma**0.8) * 0.3**2
    assert abs(float(discrete.error(guess, x_t, ends, t)) - expected) < 1e-9


def test_every_kind_has_the_same_bound() -> None:
    t = torch.tensor([0.4], dtype=F64)
    for path in (VP(), GaussianBayes(form="whitened"), VE(0.1, 10.0)):
        x1, x0 = torch.tensor([[0.5]], dtype=F64), torch.tensor([[-1.0]], dtype=F64)
        c = path.coefficients(t)
        x_t, ends = c.a * x1 + c.s * x0, Ends(x1, x0)
        guess = x1 + 0.2
        believed = Ends(guess, (x_t - c.a * guess) / c.s)
        losses = [
            float(
                Component(Euclidean(), path, kind, measure="bayes").error(
                    combine(kind, c, believed), x_t, ends, t
                )
            )
            for kind in ("data", "noise", "score", "velocity", "v")
        ]
        assert max(losses) - min(losses) < 1e-9 * max(losses)
        # Half the slope of the signal-to-noise ratio.
        at = t.clone().requires_grad_()
        d = path.coefficients(at)
        slope = torch.autograd.grad(((d.a / d.s) ** 2).sum(), at)[0]
        assert abs(losses[0] / float(slope / 2 * 0.04) - 1) < 1e-4


def test_logits_are_measured_as_probabilities() -> None:
    path = CategoricalBayes(3, beta_1=2.0)
    t = torch.tensor([0.5], dtype=F64)
    labels = torch.tensor([[1]])
    component = Component(Simplex(3), path, "logits", measure="bayes")
    x_t, ends = component.corrupt(labels, t, Streams.range(0, 0, 1), None)
    p = torch.tensor([[[0.2, 0.5, 0.3]]], dtype=F64)
    loss = float(component.error(p.log(), x_t, ends, t).sum())
    assert abs(loss - 3 * 2.0 * 0.5 * (0.04 + 0.25 + 0.09)) < 1e-9
    plain = Component(Simplex(3), path, "logits").error(p.log(), x_t, ends, t)
    assert torch.allclose(plain, -p[..., 1].log())


def test_clipped_weight_is_even_to_a_factor_of_31() -> None:
    t = torch.linspace(0, 1, 11, dtype=F64)
    w = weight(VonMisesBayes(), t, "clipped")
    assert w[0] == 1 and w[-1] == 31 and (w.diff() >= 0).all()
    component = Component(Circle(), VonMisesBayes(), measure="clipped")
    x1 = Circle().vectors(torch.tensor([0.1], dtype=F64))
    x_t, ends = component.corrupt(x1, t[-1:], Streams.range(0, 0, 1), None)
    guess = torch.tensor([[0.3, 0.1]], dtype=F64)
    assert torch.allclose(component.error(guess, x_t, ends, t[-1:]), 31 * (guess - x1) ** 2)


@pytest.mark.parametrize("measure", ["bayes/0", "bayes/x", "baye", "nats"])
def test_unknown_measures_are_refused(measure: str) -> None:
    with pytest.raises(SciflowError, match="measure"):
        Component(Euclidean(), GaussianBayes(), measure=measure)
