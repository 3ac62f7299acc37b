"""Random streams: the published answers of the generator, independence of batch and padding, the laws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow.streams import Streams, philox

ALL = 0xFFFFFFFF
RELEASED = "caf5b921 250765ac 1fbe7a2d 5fd1b2e2 2dbc045b e57beb2e"
NORMAL = [0.9911377, -0.9246624, -0.617609, -0.4820684]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0, 0, 0, 0], (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([ALL] * 4, (ALL, ALL), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_answers(
    counter: list[int], key: tuple[int, int], answer: str
) -> None:
    words = philox([torch.tensor([c]) for c in counter], key)
    assert " ".join(f"{int(w):08x}" for w in words) == answer


def draws(streams: Streams, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    weights = torch.tensor([0.2, 0.0, 0.5, 0.3], dtype=dtype).expand(len(streams), *shape, 4)
    return [
        streams.bits(math.prod(shape)),
        streams.uniform(shape, dtype),
        streams.normal(shape, dtype),
        streams.categorical(weights),
        streams.normal(shape, dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (67,)])
def test_a_sample_does_not_know_its_batch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Bit for bit, in batches of 1, 7 and 19."""
    whole = draws(Streams.range(3, 0, 19), shape, dtype)
    for size in (1, 7):
        starts = range(0, 19, size)
        parts = [draws(Streams.range(3, i, min(size, 19 - i)), shape, dtype) for i in starts]
        for a, b in zip(whole, zip(*parts, strict=True), strict=True):
            assert torch.equal(a, torch.cat(b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_appends_and_changes_nothing(dtype: torch.dtype) -> None:
    for few, many in [((5,), (6,)), ((5,), (40,)), ((3, 4), (9, 4))]:
        short = draws(Streams.range(0, 0, 4), few, dtype)
        long = draws(Streams.range(0, 0, 4), many, dtype)
        for a, b in zip(short, long, strict=True):
            n = a.shape[1]
            assert torch.equal(a, b[:, :n])


def test_seed_purpose_draw_and_index_each_give_other_numbers() -> None:
    def first(
        seed: int = 0, start: int = 0, purpose: str = "", skip: int = 0
    ) -> tuple[float, ...]:
        streams = Streams.range(seed, start, 1, purpose)
        for _ in range(skip):
            streams.uniform((1,))
        return tuple(streams.uniform((4,))[0].tolist())

    seen = {
        first(),
        first(seed=1),
        first(seed=2**32),
        first(seed=-1),
        first(start=1),
        first(start=2**32),
        first(purpose="sizes"),
        first(skip=1),
    }
    assert len(seen) == 8
    assert first() == first()


def test_selected_streams_go_on_where_the_whole_stands() -> None:
    whole = Streams.range(5, 10, 6)
    whole.normal((3,))
    part = whole.select(torch.tensor([4, 1]))
    assert torch.equal(part.normal((3,)), whole.normal((3,))[[4, 1]])


def script(streams: Streams, dtype: torch.dtype) -> Iterator[Tensor]:
    """Draws as samplers make them: alike at every step, of two components in turn, then something else, then again."""
    for _ in range(70):
        yield streams.normal((2,), dtype)
    for _ in range(9):
        yield streams.normal((3, 3), dtype)
        yield streams.uniform((2,), dtype)
        yield streams.normal((2,), dtype)
    yield streams.bits(5)
    streams.draws -= 20  # as gradients do, which compute a part of a run again
    for _ in range(30):
        yield streams.normal((2,), dtype)


class Alone(Streams):
    """Streams that forget what they have made ahead."""

    def _looked_ahead(self, *args: Any) -> Tensor:
        self._made.clear()
        return super()._looked_ahead(*args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 60, 1200])
def test_numbers_made_ahead_are_those_drawn_one_by_one(size: int, dtype: torch.dtype) -> None:
    """Bit for bit, and for a sample by itself too; changing one leaves the others as they are."""
    ahead = script(Streams.range(1, 5, size), dtype)
    alone = script(Alone.range(1, 5, size), dtype)
    single = script(Streams.range(1, 5 + size - 1, 1), dtype)
    for many, one, last in zip(ahead, alone, single, strict=True):
        assert torch.equal(many, one)
        assert torch.equal(many[-1:], last)
        many.zero_()


def test_the_numbers_are_those_of_every_release() -> None:
    """A sample that somebody keeps must come again from its seed."""
    streams = Streams.range(2**33 + 7, 2**32 - 1, 2, "sampling")
    words = torch.cat([streams.bits(3) for _ in range(4)], 1)
    assert " ".join(f"{w:08x}" for w in words[:, -3:].flatten().tolist()) == RELEASED
    normal = Streams.range(0, 0, 1).normal((4,))
    assert torch.allclose(normal, torch.tensor([NORMAL]), rtol=1e-6)


def test_numbers_made_in_inference_serve_training() -> None:
    streams = Streams.range(0, 0, 3)
    with torch.inference_mode():
        streams.normal((2,)), streams.normal((2,))
    weight = torch.ones(2, requires_grad=True)
    noise = [streams.normal((2,)) for _ in range(2)]
    loss = (weight * noise[0]).sum()
    noise[1].mul_(2.0)  # a neighbour of what is kept for the way back
    loss.backward()
    assert weight.grad is not None and torch.equal(weight.grad, noise[0].sum(0))


class Extreme(Streams):
    """Streams whose bits are all 0 or all 1."""

    word = 0

    def words(self, index: Tensor, blocks: int, draws: Sequence[int]) -> Tensor:
        return torch.full((4, len(draws), len(index), blocks), self.word, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("word", [0, ALL])
def test_the_interval_is_open_whatever_the_bits(word: int, dtype: torch.dtype) -> None:
    streams = Extreme.range(0, 0, 1)
    streams.word = word
    u = streams.uniform((2,), dtype)
    assert (u > 0).all() and (u < 1).all()
    assert streams.normal((2,), dtype).isfinite().all()
    # A class without weight is never drawn, be it the first, the last or between.
    for weights, allowed in (([0.0, 0.3, 0.0, 0.4, 0.0], {1, 3}), ([1.9, 0.0], {0})):
        label = streams.categorical(torch.tensor([weights], dtype=dtype))
        assert int(label) in allowed


def kolmogorov(values: Tensor, cdf: Tensor) -> float:
    """Kolmogorov's statistic, times sqrt(n): above 1.95 with probability .001."""
    n = values.numel()
    order = cdf.flatten()[values.flatten().argsort()].double()
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    gap = torch.maximum((order - steps[:-1]).abs(), (order - steps[1:]).abs()).max()
    return float(gap) * math.sqrt(n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_and_normal_numbers_have_their_laws(dtype: torch.dtype) -> None:
    streams = Streams.range(11, 0, 400)
    u, z = streams.uniform((250,), dtype), streams.normal((250,), dtype)
    assert kolmogorov(u, u) < 1.95
    assert kolmogorov(z, torch.special.ndtr(z.double())) < 1.95
    # Neighbours in a draw (also the two of one pair), samples and draws are uncorrelated: 4 standard errors.
    again = streams.normal((250,), dtype)
    pairs = [(z[:, 0::2], z[:, 1::2]), (z[1:], z[:-1]), (z, again), (z**2, again**2)]
    for a, b in pairs:
        r = float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
        assert abs(r) < 4 / math.sqrt(a.numel())


def test_classes_come_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([0.5, 0.0, 3.0, 1.5])
    labels = Streams.range(2, 0, 500).categorical(weights.expand(500, 200, 4))
    counts = torch.bincount(labels.flatten(), minlength=4).double()
    wanted = weights.double() / weights.sum() * labels.numel()
    assert counts[1] == 0
    chi2 = ((counts - wanted)[[0, 2, 3]] ** 2 / wanted[[0, 2, 3]]).sum()
    assert chi2 < 13.8  # 2 degrees of freedom, p = .001
