"""Laws of routing: XY paths are minimal, and a multicast tree is the union of its paths."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.noc.mesh import EAST, LOCAL, NORTH, SOUTH, WEST, mesh, neighbours
from firemesh.noc.routing import ROUTINGS, tree, xy

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))


@st.composite
def multicasts(draw):
    """A mesh, a source, and a set of destinations that may hold the source."""
    width, height = draw(SIDES)
    nodes = st.integers(0, width * height - 1)
    return width, height, draw(nodes), sorted(draw(st.sets(nodes, min_size=1)))


def next_ports(graph, routing):
    """Return the port that leads from each node towards each destination."""
    return np.array([[routing(graph, node, to) for to in graph] for node in graph])


def table(next_port):
    return lambda node, destination: int(next_port[node, destination])


def tables(width, height, routing=xy):
    graph = mesh(width, height)
    return graph, next_ports(graph, routing), neighbours(graph)


def walk(next_port, neighbour, source, destination):
    """Return the (node, output port) pairs of a path, its delivery included."""
    steps, node = [], source
    while not steps or steps[-1][1] != LOCAL:
        steps.append((node, int(next_port[node, destination])))
        node = int(neighbour[node, steps[-1][1]]) if steps[-1][1] != LOCAL else node
        assert len(steps) <= len(next_port)
    return steps


def members(ports):
    """Return the (node, output port) pairs of a tree's bit masks."""
    return {(n, o) for n in range(len(ports)) for o in range(8) if ports[n] >> o & 1}


@settings(deadline=None)
@given(sides=SIDES)
@pytest.mark.parametrize("name", sorted(ROUTINGS))
def test_every_path_arrives_and_none_is_longer_than_the_shortest(name, sides):
    graph, next_port, neighbour = tables(*sides, ROUTINGS[name])
    distance = dict(nx.all_pairs_shortest_path_length(graph))
    for source in graph:
        for destination in graph:
            steps = walk(next_port, neighbour, source, destination)
            assert steps[-1] == (destination, LOCAL)
            assert len(steps) == distance[source][destination] + 1


@settings(deadline=None)
@given(sides=SIDES)
def test_xy_makes_all_its_steps_in_x_before_those_in_y(sides):
    graph, next_port, neighbour = tables(*sides)
    for source in graph:
        for destination in graph:
            ports = [port for _, port in walk(next_port, neighbour, source, destination)]
            kinds = ["x" if port in (EAST, WEST) else "y" for port in ports[:-1]]
            assert kinds == sorted(kinds)
            assert not ({EAST, WEST} <= set(ports) or {NORTH, SOUTH} <= set(ports))


@settings(deadline=None)
@given(case=multicasts())
def test_a_tree_is_the_union_of_the_paths_to_its_destinations(case):
    width, height, source, destinations = case
    _, next_port, neighbour = tables(width, height)
    paths = {
        step
        for destination in destinations
        for step in walk(next_port, neighbour, source, destination)
    }
    assert members(tree(table(next_port), neighbour, source, destinations)) == paths


@settings(deadline=None)
@given(case=multicasts())
def test_a_tree_enters_each_of_its_nodes_once_and_delivers_at_its_destinations_only(case):
    width, height, source, destinations = case
    _, next_port, neighbour = tables(width, height)
    steps = members(tree(table(next_port), neighbour, source, destinations))
    edges = [(n, int(neighbour[n, o])) for n, o in steps if o != LOCAL]
    branches = nx.DiGraph(edges)
    branches.add_node(source)
    assert nx.is_arborescence(branches)
    assert branches.in_degree(source) == 0
    assert {n for n, _ in steps} == set(branches)
    assert sorted(n for n, o in steps if o == LOCAL) == destinations


def test_a_routing_that_leaves_the_mesh_is_refused():
    _, next_port, neighbour = tables(3, 2, lambda graph, node, destination: EAST)
    with pytest.raises(ValueError, match="^routing: the path from node 1 to node 5 does not arri"):
        tree(table(next_port), neighbour, 1, [5])


def test_a_routing_that_goes_round_in_circles_is_refused():
    circle = {0: EAST, 1: NORTH, 4: WEST, 3: SOUTH}
    _, next_port, neighbour = tables(3, 2, lambda graph, node, destination: circle.get(node, LOCAL))
    with pytest.raises(ValueError, match="use a routing function made for this topology$"):
        tree(table(next_port), neighbour, 0, [2])


def test_a_routing_that_stops_before_its_destination_is_refused():
    _, next_port, neighbour = tables(3, 1, lambda graph, node, destination: LOCAL)
    with pytest.raises(ValueError, match="from node 0 to node 2 does not arrive"):
        tree(table(next_port), neighbour, 0, [0, 2])


def test_a_path_that_passes_its_destination_and_comes_back_is_refused():
    swings = {0: EAST, 1: WEST}
    _, next_port, neighbour = tables(2, 1, lambda graph, node, destination: swings[node])
    with pytest.raises(ValueError, match="does not arrive"):
        tree(table(next_port), neighbour, 0, [1])


def test_paths_that_form_no_tree_are_refused():
    graph = mesh(3, 3)

    def mixed(node, destination):
        here, there = graph.nodes[node], graph.nodes[destination]
        if destination == 8 and here["y"] != there["y"]:
            return NORTH
        return xy(graph, node, destination)

    with pytest.raises(ValueError, match="enter node 7 by two links"):
        tree(mixed, neighbours(graph), 0, [8, 7])
