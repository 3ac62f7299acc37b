"""Checkpoints: tensors and a JSON header in one safetensors file, written whole or not at all.

A file is first written beside its place, flushed to the disk, then renamed: a process killed at any moment leaves
either the old file or the new one. Nothing in such a file can run code when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .errors import SciflowError, expected

_HEADER = "sciflow"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary path in the folder of `path`, then move the result into place.

    Raises:
        SciflowError: The place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # with the mode that other new files have; safetensors would keep it to its owner
        mode = partial.stat().st_mode
        write(partial)
        partial.chmod(mode)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise expected(
            str(path),
            error.strerror or str(error),
            "a place that can be written",
            "choose another",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def save(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header atomically.

    Args:
        path: File to write, by convention ``*.safetensors``.
        tensors: Tensors by name; moved to the CPU.
        header: JSON-able mapping.
    """
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_HEADER: json.dumps(header, sort_keys=True)}
    write_atomically(Path(path), lambda place: save_file(plain, place, metadata))


def load(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `save`.

    Returns:
        Tensors by name, on the CPU, and the header.

    Raises:
        SciflowError: The file is missing, truncated, or not of this kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise expected(str(path), "no such file", "a checkpoint of sciflow") from None
    except (OSError, SafetensorError) as error:
        raise expected(
            str(path),
            f"an unreadable file ({error})",
            "a whole safetensors file",
            "copy or download it again",
        ) from None
    if _HEADER not in metadata:
        raise expected(
            str(path),
            "a safetensors file without sciflow's header",
            "a file written by sciflow",
            "weights of other programs come in by 'sciflow import'",
        )
    return tensors, json.loads(metadata[_HEADER])


def load_into(module: Any, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load named tensors into a module, all of them and no others.

    Raises:
        SciflowError: Names or shapes differ; the first few are listed.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != given:
        wrong = sorted(set(own.items()) ^ set(given.items()))
        names = _first(dict.fromkeys(name for name, _ in wrong))
        raise SciflowError(
            f"{source}: got weights that differ from the network in {names}, expected the same names and "
            "shapes; the file and its configuration do not belong together"
        )
    module.load_state_dict(dict(tensors))


def begin(module: Any, tensors: Mapping[str, Tensor], source: str) -> list[str]:
    """Load all of the tensors into a module that may have more: training begins with the weights of another model.

    Args:
        module: The module; what the tensors lack stays as it is.
        tensors: Tensors by name.
        source: Where they come from, for messages.

    Returns:
        Names that the tensors lack.

    Raises:
        SciflowError: A tensor has no place in the module, or another shape.
    """
    own = module.state_dict()
    wrong = [n for n, x in tensors.items() if n not in own or own[n].shape != x.shape]
    if wrong:
        raise SciflowError(
            f"{source}: got weights without a place in the network in {_first(wrong)}, expected weights of the same "
            "network; leave the table [network] out, it is then that of the model"
        )
    module.load_state_dict({**own, **tensors})
    return [name for name in own if name not in tensors]


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (
        f" and {len(names) - count} more" if len(names) > count else ""
    )
