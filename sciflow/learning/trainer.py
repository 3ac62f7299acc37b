"""The training loop: resumable at any moment, the same bits whether or not it was interrupted.

Nothing in it depends on the past but weights, optimiser and average: the order of the data is a function of (seed,
epoch), the noise of (seed, sample number). So a run that is killed and started again goes on from its last
checkpoint and ends, on one CPU with one thread count, with the same weights as an unbroken one.

Devices, precision and data parallelism come from Lightning Fabric: under ``torchrun`` each process takes its share of
every batch.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .. import checkpoint
from .. import coupling as couplings
from ..errors import SciflowError, expected, unknown
from ..state import State
from .ema import EMA
from .objective import Objective

CHECKPOINT = "training.safetensors"
LOG = "log.csv"
SCHEDULES = ("cosine", "constant")


@runtime_checkable
class Dataset(Protocol):
    """What training asks of data: a length, and the clean state of some samples."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> State:
        """Return the samples `index` (int64 ``[B]``) as a clean state on the CPU."""
        ...


@runtime_checkable
class Sized(Dataset, Protocol):
    """Data whose samples differ in size, which `Recipe.bucket` brings together."""

    sizes: Tensor
    """Size of each sample, ``[M]``."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        steps: Number of optimiser steps.
        batch_size: Samples per step, over all processes.
        learning_rate: Peak rate of AdamW.
        weight_decay: Decoupled weight decay.
        betas: Moments of AdamW.
        warmup: Steps of linear warm-up.
        schedule: ``"cosine"`` to zero over the run, or ``"constant"``.
        clip: Largest gradient norm.
        ema: Decay of the weight average.
        coupling: Which noise goes with which data: a name of `sciflow.coupling`.
        bucket: Batches among which samples are sorted by size; 1 leaves the order to chance.
        condition_dropout: Share of the samples whose conditions are all hidden, where a model can do without them.
        start: Model whose weights training begins with, a name or a folder; "" draws them.
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between rows of the log.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 100
    schedule: str = "cosine"
    clip: float = 1.0
    ema: float = 0.999
    coupling: str = "independent"
    bucket: int = 1
    condition_dropout: float = 0.1
    start: str = ""
    checkpoint_every: int = 500
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "bucket", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise expected(f"recipe.{name}", getattr(self, name), "at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise expected(f"recipe.{name}", getattr(self, name), "a positive number")
        if self.schedule not in SCHEDULES:
            raise unknown("recipe.schedule", self.schedule, SCHEDULES)
        if not 0 <= self.ema < 1:
            raise expected("recipe.ema", self.ema, "a number in [0, 1)")
        if not 0 <= self.condition_dropout < 1:
            raise expected(
                "recipe.condition_dropout", self.condition_dropout, "a number in [0, 1)"
            )
        couplings.make(self.coupling)

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return rate


def sample_index(size: int, step: int, batch_size: int, seed: int) -> Tensor:
    """Data indices of one batch: epochs are random permutations, laid end to end.

    Args:
        size: Number of samples in the data.
        step: Step number.
        batch_size: Samples per step.
        seed: Seed of the run.
    """
    start, parts = step * batch_size, []
    stop = start + batch_size
    while start < stop:
        epoch, offset = divmod(start, size)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        part = torch.randperm(size, generator=generator)[offset : offset + stop - start]
        parts.append(part)
        start += part.shape[0]
    return torch.cat(parts)


def bucket_index(sizes: Tensor, step: int, batch_size: int, seed: int, bucket: int) -> Tensor:
    """Data indices of one batch of samples of like size, so that little is padded.

    Every `bucket` batches of `sample_index` are sorted by size, cut anew, and come in random order.

    Args:
        sizes: Size of each sample of the data, int64 ``[M]``.
        step: Step number.
        batch_size: Samples per step.
        seed: Seed of the run.
        bucket: Batches that are sorted together; 1 leaves them as they are.
    """
    if bucket == 1:
        return sample_index(len(sizes), step, batch_size, seed)
    group, place = divmod(step, bucket)
    index = sample_index(len(sizes), group, bucket * batch_size, seed)
    batches = index[sizes[index].argsort(stable=True)].view(bucket, batch_size)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + group)
    batch = batches[torch.randperm(bucket, generator=generator)[place]]
    # Not in order of size: the place in a batch decides the time.
    generator.manual_seed(seed * 1_000_003 + step)
    return batch[torch.randperm(batch_size, generator=generator)]


def fingerprint(dataset: Dataset, probes: int = 64) -> dict[str, Any]:
    """What tells one data set from another: its length, and a checksum of some samples spread over it.

    Args:
        dataset: The data.
        probes: Number of samples that are looked at.
    """
    size = len(dataset)
    index = torch.linspace(0, size - 1, min(probes, size), dtype=torch.float64).long()
    state, digest = dataset.batch(index), hashlib.sha256()
    for part in (dict(state), state.masks, state.condition):
        for name, value in sorted(part.items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return {"samples": size, "checksum": digest.hexdigest()[:16]}


def train(
    objective: Objective,
    dataset: Dataset,
    recipe: Recipe,
    folder: str | Path,
    seed: int = 0,
    device: str = "auto",
    precision: str = "32-true",
    header: dict[str, Any] | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> EMA:
    """Train, or go on training, in `folder`.

    Args:
        objective: System, network and law of times; its network is trained in place.
        dataset: Training data.
        recipe: How to train.
        folder: Where the checkpoint and the log live.
        seed: Seed of data order and noise.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        precision: A precision of Lightning Fabric, e.g. ``"32-true"`` or ``"bf16-mixed"``.
        header: What else identifies the run; a checkpoint with another header is refused.
        on_step: Called after each step with its number (1-based) and scalars (loss, its parts, learning rate, gradient
            norm). If it raises `KeyboardInterrupt`, a checkpoint of this step is written first.

    Returns:
        The averaged weights.

    Raises:
        SciflowError: The folder holds a checkpoint of another run, or the loss is no longer finite.
    """
    from lightning_fabric import Fabric

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // processes
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        num_nodes=max(nodes, 1),
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    if recipe.batch_size % fabric.world_size:
        raise expected(
            "batch size", recipe.batch_size, f"a multiple of the {fabric.world_size} processes"
        )
    folder = Path(folder)
    optimizer = torch.optim.AdamW(
        objective.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
    )
    ema = EMA(objective.network, recipe.ema)
    header = {
        "seed": seed,
        "recipe": _plain(asdict(recipe)),
        "times": asdict(objective.times),
        "data": fingerprint(dataset),
        **(header or {}),
    }
    step = _resume(folder, objective.network, optimizer, ema, header)
    objective.train()
    module, optimizer_ = fabric.setup(objective, optimizer)
    ema.average = {k: v.to(fabric.device) for k, v in ema.average.items()}
    log = _Log(folder / LOG, step) if fabric.is_global_zero else None
    sizes = dataset.sizes if isinstance(dataset, Sized) else torch.zeros(len(dataset))
    started = time.perf_counter()
    while step < recipe.steps:
        share = slice(fabric.global_rank, None, fabric.world_size)
        index = bucket_index(sizes, step, recipe.batch_size, seed, recipe.bucket)[share]
        sample = torch.arange(step * recipe.batch_size, (step + 1) * recipe.batch_size)[share]
        state = dataset.batch(index).to(fabric.device)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        output = module(
            dict(state), state.masks, state.condition, seed, sample.to(fabric.device),
            recipe.batch_size,
        )  # fmt: skip
        fabric.backward(output["loss"])
        norm = nn.utils.clip_grad_norm_(objective.parameters(), recipe.clip)
        # A step with a broken gradient would poison weights and average alike: look before it.
        if not math.isfinite(float(norm)):
            raise SciflowError(
                f"step {step}: got a gradient of norm {float(norm)}, expected a finite one; lower the learning "
                f"rate and start again from the last checkpoint in {folder}"
            )
        optimizer_.step()
        optimizer_.zero_grad()
        ema.update(objective.network)
        step += 1
        scalars = {key: float(value.detach()) for key, value in output.items()}
        scalars |= {"learning_rate": recipe.rate(step - 1), "gradient_norm": float(norm)}
        if log is not None and (step % recipe.log_every == 0 or step == recipe.steps):
            log.write(step, scalars, time.perf_counter() - started)
        if on_step is not None:
            try:
                on_step(step, scalars)
            except KeyboardInterrupt:  # between two steps, so nothing is lost
                if fabric.is_global_zero:
                    _save(folder, objective.network, optimizer, ema, header, step)
                raise
        if step % recipe.checkpoint_every == 0 or step == recipe.steps:
            if fabric.is_global_zero:
                _save(folder, objective.network, optimizer, ema, header, step)
            fabric.barrier()
    return ema


def _plain(value: Any) -> Any:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}


def _save(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMA,
    header: dict[str, Any],
    step: int,
) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"ema.{name}": value for name, value in ema.average.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    checkpoint.save(
        folder / CHECKPOINT, tensors, {"run": header, "step": step, "ema_updates": ema.updates}
    )


def _resume(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: EMA,
    header: dict[str, Any],
) -> int:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    tensors, saved = checkpoint.load(path)
    if "recipe" in saved.get("run", {}):
        # What an older version did not know of had its default.
        before = saved["run"]
        saved["run"] = before | {"recipe": _plain(asdict(Recipe(steps=1))) | before["recipe"]}
    if saved.get("run") != header:
        raise SciflowError(
            f"{path}: got a checkpoint of another run (its settings differ in "
            f"{_differences(saved.get('run', {}), header)}), expected one of this run; choose another "
            "folder or restore the settings"
        )
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "ema": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    checkpoint.load_into(network, parts["network"], str(path))
    ema.load(parts["ema"], saved["ema_updates"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(saved["step"])


def _differences(a: Any, b: Any, name: str = "") -> str:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(set(a) | set(b))
        found = [_differences(a.get(k), b.get(k), f"{name}.{k}" if name else k) for k in keys]
        return ", ".join(part for part in found if part)
    return "" if a == b else f"{name}: {a!r} there, {b!r} here"


class _Log:
    """CSV log that drops the rows an interrupted run wrote after its last checkpoint."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        rows = []
        if path.exists() and step:
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self.seconds = float(rows[-1]["seconds"]) if rows else 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="") as file:
            if rows:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

    def write(self, step: int, scalars: dict[str, float], seconds: float) -> None:
        row = {"step": step, **scalars, "seconds": round(self.seconds + seconds, 1)}
        new = self.path.stat().st_size == 0
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
