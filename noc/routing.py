"""Routings: which output ports lead from each node to each destination."""

from collections.abc import Callable, Iterable
from operator import index
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from .table import Table, hops
from .topology import EAST, LOCAL, NORTH, WEST, Graph, is_ring, neighbours, node_name

Routing = Callable[[Graph], Table]
"""A routing by name makes the whole table of a graph."""
OwnRouting = Callable[[Graph, int, int], int | Iterable[int]]
"""``routing(graph, node, destination)``: the output port, or the ports, that lead on."""

SUITS = {
    "xy": ("mesh", "torus"),
    "yx": ("mesh", "torus"),
    "west-first": ("mesh",),
    "shortest": ("mesh", "torus", "graph"),
    "up-down": ("graph",),
}
"""Kinds of graph that a routing is made for."""
NODES_AT_ONCE = 512


def xy(graph: Graph) -> Table:
    """Route along x first, then along y; on a torus the shorter way round, + where both are equal.

    A torus' rings take two classes of VCs: a link is entered in class 0 while the way along its
    dimension still crosses the closing link, this one included, and in class 1 from there on. So in
    neither class do the links of a ring wait for each other in a circle.

    Source: Dally and Seitz, IEEE Trans. Computers C-36(5), 1987 (virtual channels on rings).
    """
    return _dimension_order(graph, "xy")


def yx(graph: Graph) -> Table:
    """Route along y first, then along x; see `xy`."""
    return _dimension_order(graph, "yx")


def west_first(graph: Graph) -> Table:
    """Route minimally on a mesh: all steps to -x first, then any that comes nearer.

    Source: Glass and Ni, ISCA 1992 (turn model).
    """
    width, height = _sides(graph, "west-first")
    x, y = (
        _line(width, EAST, False)[0][:, None, :],
        _line(height, NORTH, False)[0][:, None, :, None],
    )
    ports = np.where(x == 1 << WEST, x, x | y)
    ports[ports == 0] = 1 << LOCAL
    return Table(_square(ports, graph), np.zeros((1, 1), np.uint16), 1)


def shortest(graph: Graph) -> Table:
    """Route along a shortest path; of several, along that which takes the lowest port first."""
    from scipy.sparse import csr_array  # what mesh and torus do not need is not imported
    from scipy.sparse.csgraph import dijkstra

    _kind(graph, "shortest")
    neighbour = neighbours(graph)
    n, radix = neighbour.shape
    source, port = np.nonzero(neighbour >= 0)
    links = csr_array((np.ones(len(source)), (source, neighbour[source, port])), shape=(n, n))
    distance = np.empty((n, n), np.int16)
    for first in range(0, n, NODES_AT_ONCE):
        some = np.arange(first, min(first + NODES_AT_ONCE, n))
        distance[some] = dijkstra(links, indices=some, unweighted=True)
    ports = np.zeros((n, n), np.uint16)
    for leading in reversed(range(radix)):
        nodes = np.flatnonzero(neighbour[:, leading] >= 0)
        is_nearer = distance[neighbour[nodes, leading]] < distance[nodes]
        ports[nodes] = np.where(is_nearer, np.uint16(1 << leading), ports[nodes])
    np.fill_diagonal(ports, 1 << radix)
    return Table(ports, np.zeros((1, 1), np.uint16), 1)


def up_down(graph: Graph) -> Table:
    """Route towards the root of a tree as far as must be, then away from it: safe on any graph.

    Nodes are ranked by their distance from node 0, then by number; a link to a lower rank is up. A
    path goes up, then down, never up again, so channels cannot wait for each other in a circle.
    Where a way down exists it is taken, the shortest, of several that of the lowest port.

    Source: Schroeder et al. (Autonet), IEEE J. Selected Areas in Communications 9(8), 1991.

    Raises
    ------
    ValueError
        When some link goes one way only.
    """
    _kind(graph, "up-down")
    neighbour = neighbours(graph)
    if link := _one_way(graph):
        names = [node_name(graph, node) for node in link]
        raise ValueError(
            f"routing: up-down needs links that go both ways, got only {names[0]} to {names[1]}; "
            "add the way back, or use shortest or a function of your own"
        )
    n, radix = neighbour.shape
    depth = nx.single_source_shortest_path_length(graph, 0)
    order = sorted(graph, key=lambda node: (depth[node], node))
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    no_way = np.int32(4 * n)
    ports = np.zeros((n, n), np.uint16)
    length = np.full((n, n), no_way, np.int32)
    np.fill_diagonal(length, 0)
    for node in reversed(order):  # ways down; those of higher ranks are known
        _extend(neighbour, ports, length, node, rank > rank[node], np.ones(n, bool))
    for node in order:  # ways up, then on as the lower ranks do
        _extend(neighbour, ports, length, node, rank < rank[node], length[node] == no_way)
    np.fill_diagonal(ports, 1 << radix)
    return Table(ports, np.zeros((1, 1), np.uint16), 1)


def _extend(
    neighbour: NDArray[np.int64],
    ports: NDArray[np.uint16],
    length: NDArray[np.int32],
    node: int,
    onward: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
) -> None:
    """Let a node's paths go on as those of its neighbours, where they are shortest so.

    Parameters
    ----------
    neighbour : int64[n, radix]
    ports, length : uint16[n, n], int32[n, n]
        Ports and lengths of the paths so far; the node's are changed.
    node : int
    onward : bool[n]
        Neighbours that may be next.
    wanted : bool[n]
        Destinations for which a path is wanted.
    """
    for port, other in enumerate(neighbour[node].tolist()):
        if other >= 0 and onward[other]:
            is_shorter = wanted & (length[other] + 1 < length[node])
            length[node, is_shorter] = length[other, is_shorter] + 1
            ports[node, is_shorter] = 1 << port


