"""Generic graphs: kinds found in the data, files, PyG, the adapter's contract, GDSS's presets and weights."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

from sciflow import paths, registry
from sciflow.adapter import check
from sciflow.domains.molecules.gdss import import_weights
from sciflow.domains.molecules.generic import (
    EncodedGraphs,
    Graphs,
    Labels,
    datasets,
    encode,
    files,
    generators,
    pickles,
    pyg,
)
from sciflow.domains.molecules.generic.presets import PRESETS
from sciflow.errors import SciflowError
from sciflow.runtime.config import check as check_config
from sciflow.streams import Streams

TRANSFORMER = {"name": "graph-transformer", "width": 16, "edge_width": 8, "heads": 2, "blocks": 1}
GDSS = {"name": "gdss", "nodes": {"width": 8}, "bonds": {"width": 8, "attention_width": 8}}


def bare() -> list[nx.Graph]:
    return [nx.path_graph(5), nx.cycle_graph(4), nx.complete_graph(3), nx.empty_graph(1)]


def kinds() -> list[nx.Graph]:
    graphs = bare()
    for graph in graphs:
        for k in graph:
            graph.nodes[k].update(kind="ab"[k % 2], charge=k % 3)
        for k, edge in enumerate(graph.edges):
            graph.edges[edge]["weight"] = k % 3
    return graphs


def same(a: nx.Graph, b: nx.Graph) -> bool:
    edges = [{frozenset(e): d for *e, d in g.edges(data=True)} for g in (a, b)]
    return dict(a.nodes(data=True)) == dict(b.nodes(data=True)) and edges[0] == edges[1]


def test_kinds_are_the_combinations_in_the_data() -> None:
    found = encode(kinds())
    assert found.node_labels.keys == ("charge", "kind")
    assert found.node_labels.values == ((0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"))
    assert found.edge_labels.values == ((0,), (1,), (2,))
    assert found.size_counts() == {1: 1, 3: 1, 4: 1, 5: 1}
    labels = [found.node_labels.label(d) for g in kinds() for _, d in g.nodes(data=True)]
    shares = np.bincount(labels) / len(labels)
    assert np.allclose(found.node_frequencies(), shares)
    pairs = 10 + 6 + 3
    assert found.edge_frequencies()[0] == pytest.approx(1 - (4 + 4 + 3) / pairs)
    chosen = encode(kinds(), node_attributes=["kind"], edge_attributes=[])
    assert chosen.node_labels.values == (("a",), ("b",)) and len(chosen.edge_labels) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.nodes[0].update(mass=5), "expected a value on every node"),
        (lambda g: [g.nodes[k].update(mass=k + 0.5) for k in g], "expected a category"),
        (lambda g: [g.nodes[k].update(x=torch.rand(3)) for k in g], "expected a category"),
    ],
)
def test_what_is_no_category_is_refused_by_name(change, message: str) -> None:
    graph = nx.path_graph(3)
    change(graph)
    with pytest.raises(SciflowError, match=message) as error:
        encode([graph])
    assert "data.node_attributes" in str(error.value)
    assert len(encode([graph], node_attributes=[]).node_labels) == 1


def test_loops_directions_and_parallel_edges_are_simplified() -> None:
    graph = nx.MultiDiGraph([(0, 1), (1, 0), (1, 1), (1, 2), (1, 2)])
    found = encode([graph])
    assert found.edges[0].tolist() == [1, 0, 1]
    with pytest.raises(SciflowError, match="no nodes"):
        encode([nx.Graph()])


def test_degrees_stand_in_for_kinds() -> None:
    found = encode(bare()).with_degrees()
    assert found.degrees == 3 and found.nodes[0].tolist() == [1, 2, 2, 2, 1]
    with pytest.raises(SciflowError, match="degree: got 2, expected at most 1"):
        encode(bare()).with_degrees(2)


def test_roles_are_degrees_and_triangles() -> None:
    graphs = [nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3)]), nx.path_graph(3)]
    found = encode(graphs).with_roles()
    pairs = [[found.roles.values[k] for k in row] for row in found.nodes]
    assert pairs[0] == [(2, 1), (2, 1), (3, 1), (1, 0)] and pairs[1][:3] == [
        (1, 0),
        (2, 0),
        (1, 0),
    ]
    check(Graphs.from_graphs(found, "marginal", TRANSFORMER), graphs, same)
    with pytest.raises(SciflowError, match="role of a node"):
        found.with_roles(Labels(found.roles.keys, found.roles.values[:2]))
    with pytest.raises(SciflowError, match="'labels', for they have charge, kind"):
        encode(kinds()).with_roles()


def test_encoded_graphs_come_back_from_a_file(tmp_path: Path) -> None:
    found = encode(kinds())
    found.save(tmp_path / "graphs.safetensors")
    again = EncodedGraphs.load(tmp_path / "graphs.safetensors")
    assert np.array_equal(again.edges, found.edges) and again.node_labels == found.node_labels
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "graphs.safetensors").read_bytes()[:90])
    with pytest.raises(SciflowError, match="cut.safetensors"):
        EncodedGraphs.load(tmp_path / "cut.safetensors")


@pytest.mark.parametrize("data", [bare, kinds], ids=["bare", "kinds"])
@pytest.mark.parametrize("process", [*paths.JUMPS, "vp", "linear"])
def test_contract(process: str, data) -> None:
    check(Graphs.from_graphs(encode(data()), process, TRANSFORMER), data(), same)


@pytest.mark.parametrize("process", ["vp", "ve"])
@pytest.mark.parametrize("data", [bare, kinds], ids=["bare", "kinds"])
def test_contract_of_gdss(process: str, data) -> None:
    found = encode(data())
    found = found if len(found.node_labels) > 1 else found.with_degrees()
    check(Graphs.from_graphs(found, process, GDSS), data(), same)


def test_a_frame_has_the_sizes_of_the_data_or_the_one_asked_for() -> None:
    adapter = Graphs.from_graphs(encode(bare()), "marginal", TRANSFORMER)
    sizes = adapter.frame(Streams.range(0, 0, 50, "sizes")).masks["atoms"].sum(1)
    assert set(sizes.tolist()) == {1, 3, 4, 5}
    assert adapter.frame(Streams.range(0, 0, 3), {"nodes": 4}).masks["atoms"].sum() == 12
    for wish, message in (({"nodes": 6}, "from 1 to 5"), ({"atoms": 3}, "nodes")):
        with pytest.raises(SciflowError, match=message):
            adapter.frame(Streams.range(0, 0, 3), wish)


# -- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".graphml", ".edges"])
def test_files_keep_graphs(tmp_path: Path, suffix: str) -> None:
    data = bare() if suffix == ".edges" else kinds()
    path = tmp_path / f"graphs{suffix}"
    with files.Writer(path) as writer:
        writer.append(data[:2])
        writer.append(data[2:])
    found = files.read(path)
    assert not found.skipped and all(map(same, data, found.objects))
    with files.Writer(path) as writer:
        writer.append(data[:1])
    assert len(files.read(path).objects) == 1


def test_broken_rows_are_named_and_foreign_files_refused(tmp_path: Path) -> None:
    rows = ['{"n": 2, "edges": [[0, 1]]}', '{"n": 2, "edges": [[0, 2]]}', "nonsense", '{"n": 0}']
    (tmp_path / "some.jsonl").write_text("\n".join(rows))
    found = files.read(tmp_path / "some.jsonl")
    assert len(found.objects) == 1 and [row for row, *_ in found.skipped] == [2, 3, 4]
    assert "two nodes from 0 to 1" in found.skipped[0][2]
    with pytest.raises(SciflowError, match=r"graph 2.*two nodes from 0 to 1"):
        Graphs.from_data({"train": tmp_path / "some.jsonl"}, {})
    for name, text in (("a.json", "{"), ("b.graphml", "<x>"), ("c.edges", ""), ("d.pt", "x")):
        (tmp_path / name).write_text(text)
        with pytest.raises(SciflowError):
            files.read(tmp_path / name)
    with pytest.raises(SciflowError, match="expected one of .jsonl"):
        files.Writer(tmp_path / "x.jsonl.gz")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"n": 2}, "a table with 'n' and 'edges'"),
        ({"n": True, "edges": []}, "from 1 to 1,000,000"),
        ({"n": 10**12, "edges": []}, "from 1 to 1,000,000"),
        ({"n": 2, "edges": 1}, "a list of pairs"),
        ({"n": 2, "edges": [1]}, "two numbers of nodes"),
        ({"n": 2, "edges": [[0, 1, 1]]}, "two numbers of nodes"),
        ({"n": 2, "edges": [[-1, 1]]}, "two numbers of nodes"),
        ({"n": 2, "edges": [], "nodes": {"kind": ["a"]}}, "nodes.kind: .*a list of 2 values"),
        ({"n": 2, "edges": [], "nodes": {"kind": 3}}, "nodes.kind: .*a list of 2 values"),
        ({"n": 2, "edges": [[0, 1]], "links": {"w": [1, 2]}}, "links.w: .*a list of 1 values"),
        ({"n": 2, "edges": [[0, 1]], "links": [1]}, "a table of lists"),
    ],
)
def test_wrong_rows_say_what_is_wrong(row: dict, message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        files.from_plain(row)


def test_graphs_of_pyg_come_and_go(tmp_path: Path) -> None:
    data = pytest.importorskip("torch_geometric.data")
    graph = data.Data(
        x=torch.tensor([[0, 1], [2, 0], [0, 1]]),
        edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]),
        edge_attr=torch.eye(4)[[3, 3, 0, 0]],
    )
    found = pyg.from_pyg(graph)
    wanted = [{"x0": 0, "x1": 1}, {"x0": 2, "x1": 0}, {"x0": 0, "x1": 1}]
    assert [d for _, d in found.nodes(data=True)] == wanted
    assert {frozenset(e): d for *e, d in found.edges(data=True)} == {
        frozenset((0, 1)): {"edge_attr": 3},
        frozenset((1, 2)): {"edge_attr": 0},
    }
    encoded = encode([found])
    back = pyg.to_pyg(found, encoded.node_labels, encoded.edge_labels)
    assert back.x.tolist() == [[1, 0], [0, 1], [1, 0]] and back.edge_index.shape == (2, 4)
    adapter = Graphs.from_graphs(encoded, "marginal", TRANSFORMER)
    assert same(adapter.decode(adapter.encode([graph]))[0], found)

    with files.Writer(tmp_path / "ours.pt") as writer:
        writer.append([found])
        writer.append([found, nx.empty_graph(1)])
    three = files.read(tmp_path / "ours.pt").objects
    assert same(three[0], found) and same(three[1], found) and len(three[2]) == 1
    (first, *_) = torch.load(tmp_path / "ours.pt", weights_only=False)
    assert torch.equal(first.x, graph.x) and first.edge_attr.tolist() == [[3], [0], [3], [0]]
    nx.set_node_attributes(found, "town", "kind")
    with pytest.raises(SciflowError, match="attribute kind of a node.*'town'.*jsonl and .graphml"):
        pyg.save(tmp_path / "ours.pt", [found])
    assert len(files.read(tmp_path / "ours.pt").objects) == 3, "what was there is kept"
    for node in found:
        del found.nodes[node]["kind"]

    torch.save([graph, graph], tmp_path / "list.pt")
    assert all(same(g, found) for g in files.read(tmp_path / "list.pt").objects)
    collated, slices = data.InMemoryDataset.collate([graph, graph])
    torch.save((collated.to_dict(), slices, type(collated)), tmp_path / "set.pt")
    assert len(files.read(tmp_path / "set.pt").objects) == 2

    graph.x = torch.tensor([[0.5, 1, 0], [0.25, 0, 1], [0.75, 1, 0]])  # a number beside two kinds
    mixed = pyg.from_pyg(graph)
    with pytest.raises(SciflowError, match="'x0': got 0.5.*name those to learn in data.node_attr"):
        encode([mixed])
    assert encode([mixed], None, None, ["x1", "x2"]).node_labels.values == ((0, 1), (1, 0))
    graph.x, graph.edge_attr = None, torch.tensor([1, 2, 0, 0])
    with pytest.raises(SciflowError, match="the same features in both directions"):
        pyg.from_pyg(graph)


def test_pickled_graphs_are_read_and_no_code_of_theirs_is_run(tmp_path: Path) -> None:
    whole = nx.relabel_nodes(nx.disjoint_union_all(bare()), lambda k: k + 1)
    parts = [whole.subgraph(np.array(c)) for c in ([1, 2, 3, 4, 5], [6, 7, 8, 9])]
    (tmp_path / "graphs.pkl").write_bytes(pickle.dumps([*bare()[:2], *parts]))
    found = pickles.read(tmp_path / "graphs.pkl")
    assert all(map(same, found, [*bare()[:2], *bare()[:2]]))

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "hacked"),)

    for thing, reason in (([Evil()], "mkdir"), ({"a": 1}, "no list"), ([1], "graphs")):
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps(thing))
        with pytest.raises(SciflowError, match=reason):
            pickles.read(tmp_path / "evil.pkl")
    assert not (tmp_path / "hacked").exists()


# -- data sets --------------------------------------------------------------------------------


def test_synthetic_graphs_follow_their_laws_and_their_seed() -> None:
    community = generators.generate("community", 30, seed=1)
    assert {len(g) for g in community} <= {12, 14, 16, 18, 20}
    assert all(nx.number_connected_components(g) >= 1 for g in community)
    inside = [g.has_edge(i, j) for g in community for i in range(len(g) // 2) for j in range(i)]
    assert np.mean(inside) == pytest.approx(0.7, abs=0.05)
    for graph in generators.generate("planar", 3):
        assert len(graph) == 64 and nx.check_planarity(graph)[0] and nx.is_connected(graph)
    for graph in generators.generate("grid", 3):
        assert 100 <= len(graph) <= 361 and max(d for _, d in graph.degree) == 4
    assert 40 <= len(generators.generate("sbm", 1)[0]) <= 200
    again = generators.generate("community", 12, seed=1)
    assert all(map(same, community, again))
    assert not all(map(same, community, generators.generate("community", 12, seed=2)))


def test_names_of_sets() -> None:
    assert Graphs.knows("grid:test") and Graphs.knows("synthetic-sbm:train:3")
    assert not Graphs.knows("grids") and not Graphs.knows("planar")
    assert len(datasets.graphs("synthetic-community:test:4")) == 40
    for name, message in (
        ("grid:tests", "did you mean 'test'"),
        ("synthetic-grid:test:x", "a whole number as seed"),
        ("synthetic-grit", "did you mean 'synthetic-grid'"),
    ):
        with pytest.raises(SciflowError, match=message):
            datasets.graphs(name)


@pytest.mark.data
@pytest.mark.parametrize(("name", "preset"), PRESETS.items(), ids=list(PRESETS))
def test_presets_describe_the_data(name: str, preset, data_dir: Path) -> None:
    config = check_config(preset.training())
    adapter, data = Graphs.from_data(config.data, config.options)
    assert len(data) == preset.graphs and adapter.size_counts == preset.sizes
    assert adapter.degrees == preset.degrees and name == config.network
    assert adapter.process.paths == preset.process()
    state = data.batch(torch.tensor([0, 3]))
    assert torch.equal(state["bonds"].sum(2).long(), state["atoms"].argmax(2))


@pytest.mark.data
def test_released_weights_become_a_model(data_dir: Path, tmp_path: Path) -> None:
    from sciflow.model import load
    from sciflow.runtime.generate import generate

    file = data_dir / "molecules" / "gdss_checkpoints" / "gdss_community_small.pth"
    model = import_weights(file)
    preset = PRESETS["gdss-community-small"]
    config = model.adapter.config()
    assert model.adapter.name == "graphs" and model.sampling == preset.sampling()
    assert config["network"] == preset.network() and config["degrees"] == preset.degrees
    assert config["size_counts"] == {str(n): c for n, c in preset.sizes.items()}
    again = load(model.save(tmp_path / "model"))
    made = [generate(m, 3, steps=4).objects for m in (model, again)]
    assert all(map(same, *made)) and all(len(graph) >= 12 for graph in made[0])


# -- registry and command line ----------------------------------------------------------------


def test_the_domain_is_found_inside_its_home() -> None:
    assert "graphs" in registry.names() and registry.adapter("graphs") is Graphs
    home = registry.folder("graphs")
    assert home is not None and (home / "examples.toml").is_file()
    assert registry.adapter_of("x.graphml") is Graphs
    assert any("generate graphs" in line for line in registry.examples("generate"))


def test_train_generate_evaluate_and_show_a_file_of_graphs(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    from sciflow import cli

    monkeypatch.chdir(tmp_path)
    with files.Writer("mine.jsonl") as writer:
        writer.append(kinds() * 3)
    Path("run.toml").write_text(
        'domain = "graphs"\ndevice = "cpu"\nprocess = "mask"\n[data]\ntrain = "mine.jsonl"\n'
        "[network]\nwidth = 16\nedge_width = 8\nheads = 2\nblocks = 1\n"
        "[recipe]\nsteps = 2\nbatch_size = 4\n[sampling]\nsteps = 3\n"
    )

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["sciflow", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert not end.value.code, err
        return out

    run("train", "run.toml")
    run("generate", "graphs", "-m", "runs/run", "-n", "4", "-o", "new", "--against", "mine.jsonl")
    facts = json.loads(Path("new/metrics.json").read_text())
    assert (
        facts["domain"] == "graphs" and facts["metrics"]["figures"]["degree"]["value"] is not None
    )
    assert Path("new/page.html").is_file() and Path("new/picture.svg").is_file()
    out = run("evaluate", "graphs", "new", "--against", "mine.jsonl", "--train", "mine.jsonl")
    assert "clustering MMD" in out and "copies of training graphs" in out
    run("show", "new/samples.jsonl", "-o", "page.html")


def test_graphs_that_are_too_large_are_counted(tmp_path: Path) -> None:
    with files.Writer(tmp_path / "some.jsonl") as out:
        out.append(bare())
    data = {"train": str(tmp_path / "some.jsonl"), "max_nodes": 4}
    adapter, dataset = Graphs.from_data(data, {"network": TRANSFORMER})
    assert adapter.max_nodes == 4 and len(dataset) == 3
    assert dataset.left_out == {"more than 4 nodes": 1}
    with pytest.raises(SciflowError, match="nodes: got True"):
        adapter.frame(Streams.range(0, 0, 2, "sizes"), {"nodes": True})


def test_labels_say_what_they_do_not_know() -> None:
    labels = Labels(("kind",), (("a",), ("b",)))
    assert labels.label({"kind": "b", "more": 1.5}) == 1
    assert labels.label({"kind": "c"}) is None and labels.label({}) is None
    assert Labels.from_config(labels.config()) == labels
    graph = nx.path_graph(2)
    nx.set_node_attributes(graph, "c", "kind")
    with pytest.raises(SciflowError, match="graph 0: node 0: got .*'c'"):
        encode([graph], labels, Labels())


def test_the_shipped_model_makes_communities() -> None:
    from sciflow.model import default, load
    from sciflow.runtime.generate import generate

    assert default("graphs") == "community-small"
    model = load("community-small")
    card = model.card
    assert card["parameters"] == model.parameters and card["licence"] and card["measured"]
    made = generate(model, 8, seed=1, steps=25).objects
    assert {len(graph) for graph in made} <= {12, 14, 16, 18, 20}
    # Dense inside, sparse between: as no random graph of so many edges is.
    assert np.mean([nx.average_clustering(graph) for graph in made]) > 0.5
    assert all(map(same, made[:3], generate(model, 3, seed=1, steps=25).objects))
