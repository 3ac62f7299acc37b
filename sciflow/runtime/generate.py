"""Generation: n new objects from a model, batch by batch.

Sample i is a function of (model, seed, i, solver, grid, steps) alone: the batch size, the number
of samples and the device do not enter, up to rounding.
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .. import grids, solvers
from ..adapter import Metrics
from ..errors import expected, need
from ..grids import Grid
from ..hooks import Guidance
from ..hooks.base import Hook
from ..hooks.guidance import Null
from ..model import Model, load
from ..sampling import sample
from ..solvers.base import Solver
from ..state import Frame
from ..streams import Streams
from . import device as devices
from .buckets import pieces
from .interruption import deferred
from .output import Output
from .provenance import provenance
from .resume import Record
from .steering import PILOTS, RewardChoice, Steering

BATCH_SIZE = 500
CARD = ("description", "data", "licence", "parameters", "measured")
"""What of a model's card goes with its samples."""
Choice = str | Mapping[str, Any] | None
OnProgress = Callable[[float, int], None]
"""Called with the number of samples made so far, parts of a batch included, and of all."""


@dataclass(frozen=True)
class Generation:
    """A generation about to run, with every setting checked. Made by `Generation.of`.

    Args:
        model: The model.
        n: Number of samples.
        seed: Seed.
        steps: Number of steps.
        solver: The solver.
        grid: The time grid.
        batch_size: Samples per batch.
        device: Device.
        hooks: Hooks into the sampling loop.
        options: Wishes in the words of the domain.
        chosen: Solver and grid as they were named.
        guidance: Weight of classifier-free guidance by the conditions that are given; 1 is none.
        steering: How to steer by a reward.
        scale: Scale of the reward.
    """

    model: Model
    n: int
    seed: int
    steps: int
    solver: Solver
    grid: Grid
    batch_size: int
    device: torch.device
    hooks: tuple[Hook, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    guidance: float = 1.0
    steering: Steering | None = None
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        model: Model,
        n: int = 100,
        seed: int = 0,
        steps: int | None = None,
        solver: Choice = None,
        grid: Choice = None,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
        hooks: Sequence[Hook] = (),
        options: Mapping[str, Any] | None = None,
        guidance: float | None = None,
        reward: RewardChoice | None = None,
    ) -> Generation:
        """Check the settings; what is left out is taken from the model.

        With a reward, a few samples are made without it first (see `steering`).

        Raises:
            SciflowError: A setting is wrong, or does not suit the model.
        """
        for name, value in (("n", n), ("batch size", batch_size)):
            if value < 1:
                raise expected(name, value, "at least 1")
        default = model.sampling
        steps = default.steps if steps is None else steps
        chosen = {"solver": solver or default.solver, "grid": grid or default.grid}
        generation = cls(
            model,
            n,
            seed,
            steps,
            solvers.make(chosen["solver"]),
            grids.make(chosen["grid"]),
            batch_size,
            devices.choose(device),
            tuple(hooks),
            dict(options or {}),
            chosen,
            default.guidance if guidance is None else float(guidance),
            None if reward is None else Steering.of(reward, model.adapter),
        )
        system = model.system
        generation.solver.check(system)
        generation.grid.knots(steps, system)
        frame = model.adapter.frame(Streams.range(seed, 0, 1, "sizes"), generation.options)
        model.adapter.hooks(frame, generation.options)
        if guidance is not None and not generation.given(frame):
            known = ", ".join(model.adapter.null())
            wanted = f"a wish to guide by, of {known}" if known else "a model with conditions"
            raise expected("guidance", f"{guidance} and no condition", wanted)
        if generation.steering is None:
            return generation
        pilot = replace(generation, n=PILOTS, steering=None, batch_size=min(batch_size, PILOTS))
        pilots = [thing for batch in pilot.batches() for thing in batch]
        return replace(generation, scale=generation.steering.scaled(pilots))

    def settings(self) -> dict[str, Any]:
        """The settings as plain values."""
        return {
            "n": self.n,
            "seed": self.seed,
            "steps": self.steps,
            **self.chosen,
            "batch_size": self.batch_size,
            "device": devices.describe(self.device),
            **({"options": dict(self.options)} if self.options else {}),
            **({"hooks": [type(hook).__name__ for hook in self.hooks]} if self.hooks else {}),
            **({"guidance": self.guidance} if self.guidance != 1 else {}),
            **({"reward": self.steering.facts(self.scale)} if self.steering else {}),
        }

    def given(self, frame: Frame) -> dict[str, Null]:
        """Null values of the conditions that the frame of a batch gives to some sample."""
        null = self.model.adapter.null()
        return {
            name: value
            for name, value in null.items()
            if bool((frame.condition[name] != torch.as_tensor(value)).any())
        }

    def _hooks(self, frame: Frame) -> list[Hook]:
        hooks = [*self.hooks, *self.model.adapter.hooks(frame, self.options)]
        given = self.given(frame)
        if given and self.guidance != 1:
            hooks.append(Guidance(self.guidance, null=given))
        if self.steering is not None:
            hooks.append(self.steering.hook(self.scale))
        return hooks

    def batches(self, progress: OnProgress | None = None, first: int = 0) -> Iterator[list[Any]]:
        """Make the samples; yields the objects of each batch as soon as they are there.

        Args:
            progress: Told how far it is.
            first: Number of the first sample: those before it are there already.
        """
        for start in range(first, self.n, self.batch_size):
            index = torch.arange(start, min(start + self.batch_size, self.n))
            objects: dict[int, Any] = {}
            for places in self._pieces(index):

                def tell(
                    step: int, steps: int, done: int = start + len(objects), now: int = len(places)
                ) -> None:
                    if progress is not None:
                        progress(done + now * step / steps, self.n)

                made = self._sample(index[places], tell)
                objects.update(zip(places.tolist(), made, strict=True))
            yield [objects[place] for place in range(len(index))]

    def _pieces(self, index: Tensor) -> list[Tensor]:
        # Hooks of the caller may hold tensors of a whole batch, and a norm over the batch has to see all of it.
        if self.hooks or self.steering is not None or getattr(self.solver, "norm", "") == "batch":
            return [torch.arange(len(index))]
        frame = self.model.adapter.frame(Streams(self.seed, index, "sizes"), self.options)
        return pieces(frame, len(index))

    def _sample(self, index: Tensor, progress: Callable[[int, int], None]) -> list[Any]:
        adapter = self.model.adapter
        frame = adapter.frame(Streams(self.seed, index, "sizes"), self.options)
        state = sample(
            self.model.system,
            self.model.network.eval().to(self.device),
            frame.to(self.device),
            Streams(self.seed, index.to(self.device), "sampling"),
            solver=self.solver,
            grid=self.grid,
            steps=self.steps,
            hooks=self._hooks(frame),
            progress=progress,
        )
        return adapter.decode(state.to("cpu"))


