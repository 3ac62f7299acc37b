"""The kinetic-optimal path: its energy is the least, and what it says of its energy is true."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sciflow import SciflowError, Streams
from sciflow.paths import VP, Cosine, GaussianPath, KineticOptimal, Linear, make
from sciflow.paths.optimal import guess_error, linear_error, measure
from tests.core.mixtures import F64, Mixture, ends_between, noise, ring

RING = ring()


def energy(path: GaussianPath, law: Mixture, steps: int = 80, draws: int = 2000) -> float:
    """int E|v|^2 dt / d with the exact velocity, at points drawn from the path."""
    d = len(law.means[0])
    x1, x0 = law.draw(Streams.range(1, 0, draws)), Streams.range(2, 0, draws).normal((d,), F64)
    total = 0.0
    for i in range(steps):
        # Even in the angle pi t: dense at both ends, where coefficients may be steep.
        angle = math.pi * (i + 0.5) / steps
        c = path.at((1 - math.cos(angle)) / 2)
        ends, _ = ends_between(noise(d), law, c.a, c.s, 0.0, c.a * x1 + c.s * x0)
        assert ends.x0 is not None
        v = c.da * ends.x1 + c.ds * ends.x0
        total += float((v**2).sum(1).mean()) * math.pi / 2 * math.sin(angle) / steps
    return total / d


def of(law: Mixture, **options: int) -> KineticOptimal:
    return measure(law.places, torch.tensor(law.weights), law.std, **options)


def far_apart() -> Mixture:
    places = 0.9 * Streams.range(0, 0, 10).normal((64,), F64)
    return Mixture((0.1,) * 10, tuple(tuple(p) for p in places.tolist()), 0.3)


def test_its_energy_is_below_that_of_the_others_in_2_and_64_dimensions() -> None:
    """In the plane the linear path is not the best, in 64 dimensions it is; the optimal one knows both."""
    found = {}
    for name, law in (("plane", RING), ("space", far_apart())):
        others = [energy(p, law) for p in (Linear(), Cosine(), VP())]
        path = of(law)
        best = energy(path, law)
        assert best <= min(others) * (1.0 if name == "plane" else 1.002)
        # The length of the unrolled line; the floor of the profile makes it a bound from above.
        assert 0.9 * path.energy < best < 1.02 * path.energy
        found[name] = others
    assert found["plane"][1] < found["plane"][0] and found["space"][0] < found["space"][1]


def test_two_points_on_a_line_by_quadrature() -> None:
    """mmse of +-1 in noise is 1 - E[tanh(r^2 + r n)^...]: known by quadrature."""
    data = torch.tensor([[-1.0], [1.0]], dtype=F64)
    r = torch.tensor([0.0, 0.3, 1.0, 3.0], dtype=F64)
    weights = torch.full((2,), 0.5, dtype=F64)
    got = guess_error(data, weights, 0.0, r, Streams.range(0, 0, 20000))
    n = torch.linspace(-8, 8, 4001, dtype=F64)
    p = (-(n**2) / 2).exp() / math.sqrt(2 * math.pi) * (n[1] - n[0])
    wanted = torch.stack([(p * (1 - (v * (v + n)).tanh() ** 2)).sum() for v in r])
    assert torch.allclose(got, wanted, atol=0.01)
    assert (got <= linear_error(1.0, 1, r) + 0.01).all()


def test_gaussian_data_make_a_path_of_almost_no_angle_and_many_points_the_linear_one() -> None:
    """Between Gaussians nothing turns, the energy is (1 - m)^2; points far apart are told at once."""
    gaussian = measure(
        torch.zeros(2, 3).add_(torch.tensor([[1e-9], [0.0]])), width=0.5, floor=0.01
    )
    assert gaussian.angle < 0.02
    assert gaussian.energy == pytest.approx((1 - 0.5) ** 2, abs=1e-3)
    points = Streams.range(0, 0, 4).normal((1000,), F64)
    many = measure(points, draws=64, nodes=33)
    linear, t = Linear(), torch.linspace(0.1, 0.9, 9, dtype=F64)
    for name in ("a", "s"):
        ours, theirs = (getattr(p.coefficients(t), name) for p in (many, linear))
        assert torch.allclose(ours, theirs, atol=0.05)
    assert many.energy == pytest.approx(2.0, rel=0.05)
    for name in ("a", "s", "da", "ds"):  # nothing measured: linear
        assert torch.allclose(
            getattr(KineticOptimal().coefficients(t), name), getattr(linear.coefficients(t), name)
        )


@pytest.mark.parametrize(
    "path", [KineticOptimal((0.3, 1.0, 0.2), 0.7), of(RING)], ids=["made", "ring"]
)
def test_ends_are_exact_and_derivatives_finite(path: KineticOptimal) -> None:
    first, last = path.at(0.0), path.at(1.0)
    assert (first.a, first.s, last.s) == (0.0, 1.0, 0.0) and last.a == pytest.approx(1.0)
    assert all(math.isfinite(v) for c in (first, last) for v in (c.a, c.s, c.da, c.ds))
    single = torch.tensor([0.2, 0.7])
    assert path.coefficients(single).a.dtype == torch.float32  # type: ignore[union-attr]


def test_it_is_made_from_numbers_and_bad_ones_are_refused() -> None:
    path = make("kinetic-optimal", (), {"dimension": 2, "points": 8})
    assert isinstance(path, KineticOptimal) and path.angle < math.pi / 2
    again: Tensor = torch.as_tensor(path.coefficients(torch.tensor([0.4], dtype=F64)).a)
    assert float(again) == KineticOptimal(dimension=2, points=8).at(0.4).a
    assert make("kinetic-optimal", (), {"profile": [0.5, 1.0]}) == KineticOptimal((0.5, 1.0))
    for bad in ({"profile": [0.5, 2.0]}, {"profile": [0.5]}, {"signal": 0.0}, {"points": 3}):
        with pytest.raises(SciflowError, match="path kinetic-optimal"):
            make("kinetic-optimal", (), bad)
    with pytest.raises(SciflowError, match="different finite points"):
        measure(torch.ones(5, 2))
