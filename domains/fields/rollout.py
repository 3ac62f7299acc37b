r"""Rollouts and ensembles: how far a model is carried, and how sure it is.

A model generates a block of T frames from what is known at its start. `rollout` goes on from the last frame of a block
to the next one, b times, each sample by itself,

.. math:: u^{(k)} \sim p(\,\cdot \mid u_0 = u^{(k-1)}_T, f^{(k)}), \qquad k = 1, ..., b,

so any model whose condition is its first frame reaches further than it was trained for; one block is the whole
trajectory at once.

Three ways to an ensemble, for comparison:

    sampler     one model, several draws: what `rollout` with ``members`` gives.
    deep        several models of different seeds in turn (`ensemble`), each with one step of the solver: the mean that
                a regression would give, so that nothing but the weights differs.
    dropout     one model of training with dropout, thinned for each member (`thinned`).

Reference: Lakshminarayanan et al., arXiv:1612.01474 (deep ensembles); Gal, Ghahramani, arXiv:1506.02142 (dropout; here
one mask for a member's whole trajectory, drawn by channel).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sciflow.errors import expected
from sciflow.runtime.generate import BATCH_SIZE, Generation
from sciflow.runtime.resume import fingerprint
from sciflow.streams import Streams

from . import files
from .layout import TIME, Layout
from .trajectories import SAMPLE

if TYPE_CHECKING:
    from sciflow.model import Model

_SEEDS = 1_000_003


@dataclass(frozen=True)
class Rollout:
    """A rollout about to run, made by `Rollout.of`; `sciflow.runtime.generate.produce` writes it batch by batch.

    Args:
        models: Models, each with the seed of its first block.
        given: Starts and all else that is given.
        starts: What is given for the first block, ``sample`` in front.
        blocks: How many blocks.
        each: Trajectories of each model.
        batch_size: Trajectories that are carried on together, through all blocks.
        chosen: Further arguments of `Generation.of`.
        facts: What else decides the trajectories, as plain values.
    """

    models: tuple[tuple[Model, int], ...]
    given: xr.Dataset
    starts: xr.Dataset
    blocks: int
    each: int
    batch_size: int
    chosen: Mapping[str, Any]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        models: Sequence[Model],
        given: xr.Dataset,
        blocks: int = 1,
        members: int = 1,
        seed: int = 0,
        batch_size: int = BATCH_SIZE,
        facts: Mapping[str, Any] | None = None,
        **chosen: Any,
    ) -> Rollout:
        """Check what is asked; see `rollout` and `ensemble`.

        Raises:
            SciflowError: There are no models, one also needs the end, or the data do not fit it.
        """
        if not models:
            raise expected("models of an ensemble", "none", "at least one")
        if blocks < 1 or members < 1 or batch_size < 1:
            raise expected(
                "blocks, members, batch size", (blocks, members, batch_size), "at least 1"
            )
        for model in models:
            layout = getattr(model.adapter, "layout", None)
            if not isinstance(layout, Layout):
                raise expected(
                    f"model {model.name}", "a forecast", "one of trajectories", "use generate"
                )
            if layout.ends:
                raise expected(
                    "model to roll out", "one that is given the end", "one of the start alone"
                )
            for dim in layout.coordinates:
                if dim in given.coords:
                    files.check_coordinate(given, dim)
            starts = layout.asked(
                layout.read(_part(layout, given, 0, blocks), False, path="given")
            )
        seeded = tuple((model, seed + k) for k, model in enumerate(models))
        each = members * starts.sizes[SAMPLE]
        return cls(seeded, given, starts, blocks, each, batch_size, chosen, dict(facts or {}))

    @property
    def model(self) -> Model:
        """The first model."""
        return self.models[0][0]

    @property
    def n(self) -> int:
        """Number of trajectories."""
        return len(self.models) * self.each

    def settings(self) -> dict[str, Any]:
        """All that decides the trajectories, as plain values."""
        layout: Layout = self.model.adapter.layout
        digest = hashlib.sha256()
        for name in (*layout.fields, *(f"{n}0" for n in layout.fields), *layout.given):
            if name in self.given:
                values = np.ascontiguousarray(self.given[name].values)
                digest.update(f"{name} {values.shape}".encode() + values.tobytes())
        first = Generation.of(self.model, 1, self.models[0][1], **self.chosen).settings()
        return {
            **first,
            "n": self.n,
            "batch_size": self.batch_size,
            "blocks": self.blocks,
            "given": digest.hexdigest()[:16],
            "models": [fingerprint(model) for model, _ in self.models],
            **self.facts,
        }

    def batches(
        self, progress: Callable[[float, int], None] | None = None, first: int = 0
    ) -> Iterator[list[xr.Dataset]]:
        """Make the trajectories; yields those of each batch when their last block is there.

        Args:
            progress: Told how far it is.
            first: Number of the first trajectory: those before it are there already.
        """
        while first < self.n:
            k, begin = divmod(first, self.each)
            end = min(self.each, begin + self.batch_size)

            def tell(share: float, done: int = first, size: int = end - begin) -> None:
                if progress is not None:
                    progress(done + size * share, self.n)

            yield self._rolled(*self.models[k], range(begin, end), tell)
            first += end - begin

    def _rolled(
        self, model: Model, seed: int, numbers: range, tell: Callable[[float], None]
    ) -> list[xr.Dataset]:
        """Some trajectories of one model, through all blocks."""
        layout: Layout = model.adapter.layout
        asked, parts = self.starts, []
        # Sample i takes row i modulo the number of rows.
        order = np.argsort(np.asarray(numbers) % len(numbers))
        for k in range(self.blocks):
            plan = Generation.of(
                model, numbers.stop, seed + k * _SEEDS, options={"given": asked},
                **{**self.chosen, "batch_size": len(numbers)},
            )  # fmt: skip

            def ahead(done: float, _: int, k: int = k) -> None:
                tell((k + (done - numbers.start) / len(numbers)) / self.blocks)

            parts.append(next(plan.batches(ahead, numbers.start)))
            if k + 1 < self.blocks:
                asked = self._asked(layout, k + 1, parts[-1], np.asarray(numbers), order)
        return [_joined(layout, [part[i] for part in parts]) for i in range(len(numbers))]

    def _asked(
        self,
        layout: Layout,
        block: int,
        before: Sequence[xr.Dataset],
        numbers: np.ndarray,
        order: np.ndarray,
    ) -> xr.Dataset:
        """What is given for a block: the last frames of the one before, and its part of the rest."""
        last = xr.concat(
            [before[i][list(layout.fields)].isel({TIME: -1}, drop=True) for i in order], SAMPLE
        )
        known = _part(layout, self.given, block, self.blocks)
        rows = numbers[order] % known.sizes.get(SAMPLE, 1)
        known = (
            known.isel({SAMPLE: rows})
            if SAMPLE in known.dims
            else known.expand_dims({SAMPLE: len(order)})
        )
        known = known[[n for n in layout.given if n in known]].drop_vars(SAMPLE, errors="ignore")
        starts = {f"{n}0": last[n].variable for n in layout.fields}
        places = {d: list(layout.coordinates[d]) for d in layout.space}
        return known.assign(starts).assign_coords(places)


def rollout(
    model: Model,
    given: xr.Dataset,
    blocks: int = 1,
    members: int = 1,
    seed: int = 0,
    **settings: Any,
) -> list[xr.Dataset]:
    """Generate trajectories of several blocks, one after the other.

    Args:
        model: A model of fields whose condition is the first frame, and perhaps what varies with it.
        given: Starts, with a dimension ``sample`` or without; what is given by intervals or times holds for all blocks,
            or is of one block and comes again in each.
        blocks: How many.
        members: Samples of each start.
        seed: Seed.
        settings: Further arguments of `sciflow.runtime.generate.Generation.of`.

    Returns:
        ``members`` times as many trajectories as starts, each of ``blocks`` times as many frames; number i belongs to
        start i modulo their number.

    Raises:
        SciflowError: The model also needs the end, or the data do not fit it.
    """
    plan = Rollout.of([model], given, blocks, members, seed, **settings)
    return [one for batch in plan.batches() for one in batch]


def _part(layout: Layout, given: xr.Dataset, block: int, blocks: int) -> xr.Dataset:
    """What is given for one block, on the coordinates of the first."""
    found = {}
    for name in layout.given:
        if name not in given.data_vars:
            continue
        array = given[name]
        for dim in layout.given[name]:
            if dim in layout.space or dim not in array.dims:
                continue
            frames, size = layout.frames, array.sizes[dim]
            if dim == TIME and size == blocks * frames + 1:
                array = array.isel({dim: slice(block * frames, (block + 1) * frames + 1)})
            elif dim != TIME and size == blocks * frames:
                array = array.isel({dim: slice(block * frames, (block + 1) * frames)})
            if array.sizes[dim] <= len(layout.coordinates[dim]):  # else the layout refuses it
                places = list(layout.coordinates[dim])[: array.sizes[dim]]
                array = array.assign_coords({dim: places})
        found[name] = array
    kept = []
    for n in layout.fields:
        kept += [name for name in (n, f"{n}0") if name in given.data_vars]
    starts = given[kept]
    if TIME in starts.dims:
        starts = starts.isel({TIME: 0}, drop=True)
    starts = starts.rename(
        {n: f"{n}0" for n in layout.fields if n in starts and f"{n}0" not in starts}
    )
    return starts[[f"{n}0" for n in layout.fields if f"{n}0" in starts]].assign(found)


def _joined(layout: Layout, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put blocks end to end."""
    if len(parts) == 1:
        return parts[0]
    span = layout.coordinates[TIME][-1] - layout.coordinates[TIME][0]
    pieces = []
    for k, part in enumerate(parts):
        part = part.isel({TIME: slice(1, None)}) if k else part
        moved = [
            d
            for d in part.coords
            if d == TIME or (d in layout.coordinates and d not in layout.space)
        ]
        pieces.append(part.assign_coords({d: part[d] + k * span for d in moved}))
    found = {}
    for name, array in pieces[0].data_vars.items():
        along = [d for d in array.dims if d not in layout.space]
        found[name] = xr.concat([p[name] for p in pieces], along[0]) if along else array
    whole = xr.Dataset(found, attrs=pieces[0].attrs)
    if "equation" in whole.attrs:
        config = json.loads(whole.attrs["equation"])
        if {"frames", "horizon"} <= set(config):
            config |= {k: config[k] * len(parts) for k in ("frames", "horizon")}
            whole.attrs["equation"] = json.dumps(config)
        else:
            del whole.attrs["equation"]
    return whole


