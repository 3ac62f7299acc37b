r"""Properties of crystals: a number per site, learned, differentiable in coordinates and lattice.

    y(crystal) = w . x + (sigma / N) sum_i MLP(h_i)

with the shares x of the elements, a ridge fit w of the data to them (the *composition-only baseline*), the standard
deviation sigma of what it leaves, and features h_i of degree 0 from `networks.interactions`. So y is the same for every
rotation, translation, order of the sites, choice of the cell and supercell, and what the network learns is what the
composition does not say. Quantities per site or per cell of fixed content fit this form (eV/atom, eV, g/cm^3).

A `Regressor` serves guidance by the hooks of the core, in either direction:

    energy = property.load("energy.safetensors").on(model.adapter)       # believed data to eV/atom
    hooks.Steer(lambda data: 5 * energy(data), low=0.5)                  # down its gradient
    hooks.Particles(lambda data: -energy(data), count=4, scale=20)       # any solver that draws

Reference: the form of the energy: Batzner et al., arXiv:2101.03164, equation 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sciflow import checkpoint
from sciflow.errors import SciflowError, built, expected, unknown
from sciflow.learning import Objective, Recipe, train
from sciflow.learning.objective import Times
from sciflow.spaces import Torus
from sciflow.state import State

from . import elements as table
from .adapter import Crystals as Adapter
from .crystal import Crystal
from .labels import facts, labels_of
from .networks.interactions import Interactions
from .structures import Crystals, encode

FORMAT = "sciflow crystal property 1"
Judge = Callable[[State], Tensor]
"""From the believed data of a model to one number for each sample."""


class PropertyNetwork(nn.Module):
    """Mean over the sites of a number that each has by its neighbourhood; see the module.

    Args:
        numbers: Atomic numbers of the K elements.
        channels: Number of channels of each degree.
        layers: Rounds of interactions; 0 sees the composition alone.
        cutoff: Distance in angstrom up to which sites interact.
        radial: Number of Bessel functions.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        channels: int = 32,
        layers: int = 2,
        cutoff: float = 5.0,
        radial: int = 8,
    ) -> None:
        super().__init__()
        self.register_buffer("facts", torch.tensor(facts(numbers)), persistent=False)
        self.facts: Tensor
        self.species = nn.Linear(len(numbers), channels, bias=False)
        nn.init.normal_(self.species.weight, std=0.5)
        self.properties = nn.Linear(self.facts.shape[1], channels)
        # What a site is surrounded by, even where the layers are none: the mean of the crystal.
        self.whole = nn.Linear(channels, channels, bias=False)
        self.start = nn.Sequential(nn.SiLU(), nn.Linear(channels, channels))
        self.body = Interactions(channels, layers, (0,), cutoff, radial)
        self.head = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, 1),
        )

    def forward(
        self, species: Tensor, coordinates: Tensor, matrix: Tensor, real: Tensor
    ) -> Tensor:
        """Return one number for each crystal, ``[B]``.

        Args:
            species: Shares of the elements at each site ``[B, N, K]``, one-hot where they are known.
            coordinates: Fractional coordinates ``[B, N, 3]``.
            matrix: Lattice vectors as rows in angstrom ``[B, 3, 3]``.
            real: True on real sites ``[B, N]``.
        """
        share = real.to(matrix.dtype) / real.sum(1, keepdim=True).clamp_min(1)
        h = self.species(species) + self.properties(species @ self.facts)
        h = h + self.whole((h * share.unsqueeze(-1)).sum(1, keepdim=True))
        sites, _ = self.body(self.start(h), coordinates, matrix, real)
        return (self.head(sites[0].squeeze(-1)).squeeze(-1) * share).sum(1)


