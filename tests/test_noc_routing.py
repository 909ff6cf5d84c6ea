"""Laws of the routings: minimal ways, turns, classes on rings, functions of one's own."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noc_graphs import all_paths, bits, digraphs, path, target_of

from firemesh.noc.deadlock import check
from firemesh.noc.routing import ROUTINGS, SUITS, make_table, suited, table_of
from firemesh.noc.table import Table, hops
from firemesh.noc.topology import (
    EAST,
    LOCAL,
    MAX_NEIGHBOURS,
    NORTH,
    SOUTH,
    WEST,
    from_graph,
    mesh,
    neighbours,
    torus,
)

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))
RINGS = st.tuples(st.integers(1, 7), st.integers(1, 7))
GRAPHS = st.one_of(
    st.builds(lambda sides: mesh(*sides), SIDES),
    st.builds(lambda sides: torus(*sides), SIDES),
    st.builds(from_graph, digraphs()),
)
X, Y = {EAST, WEST}, {NORTH, SOUTH}


def distances(graph):
    length = dict(nx.all_pairs_shortest_path_length(graph))
    return [[length[a][b] for b in sorted(graph)] for a in sorted(graph)]


def choices(graph, table):
    """Yield (node, destination, port) of every permitted step."""
    for node in graph:
        for to in graph:
            for port in bits(table.ports[node, to]) if node != to else []:
                yield node, to, port


@settings(deadline=None)
@given(graph=GRAPHS)
def test_every_path_of_every_routing_arrives_and_is_as_short_as_networkx_finds(graph):
    assert suited(graph)
    for name in suited(graph):
        table = make_table(graph, name)
        assert table.ports.dtype == table.upper.dtype == np.uint16
        length, least = hops(table, graph), np.array(distances(graph))
        assert (length >= least).all() if name == "up-down" else (length == least).all()


@settings(deadline=None)
@given(graph=st.builds(lambda graph: from_graph(graph.to_undirected()), digraphs()))
def test_up_down_goes_up_then_down_and_down_at_once_where_it_can(graph):
    table, behind = make_table(graph, "up-down"), neighbours(graph)
    depth = nx.single_source_shortest_path_length(graph, 0)
    rank = {node: (depth[node], node) for node in graph}
    downward = nx.DiGraph([(a, b) for a, b in graph.edges if rank[a] < rank[b]])
    downward.add_nodes_from(graph)
    check(graph, table)
    for source in graph:
        for to in graph:
            way = [source]
            while way[-1] != to:
                (port,) = bits(table.ports[way[-1], to])
                way.append(int(behind[way[-1], port]))
            steps = [rank[b] > rank[a] for a, b in pairwise(way)]
            assert steps == sorted(steps)
            if nx.has_path(downward, source, to):
                assert len(steps) == nx.shortest_path_length(downward, source, to)
                assert all(steps)


def test_up_down_on_one_way_links_is_refused():
    graph = from_graph(nx.DiGraph([("a", "b"), ("b", "c"), ("c", "a")]))
    with pytest.raises(
        ValueError, match="up-down needs links that go both ways, got only a to b; "
    ):
        make_table(graph, "up-down")
    assert suited(graph) == ["shortest"]


@settings(deadline=None)
@given(graph=GRAPHS)
def test_the_port_to_the_node_itself_is_taken_at_the_destination_alone(graph):
    for name in suited(graph):
        ports = make_table(graph, name).ports
        assert (ports >> graph.graph["radix"] == np.eye(len(graph))).all()


@settings(deadline=None)
@given(sides=SIDES, grid=st.sampled_from((mesh, torus)))
@pytest.mark.parametrize(("name", "dimensions"), [("xy", (X, Y)), ("yx", (Y, X))])
def test_dimension_order_makes_all_steps_of_one_dimension_first_and_none_back(
    name, dimensions, sides, grid
):
    graph = grid(*sides)
    table = make_table(graph, name)
    for source in graph:
        for destination in graph:
            ports = [port for _, port, _ in path(graph, table, source, destination)][:-1]
            kinds = [next(i for i, both in enumerate(dimensions) if port in both) for port in ports]
            assert kinds == sorted(kinds)
            assert not any(both <= set(ports) for both in dimensions)
            assert all(len(bits(table.ports[source, to])) == 1 for to in graph)


@settings(deadline=None)
@given(sides=SIDES)
def test_west_first_turns_to_the_west_at_the_start_only(sides):
    graph = mesh(*sides)
    table = make_table(graph, "west-first")
    for source in graph:
        for destination in graph:
            for nodes in all_paths(graph, table, source, destination):
                ports = [graph.edges[pair]["port"] for pair in pairwise(nodes)]
                assert WEST not in ports[ports.count(WEST) :]


@settings(deadline=None)
@given(sides=SIDES)
def test_west_first_permits_every_step_that_comes_nearer_where_nothing_is_in_the_west(sides):
    graph = mesh(*sides)
    table, length = make_table(graph, "west-first"), distances(graph)
    for node in graph:
        for to in graph:
            nearer = {
                port
                for _, b, port in graph.out_edges(node, data="port")
                if length[b][to] < length[node][to]
            }
            permitted = set(bits(table.ports[node, to])) - {LOCAL}
            assert permitted == ({WEST} if WEST in nearer else nearer)


@settings(deadline=None)
@given(graph=GRAPHS)
def test_of_the_shortest_ways_the_lowest_port_is_taken(graph):
    table, length = make_table(graph, "shortest"), distances(graph)
    for node in graph:
        for to in graph:
            nearer = [
                port
                for _, b, port in graph.out_edges(node, data="port")
                if length[b][to] < length[node][to]
            ]
            assert bits(table.ports[node, to]) == [min(nearer, default=graph.graph["radix"])]


def test_a_node_of_fifteen_neighbours_routes_to_each_of_them_and_to_itself():
    graph = from_graph(nx.star_graph(MAX_NEIGHBOURS))
    ports = make_table(graph, "shortest").ports
    assert [bits(mask) for mask in ports[0]] == [[15], *([port] for port in range(15))]


@settings(deadline=None)
@given(sides=RINGS)
@pytest.mark.parametrize("name", ["xy", "yx"])
def test_a_link_of_a_ring_is_entered_in_class_0_until_the_closing_link_is_behind(name, sides):
    graph = torus(*sides)
    table = make_table(graph, name)
    assert table.classes == (2 if max(sides) > 2 else 1)
    for source in graph if table.classes == 2 else []:
        for destination in graph:
            steps = path(graph, table, source, destination)
            for number, (_, port, part) in enumerate(steps[:-1]):
                dimension, axis = (X, "x") if port in X else (Y, "y")
                ahead = [step for step in steps[number:-1] if step[1] in dimension]
                moves = [
                    graph.nodes[target_of(graph, at, out)][axis] - graph.nodes[at][axis]
                    for at, out, _ in ahead
                ]
                assert part == all(abs(move) == 1 for move in moves)
            assert steps[-1][2] == 0


@settings(deadline=None)
@given(sides=RINGS)
def test_half_way_round_a_ring_goes_in_the_plus_direction(sides):
    graph = torus(*sides)
    for name in ("xy", "yx"):
        for node, to, port in choices(graph, make_table(graph, name)):
            axis, side = ("x", sides[0]) if port in X else ("y", sides[1])
            ahead = (graph.nodes[to][axis] - graph.nodes[node][axis]) % side
            if side > 2 and 2 * ahead == side:
                assert port in (EAST, NORTH)


def test_classes_say_nothing_about_ports_that_are_not_taken():
    table = make_table(torus(5, 4), "xy")
    assert table.classes == 2 and table.upper.any()
    assert not (table.upper & ~table.ports).any()


def test_the_table_of_a_function_is_that_of_the_named_routing_it_imitates():
    graph = mesh(4, 3)

    def own(graph, node, destination):
        here, there = graph.nodes[node], graph.nodes[destination]
        if there["x"] < here["x"]:
            return WEST
        ports = [EAST] if there["x"] > here["x"] else []
        return ports + [NORTH if there["y"] > here["y"] else SOUTH] * (there["y"] != here["y"])

    named, made = make_table(graph, "west-first"), make_table(graph, own)
    assert (made.ports == named.ports).all()
    assert made.classes == 1 and made.upper.tolist() == [[0]]


@settings(deadline=None)
@given(graph=st.builds(from_graph, digraphs()))
@pytest.mark.parametrize("form", [int, np.int64, lambda port: {port}, lambda port: iter([port])])
def test_a_function_gives_one_port_or_several_in_any_form(form, graph):
    named = make_table(graph, "shortest")
    own = table_of(lambda _, a, b: form(bits(named.ports[a, b])[0]), graph)
    assert (own.ports == named.ports).all()


def test_a_function_is_not_asked_about_a_way_to_where_it_is():
    asked = []

    def own(graph, node, destination):
        asked.append((node, destination))
        return EAST if destination > node else WEST

    table_of(own, mesh(3, 1))
    assert sorted(asked) == [(a, b) for a in range(3) for b in range(3) if a != b]


@pytest.mark.parametrize(
    ("given_ports", "sentence"),
    [
        (7, r"must give ports in 0\.\.3, got 7 at node \(0,0\) for node \(1,0\)$"),
        (-1, r"must give ports in 0\.\.3, got -1 at"),
        ([EAST, 5], r"got \[0, 5\] at"),
        (None, "got None at"),
        (0.0, r"got 0\.0 at"),
        ("east", "got 'east' at"),
        ([], r"path to node \(1,0\) ends at node \(0,0\)"),
        (LOCAL, r"path to node \(1,0\) ends at node \(0,0\)"),
        (NORTH, r"the path to node \(1,0\) does not arrive: node \(0,0\) has no link behind \+y"),
    ],
)
def test_a_function_that_gives_no_way_is_refused(given_ports, sentence):
    with pytest.raises(ValueError, match=f"^routing: .*{sentence}"):
        make_table(mesh(2, 1), lambda graph, node, to: given_ports if node == 0 else WEST)


def test_a_function_whose_paths_come_back_is_refused_by_the_users_names():
    ring = from_graph(nx.cycle_graph(["tea", "cup", "pot", "jug"]))
    sentence = "from node cup to node jug does not arrive, it comes back to node cup; use"
    behind = neighbours(ring)  # cup, jug, pot, tea
    with pytest.raises(ValueError, match=sentence):
        # to jug, cup and tea send to each other
        table_of(
            lambda graph, a, b: (
                int(np.flatnonzero(behind[a] == {0: 3, 3: 0, 2: 1}[a])[0])
                if b == 1
                else bits(make_table(graph, "shortest").ports[a, b])
            ),
            ring,
        )


def test_a_table_of_ones_own_is_checked_and_kept():
    graph = torus(4, 4)
    table = make_table(graph, "yx")
    assert make_table(graph, table) is table
    with pytest.raises(ValueError, match="^table: "):
        make_table(torus(4, 3), table)
    assert isinstance(table, Table)


@pytest.mark.parametrize("name", ["zigzag", "", None])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    known = "xy, yx, west-first, shortest, up-down or a function"
    with pytest.raises(ValueError, match=f"^routing: must be one of {known}, got {name!r}$"):
        make_table(mesh(2, 2), name)


@pytest.mark.parametrize(
    ("graph", "name", "sentence"),
    [
        (torus(3, 3), "west-first", "needs a mesh, got a torus; use xy or yx or shortest, or"),
        (
            from_graph(nx.path_graph(3)),
            "xy",
            "needs a mesh or torus, got a graph; use shortest or up-down, or",
        ),
        (
            from_graph(nx.path_graph(3)),
            "yx",
            "needs a mesh or torus, got a graph; use shortest or up-down, or",
        ),
        (
            from_graph(nx.path_graph(3)),
            "west-first",
            "needs a mesh, got a graph; use shortest or up-down, or",
        ),
    ],
)
def test_a_routing_on_a_graph_that_it_is_not_made_for_is_refused(graph, name, sentence):
    with pytest.raises(ValueError, match=f"^routing: {name} {sentence} a function of your own$"):
        make_table(graph, name)


def test_each_routing_says_what_it_suits():
    assert set(SUITS) == set(ROUTINGS)


@pytest.mark.parametrize("name", sorted(set(ROUTINGS) - {"up-down"}))
def test_the_largest_mesh_has_a_table_whose_first_steps_lead_nearer(name):
    graph = mesh(64, 64)
    table = make_table(graph, name)
    behind, nodes = neighbours(graph), np.arange(4096)
    y, x = np.divmod(nodes, 64)
    far = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    for port in range(LOCAL):
        taken = (table.ports >> port & 1).astype(bool)
        assert not taken[behind[:, port] < 0].any()
        assert (far[behind[:, port]][taken] == far[taken] - 1).all()
    assert ((table.ports == 1 << LOCAL) == (far == 0)).all()
