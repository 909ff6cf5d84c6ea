"""Laws of a table: every path arrives or is refused, and a multicast tree is a union of paths."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from noc_graphs import all_paths, bits, digraphs, path

from firemesh.noc.routing import make_table, suited, table_of
from firemesh.noc.table import Table, hops, tree
from firemesh.noc.topology import (
    EAST,
    LOCAL,
    NORTH,
    SOUTH,
    WEST,
    from_graph,
    mesh,
    neighbours,
    torus,
)

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))
GRIDS = st.builds(lambda grid, sides: grid(*sides), st.sampled_from((mesh, torus)), SIDES)
GRAPHS = st.one_of(GRIDS, st.builds(from_graph, digraphs()))
ONE_CLASS = np.zeros((1, 1), np.uint16)


@st.composite
def multicasts(draw):
    """A graph, a table, a source, and a set of destinations that may hold the source."""
    graph = draw(GRAPHS)
    table = make_table(
        graph, draw(st.sampled_from([name for name in suited(graph) if name != "up-down"]))
    )
    nodes = st.integers(0, len(graph) - 1)
    return graph, table, draw(nodes), sorted(draw(st.sets(nodes, min_size=1)))


@st.composite
def random_tables(draw):
    """A graph and a table of random ports, most of which go round in circles somewhere."""
    graph = from_graph(draw(digraphs(5)))
    n, radix = len(graph), graph.graph["radix"]
    ports = np.zeros((n, n), np.uint16)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nearer = dict(nx.all_pairs_shortest_path_length(graph))
    is_mostly_right = draw(st.booleans())
    for a in graph:
        for to in graph:
            links = [
                (port, b)
                for _, b, port in graph.out_edges(a, data="port")
                if not is_mostly_right or nearer[b][to] < nearer[a][to] or rng.random() < 0.05
            ]
            for port, _ in [links[i] for i in rng.integers(len(links), size=2)] if links else []:
                ports[a, to] |= 1 << port
        ports[a, a] = 1 << radix
    return graph, Table(ports, ONE_CLASS, 1)


def members(ports):
    """Return the (node, output port) pairs of bit masks by node."""
    return {(node, port) for node in range(len(ports)) for port in bits(ports[node])}


@settings(deadline=None)
@given(case=random_tables())
def test_hops_are_the_links_of_the_longest_permitted_path_and_a_circle_is_refused(case):
    graph, table = case
    pairs = [(a, b) for a in graph for b in graph]
    try:
        longest = [
            max(len(nodes) - 1 for nodes in all_paths(graph, table, *pair)) for pair in pairs
        ]
    except AssertionError:
        with pytest.raises(
            ValueError, match="^routing: the path from node .* not arrive, it comes"
        ):
            hops(table, graph)
    else:
        assert hops(table, graph).reshape(-1).tolist() == longest


@pytest.mark.parametrize("side", [4, 8])
def test_the_mean_distance_of_a_mesh_is_the_published_one(side):
    graph = mesh(side, side)
    assert hops(make_table(graph, "xy"), graph).mean() == {4: 2.5, 8: 5.25}[side]


def test_a_circle_is_named_by_a_node_on_it_from_any_node_that_leads_into_it():
    graph = mesh(3, 2)
    circle = {0: EAST, 1: NORTH, 4: WEST, 3: SOUTH}

    def circling(graph, node, destination):
        return circle.get(node, NORTH if node == 2 else WEST) if destination != node else LOCAL

    with pytest.raises(
        ValueError, match=r"^routing: the path from node \(\d,\d\) to node .* it comes"
    ):
        table_of(circling, graph)
    table = make_table(graph, "xy")
    for node in (0, 1, 3, 4, 5):
        table.ports[node, 2] = 1 << circle.get(node, WEST)
    sentence = (
        r"^routing: the path from node \(0,0\) to node \(2,0\) does not arrive, it comes back to "
        r"node \(0,0\); use a routing made for this topology$"
    )
    with pytest.raises(ValueError, match=sentence):
        hops(table, graph)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((1, 0, 0), r"path to node \(0,0\) ends at node \(1,0\), so it does not arrive; use"),
        ((1, 0, 1 << LOCAL), r"path to node \(0,0\) ends at node \(1,0\)"),
        ((1, 0, 1 << LOCAL | 1 << WEST), r"path to node \(0,0\) ends at node \(1,0\)"),
        (
            (1, 0, 1 << WEST | 1 << SOUTH),
            r"node \(0,0\) does not .* node \(1,0\) has no link behind -y;",
        ),
        ((1, 0, 1 << WEST | 1 << 9), r"^routing: .* node \(1,0\) has no link behind port 9;"),
        ((1, 1, 1 << LOCAL | 1 << WEST), r"deliver at node \(1,0\) what is for it; set bit 4 only"),
        ((1, 1, 0), r"deliver at node \(1,0\)"),
    ],
)
def test_a_mask_without_a_way_or_with_a_wrong_one_is_refused(change, sentence):
    graph = mesh(2, 2)
    table = make_table(graph, "xy")
    assert hops(table, graph).max() == 2
    table.ports[change[:2]] = change[2]
    with pytest.raises(ValueError, match=sentence):
        hops(table, graph)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": 1}, r"^table: .* got 1 classes, \[12, 12\] and \[12, 12\]; make it for this"),
        ({"classes": 3}, r"^table: .* got 3 classes"),
        ({"upper": ONE_CLASS}, r"^table: .* got 2 classes, \[12, 12\] and \[1, 1\]"),
        ({"ports": np.zeros((12, 11), np.uint16)}, r"^table: .*\[12, 11\]"),
        (
            {"ports": np.ones((12, 12), np.int64)},
            "^table: must be of uint16, got int64 and uint16$",
        ),
        ({"upper": np.full((12, 12), 15, np.uint16)}, "^table: upper must hold ports of the same"),
        ({"upper": np.ones((1, 1), np.uint16), "classes": 1}, "^table: upper must hold .* clear"),
    ],
)
def test_a_table_of_another_form_is_refused(change, sentence):
    graph = torus(4, 3)
    with pytest.raises(ValueError, match=sentence):
        hops(make_table(graph, "xy")._replace(**change), graph)


@settings(deadline=None)
@given(case=multicasts())
def test_a_tree_is_the_union_of_the_paths_to_its_destinations(case):
    graph, table, source, destinations = case
    ports, upper = tree(table, neighbours(graph), source, destinations)
    steps = [step for to in destinations for step in path(graph, table, source, to)]
    assert ports.dtype == upper.dtype == np.uint16
    assert members(ports) == {(node, port) for node, port, _ in steps}
    lower = {(node, port) for node, port, part in steps if part == 0}
    assert members(upper) == members(ports) - lower


@settings(deadline=None)
@given(case=multicasts())
def test_a_tree_enters_each_of_its_nodes_once_and_delivers_at_its_destinations_only(case):
    graph, table, source, destinations = case
    behind, local = neighbours(graph), graph.graph["radix"]
    steps = members(tree(table, behind, source, destinations)[0])
    branches = nx.DiGraph([(n, int(behind[n, o])) for n, o in steps if o != local])
    branches.add_node(source)
    assert nx.is_arborescence(branches)
    assert branches.in_degree(source) == 0
    assert {n for n, _ in steps} == set(branches)
    assert sorted(n for n, o in steps if o == local) == destinations


def test_a_branch_with_one_destination_behind_the_closing_link_takes_all_in_class_0():
    graph = torus(6, 1)
    table, behind = make_table(graph, "xy"), neighbours(graph)
    # from 4: 5 lies before the closing link, 0 and 1 behind it
    assert tree(table, behind, 4, [5])[1][[4, 5]].tolist() == [1, 0]
    ports, upper = tree(table, behind, 4, [5, 0, 1])
    assert [bits(mask) for mask in ports] == [[EAST, LOCAL], [LOCAL], [], [], [EAST], [EAST, LOCAL]]
    assert [bits(mask) for mask in upper] == [[EAST], [], [], [], [], []]


@settings(deadline=None, max_examples=25)
@given(sides=SIDES, name=st.sampled_from(("xy", "yx")), seed=st.integers(0, 2**32 - 1))
def test_no_branches_of_trees_on_a_torus_wait_for_each_other_in_a_circle(sides, name, seed):
    graph = torus(*sides)
    assume(len(graph) > 2)
    table, behind = make_table(graph, name), neighbours(graph)
    rng = np.random.default_rng(seed)
    waits = nx.DiGraph()
    for source in list(graph) * 3:
        chosen = rng.choice(len(graph), rng.integers(1, len(graph)), replace=False)
        ports, upper = tree(table, behind, source, chosen)
        for node, port in members(ports):
            for onward in bits(ports[behind[node, port]]) if port != LOCAL else []:
                following = int(behind[node, port])
                held = (node, port, int(upper[node]) >> port & 1)
                waits.add_edge(held, (following, onward, int(upper[following]) >> onward & 1))
    assert nx.is_directed_acyclic_graph(waits)


def tree_of(graph, ports, source, destinations):
    table = Table(np.array(ports, np.uint16), ONE_CLASS, 1)
    return tree(table, neighbours(graph), source, destinations)


def test_a_path_that_leaves_the_mesh_has_no_tree():
    with pytest.raises(
        ValueError, match="^routing: the path from node 1 to node 5 does not arrive"
    ):
        tree_of(mesh(3, 2), np.full((6, 6), 1 << EAST), 1, [5])


def test_a_path_that_goes_round_in_circles_has_no_tree():
    ports = np.full((6, 6), 1 << LOCAL)
    for node, port in {0: EAST, 1: NORTH, 4: WEST, 3: SOUTH}.items():
        ports[node] = 1 << port
    with pytest.raises(
        ValueError, match="node 0 to node 2 does not arrive; use a routing made for"
    ):
        tree_of(mesh(3, 2), ports, 0, [2])


def test_a_path_that_stops_before_its_destination_has_no_tree():
    with pytest.raises(ValueError, match="from node 0 to node 2 does not arrive"):
        tree_of(mesh(3, 1), np.full((3, 3), 1 << LOCAL), 0, [0, 2])


def test_a_path_that_passes_its_destination_and_comes_back_has_no_tree():
    with pytest.raises(ValueError, match="from node 0 to node 1 does not arrive"):
        tree_of(mesh(2, 1), [[1 << EAST] * 2, [1 << WEST] * 2], 0, [1])


def test_a_node_without_any_port_towards_a_destination_ends_the_path():
    with pytest.raises(ValueError, match="from node 0 to node 1 does not arrive"):
        tree_of(mesh(2, 1), np.zeros((2, 2)), 0, [1])


def test_paths_that_form_no_tree_are_refused():
    graph = mesh(3, 3)
    table = make_table(graph, "xy")
    table.ports[:, 8] = make_table(graph, "yx").ports[:, 8]
    hops(table, graph)
    with pytest.raises(ValueError, match="paths from node 0 enter node 7 by two links; use a rout"):
        tree(table, neighbours(graph), 0, [8, 7])


@pytest.mark.parametrize(
    ("source", "destinations", "wrong"),
    [(6, [0], 6), (-1, [0], -1), (0, [3, 6], 6), (0, [-2, 5], -2)],
)
def test_a_tree_of_nodes_that_are_not_there_is_refused(source, destinations, wrong):
    graph = mesh(3, 2)
    with pytest.raises(ValueError, match=rf"^destinations: node must be in 0\.\.5, got {wrong}$"):
        tree(make_table(graph, "xy"), neighbours(graph), source, destinations)


def test_a_tree_on_the_table_of_another_graph_is_refused():
    table = make_table(mesh(2, 2), "xy")
    with pytest.raises(ValueError, match=r"^table: must have ports \[6, 6\], got \[4, 4\]; make"):
        tree(table, neighbours(mesh(3, 2)), 5, [0])


def test_a_tree_without_destinations_takes_no_port():
    graph = mesh(3, 2)
    assert not np.any(tree(make_table(graph, "xy"), neighbours(graph), 5, []))