@dataclass(frozen=True)
class Generated:
    """New objects, and how they were made.

    Args:
        objects: The objects, exactly as generated: nothing repaired, nothing left out.
        model: The model.
        settings: How they were made (`Generation.settings`).
        seconds: Time it took.
        provenance: Versions, machine, date.
        made: How many were made, where the objects have gone to a file and are not kept.
    """

    objects: list[Any]
    model: Model
    settings: Mapping[str, Any]
    seconds: float
    provenance: Mapping[str, Any] = field(default_factory=provenance)
    made: int | None = None

    def __len__(self) -> int:
        return len(self.objects) if self.made is None else self.made

    def facts(self) -> dict[str, Any]:
        """All but the objects, as plain values."""
        card = self.model.card
        return {
            "domain": self.model.adapter.name,
            "model": self.model.name,
            "card": {name: card[name] for name in CARD if name in card},
            "made": len(self),
            "settings": dict(self.settings),
            "seconds": round(self.seconds, 2),
            "provenance": dict(self.provenance),
        }

    def metrics(
        self,
        reference: Sequence[Any] | str | Path | None = None,
        train: Sequence[Any] | str | Path | None = None,
        **options: Any,
    ) -> Metrics:
        """Judge the objects.

        Args:
            reference: Data to compare with, held out of training: objects or a file.
            train: Data of training: objects or a file.
            options: Further arguments of the adapter's `metrics`.
        """
        adapter = self.model.adapter

        def known(data: Sequence[Any] | str | Path | None) -> Any:
            return adapter.read(data).objects if isinstance(data, str | Path) else data

        return adapter.metrics(self.objects, known(reference), known(train), **options)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with one row per object.

        Raises:
            SciflowError: pandas is not installed.
        """
        pandas = need("pandas", self.model.adapter.name)
        rows = self.model.adapter.describe(self.objects)
        return pandas.DataFrame([asdict(row) if is_dataclass(row) else dict(row) for row in rows])

    def save(self, path: str | Path, reference: Any = None, train: Any = None) -> Path:
        """Write the objects to a file, or to a folder with metrics, picture and page.

        Args:
            path: File with a suffix of the domain, or a folder.
            reference: For a folder, data to compare with: objects or a file.
            train: For a folder, data of training: objects or a file.

        Returns:
            The path.

        Raises:
            SciflowError: The suffix is unknown, or the place cannot be written.
        """
        with Output(path, type(self.model.adapter)) as output:
            output.append(self.objects)
            if output.folder:
                output.finish(self.objects, self.facts(), self.metrics(reference, train))
        return output.path

    def _repr_html_(self) -> str:
        name = self.model.name or self.model.adapter.name
        text = f"<p>{len(self)} samples of {name} in {self.seconds:.1f} s</p>"
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "picture.svg"
            self.model.adapter.draw(self.objects[:20], picture)
            data = base64.b64encode(picture.read_bytes()).decode()
        return f'{text}<img style="max-width:100%" src="data:image/svg+xml;base64,{data}">'


def generate(
    model: Model | str | Path,
    n: int = 100,
    seed: int = 0,
    steps: int | None = None,
    solver: Choice = None,
    grid: Choice = None,
    batch_size: int = BATCH_SIZE,
    device: str = "auto",
    hooks: Sequence[Hook] = (),
    options: Mapping[str, Any] | None = None,
    progress: OnProgress | None = None,
    guidance: float | None = None,
    reward: RewardChoice | None = None,
) -> Generated:
    """Make n new objects.

    Args:
        model: The model, its name or its folder.
        n: Number of samples.
        seed: Seed; the same seed gives the same sample i, whatever `n` and `batch_size`.
        steps: Number of steps; None takes the model's own.
        solver: Name of a solver, or a table with its name and options; None takes the model's own.
        grid: Name of a time grid, or a table; None takes the model's own.
        batch_size: Samples per batch.
        device: ``auto``, ``cpu``, ``cuda`` ...
        hooks: Hooks into the sampling loop.
        options: Wishes in the words of the domain.
        progress: Called with the number of samples made so far and of all.
        guidance: Weight of classifier-free guidance by the conditions that `options` give: 1 is the plain conditional
            model, above 1 obeys them more than the data do; None takes the model's own.
        reward: Steers by a reward: a name, a function of an object, or a table with ``name`` and options of `Steering`.

    Returns:
        The objects and how they were made.

    Raises:
        SciflowError: A setting is wrong, or does not suit the model.
    """
    model = model if isinstance(model, Model) else load(model)
    generation = Generation.of(
        model,
        n,
        seed,
        steps,
        solver,
        grid,
        batch_size,
        device,
        hooks,
        options,
        guidance,
        reward,
    )
    started = time.perf_counter()
    objects = [thing for batch in generation.batches(progress) for thing in batch]
    return Generated(objects, model, generation.settings(), time.perf_counter() - started)


class Plan(Protocol):
    """What `produce` makes: a generation, or a domain's own way to samples."""

    @property
    def model(self) -> Model: ...

    @property
    def n(self) -> int: ...

    def settings(self) -> dict[str, Any]: ...

    def batches(
        self, progress: OnProgress | None = None, first: int = 0
    ) -> Iterator[list[Any]]: ...


