"""The U-Net keeps any grid, knows no batch, and turns with periodic axes."""

from __future__ import annotations

import pytest
import torch

from sciflow.domains.fields.networks.unet import Port, UNet
from sciflow.domains.fields.process import Process
from sciflow.errors import SciflowError
from sciflow.state import State


def net(ports: dict[str, Port], periodic: tuple[bool, ...], path="linear", **options) -> UNet:
    system = Process.of(path, list(ports)).system()
    made = UNet(system, ports, periodic, **{"width": 8, "multiples": (1, 2, 2), **options}).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():  # blocks start as the identity and the last layer as zero
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return made


def state(ports: dict[str, Port], grids: dict[str, tuple[int, ...]], count: int = 3) -> State:
    generator = torch.Generator().manual_seed(1)

    def draw(channels: int, grid: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(count, channels, *grid, generator=generator)

    fields = {name: draw(port.channels, grids[name]) for name, port in ports.items()}
    given = {f"given.{name}": draw(port.given, grids[name]) for name, port in ports.items()}
    return State(fields, condition=given)


CASES = [
    ({"bands": Port(2, 1)}, {"bands": (13,)}),
    ({"bands": Port(4, 3)}, {"bands": (5, 9)}),
    ({"bands": Port(8, 2)}, {"bands": (3, 5, 6)}),
    ({"bands": Port(4, 3)}, {"bands": (1, 2)}),
    (
        {"coarse": Port(1, 1, 1), "detail2": Port(3, 2, 1), "detail1": Port(3, 2, 0)},
        {"coarse": (5, 6), "detail2": (5, 6), "detail1": (9, 11)},
    ),
]


@pytest.mark.parametrize(("ports", "grids"), CASES, ids=lambda v: str(list(v.values())[-1]))
@pytest.mark.parametrize(("around", "merge"), [(False, "join"), (True, "join"), (True, "sum")])
def test_a_sample_is_the_same_alone_on_any_grid(ports, grids, around: bool, merge: str) -> None:
    axes = len(next(iter(grids.values())))
    made = net(ports, (False, *[around] * (axes - 1)), merge=merge)
    whole = state(ports, grids)
    t = torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        out = made(whole, t)
        for k in range(3):
            one = made(whole.select(slice(k, k + 1)), t[k : k + 1])
            for name in ports:
                assert out[name].shape == whole[name].shape
                assert torch.allclose(one[name][0], out[name][k], atol=1e-5)
    for name in ports:
        assert out[name].std() > 1e-3


def test_a_periodic_axis_has_no_beginning() -> None:
    ports, grids = {"bands": Port(4, 3)}, {"bands": (6, 16)}
    made, whole, t = net(ports, (False, True)), state(ports, grids), torch.full((3,), 0.3)
    with torch.no_grad():
        out = made(whole, t)["bands"]
        turned = made(whole.map(lambda x: x.roll(4, -1)), t)["bands"]  # both halvings divide 4
        lifted = made(whole.map(lambda x: x.roll(4, -2)), t)["bands"]
    assert torch.allclose(turned, out.roll(4, -1), atol=1e-5)
    assert not torch.allclose(lifted, out.roll(4, -2), atol=1e-2)


def test_condition_and_time_are_seen() -> None:
    ports, grids = {"bands": Port(4, 3)}, {"bands": (4, 8)}
    made, whole = net(ports, (False, False)), state(ports, grids)
    with torch.no_grad():
        out = made(whole, torch.full((3,), 0.3))["bands"]
        later = made(whole, torch.full((3,), 0.31))["bands"]
        other = made(
            whole.with_condition(**{"given.bands": torch.zeros(3, 3, 4, 8)}), torch.full((3,), 0.3)
        )
    assert (out - later).abs().max() > 1e-4 and (out - other["bands"]).abs().max() > 1e-2


def test_a_pyramid_needs_as_many_stages() -> None:
    with pytest.raises(SciflowError, match="at least 3 stages"):
        net({"coarse": Port(1, 1, 2)}, (False,), multiples=(1, 2))
