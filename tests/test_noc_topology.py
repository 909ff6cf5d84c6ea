"""Laws of the topologies: mesh and torus are grid graphs, any strong graph can be one; ports."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noc_graphs import digraphs

from firemesh.noc.router import Flit
from firemesh.noc.topology import (
    LOCAL,
    MAX_NEIGHBOURS,
    MAX_NODES,
    PORT_NAMES,
    entries,
    from_graph,
    is_ring,
    mesh,
    neighbours,
    node_name,
    port_name,
    snake,
    sources,
    torus,
)

STEP = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
every_grid = pytest.mark.parametrize("grid", [mesh, torus])


def all_links(graph):
    """Return (source, port, target, entry) of each edge."""
    return {(a, link["port"], b, link["entry"]) for a, b, link in graph.edges(data=True)}


@settings(deadline=None)
@given(sides=SIDES)
def test_the_mesh_is_the_grid_graph_with_both_directions_of_each_link(sides):
    width, height = sides
    graph = mesh(width, height)
    grid = nx.grid_2d_graph(width, height).to_directed()
    number = {(x, y): x + width * y for x, y in grid}
    assert set(graph.nodes) == set(number.values())
    assert set(graph.edges) == {(number[a], number[b]) for a, b in grid.edges}
    assert {(at["x"], at["y"]): n for n, at in graph.nodes(data=True)} == number


@settings(deadline=None)
@given(sides=SIDES)
def test_the_torus_is_the_product_of_two_rings_and_a_side_below_three_is_no_ring(sides):
    width, height = sides
    graph = torus(width, height)
    x, y = (nx.cycle_graph(side) if side > 2 else nx.path_graph(side) for side in sides)
    grid = nx.cartesian_product(x, y).to_directed()
    expected = {(a[0] + width * a[1], b[0] + width * b[1]) for a, b in grid.edges}
    assert set(graph.edges) == expected
    assert len(graph) == width * height
    assert [is_ring(graph, side) for side in sides] == [side > 2 for side in sides]


@settings(deadline=None)
@given(sides=SIDES)
@every_grid
def test_a_port_moves_one_step_in_the_direction_that_it_is_named_for(grid, sides):
    graph = grid(*sides)
    for source, target, port in graph.edges(data="port"):
        dx, dy = STEP[PORT_NAMES[port]]
        a, b = graph.nodes[source], graph.nodes[target]
        moved = (a["x"] + dx, a["y"] + dy)
        if grid is torus:
            moved = (moved[0] % sides[0], moved[1] % sides[1])
        assert (b["x"], b["y"]) == moved
        assert port_name(graph, source, port) == PORT_NAMES[port]


@settings(deadline=None)
@given(sides=SIDES)
@every_grid
def test_the_opposite_port_of_a_neighbour_leads_back_and_is_the_input_there(grid, sides):
    graph = grid(*sides)
    table, behind = neighbours(graph), entries(graph)
    assert ((table >= 0) == (behind >= 0)).all()
    for node, port in np.argwhere(table >= 0):
        assert table[table[node, port], port ^ 1] == node
        assert behind[node, port] == port ^ 1


@settings(deadline=None)
@given(sides=SIDES)
def test_a_port_leads_nowhere_exactly_at_its_border(sides):
    width, height = sides
    table = neighbours(mesh(width, height))
    assert table.shape == (width * height, len(STEP))
    for node in range(width * height):
        for port in range(LOCAL):
            dx, dy = STEP[PORT_NAMES[port]]
            x, y = node % width + dx, node // width + dy
            is_inside = 0 <= x < width and 0 <= y < height
            assert table[node, port] == (x + width * y if is_inside else -1)


def test_a_torus_of_three_and_more_a_side_has_a_neighbour_at_every_port():
    assert (neighbours(torus(3, 5)) >= 0).all()
    assert neighbours(torus(3, 5))[0].tolist() == [1, 2, 3, 12]


@settings(deadline=None)
@given(graph=digraphs())
def test_the_tables_hold_each_link_once_from_either_end_and_nothing_else(graph):
    graph = from_graph(graph)
    table, behind, (node, port) = neighbours(graph), entries(graph), sources(graph)
    shape = (len(graph), graph.graph["radix"])
    assert {part.shape for part in (table, behind, node, port)} == {shape}
    outputs = [(a, p, table[a, p], behind[a, p]) for a, p in np.argwhere(table >= 0).tolist()]
    inputs = [(node[b, e], port[b, e], b, e) for b, e in np.argwhere(node >= 0).tolist()]
    assert set(outputs) == set(inputs) == all_links(graph)
    assert len(outputs) == len(inputs) == graph.number_of_edges()
    assert ((behind >= 0) == (table >= 0)).all() and ((port >= 0) == (node >= 0)).all()


@settings(deadline=None)
@given(graph=digraphs())
def test_ports_count_over_successors_and_entries_over_predecessors_ascending(graph):
    made, graph = from_graph(graph), nx.DiGraph(graph)
    assert set(made.edges) == set(graph.edges)
    for node in made:
        follow, lead = sorted(made.successors(node)), sorted(made.predecessors(node))
        assert [made.edges[node, b]["port"] for b in follow] == list(range(len(follow)))
        assert [made.edges[a, node]["entry"] for a in lead] == list(range(len(lead)))
    degrees = [d for n in graph for d in (graph.out_degree(n), graph.in_degree(n))]
    assert made.graph["radix"] == max(degrees)


def test_an_undirected_link_has_the_same_number_out_and_in_at_each_end():
    graph = from_graph(nx.petersen_graph())
    assert graph.number_of_edges() == 30 and graph.graph["radix"] == 3
    for a, b in graph.edges:
        assert graph.edges[a, b]["port"] == graph.edges[b, a]["entry"]


def test_labels_are_sorted_where_they_can_be_and_as_given_where_they_cannot():
    words = from_graph(nx.Graph([("tea", "cup"), ("cup", "pot")]))
    assert list(words.nodes(data="label")) == [(0, "cup"), (1, "pot"), (2, "tea")]
    assert set(words.edges) == {(0, 1), (1, 0), (0, 2), (2, 0)}
    mixed = from_graph(nx.Graph([("tea", 1), (1, (2, 3))]))
    assert [label for _, label in mixed.nodes(data="label")] == ["tea", 1, (2, 3)]
    assert node_name(mixed, 2) == "(2, 3)"


def test_ports_are_named_for_what_is_behind_them():
    graph = from_graph(nx.path_graph([7, 8, 9]))
    assert [port_name(graph, 1, port) for port in range(3)] == ["to 7", "to 9", "local"]
    assert port_name(graph, 0, 1) == "port 1"
    assert port_name(mesh(2, 2), 0, LOCAL) == PORT_NAMES[LOCAL] == "local"


def test_the_graph_that_was_given_is_left_as_it_was():
    given_graph = nx.cycle_graph(3)
    from_graph(given_graph)
    assert list(given_graph.edges(data=True)) == [(0, 1, {}), (0, 2, {}), (1, 2, {})]


def test_kinds_sides_and_radix_are_said():
    assert mesh(3, 2).graph == {"kind": "mesh", "width": 3, "height": 2, "radix": LOCAL}
    assert torus(3, 2).graph == {"kind": "torus", "width": 3, "height": 2, "radix": LOCAL}
    assert from_graph(nx.path_graph(3)).graph == {"kind": "graph", "radix": 2}
    assert neighbours(from_graph(nx.empty_graph(1))).shape == (1, 0)


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        ({0: [1]}, r"^graph: must be a networkx\.Graph or networkx\.DiGraph, got dict; make"),
        (nx.MultiGraph([(0, 1)]), "got MultiGraph; make one with one edge per link$"),
        (nx.Graph(), "^graph: must have 1 to 4096 nodes, got 0;"),
        (nx.empty_graph(MAX_NODES + 1), "^graph: must have 1 to 4096 nodes, got 4097;"),
        (nx.Graph([("a", "b"), ("b", "b")]), "^graph: node b is linked to itself; remove"),
        (nx.DiGraph([("a", "b")]), "^graph: must be strongly connected, .* node b to node a; add"),
        (nx.DiGraph([("b", "a")]), "^graph: must be strongly connected, .* node a to node b; add"),
        (nx.Graph([(5, 6), (7, 8)]), "strongly connected, got no way from node 5 to node 7; add"),
        (nx.star_graph(16), "^graph: node 0 must have at most 15 neighbours, got 16; spread"),
        (
            nx.DiGraph([*((i, 0) for i in range(1, 17)), *nx.path_graph(17).edges]),
            "^graph: node 0 must have at most 15 neighbours, got 16; spread",
        ),
    ],
)
def test_a_graph_that_routers_cannot_be_linked_by_is_refused(graph, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_graph(graph)


def test_a_node_may_have_as_many_neighbours_as_a_mask_has_bits_beside_its_own():
    graph = from_graph(nx.star_graph(MAX_NEIGHBOURS))
    assert 1 << graph.graph["radix"] == 1 << 15 <= np.iinfo(np.uint16).max


@settings(deadline=None)
@given(sides=SIDES)
@every_grid
def test_the_snake_visits_each_node_once_and_only_steps_to_neighbours(grid, sides):
    graph = grid(*sides)
    path = snake(graph)
    assert sorted(path) == sorted(graph.nodes)
    assert path[0] == 0
    assert all(graph.has_edge(a, b) for a, b in pairwise(path))


def test_the_snake_of_a_mesh_of_three_by_three_turns_at_each_row():
    assert snake(mesh(3, 3)) == [0, 1, 2, 5, 4, 3, 6, 7, 8]


def test_a_graph_without_rows_has_no_snake():
    with pytest.raises(ValueError, match="^snake: must be of a mesh or torus, got a graph; order"):
        snake(from_graph(nx.path_graph(3)))


@every_grid
@pytest.mark.parametrize("sides", [(0, 2), (-3, 2)])
def test_a_width_below_one_is_refused(grid, sides):
    where = rf"^{grid.__name__}\.width: must be at least 1, got {sides[0]}$"
    with pytest.raises(ValueError, match=where):
        grid(*sides)


@every_grid
def test_a_height_below_one_is_refused(grid):
    with pytest.raises(ValueError, match=rf"^{grid.__name__}\.height: must be at least 1, got 0$"):
        grid(2, 0)


@every_grid
def test_a_grid_may_have_the_most_nodes_and_not_one_row_more(grid):
    assert grid(64, MAX_NODES // 64).number_of_nodes() == MAX_NODES
    where = rf"^{grid.__name__}: must have at most 4096 nodes, got 64 x 65; make"
    with pytest.raises(ValueError, match=where):
        grid(64, MAX_NODES // 64 + 1)


def test_a_flit_counts_the_routers_of_the_longest_way_there_can_be():
    assert MAX_NODES <= Flit.ROUTERS
    assert Flit.TAIL | Flit.ROUTER * Flit.ROUTERS < 1 << Flit.PACKET
