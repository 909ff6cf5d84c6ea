"""Laws of the deadlock check: what it builds, what it lets pass, and the cycle that it prints."""

import re
from itertools import pairwise
from time import process_time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noc_graphs import bits, class_of, digraphs, target_of

from firemesh.noc.deadlock import (
    MOST_PRINTED,
    DeadlockError,
    check,
    dependencies,
    find_cycle,
)
from firemesh.noc.routing import make_table, suited, table_of
from firemesh.noc.topology import (
    EAST,
    LOCAL,
    NORTH,
    PORT_NAMES,
    SOUTH,
    WEST,
    from_graph,
    mesh,
    neighbours,
    torus,
)

SIDES = st.tuples(st.integers(1, 5), st.integers(1, 5))
GRAPHS = st.one_of(
    st.builds(lambda sides: mesh(*sides), SIDES),
    st.builds(lambda sides: torus(*sides), SIDES),
    st.builds(from_graph, digraphs()),
)
TREES = st.builds(
    lambda n, seed: from_graph(nx.random_labeled_tree(n, seed=seed)),
    st.integers(2, 12),
    st.integers(0, 99),
)
CHANNEL = re.compile(r"\((\d+),(\d+)\)([+-][xy])(?: (lower|upper))?")


def slow_dependencies(graph, table, is_merged):
    """Build the channel dependency graph step by step, in plain Python."""
    local, channels = graph.graph["radix"], nx.DiGraph()
    for node in graph:
        for to in graph:
            for port in bits(table.ports[node, to]):
                if port == local:
                    continue
                channel = (node, port, 0 if is_merged else class_of(table, node, to, port))
                channels.add_node(channel)
                following = target_of(graph, node, port)
                for onward in bits(table.ports[following, to]):
                    part = 0 if is_merged else class_of(table, following, to, onward)
                    if onward != local:
                        channels.add_edge(channel, (following, onward, part))
    return channels


def fully_adaptive(graph, node, destination):
    """Give every port that leads nearer on a mesh."""
    here, there = graph.nodes[node], graph.nodes[destination]
    wanted = {
        EAST: there["x"] > here["x"],
        WEST: there["x"] < here["x"],
        NORTH: there["y"] > here["y"],
        SOUTH: there["y"] < here["y"],
    }
    return [port for port, is_wanted in wanted.items() if is_wanted]


def clockwise(n):
    """Return a ring and a table that sends everything round it in one direction."""
    graph = from_graph(nx.cycle_graph(n))
    return graph, table_of(lambda _, node, to: graph.edges[node, (node + 1) % n]["port"], graph)


def message_of(graph, table, merged=False):
    with pytest.raises(DeadlockError) as caught:
        check(graph, table, merged)
    return str(caught.value)


def printed(graph, message):
    """Return the channels that a message about a grid prints."""
    return [
        (int(x) + graph.graph["width"] * int(y), PORT_NAMES.index(port), int(part == "upper"))
        for x, y, port, part in CHANNEL.findall(message)
    ]


@settings(deadline=None)
@given(graph=GRAPHS, is_merged=st.booleans())
def test_the_dependencies_are_those_that_plain_python_finds_step_by_step(graph, is_merged):
    tables = [make_table(graph, name) for name in suited(graph)]
    if graph.graph["kind"] == "mesh":
        tables.append(table_of(fully_adaptive, graph))
    for table in tables:
        made, slow = (build(graph, table, is_merged) for build in (dependencies, slow_dependencies))
        assert set(made.nodes) == set(slow.nodes)
        assert set(made.edges) == set(slow.edges)


@settings(deadline=None)
@given(graph=st.builds(from_graph, digraphs(6)), seed=st.integers(0, 2**32 - 1))
def test_the_dependencies_of_random_ports_and_classes_are_those_of_plain_python(graph, seed):
    rng = np.random.default_rng(seed)
    table = make_table(graph, "shortest")
    linked = ((neighbours(graph) >= 0) @ (1 << np.arange(graph.graph["radix"])))[:, None]
    n = len(graph)
    off = ~np.eye(n, dtype=bool)
    ports = table.ports | np.where(off, rng.integers(1 << 15, size=(n, n)) & linked, 0)
    upper = ports & np.where(off, rng.integers(1 << 15, size=(n, n)), 0)
    table = table._replace(ports=ports.astype(np.uint16), upper=upper.astype(np.uint16), classes=2)
    for is_merged in (False, True):
        made, slow = (build(graph, table, is_merged) for build in (dependencies, slow_dependencies))
        assert set(made.nodes) == set(slow.nodes)
        assert set(made.edges) == set(slow.edges)


@settings(deadline=None)
@given(sides=SIDES, is_merged=st.booleans())
def test_every_routing_of_a_mesh_is_free_of_cycles(sides, is_merged):
    graph = mesh(*sides)
    for name in suited(graph):
        check(graph, make_table(graph, name), is_merged)


