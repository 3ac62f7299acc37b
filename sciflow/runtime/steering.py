"""Steering by a reward: any function of an object as the reward of the particles that generation carries.

A reward is a name that the domain brings along, a function, or ``FILE.py:FUNCTION``; it is shown what the domain's
`Adapter.judged` makes of an object. An object that is not fit to be judged, or at which the function raises, is the
worst there can be in the end, and says nothing on the way; what was raised is counted, by its message.

Rewards have any unit, so the exponent of the tilted law, p(x) exp(scale r(x)), is by default taken in units of the
reward's own spread: `STRENGTH` divided by its standard deviation over a few samples that are made without steering.
They are also the test of the function, before any work.

Reference: see `sciflow.hooks.particles` and `sciflow.hooks.candidates`.
"""

from __future__ import annotations

import importlib.util
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ..adapter import Adapter
from ..errors import SciflowError, expected, unknown
from ..hooks import Candidates, Hook, Particles
from ..state import State

RewardChoice = str | Callable[[Any], float] | Mapping[str, Any]
"""A name, a function, or a table with ``name`` (either of them) and options of `Steering`."""
METHODS = ("particles", "candidates")
PILOTS = 64
"""Samples made without steering, from which the scale of a reward is taken."""
STRENGTH = 3.0
"""Exponent of the tilted law for one standard deviation of the reward."""
_KNOWN = 200_000
_FILE = re.compile(r"(?P<file>.+\.py):(?P<function>[^:]+)")


@dataclass
class ObjectReward:
    """A reward of objects as a reward of clean states, which counts what it meets; each object is judged once.

    Args:
        name: What it is called in messages.
        function: From what `Adapter.judged` returns to a number.
        adapter: Adapter of the domain.
    """

    name: str
    function: Callable[[Any], float]
    adapter: Adapter
    judged: int = 0
    unfit: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    _known: dict[bytes, float] = field(default_factory=dict, repr=False)

    def __call__(self, state: State) -> list[float]:
        """Return the rewards of clean samples, minus infinity where there is none."""
        state = state.to("cpu")
        parts = [x.contiguous().numpy() for x in (*state.values(), *state.masks.values())]
        keys = [b"|".join(x[k].tobytes() for x in parts) for k in range(state.batch_size)]
        if len(self._known) > _KNOWN:
            self._known.clear()
        new = {key: k for k, key in reversed(list(enumerate(keys))) if key not in self._known}
        if new:
            objects = self.adapter.decode(state.select(torch.tensor(list(new.values()))))
            self._known.update(zip(new, map(self.value, objects), strict=True))
        return [self._known[key] for key in keys]

    def value(self, thing: Any) -> float:
        """Return the reward of one object, minus infinity where there is none."""
        shown = self.adapter.judged(thing)
        if shown is None:
            self.unfit += 1
            return -math.inf
        self.judged += 1
        try:
            value = float(self.function(shown))
        except Exception as error:
            self.failed[f"{type(error).__name__}: {error}"[:200]] += 1
            return -math.inf
        if math.isnan(value):
            self.failed["returned nan"] += 1
            return -math.inf
        return value

    def complaint(self) -> str:
        """What went wrong, in a line; empty where nothing did."""
        if not self.failed:
            return ""
        total, several = sum(self.failed.values()), len(self.failed) > 1
        reasons = [
            f"{reason} ({count} times)" if several else reason
            for reason, count in self.failed.most_common(3)
        ]
        more = f" and {len(self.failed) - 3} other reasons" if len(self.failed) > 3 else ""
        return (
            f"reward {self.name}: failed at {total} of {self.judged} objects, which count as the worst: "
            f"{'; '.join(reasons)}{more}"
        )


