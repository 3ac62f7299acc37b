"""Public files on a user's machine: found in the folder that SCIFLOW_DATA names, or downloaded once and checked.

A domain says which names a file may have and where it comes from. What is downloaded lies in the cache of the user
(pooch finds its place); SCIFLOW_OFFLINE=1 forbids it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SciflowError, expected

DATA, OFFLINE = "SCIFLOW_DATA", "SCIFLOW_OFFLINE"
"""Environment variables: the folder of the user's own files, and whether nothing may be downloaded."""


@dataclass(frozen=True)
class Remote:
    """A public file.

    Args:
        url: Its address.
        checksum: ``sha256:...``, ``md5:...`` or ``git:...``, the name of its git blob: the sha1 of "blob <length>", a
            zero byte and its bytes. "" where its source states none: the first download is trusted.
        name: Its name in the cache, by which other files of the folder are told apart.
    """

    url: str
    checksum: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.url.rsplit("/", 1)[-1])

    def matches(self, path: Path) -> bool:
        """Whether a file has the checksum."""
        if not self.checksum:
            return True
        kind, _, digest = self.checksum.partition(":")
        if kind == "git":
            found = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        else:
            found = hashlib.new(kind, usedforsecurity=False)
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                found.update(piece)
        return found.hexdigest() == digest


def find(names: Sequence[str], folder: str, remote: Remote | None = None, page: str = "") -> Path:
    """Return a public file.

    Args:
        names: Names that it may have, the best first; looked for in SCIFLOW_DATA and its subfolder `folder`.
        folder: Subfolder, of SCIFLOW_DATA and of the cache.
        remote: Where it comes from; None where it has to be got by hand.
        page: Where it is to be got by hand.

    Raises:
        SciflowError: It is not there, and cannot or may not be downloaded.
    """
    root = os.environ.get(DATA)
    for place in (Path(root), Path(root) / folder) if root else ():
        for name in names:
            if (place / name).is_file():
                return place / name
    wanted = f"a folder with {names[0]}"
    if remote is None:
        hint = f"download it from {page}" if page else "put the file there"
        raise expected(DATA, root or "nothing", wanted, hint)
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise expected(
            DATA, root or "nothing", wanted, f"download it from {remote.url} ({OFFLINE} is set)"
        )
    return fetch(remote, folder)


def fetch(remote: Remote, folder: str) -> Path:
    """Return a public file from the cache; the first time it is downloaded, and refused where its checksum is another.

    Raises:
        SciflowError: It cannot be downloaded, or is not the file that is meant.
    """
    import pooch

    cache = Path(pooch.os_cache("sciflow")) / folder
    path = cache / remote.name
    if not path.is_file():
        part = f"{remote.name}.part"
        try:
            pooch.retrieve(remote.url, known_hash=None, fname=part, path=cache)
        except Exception as error:  # whatever the protocol and the disk may raise
            raise SciflowError(
                f"{remote.url}: could not be downloaded ({error}); get it by other means and put it into the folder "
                f"that {DATA} names"
            ) from error
        if not remote.matches(cache / part):
            (cache / part).unlink()
            raise expected(
                remote.url,
                "another file than it was",
                f"checksum {remote.checksum}",
                f"get the file by other means and put it into the folder that {DATA} names",
            )
        os.replace(cache / part, path)
    return path


__all__ = ["Remote", "fetch", "find"]
