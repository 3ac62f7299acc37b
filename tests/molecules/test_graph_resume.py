"""An interrupted generation of graphs goes on, in every format that is written: the file is that of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
import torch

from sciflow.domains.molecules.generic import Graphs, encode, files
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import Generation, produce
from sciflow.runtime.output import Output

NETWORK = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 1}


@cache
def model(kinds: str | tuple[int, ...] = "ab") -> Model:
    graphs = [nx.path_graph(5), nx.cycle_graph(4), nx.complete_graph(3), nx.empty_graph(1)]
    for graph in graphs:
        nx.set_node_attributes(graph, {k: {"kind": kinds[k % 2], "charge": k % 3} for k in graph})
        nx.set_edge_attributes(graph, {e: {"weight": k % 3} for k, e in enumerate(graph.edges)})
    torch.manual_seed(0)
    adapter = Graphs.from_graphs(encode(graphs), "marginal", NETWORK)
    return Model(
        adapter, adapter.network().eval(), Sampling("ancestral", "uniform", 3), {}, "some"
    )


def made(path: Path, stop: float | None = None, resume: bool = False, n: int = 14) -> int:
    """Make `n` graphs, 3 at a time, or be interrupted behind `stop` of them."""

    def press(done: float, total: int) -> None:
        if stop is not None and done > stop:
            os.kill(os.getpid(), signal.SIGINT)

    plan = Generation.of(model((5, 7) if path.suffix == ".pt" else "ab"), n=n, batch_size=3)
    with Output(path, Graphs) as output:
        found, whole = produce(plan, output, press, resume=resume)
    assert whole == (stop is None)
    return len(found)


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_it_ends_with_the_file_of_an_unbroken_run(tmp_path: Path, suffix: str) -> None:
    path, record = tmp_path / f"new{suffix}", tmp_path / f".new{suffix}.resume"
    made(path, stop=4)
    assert made(path, stop=10, resume=True) == 9 == json.loads(record.read_text())["made"]
    assert len(files.read(path).objects) == 9, "what is there can be read at any time"
    assert made(path, resume=True) == 14 and not record.exists()
    made(tmp_path / f"whole{suffix}")
    assert path.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_what_the_record_does_not_count_is_left_behind(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"new{suffix}"
    made(path, stop=4)
    if suffix in (".jsonl", ".edges"):
        with open(path, "a") as file:
            file.write('{"n": 3, "ed')  # killed while a batch was being written
    else:
        writer = files.Writer(path)  # killed between a batch and its record
        writer.append([*files.read(path).objects, nx.path_graph(9)])
    made(path, resume=True)
    made(tmp_path / f"whole{suffix}")
    assert path.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_a_file_that_lost_graphs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    made(path, stop=4)
    path.write_text(json.dumps([{"n": 40, "edges": [[k, k + 1] for k in range(39)]}] * 2))
    with pytest.raises(SciflowError, match="got '2 graphs', expected the 3 of its record"):
        made(path, resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_disk_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(SciflowError, match=r"new\.jsonl.*a place that can be written"):
        files.Writer(path).append([nx.path_graph(3)])