@settings(deadline=None)
@given(sides=st.tuples(st.integers(1, 8), st.integers(1, 8)))
@pytest.mark.parametrize("name", ["xy", "yx"])
def test_the_classes_of_a_torus_break_its_rings_and_without_them_it_is_refused(name, sides):
    graph = torus(*sides)
    table = make_table(graph, name)
    check(graph, table)
    if max(sides) > 3:  # a ring of 3 takes no two links of a direction one after another
        message = message_of(graph, table, merged=True)
        assert message.endswith("; use a router with virtual channels and xy or yx, or a mesh")
    else:
        check(graph, table, merged=True)


@settings(deadline=None)
@given(graph=TREES)
def test_shortest_ways_on_a_tree_are_free_of_cycles(graph):
    check(graph, make_table(graph, "shortest"))


def test_shortest_ways_round_a_ring_are_refused():
    graph = from_graph(nx.cycle_graph(["a", "b", "c", "d", "e"]))
    message = message_of(graph, make_table(graph, "shortest"))
    assert message == (
        "routing: may deadlock: a->b -> b->c -> c->d -> d->e -> e->a -> a->b; use up-down, "
        "which is safe where links go both ways"
    )


def test_the_four_turns_of_a_fully_adaptive_mesh_are_printed():
    graph = mesh(2, 2)
    assert message_of(graph, table_of(fully_adaptive, graph)) == (
        "routing: may deadlock: (0,0)+x -> (1,0)+y -> (1,1)-x -> (0,1)-y -> (0,0)+x; "
        "use xy, yx or west-first"
    )


def test_classes_are_printed_where_the_router_has_them():
    graph = torus(4, 1)
    table = make_table(graph, "xy")
    all_upper = table._replace(upper=table.ports & np.uint16((1 << LOCAL) - 1))
    assert message_of(graph, all_upper) == (
        "routing: may deadlock: (0,0)+x upper -> (1,0)+x upper -> (2,0)+x upper -> (3,0)+x upper "
        "-> (0,0)+x upper; use xy or yx"
    )
    assert "upper" not in message_of(graph, table, merged=True)


@settings(deadline=None, max_examples=40)
@given(sides=st.tuples(st.integers(2, 6), st.integers(2, 6)), is_torus=st.booleans())
def test_the_printed_channels_are_a_cycle_of_dependencies(sides, is_torus):
    graph = torus(*sides) if is_torus else mesh(*sides)
    table = table_of(fully_adaptive, graph)
    channels = printed(graph, message_of(graph, table))
    assert len(channels) > 2 and channels[0] == channels[-1]
    assert len(set(channels)) == len(channels) - 1
    waits = slow_dependencies(graph, table, False)
    assert all(waits.has_edge(a, b) for a, b in pairwise(channels))


@pytest.mark.parametrize("n", [MOST_PRINTED, MOST_PRINTED + 1, 40])
def test_of_a_long_cycle_the_first_channels_and_the_last_are_printed_and_their_number(n):
    graph, table = clockwise(n)
    cycle = message_of(graph, table).split("deadlock: ")[1].split(";")[0]
    names = re.findall(r"\d+->\d+", cycle)
    around = [f"{i}->{(i + 1) % n}" for i in [*range(n), 0]]
    if n <= MOST_PRINTED:
        assert cycle == " -> ".join(around)
    else:
        assert names == [*around[: MOST_PRINTED - 1], *around[-2:]]
        assert cycle.endswith(f"-> ... -> {around[-2]} -> {around[0]} ({n} channels)")


@settings(deadline=None)
@given(n=st.integers(1, 9), share=st.floats(0, 0.4), seed=st.integers(0, 999))
def test_a_cycle_is_found_exactly_where_there_is_one_and_none_is_shorter_through_its_first(
    n, share, seed
):
    channels = nx.gnp_random_graph(n, share, seed=seed, directed=True)
    cycle = find_cycle(channels)
    assert bool(cycle) == (not nx.is_directed_acyclic_graph(channels))
    if cycle:
        assert all(channels.has_edge(a, b) for a, b in pairwise([*cycle, cycle[0]]))
        through = [c for c in nx.simple_cycles(channels) if cycle[0] in c]
        assert len(cycle) == min(map(len, through))


def test_a_graph_without_cycles_has_none():
    assert find_cycle(nx.DiGraph([(1, 2), (2, 3), (1, 3)])) == []


@pytest.mark.parametrize("name", ["west-first", "xy"])
def test_the_largest_mesh_is_checked_in_seconds(name):
    graph = mesh(64, 64)
    table = make_table(graph, name)
    start = process_time()
    channels = dependencies(graph, table)
    check(graph, table)
    assert process_time() - start < 20
    assert set(channels.nodes) == {(a, link["port"], 0) for a, _, link in graph.edges(data=True)}
