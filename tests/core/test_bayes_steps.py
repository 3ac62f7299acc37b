"""The von Mises flow in finitely many steps: fast draws against the observations themselves, schedules, any grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from sciflow.errors import SciflowError
from sciflow.paths.base import Ends
from sciflow.paths.bayes import VonMisesBayes, VonMisesSteps
from sciflow.paths.bayes.entropic import concentration, observation
from sciflow.paths.bayes.sums import DIRECT, accuracies, sum_law
from sciflow.paths.bayes.von_mises import draw, entropy, mean_length
from sciflow.solvers import Heun
from sciflow.spaces import Circle, Euclidean
from sciflow.streams import Streams
from sciflow.system import Component, System

F64 = torch.float64
DRAWS = 100_000
P_MIN = 0.01


def angles(y: Tensor) -> np.ndarray:
    return torch.atan2(y[..., 1], y[..., 0]).flatten().numpy()


def ks(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.ks_2samp(a, b).pvalue)


@pytest.mark.parametrize("c", [0.0, 0.3, 7.0, 1000.0])
def test_draws_are_von_mises(c: float) -> None:
    y = draw(torch.full((30000,), c), Streams.range(0, 0, 30000)).numpy()
    law = stats.vonmises(c).cdf if c else stats.uniform(-math.pi, 2 * math.pi).cdf
    assert stats.kstest(y, law).pvalue > P_MIN


def test_entropy_of_von_mises() -> None:
    c = torch.tensor([0.0, 0.1, 2.0, 40.0], dtype=F64)
    exact = [stats.vonmises(k).entropy() if k else math.log(2 * math.pi) for k in c.tolist()]
    assert torch.allclose(entropy(c), torch.tensor(exact, dtype=F64))


def test_schedule_is_linear_in_entropy_for_any_number_of_steps() -> None:
    for steps in (1, 7, 137, 1000):
        t = torch.arange(steps + 1, dtype=F64) / steps
        h = entropy(concentration(t, 1000.0))
        assert float((h - torch.lerp(h[0], h[-1], t)).abs().max()) < 1e-6


def test_accuracies_carry_the_belief_from_knot_to_knot() -> None:
    """Against a sum over a fine grid of another kind, and the figures that CrysBFN's search gives on average."""
    beta = torch.tensor([0.0, 0.125, 1.48, 21.3, 461.0], dtype=F64)
    later = torch.tensor([0.125, 0.177, 1.6, 22.0, 1000.0], dtype=F64)
    alpha = observation(beta, later)
    y = (np.arange(40000) + 0.5) * (2 * math.pi / 40000)
    for b, a, target in zip(beta.tolist(), alpha.tolist(), later.tolist(), strict=True):
        p = np.exp(a * (np.cos(y) - 1))
        assert abs((p * np.abs(b + a * np.exp(1j * y))).sum() / p.sum() - target) < 2e-6 * (
            1 + target
        )
    assert abs(float(accuracies(1000, 1000.0).sum()) - 1375) < 1
    assert abs(float(accuracies(10, 1000.0).sum()) - 1002) < 1


