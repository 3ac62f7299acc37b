"""The contract with a domain: what a folder under ``domains/`` brings so that everything else works on it.

An adapter is bound to a configuration (a vocabulary, sizes, a process, a network) and translates: objects of the domain
to states and back, a configuration to a system and a network, samples to metrics and pictures. `check` is the
conformance test that every adapter must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .errors import SciflowError
from .hooks.base import Hook
from .hooks.guidance import Null
from .learning.trainer import Dataset
from .state import Frame, State
from .streams import Streams
from .system import System


@dataclass(frozen=True)
class Read:
    """Objects read from a file.

    Args:
        objects: What could be read, in order.
        skipped: (row number from 1, text, reason) of what could not.
    """

    objects: list[Any]
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


@runtime_checkable
class Metrics(Protocol):
    """Metrics of a set of samples, each per sample and in total."""

    @property
    def table(self) -> Sequence[Any]:
        """One row per sample: mappings, or dataclasses of plain values."""
        ...

    def summary(self) -> dict[str, Any]:
        """Totals, JSON-able; reports show three of its entries, all optional.

        ``figures``: name to ``value``, and beside it ``label``, ``kind`` (``"share"``, ``"distance"``, ``"mean"``),
        ``better`` (``"higher"``, ``"lower"``), ``over`` (the denominator), ``reference`` (the same figure of the
        reference), ``floor`` (what two samples of the data are apart) and ``note``.

        ``columns``: names of the columns of `table` that a page lists; without it, all.

        ``histograms``: name to ``unit``, ``bins``, ``generated``, ``reference`` (or None) and, where the heights are
        not shares, ``kind`` ``"mean"``.
        """
        ...

    def to_text(self) -> str:
        """Totals as an aligned table."""
        ...


@runtime_checkable
class Writer(Protocol):
    """A file being written; what was appended survives an interruption."""

    def append(self, objects: Sequence[Any]) -> None: ...

    def __enter__(self) -> Writer: ...

    def __exit__(self, *error: object) -> None: ...


@runtime_checkable
class Resumable(Writer, Protocol):
    """A file that can be taken up again later, when an interrupted generation goes on."""

    def go_on(self, mark: int, count: int) -> None:
        """Keep the first `count` samples, more than none, which end `mark` bytes into a file of text.

        The next batch comes behind them.
        """
        ...


class Adapter(ABC):
    """Abstract adapter of a domain; `config` makes it again."""

    name: ClassVar[str]
    """Name of the domain: the folder, the word on the command line."""
    suffixes: ClassVar[tuple[str, ...]]
    """File suffixes it reads and writes; the first is the default."""
    data_files: ClassVar[tuple[str, ...]] = ("train",)
    """Keys of ``[data]`` that name files; relative ones are taken from the folder of the configuration."""

    # -- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Adapter:
        """Make the adapter that `config` described.

        Raises:
            SciflowError: The configuration is incomplete or wrong.
        """

    @classmethod
    @abstractmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Adapter, Dataset]:
        """Make an adapter for data, finding in it what must be found, and the data set to train on.

        Args:
            data: The ``[data]`` table of a training configuration.
            options: Its domain-specific tables (process, network ...).

        Raises:
            SciflowError: The data or the options cannot be used.
        """

    @classmethod
    def from_start(
        cls, start: Adapter, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Adapter, Dataset]:
        """As `from_data`, for a network that begins with the weights of another model: fine-tuning.

        Args:
            start: Adapter of that model; what it has found in its data (a vocabulary ...) is kept.
            data: As for `from_data`.
            options: As for `from_data`; what is left out is as in `start`.

        Raises:
            SciflowError: The data do not fit that model.
        """
        return cls.from_data(data, options)

    def carried(self, start: Adapter, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of the model that training begins with, in the shapes of this adapter's network.

        Args:
            start: Adapter of that model, as in `from_start`.
            tensors: Its weights by name.
        """
        return tensors

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""

    @abstractmethod
    def system(self) -> System:
        """The system of components."""

    @abstractmethod
    def network(self) -> nn.Module:
        """A new network for the system."""

    # -- objects and states ----------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, objects: Iterable[Any]) -> State:
        """Encode objects as a clean state of the system, one sample each.

        Raises:
            SciflowError: An object cannot be encoded.
        """

    @abstractmethod
    def decode(self, state: State) -> list[Any]:
        """Decode a clean state; nothing is repaired or left out."""

    @abstractmethod
    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Draw sizes and lay out the frame of a batch; a sample's frame depends on its own stream alone.

        Args:
            streams: Random streams of the batch.
            options: Wishes of the user (a size, a formula ...), by the domain's own names.
        """

    def null(self) -> Mapping[str, Null]:
        """Conditions that the network can do without, and the value that says "not given".

        Training hides them now and then (`sciflow.learning.Dropout`), generation can be guided by them.
        """
        return {}

    def hooks(self, frame: Frame, options: Mapping[str, Any] | None = None) -> Sequence[Hook]:
        """Hooks that the user's wishes for a batch ask for.

        Args:
            frame: Frame of the batch, made with the same options.
            options: As for `frame`.
        """
        return ()

    def rewards(self) -> Mapping[str, Callable[[Any], float]]:
        """Rewards by name: from what `judged` returns of an object to a number, higher is better."""
        return {}

    def judged(self, thing: Any) -> Any:
        """Return an object as a reward function is shown it, or None where it is not fit to be judged."""
        return thing

    # -- files, metrics, pictures ----------------------------------------------------------------------------------

    @classmethod
    def knows(cls, name: str) -> bool:
        """True where `name` is that of a data set, which `read` and ``[data]`` take in the place of a file."""
        return False

    @classmethod
    @abstractmethod
    def read(
        cls,
        path: str | Path,
        raw: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Read:
        """Read objects from a file.

        Args:
            path: File with one of `suffixes`, or the name of a data set.
            raw: Keep objects that break the rules of the domain, as evaluation must.
            progress: Called now and then with the number of objects since the last call.

        Raises:
            SciflowError: The file cannot be read or holds nothing.
        """

    @classmethod
    @abstractmethod
    def writer(cls, path: str | Path) -> Writer:
        """Open a file for writing, replacing it.

        Raises:
            SciflowError: The suffix is unknown or the place cannot be written.
        """

    @classmethod
    @abstractmethod
    def metrics(
        cls,
        objects: Sequence[Any],
        reference: Sequence[Any] | None = None,
        train: Sequence[Any] | None = None,
        *,
        unreadable: int = 0,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Metrics:
        """Judge samples, against reference data and the training data where given.

        Args:
            objects: Samples, as generated.
            reference: Data to compare with, held out of training.
            train: Data of training.
            unreadable: Number of samples that could not even be read; they count as failures.
            device: Device for metrics that run a network.
            progress: Called with the name of a stage, and the steps done and in all.
        """

    @classmethod
    @abstractmethod
    def draw(cls, objects: Sequence[Any], path: str | Path) -> None:
        """Draw objects to a picture file (``.svg`` or ``.png``)."""

    @classmethod
    def pictures(
        cls, objects: Sequence[Any], reference: Sequence[Any] | None = None
    ) -> list[tuple[str, str | bytes]]:
        """Draw what else a page shows: captions, each with the text of an SVG or the bytes of a PNG, JPEG or GIF.

        Args:
            objects: Samples.
            reference: Data to compare with.
        """
        return []

    @classmethod
    @abstractmethod
    def describe(cls, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """One row of plain values per object, for tables and data frames."""

    @classmethod
    def importers(cls) -> dict[str, Any]:
        """Readers of foreign weights: name to ``function(path) -> Model``."""
        return {}

    @classmethod
    def commands(cls) -> dict[str, Callable[..., Any]]:
        """Verbs of the command line that the domain brings along: functions as typer takes them.

        Each is named in the table ``verbs`` of the domain's ``examples.toml``, too (see `registry`).
        """
        return {}


def check(adapter: Adapter, objects: Sequence[Any], same: Any = None, atol: float = 1e-4) -> None:
    """Assert that an adapter keeps the contract; raises with the first breach.

    Checked: objects survive encoding and decoding; the configuration makes the same adapter again; components match the
    system; the network gives each sample the same output alone as in a batch; frames and priors do not depend on the
    batch; padding stays zero.

    Args:
        adapter: The adapter.
        objects: A few objects of different sizes.
        same: ``same(a, b) -> bool`` for two objects; None compares with ``==``.
        atol: Tolerance for network outputs.

    Raises:
        SciflowError: A promise is broken; the message names it.
    """
    same = same or (lambda a, b: a == b)

    def promise(holds: bool, what: str) -> None:
        if not holds:
            raise SciflowError(f"adapter {adapter.name}: broken promise: {what}")

    state, system = adapter.encode(objects), adapter.system()
    promise(set(state) == set(system), "states have exactly the components of the system")
    promise(state.batch_size == len(objects), "one sample per object")
    back = adapter.decode(state)
    promise(all(map(same, objects, back)), "decode(encode(objects)) gives the objects again")
    again = type(adapter).from_config(adapter.config())
    promise(again.config() == adapter.config(), "from_config(config()) is the same adapter")
    for name, component in system.items():
        projected = component.space.project(state[name], state.mask(name))
        promise(
            torch.equal(projected, state[name]), f"clean {name} lies in its space, zero on padding"
        )

    torch.manual_seed(0)
    network = adapter.network().eval()
    streams = Streams.range(0, 0, len(objects), "check")
    t = torch.full((len(objects),), 0.5)
    noised = system.corrupt(state, t, streams).state
    with torch.no_grad():
        whole = network(noised, t)
        for k in range(len(objects)):
            one = network(noised.select(slice(k, k + 1)), t[:1])
            for name in system:
                close = torch.allclose(one[name][0], whole[name][k], atol=atol)
                promise(close, f"{name} of sample {k} is the same alone as in a batch")

    frame = adapter.frame(Streams.range(7, 0, 6, "check"))
    tail = adapter.frame(Streams.range(7, 3, 3, "check"))
    for name, mask in tail.masks.items():
        sizes, expected_sizes = mask.flatten(1).sum(1), frame.masks[name].flatten(1).sum(1)[3:]
        promise(torch.equal(sizes, expected_sizes), f"size of {name} does not depend on the batch")
    prior = system.prior(
        frame.shapes, Streams.range(7, 0, 6, "check"), frame.masks, frame.condition
    )
    promise(len(adapter.decode(prior)) == 6, "noise can be decoded")
