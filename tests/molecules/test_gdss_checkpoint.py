"""Foreign weights: what is read is right, and nothing that a file says is run."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sciflow.domains.molecules import torch_zip
from sciflow.domains.molecules.gdss_checkpoint import (
    ATOM_TYPES,
    SAMPLERS,
    network_from,
    networks_from,
    our_names,
    read,
    settings_from,
)
from sciflow.errors import SciflowError

Document = dict[str, Any]


@pytest.fixture
def attribute_dict() -> Iterator[type]:
    """A class that pickles as easydict.EasyDict, attributes and all, while the test runs."""

    class EasyDict(dict):
        def __init__(self, **items: Any) -> None:
            super().__init__(items)
            self.__dict__.update(items)

    EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
    module = types.ModuleType("easydict")
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules["easydict"] = module
    yield EasyDict
    del sys.modules["easydict"]


def random_like(names: dict[str, tuple[int, ...]]) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, torch.randn(shape)) for name, shape in names.items())


def linear(name: str, *widths: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(len(widths) - 1):
        shapes[f"{name}.linears.{k}.weight"] = (widths[k + 1], widths[k])
        shapes[f"{name}.linears.{k}.bias"] = (widths[k + 1],)
    return shapes


def document(attribute_dict: Callable[..., Any]) -> Document:
    """A checkpoint of the smallest networks, laid out as the authors' files are."""
    x = {"layers.0.weight": (2, 4), "layers.0.bias": (4,)} | linear("final", 6, 12, 12, 2)
    adj: dict[str, tuple[int, ...]] = {}
    for k, (inner, c, out) in enumerate(((2, 1, 3), (4, 3, 2))):
        for channel in range(c):
            for part in "qkv":
                adj[f"layers.{k}.attn.{channel}.gnn_{part}.weight"] = (inner, 4)
                adj[f"layers.{k}.attn.{channel}.gnn_{part}.bias"] = (4,)
        hidden = 2 * max(c, out)
        adj |= linear(f"layers.{k}.mlp", 2 * c, hidden, out)
        adj |= linear(f"layers.{k}.multi_channel", c * 4, hidden, 4)
    adj |= linear("final", 6, 12, 12, 1)
    ve = {"beta_min": 0.2, "beta_max": 1.0, "num_scales": 1000}
    vp = {"beta_min": 0.1, "beta_max": 1.0, "num_scales": 1000}
    return {
        "model_config": attribute_dict(
            data=attribute_dict(data="ZINC250k", max_node_num=38, max_feat_num=2),
            sde=attribute_dict(
                x=attribute_dict(type="VP", **vp), adj=attribute_dict(type="VE", **ve)
            ),
            seed=42,
            lr=1e-3,
            flags=[True, None, ("a", 1.5)],
        ),
        "params_x": {"model_type": "ScoreNetworkX", "max_feat_num": 2, "depth": 1, "nhid": 4},
        "params_adj": {
            "model_type": "ScoreNetworkA",
            "max_feat_num": 2,
            "max_node_num": 38,
            "nhid": 4,
            "num_layers": 2,
            "num_linears": 2,
            "c_init": 1,
            "c_hid": 3,
            "c_final": 2,
            "adim": 4,
            "num_heads": 2,
            "conv": "GCN",
        },
        "x_state_dict": random_like(x),
        "adj_state_dict": random_like(adj),
    }


@pytest.fixture
def good(attribute_dict: Callable[..., Any]) -> Document:
    return document(attribute_dict)


def saved(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path, **options)
    return path


# ---- good files ---------------------------------------------------------------------------------
def test_a_file_is_read_as_it_was_written(tmp_path: Path, good: Document) -> None:
    checkpoint = read(saved(tmp_path, good))
    assert checkpoint.file == "weights.pth"
    assert checkpoint.config == good["model_config"]
    assert type(checkpoint.config["sde"]["x"]) is dict
    assert checkpoint.params_adj == good["params_adj"]
    for mine, theirs in (("weights_x", "x_state_dict"), ("weights_adj", "adj_state_dict")):
        mine = getattr(checkpoint, mine)
        assert list(mine) == list(good[theirs])
        assert all(torch.equal(mine[name], good[theirs][name]) for name in mine)
    assert checkpoint.ema_x is None and checkpoint.ema_adj is None


