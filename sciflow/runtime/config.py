"""The configuration of a training run: a TOML file, checked whole before anything starts.

    domain = "NAME"              # what is learnt
    seed = 0                     # of weights, order and noise
    device = "auto"              # auto, cpu, cuda
    precision = "32-true"        # of Lightning Fabric: bf16-mixed ...
    folder = "runs/NAME"         # checkpoint, log and model; default: runs/<name of the file>
    process = "NAME"             # or a table; the domain's words
    network = "NAME"             # or a table with a name and options

    [data]       train = "..."   # the domain's words
    [times]      power, low, high                      (`sciflow.learning.Times`)
    [recipe]     steps, batch_size, learning_rate ...  (`sciflow.learning.Recipe`)
    [sampling]   solver, grid, steps                   (`sciflow.model.Sampling`)
    [card]       whatever should be known about the model: name, licence, data ...

A relative file in ``[data]`` is taken from the folder of the configuration (one given by ``--set``, from
the present folder), the folder of the run from the present one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from .. import grids, registry, solvers
from ..errors import SciflowError, expected, unknown
from ..learning import Recipe, Times
from ..model import Sampling
from . import device as devices

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)

Precision = Literal["32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed"]


def _model_of(kind: type) -> Any:
    """Return the pydantic model of a dataclass of options: its fields and defaults, no others."""
    hints = get_type_hints(kind)
    definitions: dict[str, Any] = {}
    for field in fields(kind):
        default = ... if field.default is MISSING else field.default
        definitions[field.name] = (hints[field.name], Field(default))
    return create_model(kind.__name__, __config__=_STRICT, **definitions)


_Times, _Recipe, _Sampling = _model_of(Times), _model_of(Recipe), _model_of(Sampling)


class Config(BaseModel):
    """A training run; see the module. Made by `load`."""

    model_config = _STRICT

    domain: str
    seed: int = 0
    device: str = "auto"
    precision: Precision = "32-true"
    folder: Path = Path("runs")
    process: str | dict[str, Any] | None = None
    network: str | dict[str, Any] | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    times: _Times = Field(default_factory=_Times)  # type: ignore[valid-type]
    recipe: _Recipe  # type: ignore[valid-type]
    sampling: _Sampling = Field(default_factory=_Sampling)  # type: ignore[valid-type]
    card: dict[str, Any] = Field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The domain-specific tables that were given, as `Adapter.from_data` takes them."""
        found: dict[str, Any] = {}
        if self.process is not None:
            found["process"] = self.process
        if self.network is not None:
            named = isinstance(self.network, str)
            found["network"] = {"name": self.network} if named else self.network
        return found

    def as_recipe(self) -> Recipe:
        """The recipe."""
        return Recipe(**dict(self.recipe))

    def as_times(self) -> Times:
        """The law of training times."""
        return Times(**dict(self.times))

    def as_sampling(self) -> Sampling:
        """The default settings of generation."""
        return Sampling(**dict(self.sampling))

    def public(self) -> dict[str, Any]:
        """The settings as plain values for a model card: files by name alone, no folders."""
        data = {key: _name_only(value) for key, value in self.data.items()}
        plain = {
            "domain": self.domain,
            "seed": self.seed,
            "precision": self.precision,
            "data": data,
            **self.options,
            "times": asdict(self.as_times()),
            "recipe": asdict(self.as_recipe()) | {"start": _name_only(self.recipe.start)},
            "sampling": asdict(self.as_sampling()),
        }
        return json.loads(json.dumps(plain))