ROUTINGS: dict[str, Routing] = {
    "xy": xy,
    "yx": yx,
    "west-first": west_first,
    "shortest": shortest,
    "up-down": up_down,
}


def suited(graph: Graph) -> list[str]:
    """Return the names of the routings that are made for a graph's kind."""
    names = [name for name in ROUTINGS if graph.graph["kind"] in SUITS[name]]
    return [name for name in names if name != "up-down" or _one_way(graph) is None]


def make_table(graph: Graph, routing: str | OwnRouting | Table) -> Table:
    """Return the table of a routing by name, of a function of the user's own, or his own table.

    Parameters
    ----------
    graph : networkx.DiGraph
        Of `firemesh.noc.topology`.
    routing : str, callable or Table
        Name in `ROUTINGS`, or see `table_of`.

    Raises
    ------
    ValueError
        When the name is unknown, the routing is not made for the graph, or a path does not arrive.
    """
    if isinstance(routing, Table):
        hops(routing, graph)
        return routing
    if callable(routing):
        return table_of(routing, graph)
    if routing not in ROUTINGS:
        raise ValueError(
            f"routing: must be one of {', '.join(ROUTINGS)} or a function, got {routing!r}"
        )
    return ROUTINGS[routing](graph)


def table_of(function: OwnRouting, graph: Graph) -> Table:
    """Return the table of a routing function, with one class, and check that every path arrives.

    Parameters
    ----------
    function : callable
        ``function(graph, node, destination)``: an output port, or several of which a flit may take
        any. It is not asked about ``node == destination``.
    graph : networkx.DiGraph
        Of `firemesh.noc.topology`.

    Raises
    ------
    ValueError
        When it gives no port or something else, or a path does not arrive.
    """
    n, radix = graph.number_of_nodes(), graph.graph["radix"]
    ports = np.zeros((n, n), np.uint16)
    for node in range(n):
        for destination in range(n):
            given = function(graph, node, destination) if node != destination else radix
            for port in _numbers(given):
                if not 0 <= port <= radix:
                    raise ValueError(
                        f"routing: must give ports in 0..{radix - 1}, got {given!r} at node "
                        f"{node_name(graph, node)} for node {node_name(graph, destination)}"
                    )
                ports[node, destination] |= 1 << port
    table = Table(ports, np.zeros((1, 1), np.uint16), 1)
    hops(table, graph)
    return table


def _numbers(given: Any) -> list[int]:
    """Return one port or several as a list; no port at all where it is neither."""
    try:
        return [index(given)]
    except TypeError:
        pass
    try:
        return [index(port) for port in given]
    except TypeError:
        return [-1]


def _one_way(graph: Graph) -> tuple[int, int] | None:
    """Return a link without one back, None where there is none."""
    edges = graph.edges
    return next(((a, b) for a, b in edges if not graph.has_edge(b, a)), None)


def _kind(graph: Graph, name: str) -> None:
    """Raise unless a routing is made for the graph's kind."""
    kind = graph.graph["kind"]
    if kind not in SUITS[name]:
        raise ValueError(
            f"routing: {name} needs a {' or '.join(SUITS[name])}, got a {kind}; "
            f"use {' or '.join(suited(graph))}, or a function of your own"
        )


def _sides(graph: Graph, name: str) -> tuple[int, int]:
    _kind(graph, name)
    return graph.graph["width"], graph.graph["height"]


def _dimension_order(graph: Graph, name: str) -> Table:
    """Return the table of `xy` or `yx`."""
    width, height = _sides(graph, name)
    x = [part[:, None, :] for part in _line(width, EAST, is_ring(graph, width))]
    y = [part[:, None, :, None] for part in _line(height, NORTH, is_ring(graph, height))]
    first, second = (x, y) if name == "xy" else (y, x)
    ports, upper = (np.where(first[0] != 0, a, b) for a, b in zip(first, second, strict=True))
    ports[ports == 0] = 1 << LOCAL
    if not (is_ring(graph, width) or is_ring(graph, height)):
        return Table(_square(ports, graph), np.zeros((1, 1), np.uint16), 1)
    return Table(_square(ports, graph), _square(upper, graph), 2)


def _line(side: int, plus: int, is_closed: bool) -> list[NDArray[np.uint16]]:
    """Return the way along one dimension.

    Parameters
    ----------
    side : int
        Nodes in the dimension.
    plus : int
        The port that leads to the next node; that back is the one after it.
    is_closed : bool
        Whether a link leads from the last node to the first and back.

    Returns
    -------
    uint16[side, side], uint16[side, side]
        By (position, destination's): mask of the port to take, 0 where they are equal; the same
        where the closing link is not on the way, 0 elsewhere.
    """
    at, to = np.arange(side)[:, None], np.arange(side)
    ahead = (to - at) % side
    is_plus = 2 * ahead <= side if is_closed else to > at
    ports = np.where(is_plus, 1 << plus, 2 << plus)
    ports[at == to] = 0
    crosses = is_plus != (to > at)
    return [ports.astype(np.uint16), np.where(crosses, 0, ports).astype(np.uint16)]


def _square(ports: NDArray[np.uint16], graph: Graph) -> NDArray[np.uint16]:
    """Return uint16[n, n], by the graph's nodes, of [height, width, height, width]."""
    n, width = ports.shape[0] * ports.shape[1], ports.shape[1]
    square = ports.reshape(n, n)
    at = [graph.nodes[node]["x"] + width * graph.nodes[node]["y"] for node in range(n)]
    if at != list(range(n)):
        square = square[np.ix_(at, at)]
    return np.ascontiguousarray(square)
