"""Laws of the mesh: a grid graph, its ports, its neighbour table and its snake."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.noc.mesh import LOCAL, MAX_NODES, N_PORTS, PORT_NAMES, mesh, neighbours, snake

STEP = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))


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
def test_a_port_moves_one_step_in_the_direction_that_it_is_named_for(sides):
    graph = mesh(*sides)
    for source, target, port in graph.edges(data="port"):
        dx, dy = STEP[PORT_NAMES[port]]
        a, b = graph.nodes[source], graph.nodes[target]
        assert (b["x"] - a["x"], b["y"] - a["y"]) == (dx, dy)


@settings(deadline=None)
@given(sides=SIDES)
def test_the_opposite_port_of_a_neighbour_leads_back(sides):
    table = neighbours(mesh(*sides))
    for node, port in np.argwhere(table >= 0):
        assert table[table[node, port], port ^ 1] == node


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


def test_the_last_port_is_the_node_itself():
    assert PORT_NAMES[LOCAL] == "local"
    assert len(PORT_NAMES) == N_PORTS == LOCAL + 1


@settings(deadline=None)
@given(sides=SIDES)
def test_the_snake_visits_each_node_once_and_only_steps_to_neighbours(sides):
    graph = mesh(*sides)
    path = snake(graph)
    assert sorted(path) == sorted(graph.nodes)
    assert path[0] == 0
    assert all(graph.has_edge(a, b) for a, b in zip(path, path[1:], strict=False))


def test_the_snake_of_a_mesh_of_three_by_three_turns_at_each_row():
    assert snake(mesh(3, 3)) == [0, 1, 2, 5, 4, 3, 6, 7, 8]


@pytest.mark.parametrize("sides", [(0, 2), (-3, 2)])
def test_a_width_below_one_is_refused(sides):
    with pytest.raises(ValueError, match=rf"^mesh\.width: must be at least 1, got {sides[0]}$"):
        mesh(*sides)


def test_a_height_below_one_is_refused():
    with pytest.raises(ValueError, match=r"^mesh\.height: must be at least 1, got 0$"):
        mesh(2, 0)


def test_a_mesh_may_have_the_most_nodes_and_not_one_row_more():
    assert mesh(64, MAX_NODES // 64).number_of_nodes() == MAX_NODES
    with pytest.raises(ValueError, match=r"^mesh: must have at most 4096 nodes, got 64 x 65; make"):
        mesh(64, MAX_NODES // 64 + 1)
