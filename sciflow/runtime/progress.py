"""Progress bars on standard error of a terminal; elsewhere a line now and then instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total} [{elapsed}<{remaining}{postfix}]"


def _bar(**options: Any) -> tqdm:
    return tqdm(file=sys.stderr, disable=None, leave=False, dynamic_ncols=True, **options)


@contextmanager
def samples(name: str) -> Iterator[Callable[[float, int], None]]:
    """A bar for samples; yields a callback with the number made, parts included, and of all."""
    with _bar(desc=name, bar_format=_BAR, total=1) as bar:

        def tell(done: float, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        yield tell


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """One bar after another; yields a callback with a stage, the steps done and in all.

    A total of 0 is not known.
    """
    bar: tqdm | None = None

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal bar
        if bar is None or bar.desc != stage:
            if bar is not None:
                bar.close()
            bar = _bar(total=total or None)
            bar.desc = stage
        bar.total, bar.n = total or None, done
        bar.refresh()

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def training(
    start: int, steps: int, every: int
) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """A bar for training steps with the loss; in a log, a line at each checkpoint.

    Args:
        start: Steps done before.
        steps: Steps in all.
        every: Steps between checkpoints.
    """
    with _bar(desc="training", total=steps, initial=start, unit="step") as bar:
        mean: float | None = None

        def tell(step: int, scalars: dict[str, float]) -> None:
            nonlocal mean
            loss = scalars["loss"]
            mean = loss if mean is None else mean + 0.02 * (loss - mean)
            if bar.disable:
                if step % every == 0 or step == steps:
                    print(f"step {step} of {steps}, loss {mean:.4f}", file=sys.stderr, flush=True)
                return
            bar.set_postfix_str(
                f"loss {mean:.4f}, rate {scalars['learning_rate']:.1e}", refresh=False
            )
            bar.update(step - bar.n)

        yield tell


__all__ = ["samples", "stages", "training"]
