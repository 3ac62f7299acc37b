"""The wavelet codec: PyWavelets' coefficients, exact inverses, bands where their names say, statistics of the data."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import pywt
import torch

from sciflow.domains.fields.wavelet import MODES, Axis, Codec, Transform, bank, filters
from sciflow.errors import SciflowError

FILTERS = pywt.wavelist(kind="discrete")
SYMMETRIC = ("bior1.3", "bior2.4", "bior4.4", "haar", "rbio2.2", "bior6.8", "db4", "sym5")


def fields(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "mirror"])
def test_every_filter_inverts_exactly_and_has_the_coefficients_of_pywavelets(mode: str) -> None:
    for name in FILTERS:
        for length in (7, 16):
            both = bank(name, mode, length)
            x = fields(length, 3).numpy()
            x /= np.abs(x).max()
            want = np.concatenate(pywt.dwt(x, name, mode, axis=0))
            assert np.abs(both.analysis @ x - want).max() <= 1e-12 * np.abs(want).max()
            back = both.synthesis @ (both.analysis @ x)
            assert np.abs(back - x).max() <= 1e-12, (name, length)
            a = torch.tensor(both.analysis, dtype=torch.float32)
            s = torch.tensor(both.synthesis, dtype=torch.float32)
            single = torch.tensor(x, dtype=torch.float32)
            assert (s @ (a @ single) - single).abs().max() <= 2e-6, (name, length)


@pytest.mark.parametrize("name", SYMMETRIC)
@pytest.mark.parametrize("length", [9, 32])
def test_mirror_keeps_half_the_coefficients_and_inverts_exactly(name: str, length: int) -> None:
    both = bank(name, "mirror", length)
    assert both.count == (length + 1) // 2
    assert np.abs(both.synthesis @ both.analysis - np.eye(length)).max() < 1e-13
    assert np.linalg.cond(both.analysis) < 4
    # Nothing is glued end to end: details of a constant vanish, borders included.
    assert np.abs(both.analysis[both.count :] @ np.ones(length)).max() < 1e-9


def test_mirror_refuses_an_unstable_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_WORST", 2.0)
    with pytest.raises(SciflowError, match="symmetric filter.*or the mode 'symmetric'"):
        bank("bior3.3", "mirror", 34)


def test_mirror_does_not_glue_the_ends_together() -> None:
    ramp = torch.linspace(0, 1, 32, dtype=torch.float64)
    details = {
        mode: Transform((Axis("x", 32, mode),)).decompose(ramp)["d1"].abs().max()
        for mode in ("mirror", "periodization")
    }
    assert details["mirror"] < 0.05 < 0.2 < details["periodization"]


@pytest.mark.parametrize("mode", ["symmetric", "periodization", "zero"])
@pytest.mark.parametrize("lengths", [(21,), (13, 18), (7, 10, 12)])
def test_pyramid_is_that_of_pywavelets(mode: str, lengths: tuple[int, ...]) -> None:
    axes = tuple(Axis(f"x{k}", n, mode, "bior2.4") for k, n in enumerate(lengths))
    transform = Transform(axes, level=2)
    x = fields(2, *lengths)
    mine = transform.decompose(x)
    with warnings.catch_warnings(action="ignore"):  # of a level beyond the filter's length
        theirs = pywt.wavedecn(
            x.numpy(), "bior2.4", mode, level=2, axes=range(1, 1 + len(lengths))
        )
    assert list(mine) == list(transform.bands)
    assert np.allclose(mine.pop(transform.bands[0]), theirs[0], atol=1e-12)
    for level, details in zip((2, 1), theirs[1:], strict=True):
        for name, want in details.items():
            assert np.allclose(mine.pop(f"{name}{level}"), want, atol=1e-12), (name, level)
    assert not mine


def test_axes_may_differ_and_long_axes_are_cut_into_blocks() -> None:
    axes = (Axis("time", 9, "mirror", "bior1.3"), Axis("x", 1031, "periodization", "db4"))
    transform = Transform(axes, level=2)
    x = fields(2, 9, 1031)
    assert (transform.reconstruct(transform.decompose(x)) - x).abs().max() < 1e-12
    dense = torch.tensor(bank("db4", "periodization", 1031).analysis)
    apply = filters.operator("db4", "periodization", 1031, False, torch.float64, x.device)
    assert torch.allclose(apply(x, -1), x @ dense.mT, atol=1e-13)
    assert torch.allclose(apply(x.mT, -2), (x @ dense.mT).mT, atol=1e-13)


def test_packets_of_one_level_are_the_bands_and_of_two_invert() -> None:
    axes = (Axis("time", 12), Axis("x", 17, "symmetric"))
    x = fields(3, 2, 12, 17)
    one = Transform(axes)
    bands = one.decompose(x)
    packed = one.packets(x)
    for k, name in enumerate(one.packet_bands):
        assert torch.equal(packed[:, :, k], bands[f"{name}1"])
    two = Transform(axes, level=2)
    assert two.packets(x).shape[2] == len(two.packet_bands) == 16
    assert (two.unpack(two.packets(x)) - x).abs().max() < 1e-12


def test_no_level_leaves_the_values_as_they_are() -> None:
    transform = Transform((Axis("time", 7), Axis("x", 12)), level=0)
    x = fields(3, 2, 7, 12)
    assert torch.equal(transform.packets(x)[:, :, 0], x)
    codec = Codec(transform, ("u", "v")).fit(x)
    assert codec.shapes == {"bands": (2, 7, 12)}
    coded = codec.encode(x)
    assert torch.allclose(
        coded["bands"].std((0, 2, 3), correction=0), torch.ones(2, dtype=x.dtype)
    )
    assert torch.allclose(codec.decode(coded), x, atol=1e-12)
    with pytest.raises(SciflowError, match="level of a pyramid"):
        Codec(transform, ("u",), "pyramid")


def test_bands_hold_what_their_names_say() -> None:
    transform = Transform((Axis("time", 16, "periodization"), Axis("x", 32, "periodization")))
    wiggle = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(16).expand(16, 32)
    energy = {name: float(b.square().sum()) for name, b in transform.decompose(wiggle).items()}
    assert energy["ad1"] > 0.99 * sum(energy.values())


def test_gradient_of_the_inverse_is_its_transpose() -> None:
    transform = Transform((Axis("x", 11, "symmetric", "db3"),))
    x = fields(2, 11).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform.decompose(v)["d1"], (x,))
    assert torch.autograd.gradcheck(lambda v: transform.unpack(transform.packets(v)), (x,))


@pytest.mark.parametrize("packing", ["stack", "pyramid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codec_round_trip_and_statistics(packing: str, dtype: torch.dtype) -> None:
    axes = (Axis("time", 33), Axis("x", 30, "periodization"))
    plain = Codec(Transform(axes, 2), ("u", "f"), packing, multiple=4)
    x = (
        fields(16, 2, 33, 30, dtype=dtype).cumsum(-1)
        * torch.tensor([1.0, 50.0], dtype=dtype)[:, None, None]
        + 3
    )
    codec = plain.fit([x[:5], x[5:]])
    coded = codec.encode(x)
    assert (codec.decode(coded) - x).abs().max() <= (
        2e-6 if dtype == torch.float32 else 1e-12
    ) * x.abs().max()
    for key, value in coded.items():
        assert tuple(value.shape[1:]) == codec.shapes[key]
        assert all(n % 4 == 0 for n in value.shape[2:])
        inside = codec.mask(key)
        assert not value[..., ~inside].any()
        values = value[..., inside].double().transpose(0, 1).flatten(1)
        assert torch.allclose(
            values.mean(1), torch.zeros(len(values), dtype=torch.float64), atol=1e-4
        )
        assert torch.allclose(
            values.std(1), torch.ones(len(values), dtype=torch.float64), atol=1e-2
        )
        assert torch.allclose(
            values.abs().amax(1), codec.largest(key, value).double().flatten(), rtol=1e-4
        )
    again = Codec.from_config(json.loads(json.dumps(codec.config())))
    assert again == codec


def test_gradients_after_a_first_call_in_inference_mode() -> None:
    transform = Transform((Axis("x", 23, "symmetric", "sym7"),))
    with torch.inference_mode():
        transform.decompose(fields(1, 23))
    x = fields(1, 23).requires_grad_()
    transform.decompose(x)["a1"].sum().backward()
    assert x.grad is not None


def test_codec_of_a_finer_grid_keeps_the_statistics_of_the_mean() -> None:
    def smooth(n: int) -> torch.Tensor:
        grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        phase = torch.rand(64, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return (2 * torch.pi * (grid + phase)).sin()[:, None]

    codec = Codec(Transform((Axis("x", 32, "periodization"),))).fit(smooth(32))
    fine = codec.on({"x": 64}).encode(smooth(64))["bands"]
    assert fine[:, 0].std() == pytest.approx(1.0, abs=0.05)
    assert fine[:, 1].std() < 0.5
    assert codec.over("x").statistics is None


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    codec = Codec(Transform((Axis("time", 8), Axis("x", 16))))
    with pytest.raises(SciflowError, match="codec.fit"):
        codec.encode(torch.zeros(1, 1, 8, 16))
    fitted = codec.fit(fields(4, 1, 8, 16))
    with pytest.raises(SciflowError, match=r"last dimensions are \[8, 16\].*resized"):
        fitted.encode(torch.zeros(1, 1, 8, 17))
    with pytest.raises(SciflowError, match="1 channels"):
        fitted.encode(torch.zeros(1, 2, 8, 16))
    with pytest.raises(SciflowError, match="not finite"):
        codec.fit(torch.full((1, 1, 8, 16), torch.nan))
    with pytest.raises(SciflowError, match="did you mean 'bior2.4'"):
        Transform((Axis("x", 16, wavelet="bior24"),))
    with pytest.raises(SciflowError, match="periodization"):
        Transform((Axis("x", 16, mode="periodisation"),))
    with pytest.raises(SciflowError, match="2 or more"):
        bank("haar", "mirror", 1)
    with pytest.raises(SciflowError, match="lacks or misnames"):
        Codec.from_config({"axes": [{"name": "x", "length": 8}]})
