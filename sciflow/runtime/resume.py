"""Going on with an interrupted generation: a record beside the file of samples says how far it is.

Beside ``name.smi`` lies ``.name.smi.resume`` as long as samples are being made: what they are made with, how many are
in the file, and the length of the file with just these. A batch is on the disk before the record counts it, and what
the record does not count is cut off when the generation goes on; so nothing is lost or doubled, whatever ended the
process. Sample i is a function of the model, the seed and i: the whole is the same as if nothing had happened. The
record goes with the last sample.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__, checkpoint
from ..adapter import Resumable
from ..errors import SciflowError, expected

if TYPE_CHECKING:
    from ..model import Model
    from .generate import Plan
    from .output import Output


def fingerprint(model: Model) -> str:
    """Checksum of the configuration and the weights of a model."""
    digest = hashlib.sha256(json.dumps(model.adapter.config(), sort_keys=True).encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def identity(generation: Plan) -> dict[str, Any]:
    """What decides the samples, as plain values: all settings but how many, and how many at a time."""
    settings = generation.settings()
    for name in ("n", "batch_size", "device"):
        del settings[name]
    of = {"model": generation.model.name, "weights": fingerprint(generation.model)}
    versions = {"sciflow": __version__, "torch": torch.__version__}
    return json.loads(json.dumps({**of, **settings, **versions}, default=str))


@dataclass
class Record:
    """The record of one generation into one file.

    Args:
        samples: The file of samples.
        identity: What decides the samples.
        made: Samples in the file.
    """

    samples: Path
    identity: dict[str, Any]
    made: int = 0

    @classmethod
    def of(cls, generation: Plan, output: Output, resume: bool) -> Record | None:
        """Open the record of a generation, and the file behind the samples that it counts.

        Args:
            generation: What is being made.
            output: Where to; opened.
            resume: Whether to go on; without a record and a file, from the start.

        Returns:
            The record; None for an output that cannot go on: a folder, or a file that is written in one piece.

        Raises:
            SciflowError: `resume` is asked of such an output; there are samples without a record; the record is of
                other samples, or damaged; the file is shorter than it says.
        """
        writer = output.writer
        if output.folder or not isinstance(writer, Resumable):
            if resume:
                got = "a folder" if output.folder else f"a {output.samples.suffix} file"
                wanted = "a file to which samples can be added later"
                raise expected(f"--resume {output.path}", got, wanted, "leave --resume out")
            return None
        record = cls(output.samples, identity(generation))
        if resume:
            mark = record._read()
            if record.made > generation.n:
                raise expected("-n", generation.n, f"at least the {record.made} that are there")
            if mark:
                writer.go_on(mark, record.made)
        return record

    @property
    def path(self) -> Path:
        """File of the record."""
        return self.samples.with_name(f".{self.samples.name}.resume")

    def note(self, count: int) -> None:
        """Count samples that are on the disk."""
        self.made += count
        content = {"made": self.made, "bytes": _length(self.samples), "of": self.identity}
        checkpoint.write_text(self.path, json.dumps(content, indent=1) + "\n")

    def remove(self) -> None:
        """Forget: all samples are there."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> int:
        """Take the number of samples from the record; returns the length of the file with them."""
        length = _length(self.samples)
        if not self.path.exists():
            if length:
                what = "samples without a record of an interruption"
                raise expected(
                    f"--resume {self.samples}",
                    what,
                    f"{self.path.name} beside them, or no file",
                    "leave --resume out to replace them",
                )
            return 0
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            made, mark, of = int(content["made"]), int(content["bytes"]), dict(content["of"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SciflowError(
                f"{self.path}: got {error!r}, expected the record of an interrupted generation; leave --resume out to "
                "start again"
            ) from None
        keys = sorted(
            k for k in of.keys() | self.identity.keys() if of.get(k) != self.identity.get(k)
        )
        if keys:
            differences = ", ".join(
                f"{k}: {of.get(k)!r} there, {self.identity.get(k)!r} here" for k in keys
            )
            raise SciflowError(
                f"--resume {self.samples}: got other settings than those of the samples ({differences}), expected the "
                "same; restore them, or leave --resume out to start again"
            )
        if length < mark:
            raise expected(
                str(self.samples), f"{length} bytes", f"at least the {mark} of its record"
            )
        self.made = made
        return mark


def _length(path: Path) -> int:
    """Bytes of a file; 1 of a store in a folder, which is there."""
    return int(path.is_dir()) or (path.stat().st_size if path.exists() else 0)


__all__ = ["Record", "fingerprint", "identity"]