def test_parallel_training_left_a_prefix(tmp_path: Path, good: Document) -> None:
    plain = read(saved(tmp_path, good))
    for key in ("x_state_dict", "adj_state_dict"):
        good[key] = OrderedDict((f"module.{name}", w) for name, w in good[key].items())
    prefixed = read(saved(tmp_path, good))
    assert list(prefixed.weights_adj) == list(plain.weights_adj)
    inputs = torch.randn(3, 5, 2), torch.zeros(3, 5, 5)
    with torch.no_grad():
        one, two = networks_from(plain), networks_from(prefixed)
        assert torch.equal(one.bonds(*inputs), two.bonds(*inputs))


def test_averaged_weights_get_the_names_of_the_parameters(tmp_path: Path, good: Document) -> None:
    for part in ("x", "adj"):
        shadow = [w + 1 for w in good[f"{part}_state_dict"].values()]
        good[f"ema_{part}"] = {"decay": 0.999, "num_updates": 7, "shadow_params": shadow}
    checkpoint = read(saved(tmp_path, good))
    assert checkpoint.ema_adj is not None
    for name, w in checkpoint.weights_adj.items():
        assert torch.equal(checkpoint.ema_adj[name], w + 1)
    plain, averaged = networks_from(checkpoint), networks_from(checkpoint, ema=True)
    for name, w in plain.state_dict().items():
        assert torch.equal(averaged.state_dict()[name], w + 1)


def test_the_data_set_decides_on_averaging(tmp_path: Path, good: Document) -> None:
    assert [name for name, sampler in SAMPLERS.items() if sampler.ema] == ["ENZYMES", "grid"]
    good["model_config"]["data"]["data"] = "grid"
    checkpoint = read(saved(tmp_path, good))
    with pytest.raises(SciflowError, match="averaged weights"):
        networks_from(checkpoint)
    networks_from(checkpoint, ema=False)


def test_reading_leaves_the_random_numbers_alone(tmp_path: Path, good: Document) -> None:
    path, state = saved(tmp_path, good), torch.get_rng_state()
    networks_from(read(path))
    assert torch.equal(torch.get_rng_state(), state)


def test_views_of_a_storage_keep_their_place(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    content = {"a": base[4:10].view(2, 3).t(), "b": base[::5], "c": torch.empty(0, 3)}
    got = torch_zip.read(saved(tmp_path, content))
    assert all(torch.equal(got[name], content[name]) for name in content)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_numbers_of_every_kind(tmp_path: Path, dtype: torch.dtype) -> None:
    content = [torch.arange(5, dtype=dtype), torch.tensor([True, False]), torch.tensor(3.0)]
    got = torch_zip.read(saved(tmp_path, content))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(got, content, strict=True))


def test_settings_are_plain_data(tmp_path: Path, good: Document) -> None:
    checkpoint = read(saved(tmp_path, good))
    assert settings_from(checkpoint) == {
        "dataset": "ZINC250k",
        "atoms": {
            "path": "vp",
            "beta_min": 0.1,
            "beta_max": 1.0,
            "kind": "noise",
            "steps": 1000,
        },
        "bonds": {
            "path": "ve",
            "sigma_min": 0.2,
            "sigma_max": 1.0,
            "kind": "score",
            "steps": 1000,
        },
        "max_nodes": 38,
        "features": 2,
        "atom_types": ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I"),
    }
    assert checkpoint.sampler.scale_eps == 0.9
    assert ATOM_TYPES["QM9"] == ("C", "N", "O", "F")


def test_constructor_arguments_make_networks_to_train(good: Document) -> None:
    network = network_from(good["params_adj"])
    assert {k: v.shape for k, v in network.state_dict().items()} == {
        k: v.shape for k, v in our_names(good["adj_state_dict"]).items()
    }