def produce(
    generation: Plan,
    output: Output,
    progress: OnProgress | None = None,
    resume: bool = False,
) -> tuple[Generated, bool]:
    """Make samples into an output, batch by batch; Ctrl-C ends it and keeps what was made.

    The memory this takes does not grow with the number of samples that go to a file; those of a folder are kept, to be
    judged as a whole.

    Args:
        generation: What to make.
        output: Where to; opened.
        progress: Told how far it is.
        resume: Go on behind the samples of an interrupted generation (see `resume`).

    Returns:
        What was made, and whether that is all.

    Raises:
        SciflowError: The samples that are there cannot be gone on with, or the disk refuses.
    """
    objects: list[Any] = []
    record = Record.of(generation, output, resume)
    made = record.made if record else 0
    whole, started = True, time.perf_counter()
    with deferred() as ask:

        def tell(done: float, total: int) -> None:
            ask()
            if progress is not None:
                progress(done, total)

        try:
            for batch in generation.batches(tell, made):
                output.append(batch)
                made += len(batch)
                if record:
                    record.note(len(batch))
                if output.folder:
                    objects += batch
        except KeyboardInterrupt:
            whole = False
    if whole and record:
        record.remove()
    seconds = time.perf_counter() - started
    settings = generation.settings()
    return Generated(objects, generation.model, settings, seconds, made=made), whole


__all__ = ["BATCH_SIZE", "Generated", "Generation", "Plan", "generate", "produce"]
