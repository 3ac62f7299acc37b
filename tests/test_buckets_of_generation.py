"""Generation in buckets of like size: the same samples, in the same order, with less padding."""

from __future__ import annotations

import pytest
import torch

from sciflow.runtime import buckets
from sciflow.runtime.generate import Generation
from sciflow.state import Frame
from tests import tiny


def frame(sizes: torch.Tensor, width: int) -> Frame:
    return Frame({"x": (width,)}, {"x": torch.arange(width) < sizes[:, None]})


def test_pieces_hold_each_place_once_and_little_padding() -> None:
    sizes = torch.randint(1, 40, (500,), generator=torch.Generator().manual_seed(0))
    parts = buckets.pieces(frame(sizes, 40), 500)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(500))
    assert min(map(len, parts)) >= 32
    computed = sum(len(part) * int(sizes[part].max()) for part in parts)
    assert sizes.sum() > 0.9 * computed > 0.4 * 500 * 40


def test_what_is_not_worth_parting_stays_whole() -> None:
    full = torch.full((500,), 9)
    for case, count in ((frame(full, 9), 500), (Frame({"x": (9,)}), 500)):
        assert [part.tolist() for part in buckets.pieces(case, count)] == [list(range(count))]
    few = torch.randint(1, 40, (40,))
    assert len(buckets.pieces(frame(few, 40), 40)) == 1


@pytest.mark.parametrize("solver", ["ancestral", "renewal"])
def test_samples_are_the_same(monkeypatch: pytest.MonkeyPatch, solver: str) -> None:
    def graphs() -> list[object]:
        plan = Generation.of(tiny.model(), n=30, steps=4, batch_size=17, solver=solver)
        told: list[float] = []
        made = [tiny.graph(m) for b in plan.batches(lambda done, of: told.append(done)) for m in b]
        assert told == sorted(told) and told[-1] == 30
        return made

    parts: list[int] = []

    def parted(of: Frame, count: int) -> list[torch.Tensor]:
        nonlocal parts
        found = real(of, count, least=3)
        parts += [len(found)]
        return found

    whole = graphs()
    real = buckets.pieces
    monkeypatch.setattr(buckets, "_SHARE", 1.0)
    monkeypatch.setattr("sciflow.runtime.generate.pieces", parted)
    assert graphs() == whole
    assert parts and all(part > 1 for part in parts)