# ---- hostile files ------------------------------------------------------------------------------
class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def placed(good: Document, place: str, thing: Any) -> Any:
    if place == "alone":
        return thing
    if place == "config":
        good["model_config"]["data"]["dir"] = thing
    elif place == "key":
        good["model_config"][(thing,)] = 1
    else:
        good["x_state_dict"]["layers.0.bias"] = thing
    return good


@pytest.mark.parametrize("place", ["alone", "config", "key", "weights"])
@pytest.mark.parametrize("function", ["system", "eval", "open", "getattr", "import"])
def test_no_file_runs_code(tmp_path: Path, good: Document, place: str, function: str) -> None:
    trace = tmp_path / "trace"
    call = {
        "system": Call(os.system, f"touch {trace}"),
        "eval": Call(eval, f"open({str(trace)!r}, 'w')"),
        "open": Call(open, str(trace), "w"),
        "getattr": Call(getattr, "text", "format"),
        "import": Call(__import__, "antigravity"),
    }[function]
    with pytest.raises(SciflowError, match=r"names (posix|nt|__builtin__|io|_io)\.\w+.*not.* run"):
        read(saved(tmp_path, placed(good, place, call)))
    assert not trace.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "function",
    [torch.load, torch.hub.load, torch.nn.Linear, torch.jit.load, pickle.loads, OrderedDict.pop],
)
def test_no_other_function_of_torch_is_known(tmp_path: Path, function: Any) -> None:
    with pytest.raises(SciflowError, match="names .* expected tensors and plain data"):
        read(saved(tmp_path, {"model_config": Call(function, "x")}))


PUT = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
)


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(X\x04\x00\x00\x00exittR.",  # os.system("exit")
        b"(X\x04\x00\x00\x00exitios\nsystem\n.",  # the same by INST
        b"\x8c\x02os\x8c\x06system\x93\x8c\x04exit\x85R.",  # the same by STACK_GLOBAL
        b"\x82\x01.",  # a number from the extension registry
        PUT + b")R.",  # a tensor of nothing
        PUT + b"(K\x01K\x02K\x03K\x04tR.",  # a tensor of numbers
        PUT + b"(" + STORE + b"K\x00(K\xfft(K\x00ttR.",  # larger than its storage
        PUT + b"(" + STORE + b"K\x00(K\x02t(K\x09ttR.",  # beyond its storage
        PUT + b"(" + STORE + b"J\xf0\xff\xff\xff(K\x01t(K\x01ttR.",  # before its storage
        PUT
        + b"("
        + STORE
        + b"K\x00(K\x02t(K\x01ttR}X\x01\x00\x00\x00a\x88sb.",  # tensor with state
        PUT + b"}X\x0c\x00\x00\x00__defaults__)sb.",  # a function with state
        b"ctorch\nFloatStorage\n)R.",  # a type, called
        b"ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb.",  # a type with state
        b"ccollections\nOrderedDict.fromkeys\n)R.",
        b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ.",  # a storage of no type
        STORE.replace(b"X\x01\x00\x00\x000", b"X\x05\x00\x00\x00../..") + b".",  # of no member
        STORE.replace(b"K\x02tQ", b"K\x03tQ") + b".",  # of another length
        b"\x80\x02r\xff\xff\xff\xff.",  # a memo far away
        b"X\xff\xff\xff\x7fshort.",
        b"cnowhere\nnothing\n.",
        b"}q\x00h\x00h\x00s.",  # a dictionary as a key
        b"",
    ],
)
def test_damaged_pickles_are_one_clear_error(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/data/0", struct.pack("<2f", 1.0, 2.0))
    with pytest.raises(SciflowError, match=r"^weights\.pth: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    fine = [torch.ones(2)]  # and the reader is as it was
    assert torch.equal(torch_zip.read(saved(tmp_path, fine))[0], fine[0])


# ---- other files --------------------------------------------------------------------------------
def test_a_truncated_file_is_said(tmp_path: Path, good: Document) -> None:
    path = saved(tmp_path, good)
    whole = path.read_bytes()
    for size in (0, 1, 30, 500, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:size])
        with pytest.raises(SciflowError, match="truncated.*expected a whole file"):
            read(path)


def test_a_damaged_storage_is_said(tmp_path: Path, good: Document) -> None:
    path = saved(tmp_path, good)
    whole = bytearray(path.read_bytes())
    numbers = good["x_state_dict"]["layers.0.weight"].numpy().tobytes()
    whole[bytes(whole).index(numbers)] ^= 1
    path.write_bytes(whole)
    with pytest.raises(SciflowError, match="CRC"):
        read(path)


@pytest.mark.parametrize("content", [b"\x00\xff" * 900, b"PK\x03\x04 no zip", b"<html>404</html>"])
def test_random_bytes_are_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(SciflowError, match="no zip, or a truncated one"):
        read(path)


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(SciflowError, match="readable file"):
        read(tmp_path / "none.pth")
    with pytest.raises(SciflowError, match="readable file"):
        read(tmp_path)


def test_the_old_format_is_said(tmp_path: Path, good: Document) -> None:
    with pytest.raises(SciflowError, match="before 1.6.*newer torch"):
        read(saved(tmp_path, good, _use_new_zipfile_serialization=False))


def test_other_zips_are_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SciflowError, match=r"a zip with 0 data\.pkl"):
        read(path)