def _name_only(value: Any) -> Any:
    return (
        Path(value).name if isinstance(value, str) and ("/" in value or "\\" in value) else value
    )


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file.

    Args:
        path: A TOML file.
        overrides: Settings that replace the file's, as ``a.b=value`` with `value` in TOML, or
            plain text.

    Raises:
        SciflowError: The file cannot be read; a key is unknown (the nearest is suggested); a value
            is of the wrong kind.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text"
        raise expected(str(path), reason, "a TOML file that can be read") from None
    except tomllib.TOMLDecodeError as error:
        raise SciflowError(f"{path}: got no TOML ({error}), expected TOML; correct it") from None
    given = [_override(text) for text in overrides]
    for keys, value in given:
        _put(table, keys, value)
    config = check(table, str(path))
    typed = {".".join(keys) for keys, _ in given}

    data, adapter = dict(config.data), registry.adapter(config.domain)
    for key in adapter.data_files:
        value = data.get(key)
        if isinstance(value, str) and not adapter.knows(value):
            data[key] = str(
                (Path.cwd() if f"data.{key}" in typed else path.resolve().parent) / value
            )
    folder = config.folder if "folder" in table else Path("runs") / path.stem
    return config.model_copy(update={"data": data, "folder": folder})


def check(table: Mapping[str, Any], source: str = "configuration") -> Config:
    """Check a configuration given as nested mappings.

    Args:
        table: The configuration.
        source: Where it comes from, for messages.

    Raises:
        SciflowError: As `load`.
    """
    try:
        # By way of JSON, where a list may be a tuple and a text a path, and nothing else bends.
        config = Config.model_validate_json(json.dumps(dict(table), default=str))
    except ValidationError as error:
        raise _explain(error, source) from None
    if config.domain not in registry.names():
        raise unknown(f"{source}: domain", config.domain, registry.names())
    try:
        config.as_recipe()
        config.as_times()
        config.as_sampling()
    except SciflowError as error:
        raise SciflowError(f"{source}: {error}") from None
    solvers.make(config.as_sampling().solver)
    grids.make(config.as_sampling().grid)
    devices.choose(config.device)
    return config


def _override(text: str) -> tuple[list[str], Any]:
    name, equals, value = text.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or not all(keys):
        raise expected("--set", text, "key=value", "for instance --set recipe.steps=1000")
    return keys, toml_value(value)


def toml_value(text: str) -> Any:
    """Return the value that a text means in TOML, or the text itself where it means none."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return table["value"] if set(table) == {"value"} else text.strip()


def _put(table: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1], 1):
        inner = table.setdefault(key, {})
        if isinstance(inner, str) and key in ("process", "network"):
            inner = table[key] = {"path" if key == "process" else "name": inner}
        if not isinstance(inner, dict):
            name = ".".join(keys[:depth])
            raise expected(
                f"--set {'.'.join(keys)}", f"{name} = {inner!r}", f"{name} to be a table"
            )
        table = inner
    table[keys[-1]] = value


def _explain(error: ValidationError, source: str) -> SciflowError:
    """Turn the first of pydantic's findings, unknown keys before all else, into our error."""
    found = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    place = [str(part) for part in found["loc"]]
    name = ".".join(place)
    if found["type"] == "extra_forbidden":
        return unknown(f"{source}: key", name, _keys(place[:-1]))
    if found["type"] == "missing":
        return SciflowError(f"{source}: got no {name}, expected it to be set")
    if found["type"] == "literal_error":
        return unknown(f"{source}: {name}", str(found["input"]), get_args(Precision))
    wanted = found["msg"].removeprefix("Input should be ")
    if place[-1] == "str" or place[-1].startswith("dict["):  # a branch of «a name or a table»
        name, wanted = ".".join(place[:-1]), "a name or a table"
    plain = {
        "an object": "a table",
        "a valid array": "a list",
        "a valid integer": "a whole number",
    }
    wanted = plain.get(wanted, wanted)
    return expected(f"{source}: {name}", found["input"], wanted.replace("a valid ", "a "))


def _keys(place: Sequence[str]) -> list[str]:
    """Names allowed at a place, written in full, so that the suggestion can be copied."""
    kind: Any = {"times": _Times, "recipe": _Recipe, "sampling": _Sampling}.get(
        place[0] if place else "", Config
    )
    prefix = "".join(f"{part}." for part in place)
    return [prefix + name for name in kind.model_fields]


__all__ = ["Config", "check", "load", "toml_value"]