def ensemble(
    models: Sequence[Model],
    given: xr.Dataset,
    blocks: int = 1,
    seed: int = 0,
    **settings: Any,
) -> list[xr.Dataset]:
    """One rollout of each model: a deep ensemble.

    Args:
        models: Models of the same fields, e.g. of several seeds; or one model `thinned` several times.
        given: Starts and all else that is given (see `rollout`).
        blocks: How many blocks.
        seed: Seed; the models do not share noise.
        settings: Further arguments of `rollout`; ``steps=1, solver="ddim"`` takes each model's mean.

    Returns:
        Trajectories in the order of `rollout`: number i belongs to start i modulo their number.

    Raises:
        SciflowError: There are no models.
    """
    plan = Rollout.of(models, given, blocks, 1, seed, **settings)
    return [one for batch in plan.batches() for one in batch]


def thinned(model: Model, share: float, seed: int) -> Model:
    """Return the model with channels left out: a member of an ensemble by dropout.

    Args:
        model: A model whose network was trained with dropout.
        share: Share of the channels in each block that are left out; the others are raised to keep the mean.
        seed: Which are left out.

    Raises:
        SciflowError: The network has no blocks to thin, or the share is wrong.
    """
    from .networks.unet import Block

    if not 0 <= share < 1:
        raise expected("share of dropout", share, "a number in [0, 1)")
    network = copy.deepcopy(model.network)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    if not blocks:
        raise expected("network to thin", type(network).__name__, "one of blocks: a U-Net")
    for k, block in enumerate(blocks):
        channels = block.second.conv.in_channels
        draw = Streams.range(seed, k, 1, "dropout").uniform((channels,), torch.float32)[0]
        kept = (draw >= share).float() / (1 - share)

        def thin(_: nn.Module, inputs: tuple[Tensor], kept: Tensor = kept) -> tuple[Tensor]:
            (x,) = inputs
            return (x * kept.to(x).reshape(1, -1, *[1] * (x.dim() - 2)),)

        block.second.register_forward_pre_hook(thin)
    return replace(model, network=network)


__all__ = ["Rollout", "ensemble", "rollout", "thinned"]