@pytest.mark.parametrize("content", [{"state_dict": {}, "epoch": 3}, [1, 2], torch.ones(2), None])
def test_checkpoints_of_others_are_said(tmp_path: Path, content: Any) -> None:
    with pytest.raises(SciflowError, match="a checkpoint of GDSS with model_config"):
        read(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("x_state_dict", {}, "a dictionary of weights"),
        ("x_state_dict", {"a": 1}, "names of tensors only"),
        ("adj_state_dict", {"a": torch.ones(2, dtype=torch.int64)}, "floating-point"),
        ("params_x", [1], "a dictionary"),
        ("ema_x", {"shadow_params": [torch.ones(1)]}, "averaged weights"),
    ],
)
def test_parts_of_another_kind_are_said(
    tmp_path: Path, good: Document, key: str, value: Any, message: str
) -> None:
    good[key] = value
    with pytest.raises(SciflowError, match=message):
        read(saved(tmp_path, good))


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("params_x", "nhid", 5, r"biases\.0: got \(4,\), expected \(5,\)"),
        ("params_x", "depth", 2, "got 'nothing'"),
        ("params_x", "model_type", "ScoreNetwork_X", "did you mean 'ScoreNetworkX'"),
        ("params_x", "max_feat_num", None, "a whole number"),
        ("params_adj", "nhid", 10**12, "a whole number"),
        ("params_adj", "conv", "MLP", "expected GCN"),
        ("params_adj", "num_heads", 3, "multiple of the 3 heads"),
    ],
)
def test_weights_that_do_not_fit_are_said(
    tmp_path: Path, good: Document, part: str, key: str, value: Any, message: str
) -> None:
    good[part][key] = value
    checkpoint = read(saved(tmp_path, good))
    with pytest.raises(SciflowError, match=message):
        networks_from(checkpoint)


def test_channels_of_different_shape_are_said(tmp_path: Path, good: Document) -> None:
    good["adj_state_dict"]["layers.1.attn.2.gnn_q.bias"] = torch.ones(5)
    with pytest.raises(SciflowError, match="one shape for all channels"):
        networks_from(read(saved(tmp_path, good)))


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("data", "max_node_num"), "many", "a number"),
        (("sde", "x"), {"type": "cosine"}, r"sde\.x\.type"),
        (("sde",), {}, r"nothing under sde\.x"),
    ],
)
def test_settings_that_are_missing_are_said(
    tmp_path: Path, good: Document, keys: tuple[str, ...], value: Any, message: str
) -> None:
    tree = good["model_config"]
    for key in keys[:-1]:
        tree = tree[key]
    tree[keys[-1]] = value
    checkpoint = read(saved(tmp_path, good))
    with pytest.raises(SciflowError, match=message):
        settings_from(checkpoint)


