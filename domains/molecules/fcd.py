r"""Frechet ChemNet Distance: two sets of molecules compared by the activations of ChemNet.

ChemNet (a network trained to predict bioactivities from SMILES) turns each molecule into 512
numbers; both sets are summarised by mean and covariance of these, and

    FCD = || mu_1 - mu_2 ||^2 + tr( C_1 + C_2 - 2 (C_1 C_2)^{1/2} ).

The estimate is biased upwards by the sample size: molecules of QM9's own training set give .39,
.22, .11 and .08 for n = 1000, 2000, 5000, 10,000 against the held-out set, so compare figures of
equal n only and read them beside that floor. The text is read up to its first dot: of a molecule
in several pieces ChemNet sees the first one.

The network and its weights come with the package `fcd_torch`; a molecule takes about 4 ms on one
core. Means and covariances are kept on disk, keyed by the content of the set, in the folder named
by the environment variable SCIFLOW_CACHE (default `~/.cache/sciflow`).

Reference: Preuer, Renz, Unterthiner, Hochreiter, Klambauer, Frechet ChemNet Distance: a metric for
generative models for molecules in drug discovery (J. Chem. Inf. Model. 2018), equation 1.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from sciflow.errors import SciflowError, expected, need

LENGTH = 350
"""Characters of a SMILES that ChemNet reads."""
WIDTH = 512
"""Number of activations per molecule."""

_BATCH = 256
_FORMAT = "chemnet-0.13/1"  # part of the cache key: change it when the numbers would change


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of the activations of a set of molecules.

    Attributes:
        mean: float64 [512].
        covariance: float64 [512, 512], with divisor count - 1.
        count: Number of molecules.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int


def fcd(smiles: Sequence[str], reference: Sequence[str], device: str = "cpu") -> float:
    """Return the Frechet ChemNet Distance of two sets of molecules.

    Args:
        smiles: Valid SMILES, at least two; canonicalised here, stereo dropped.
        reference: The same for the other set; its moments are cached on disk.
        device: Torch device on which ChemNet runs.

    Returns:
        The distance, 0 for equal moments.

    Raises:
        SciflowError: A SMILES is invalid, or a set has fewer than two molecules.
    """
    return frechet(
        moments(canonical(smiles), device=device, cache=False),
        moments(canonical(reference), device=device),
    )


def canonical(smiles: Sequence[str]) -> list[str]:
    """Return canonical SMILES without stereo, the form in which ChemNet is asked here.

    Raises:
        SciflowError: A SMILES is invalid.
    """
    out = []
    with rdBase.BlockLogs():
        for text in smiles:
            mol = Chem.MolFromSmiles(text)
            if mol is None or not mol.GetNumAtoms():
                raise expected("SMILES", text, "valid molecules", "drop the invalid ones first")
            out.append(Chem.MolToSmiles(mol, isomericSmiles=False))
    return out


def activations(
    smiles: Sequence[str],
    device: str = "cpu",
    known: dict[str, NDArray[np.float32]] | None = None,
    progress: Callable[[int], object] | None = None,
) -> NDArray[np.float32]:
    """Return the activations of ChemNet's last hidden layer.

    Args:
        smiles: Canonical SMILES, see `canonical`.
        device: Torch device on which ChemNet runs.
        known: Rows computed before, by SMILES; looked up, and new ones are added to it.
        progress: Called with the number of molecules of each batch when it is done.

    Returns:
        float32 [n, 512], one row per SMILES; equal texts are computed once.
    """
    need("fcd_torch", "molecules")
    from fcd_torch.utils import get_one_hot

    known = {} if known is None else known
    network = _chemnet(device)
    todo = sorted(set(smiles) - known.keys())
    with torch.inference_mode():
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            text = np.stack([get_one_hot(s, LENGTH) for s in batch]).astype(np.float32)
            one_hot = torch.from_numpy(text).to(device).transpose(1, 2) / text.shape[-1]
            known.update(zip(batch, network(one_hot).cpu().numpy(), strict=True))
            if progress is not None:
                progress(len(batch))
    if not smiles:
        return np.zeros((0, WIDTH), np.float32)
    return np.stack([known[text] for text in smiles])


def moments(
    smiles: Sequence[str],
    device: str = "cpu",
    cache: bool = True,
    known: dict[str, NDArray[np.float32]] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Moments:
    """Return mean and covariance of the activations of a set.

    Args:
        smiles: Canonical SMILES, at least two.
        device: Torch device on which ChemNet runs.
        cache: Look the result up on disk, and keep it there. The key is the content, not the
            order; a cache folder that cannot be written is passed over in silence.
        known: As in `activations`.
        progress: As in `activations`.

    Raises:
        SciflowError: Fewer than two molecules.
    """
    path = _cache_file(smiles) if cache else None
    if path is not None and (kept := _read(path)) is not None:
        return kept
    result = moments_of(activations(smiles, device, known, progress))
    if path is not None:
        _write(path, result)
    return result


def moments_of(rows: NDArray[np.float32]) -> Moments:
    """Return mean and covariance of activations [n, 512], n >= 2.

    Raises:
        SciflowError: Fewer than two rows.
    """
    if len(rows) < 2:
        raise expected("FCD", f"{len(rows)} molecules", "two or more in each set")
    wide = rows.astype(np.float64)
    return Moments(wide.mean(0), np.cov(wide, rowvar=False), len(wide))


def frechet(x: Moments, y: Moments) -> float:
    """Return the Frechet distance (2-Wasserstein, squared) of the two Gaussians.

    tr (C_1 C_2)^{1/2} is taken as the sum of the square roots of the eigenvalues of the symmetric
    A^T C_2 A with C_1 = A A^T, which are never negative but for rounding: no complex matrix root,
    and singular covariances (fewer molecules than 512) need no offset.
    """
    values, basis = np.linalg.eigh(x.covariance)
    root = basis * np.sqrt(values.clip(min=0.0))
    cross = np.linalg.eigvalsh(root.T @ y.covariance @ root).clip(min=0.0)
    gap = x.mean - y.mean
    total = gap @ gap + np.trace(x.covariance) + np.trace(y.covariance)
    return float(max(0.0, total - 2.0 * np.sqrt(cross).sum()))


@functools.cache
def _chemnet(device: str) -> torch.nn.Module:
    """Return ChemNet with the weights that `fcd_torch` carries, in evaluation mode."""
    package = need("fcd_torch", "molecules")
    from fcd_torch.utils import load_imported_model

    path = Path(str(package.__file__)).with_name("ChemNet_v0.13_pretrained.pt")
    if not path.is_file():
        raise SciflowError(f"{path}: missing, expected ChemNet's weights; reinstall fcd_torch")
    layers = torch.load(path, map_location="cpu", weights_only=True)
    return load_imported_model(layers).eval().to(device)


def cache_folder() -> Path:
    """Return the folder for results that may be computed again: SCIFLOW_CACHE or the default."""
    named = os.environ.get("SCIFLOW_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "sciflow"


def _cache_file(smiles: Sequence[str]) -> Path:
    digest = hashlib.sha256(_FORMAT.encode())
    for text in sorted(smiles):
        digest.update(b"\n" + text.encode())
    return cache_folder() / "fcd" / f"{digest.hexdigest()}.npz"


def _read(path: Path) -> Moments | None:
    """Return the moments kept in a file, or `None` where it is missing or broken."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            found = Moments(kept["mean"], kept["covariance"], int(kept["count"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    shapes = found.mean.shape == (WIDTH,) and found.covariance.shape == (WIDTH, WIDTH)
    return found if shapes else None


def _write(path: Path, kept: Moments) -> None:
    """Keep moments in a file, in one move, so that a broken one is never seen."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.savez(part, mean=kept.mean, covariance=kept.covariance, count=kept.count)
        os.replace(part.name, path)
    except OSError:
        return