@dataclass(frozen=True)
class Steering:
    """How to steer.

    Args:
        reward: The reward.
        method: ``"particles"`` or ``"candidates"``.
        count: Particles per sample, or draws per step; network calls grow by this factor.
        scale: Factor of the reward in the exponent; None takes it from its spread.
        threshold: Of particles, see `Particles`; 0 and keep ``"best"`` is the best of so many samples.
        keep: Of particles: ``"one"`` drawn by weight, or the ``"best"`` of each group.
        low: Time from which on believed objects are judged.
    """

    reward: ObjectReward
    method: str = "particles"
    count: int = 8
    scale: float | None = None
    threshold: float = 0.5
    keep: str = "one"
    low: float = 0.5

    @classmethod
    def of(cls, choice: RewardChoice, adapter: Adapter) -> Steering:
        """Read a choice.

        Raises:
            SciflowError: There is no such reward, or an option is wrong.
        """
        options: dict[str, Any] = dict(choice) if isinstance(choice, Mapping) else {"name": choice}
        if "name" not in options:
            raise expected("reward", options, "a table with 'name'")
        name, function = _function(options.pop("name"), adapter)
        allowed = [f.name for f in fields(cls) if f.name != "reward"]
        for option in options:
            if option not in allowed:
                raise unknown(f"option of reward {name}", option, allowed)
        steering = cls(ObjectReward(name, function, adapter), **options)
        if steering.method not in METHODS:
            raise unknown("method of steering", steering.method, METHODS)
        if steering.keep == "all":
            raise expected("keep", "all", "'one' or 'best': one sample for each that is asked for")
        steering.hook(1.0)
        return steering

    def hook(self, scale: float) -> Hook:
        """The hook, for a scale."""
        if self.method == "candidates":
            return Candidates(self.reward, self.count, float(scale), float(self.low))
        return Particles(
            self.reward,
            self.count,
            float(scale),
            self.threshold,
            self.keep,
            float(self.low),
            strict=False,
        )

    def scaled(self, pilots: Sequence[Any]) -> float:
        """Return the scale, from objects that were made without steering.

        Raises:
            SciflowError: None of them could be judged, or all are worth the same.
        """
        values = [v for v in map(self.reward.value, pilots) if math.isfinite(v)]
        if not values:
            why = self.reward.complaint() or f"reward {self.reward.name}: none is fit to be judged"
            raise SciflowError(
                f"{why}; expected a number for some of {len(pilots)} trial samples: correct the function"
            )
        if self.scale is not None:
            return self.scale
        spread = statistics.pstdev(values)
        if spread == 0:
            raise expected(
                f"reward {self.reward.name}",
                f"{values[0]} for every trial sample",
                "values that differ",
                "give its scale, if that is meant",
            )
        return STRENGTH / spread

    def facts(self, scale: float) -> dict[str, Any]:
        """The settings and what was met, as plain values."""
        return {
            "name": self.reward.name,
            "method": self.method,
            "count": self.count,
            "scale": scale,
            "threshold": self.threshold,
            "keep": self.keep,
            "low": self.low,
            "judged": self.reward.judged,
            "unfit": self.reward.unfit,
            "failed": dict(self.reward.failed.most_common(20)),
        }


def parse(text: str) -> RewardChoice:
    """Read ``NAME``, ``FILE.py:FUNCTION``, and either with ``:key=value,key=value`` behind it.

    Raises:
        SciflowError: The options are no pairs.
    """
    from .config import toml_value

    match = _FILE.match(text)
    if match:
        name, rest = match.group(), text[match.end() :].removeprefix(":")
    else:
        name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise expected(f"option of reward {name}", part, "KEY=VALUE")
        options[key.strip()] = toml_value(value)
    return {"name": name, **options}


def _function(choice: Any, adapter: Adapter) -> tuple[str, Callable[[Any], float]]:
    if callable(choice):
        named: Any = choice
        return getattr(choice, "__name__", type(choice).__name__), named
    match = _FILE.fullmatch(str(choice))
    if match is None:
        known = adapter.rewards()
        if choice not in known:
            raise unknown("reward", str(choice), [*known, "FILE.py:FUNCTION"])
        return str(choice), known[choice]
    path, name = Path(match["file"]), match["function"]
    if not path.is_file():
        raise expected(f"reward {choice}", "no such file", "a Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SciflowError(
            f"{path}: got {type(error).__name__}: {error}, expected a file that can be run"
        ) from error
    function: Any = getattr(module, name, None)
    called: Any = function
    if not callable(function):
        there = [n for n, f in vars(module).items() if callable(f) and not n.startswith("_")]
        raise unknown(f"function in {path}", name, there)
    return name, called


__all__ = ["PILOTS", "ObjectReward", "RewardChoice", "Steering", "parse"]
