"""Weights of GDSS's authors: what is read is right, and what does not fit is said."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

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
from tests.molecules.authors_file import Document, saved


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


# ---- other files --------------------------------------------------------------------------------
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