@dataclass(frozen=True, eq=False)
class Regressor:
    """A learned property.

    Args:
        name: What it is, such as ``heat_ref``.
        numbers: Atomic numbers of the elements that it knows.
        weights: w, the ridge fit to the shares of the elements ``[K]``.
        scale: sigma.
        options: Options of the network.
        network: The network.
        card: What is known of it: unit, data, errors.
    """

    name: str
    numbers: tuple[int, ...]
    weights: tuple[float, ...]
    scale: float
    options: Mapping[str, Any]
    network: PropertyNetwork
    card: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, species: Tensor, coordinates: Tensor, matrix: Tensor, real: Tensor
    ) -> Tensor:
        """Return the property of a batch ``[B]``; arguments as for `PropertyNetwork.forward`."""
        shown = species * real.unsqueeze(-1)
        shares = shown.sum(1) / real.sum(1, keepdim=True).clamp_min(1)
        base = shares @ shares.new_tensor(self.weights)
        return base + self.scale * self.network(shown, coordinates, matrix, real)

    def predict(self, crystals: Sequence[Any], batch_size: int = 256) -> NDArray[np.float64]:
        """Return the property of crystals, pymatgen structures or ASE atoms; NaN for those it cannot see.

        Args:
            crystals: The crystals; one with an element that it does not know, or no volume, is NaN.
            batch_size: Crystals at a time.
        """
        made = [Crystal.of(thing) for thing in crystals]
        values = np.full(len(made), np.nan)
        try:
            found = encode(made, species=self.numbers)
        except SciflowError:
            return values
        data, places = _Data(found.crystals, self.numbers), np.array(found.kept)
        order = np.argsort(data.sizes.numpy(), kind="stable")  # alike sizes together: less padding
        with torch.no_grad():
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                values[places[part]] = self(*data.inputs(torch.from_numpy(part))).numpy()
        return values

    def on(self, adapter: Adapter) -> Judge:
        """Return the property as a function of the believed data of a model, for guidance.

        It is differentiable in the lattice, the coordinates and believed probabilities of species. Where coordinates
        are vectors u in the plane, the gradient is that of the angle times |u|^2: a step of `rate` along it turns the
        angle by `rate` times the slope, however sure the belief is.

        Args:
            adapter: Adapter of the model.

        Raises:
            SciflowError: The model makes an element that the regressor does not know.
        """
        for z in adapter.numbers:
            if z not in self.numbers:
                raise unknown(
                    f"element of the model for {self.name}",
                    table.symbol(z),
                    map(table.symbol, self.numbers),
                )
        place = torch.tensor([self.numbers.index(z) for z in adapter.numbers])

        def judge(state: State) -> Tensor:
            labels, ranks, _, numbers = adapter.process.read(state)
            real = ranks > 0
            known = place.to(labels.device)
            species = F.one_hot(known[labels], len(self.numbers)).to(numbers.dtype)
            if not adapter.process.given and state["species"].is_floating_point():
                believed = state["species"][..., : len(place)]
                species = believed.new_zeros(species.shape).index_copy(-1, known, believed)
            matrix = adapter.cells.decode(numbers, labels, real)
            self.network.to(numbers.device)
            return self(species, _coordinates(adapter, state), matrix, real)

        return judge

    def save(self, path: str | Path) -> Path:
        """Write a ``.safetensors`` file."""
        header = {
            "format": FORMAT,
            "name": self.name,
            "numbers": list(self.numbers),
            "weights": list(self.weights),
            "scale": self.scale,
            "options": dict(self.options),
            "card": dict(self.card),
        }
        checkpoint.save(path, self.network.state_dict(), header)
        return Path(path)


def load(path: str | Path) -> Regressor:
    """Read a regressor that `Regressor.save` wrote.

    Raises:
        SciflowError: The file is missing, damaged or of another kind.
    """
    tensors, header = checkpoint.load(Path(path))
    if header.get("format") != FORMAT:
        raise expected(str(path), header.get("format"), FORMAT, "fit the property again")
    network = PropertyNetwork(header["numbers"], **header["options"])
    checkpoint.load_into(network, tensors, str(path))
    return Regressor(
        header["name"],
        tuple(header["numbers"]),
        tuple(header["weights"]),
        header["scale"],
        header["options"],
        network.eval(),
        header["card"],
    )


def fit(
    crystals: Crystals,
    name: str,
    folder: str | Path,
    recipe: Recipe | None = None,
    seed: int = 0,
    device: str = "auto",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    **options: Any,
) -> Regressor:
    """Fit a property of encoded crystals; the same call again goes on from the last checkpoint.

    Args:
        crystals: The crystals, with the property among their `properties`; those where it is NaN are left out.
        name: Name of the property.
        folder: Where checkpoint and log live.
        recipe: How to train.
        seed: Seed of weights and order.
        device: ``auto``, ``cpu``, ``cuda``.
        on_step: As for `sciflow.learning.train`.
        options: Options of `PropertyNetwork`.

    Raises:
        SciflowError: There is no such property, an option is wrong, or the folder holds another run.
    """
    if name not in crystals.properties:
        raise unknown("property", name, crystals.properties)
    known = crystals.properties[name].isfinite()
    if int(known.sum()) < 2:
        raise expected(f"values of {name}", int(known.sum()), "at least two")
    crystals = crystals.select(known.nonzero().squeeze(1))
    values = crystals.properties[name].double()
    numbers = crystals.elements()
    weights = composition_fit(crystals, values, numbers)
    rest = values - composition_shares(crystals, numbers) @ weights
    scale = float(rest.std(correction=0).clamp_min(1e-6))
    torch.manual_seed(seed)
    network = built(f"the network of {name}", PropertyNetwork, options, numbers)
    recipe = recipe or Recipe(steps=5000, batch_size=64)
    data = _Data(crystals, numbers, (rest / scale).float())
    header = {"property": name, "options": options}
    average = train(
        _Regression(network), data, recipe, folder, seed, device, header=header, on_step=on_step
    )
    network.cpu().eval()
    found = {key: value.cpu() for key, value in average.average.items()}
    network.load_state_dict({**network.state_dict(), **found})
    card = {"samples": len(crystals), "recipe": asdict(recipe), "seed": seed}
    return Regressor(name, numbers, tuple(weights.tolist()), scale, options, network, card)


