"""Batches of samples of like size: every sample once per epoch, any batch known from seed and step alone."""

from __future__ import annotations

import pytest
import torch

from sciflow.errors import SciflowError
from sciflow.learning import Recipe, bucket_index, sample_index

SIZES = torch.randint(5, 40, (960,), generator=torch.Generator().manual_seed(0))


def batches(bucket: int, steps: range, seed: int = 3) -> list[torch.Tensor]:
    return [bucket_index(SIZES, step, 16, seed, bucket) for step in steps]


def test_each_sample_comes_once_per_epoch() -> None:
    drawn = torch.cat(batches(12, range(60)))
    assert torch.equal(drawn.sort().values, torch.arange(960))


def test_a_window_holds_the_samples_of_the_plain_order() -> None:
    plain = torch.cat([sample_index(960, step, 16, 3) for step in range(12, 24)])
    assert torch.equal(torch.cat(batches(12, range(12, 24))).sort().values, plain.sort().values)


def test_batches_are_of_like_size_and_come_in_no_order() -> None:
    drawn = batches(12, range(60))
    spread = torch.stack([SIZES[b].max() - SIZES[b].min() for b in drawn]).float().mean()
    plain = torch.stack([SIZES[b].max() - SIZES[b].min() for b in batches(1, range(60))])
    assert spread < 0.2 * plain.float().mean()
    largest = torch.stack([SIZES[b].max() for b in drawn[:12]])
    assert not torch.equal(largest, largest.sort().values)
    # The place in a batch decides the time: it must not go with the size.
    places = torch.cat([torch.arange(16)] * 60).double()
    off = torch.cat([SIZES[b].double() - SIZES[b].double().mean() for b in drawn])
    assert abs(torch.corrcoef(torch.stack([places, off]))[0, 1]) < 0.1


def test_one_batch_to_a_bucket_is_the_plain_order() -> None:
    for step, batch in enumerate(batches(1, range(5))):
        assert torch.equal(batch, sample_index(960, step, 16, 3))


def test_a_bucket_holds_a_batch_at_least() -> None:
    with pytest.raises(SciflowError, match="bucket"):
        Recipe(steps=1, bucket=0)