def test_fast_draws_have_the_law_of_the_sums() -> None:
    steps = 40
    law, rng = sum_law(steps, 1000.0), np.random.default_rng(1)
    total = np.zeros(DRAWS, dtype=complex)
    for i, alpha in enumerate(law.alpha.tolist(), start=1):
        total += alpha * np.exp(1j * rng.vonmises(0.0, alpha, DRAWS))
        if i in (DIRECT + 1, 25, steps):
            streams = Streams.range(i, 0, DRAWS // 100)
            y = law.draw(torch.full((DRAWS // 100,), i), (100,), streams)
            assert ks(angles(y), np.angle(total)) > P_MIN, i
            assert ks(y.norm(dim=-1).flatten().numpy(), np.abs(total)) > P_MIN, i


def test_table_has_the_exact_second_moment() -> None:
    """E c^2 is a sum over pairs; the table between its rows knows nothing of it but through its shape."""
    law = sum_law(200, 1000.0)
    x = torch.linspace(-5.5, 5.5, law.shape.shape[1], dtype=F64)
    w = torch.softmax(-(x**2) / 2, 0)
    for n in (13, 29, 80, 149, 199):
        row = int(law.below[n])
        shape = torch.lerp(law.shape[row], law.shape[row + 1], law.part[n])
        c = law.scale[n] + law.spread[n] * shape
        a = law.alpha[:n]
        mean = a * mean_length(a)
        exact = (a**2).sum() + mean.sum() ** 2 - (mean**2).sum()
        assert abs(float((w * c**2).sum() / exact) - 1) < 1e-3


def test_one_draw_costs_one_von_mises_draw_not_one_for_each_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Naively every coordinate takes N draws; the bar is N / 20."""
    from sciflow.paths.bayes import sums

    drawn = 0

    def counting(c: Tensor, streams: Streams) -> Tensor:
        nonlocal drawn
        drawn += c.numel()
        return draw(c, streams)

    monkeypatch.setattr(sums, "draw", counting)
    path, batch = VonMisesSteps(steps=200), 64
    t = (torch.arange(batch) + 0.5) / batch
    x1 = Circle().vectors(torch.rand(batch, 5, 3))
    path.corrupt(Circle(), x1, t, Streams.range(0, 0, batch), None)
    assert drawn <= batch * 15 * 200 / 20


def test_updates_on_any_grid_add_up_to_the_law_in_as_many_steps() -> None:
    """Seven updates of a path that was made for 1000 steps give the belief of the path in seven steps."""
    count, space, path = 10000, Circle(), VonMisesSteps(steps=1000)
    x1 = space.vectors(torch.full((count, 1), 0.2, dtype=F64))
    streams = Streams.range(0, 0, count)
    y = path.prior(space, (1, 2), streams, None, F64)
    for i in range(7):
        now, then = path.at(i / 7), path.at((i + 1) / 7)
        y = path.posterior(space, y, Ends(x1), now, then, streams, None)
    seven = replace(path, steps=7)
    one = torch.ones(count, dtype=F64)
    fresh, _ = seven.corrupt(space, x1, one, Streams.range(1, 0, count), None)
    assert ks(angles(y), angles(fresh)) > P_MIN
    assert ks(y.norm(dim=-1).flatten().numpy(), fresh.norm(dim=-1).flatten().numpy()) > P_MIN
    renewed = seven.renew(space, Ends(3 * x1), seven.at(1.0), Streams.range(2, 0, count), None)
    assert ks(angles(renewed), angles(fresh)) > P_MIN


def test_many_steps_approach_the_planar_form() -> None:
    """With equal sums of squared accuracies the sums of a hundred small observations are the planar normal vector."""
    count, n = 20000, 60
    alpha = 0.15
    rng = np.random.default_rng(3)
    y = alpha * np.exp(1j * rng.vonmises(0.0, alpha, (n, count))).sum(0)
    path = VonMisesBayes()
    t = path.time_of(torch.tensor(n * alpha**2 / 2, dtype=F64)).expand(count)
    x1 = torch.tensor([[1.0, 0.0]], dtype=F64).repeat(count, 1)
    planar, _ = path.corrupt(Circle(), x1, t, Streams.range(0, 0, count), None)
    assert ks(np.abs(y), planar.norm(dim=-1).numpy()) > P_MIN
    assert ks(np.angle(y), angles(planar)) > P_MIN


def test_direction_of_the_belief_is_von_mises_given_its_length() -> None:
    """Calibration: a belief vM(m, c) is right, E cos(m - x) = A(c), at every time."""
    count = 10000
    path = VonMisesSteps(steps=40)
    t = torch.full((count,), 0.5)
    x1 = Circle().vectors(torch.rand(count, 1, dtype=F64))
    y, _ = path.corrupt(Circle(), x1, t, Streams.range(0, 0, count), None)
    c = y.norm(dim=-1)
    cos = (y * x1).sum(-1) / c
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8)):
        inside = (c > c.quantile(low)) & (c < c.quantile(high))
        assert abs(float((cos - mean_length(c))[inside].mean())) < 0.03


def test_samples_do_not_depend_on_their_batch() -> None:
    path, space = VonMisesSteps(steps=40), Circle()
    x1 = space.vectors(torch.rand(4, 3))
    t = torch.tensor([0.0, 0.02, 0.5, 1.0])
    streams = Streams.range(0, 0, 4)
    y, _ = path.corrupt(space, x1, t, streams, None)
    after = streams.uniform((1,))
    for i in range(4):
        alone = Streams.range(0, i, 1)
        y_i, _ = path.corrupt(space, x1[i : i + 1], t[i : i + 1], alone, None)
        assert torch.equal(y_i[0], y[i])
        assert torch.equal(alone.uniform((1,))[0], after[i])
    assert float(y[0].norm(dim=-1).max()) < 1e-4


def test_weights_are_those_of_crysbfn() -> None:
    path = VonMisesSteps(steps=1000)
    w = path.weight(torch.arange(1000, dtype=F64) / 1000)
    assert abs(float(w[0]) - 7.8) < 0.1 and abs(float(w[-1]) - 7700) < 50
    assert abs(float(w.mean()) - 996) < 5
    # The mean over the two coordinates of the plane is w (1 - cos).
    x1 = torch.tensor([[1.0, 0.0]], dtype=F64)
    u = torch.tensor([[math.cos(0.3), math.sin(0.3)]], dtype=F64)
    error = path.error("data", u, Ends(x1), torch.zeros(1, dtype=F64))
    assert abs(float(error.mean()) - float(w[0]) * (1 - math.cos(0.3))) < 1e-9
    plain = replace(path, weighted=False).error("data", u, Ends(x1), torch.zeros(1, dtype=F64))
    assert abs(float(plain.mean()) - (1 - math.cos(0.3))) < 1e-12


def test_errors_name_the_remedy() -> None:
    with pytest.raises(SciflowError, match="von-mises-bayes"):
        Heun().check(System({"x": Component(Circle(), VonMisesSteps())}))
    with pytest.raises(SciflowError, match="circle"):
        Component(Euclidean(), VonMisesSteps())
    with pytest.raises(SciflowError, match="steps"):
        VonMisesSteps(steps=0)