def composition_shares(crystals: Crystals, numbers: Sequence[int]) -> Tensor:
    """Return the shares of the elements, float64 ``[M, K]``; elements that are not listed are left out."""
    rows = torch.zeros(len(crystals), len(numbers), dtype=torch.float64)
    for place, z in enumerate(numbers):
        rows[:, place] = (crystals.species == z).sum(1) / crystals.sizes
    return rows


def composition_fit(
    crystals: Crystals, values: Tensor, numbers: Sequence[int], ridge: float = 1.0
) -> Tensor:
    """Return w that minimises |y - X w|^2 + ridge |w - mean(y)|^2, float64 ``[K]``.

    Args:
        crystals: M crystals.
        values: y, float64 ``[M]``.
        numbers: Atomic numbers of the elements.
        ridge: Weight, in crystals.
    """
    x, mean = composition_shares(crystals, numbers), values.mean()
    normal = x.mT @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype)
    return mean + torch.linalg.solve(normal, x.mT @ (values - mean * x.sum(1)))


class _Data:
    """Crystals as the trainer and the network take them.

    Args:
        crystals: The crystals.
        numbers: Atomic numbers of the elements.
        values: What the network has to say ``[M]``.
    """

    def __init__(
        self, crystals: Crystals, numbers: Sequence[int], values: Tensor | None = None
    ) -> None:
        self.labels = labels_of(crystals.species.long(), numbers)
        self.coordinates, self.matrix = crystals.coordinates, crystals.matrix()
        self.sizes, self.count = crystals.sizes.long(), len(numbers)
        self.values = torch.zeros(len(crystals)) if values is None else values

    def __len__(self) -> int:
        return len(self.sizes)

    def inputs(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Species, coordinates, lattice and real sites of some crystals, cut to the largest of them."""
        n = int(self.sizes[index].max())
        real = torch.arange(n) < self.sizes[index].unsqueeze(1)
        species = F.one_hot(self.labels[index, :n], self.count).float()
        return species, self.coordinates[index, :n], self.matrix[index], real

    def batch(self, index: Tensor) -> State:
        """Some crystals as a state: what `fit` trains on."""
        species, coordinates, matrix, real = self.inputs(index)
        fields = {"species": species, "coordinates": coordinates, "lattice": matrix}
        return State(fields, {"coordinates": real}, {"value": self.values[index]})


class _Regression(Objective):
    """The loss of a property: Huber's, of what the composition leaves in units of its standard deviation.

    The trainer asks of an objective its network, a law of times for the header, and the loss; there is no system here.
    """

    def __init__(self, network: PropertyNetwork) -> None:
        nn.Module.__init__(self)
        self.network, self.times = network, Times()

    def forward(
        self,
        fields: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        condition: Mapping[str, Tensor],
        *_: Any,
    ) -> dict[str, Tensor]:
        real = masks["coordinates"]
        species = fields["species"] * real.unsqueeze(-1)
        value = self.network(species, fields["coordinates"], fields["lattice"], real)
        return {"loss": F.smooth_l1_loss(value, condition["value"], beta=0.1)}


def _coordinates(adapter: Adapter, state: State) -> Tensor:
    """Fractional coordinates of believed data, with a gradient that stays finite where nothing is believed."""
    x, free = state["coordinates"], state.masks["coordinates"].unsqueeze(-1)
    if not adapter.process.on_circle:
        return torch.where(free, Torus().project(x, None), 0.0)
    first = x.new_tensor((1.0, 0.0)).expand_as(x)
    length = x.detach().norm(dim=-1, keepdim=True)
    u = torch.where(free.unsqueeze(-1) & (length > 1e-4), x, first)
    u = u.detach() + (u - u.detach()) * length.square()
    return torch.atan2(u[..., 1], u[..., 0]) / (2 * torch.pi)


__all__ = [
    "FORMAT",
    "Judge",
    "PropertyNetwork",
    "Regressor",
    "composition_fit",
    "composition_shares",
    "fit",
    "load",
]