def test_another_data_set_has_no_settings_of_the_authors(tmp_path: Path, good: Document) -> None:
    good["model_config"]["data"]["data"] = "QM8"
    checkpoint = read(saved(tmp_path, good))
    networks_from(checkpoint)
    with pytest.raises(SciflowError, match="did you mean 'QM9'"):
        checkpoint.sampler  # noqa: B018


# ---- the released files -------------------------------------------------------------------------
RELEASED = {
    # nodes of the test graph, all nodes; parameters; entries and mean sizes of the answers to it
    "gdss_qm9.pth": (9, 9, 8_564, 23_825, -0.5494341068, 0.8625301776, -0.4523108145, 0.8837014612),
    "gdss_zinc250k_v2.pth": (
        23, 38, 22_721, 62_873, 0.8375593420, 0.6382527203, -1.0215349256, 0.3614478621,
    ),
    "gdss_community_small.pth": (
        16, 20, 72_434, 134_369, 1.5461822725, 0.7925799452, 0.8636667206, 0.4932185790,
    ),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("file", list(RELEASED))
def test_released_weights_answer_as_the_authors_code_does(data_dir: Path, file: str) -> None:
    real, n, of_x, of_adj, *answers = RELEASED[file]
    checkpoint = read(data_dir / "molecules" / "gdss_checkpoints" / file)
    settings = settings_from(checkpoint)
    assert settings["max_nodes"] == n
    assert sum(w.numel() for w in checkpoint.weights_x.values()) == of_x
    assert sum(w.numel() for w in checkpoint.weights_adj.values()) == of_adj
    network = networks_from(checkpoint)
    assert sum(w.numel() for w in network.parameters()) == of_x + of_adj

    i, f = torch.arange(n).double(), torch.arange(settings["features"]).double()
    mask = i < real
    x = torch.sin(1 + 5 * i[:, None] + 7 * f) * mask[:, None]
    a = torch.cos(i[:, None] * i + 3) * (1 - torch.eye(n)) * mask[:, None] * mask
    for dtype, accuracy in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        network.to(dtype)
        inputs = x.to(dtype)[None], a.to(dtype)[None], mask[None]
        with torch.no_grad():
            y, z = network.nodes(*inputs), network.bonds(*inputs)
        got = [y[0, 1, 2], y.abs().mean(), z[0, 3, 1], z.abs().mean()]
        torch.testing.assert_close(
            torch.stack(got).double(),
            torch.tensor(answers, dtype=torch.float64),
            rtol=accuracy,
            atol=accuracy,
        )


@pytest.mark.data
def test_released_settings(data_dir: Path) -> None:
    folder = data_dir / "molecules" / "gdss_checkpoints"
    qm9, zinc, community = (read(folder / file) for file in RELEASED)
    ve = {"path": "ve", "sigma_min": 0.1, "sigma_max": 1.0, "kind": "score", "steps": 1000}
    assert settings_from(qm9)["atoms"] == settings_from(qm9)["bonds"] == ve
    assert settings_from(zinc)["bonds"] == ve | {"sigma_min": 0.2}
    assert settings_from(zinc)["features"] == len(settings_from(zinc)["atom_types"]) == 9
    assert settings_from(community)["atom_types"] is None
    assert zinc.sampler.scale_eps == 0.8  # the second ZINC250k model
    assert (qm9.sampler.predictor, qm9.sampler.snr, qm9.sampler.scale_eps) == ("reverse", 0.2, 0.7)
    assert qm9.ema_adj is None and community.ema_adj is not None
    for name, w in community.weights_adj.items():  # the average lies near its weight, by name
        assert (community.ema_adj[name] - w).abs().max() < 0.05
