"""Routing functions and the tables that routers read."""

from collections.abc import Callable, Iterable

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from .mesh import EAST, LOCAL, NORTH, SOUTH, WEST

Routing = Callable[["nx.DiGraph[int]", int, int], int]
"""``routing(graph, node, destination) -> port``: the next output port, LOCAL at the destination."""


def xy(graph: "nx.DiGraph[int]", node: int, destination: int) -> int:
    """Route along x first, then along y."""
    here, there = graph.nodes[node], graph.nodes[destination]
    if here["x"] != there["x"]:
        return EAST if there["x"] > here["x"] else WEST
    if here["y"] != there["y"]:
        return NORTH if there["y"] > here["y"] else SOUTH
    return LOCAL


ROUTINGS: dict[str, Routing] = {"xy": xy}


def next_ports(graph: "nx.DiGraph[int]", routing: Routing) -> NDArray[np.int8]:
    """Return int8[n_nodes, n_nodes]: the port that leads from a node towards a destination."""
    n = graph.number_of_nodes()
    table = np.empty((n, n), np.int8)
    for node in range(n):
        for destination in range(n):
            table[node, destination] = routing(graph, node, destination)
    return table


def tree(
    next_port: NDArray[np.int8],
    neighbour: NDArray[np.int64],
    source: int,
    destinations: Iterable[int],
) -> NDArray[np.uint8]:
    """Return the multicast tree from a source: the union of the paths to its destinations.

    Parameters
    ----------
    next_port : int8[n_nodes, n_nodes]
        Table of `next_ports`.
    neighbour : int64[n_nodes, 4]
        Table of `firemesh.noc.mesh.neighbours`.
    source : int
    destinations : iterable of int

    Returns
    -------
    uint8[n_nodes]
        Bit mask of output ports per node; 0 where the tree does not pass.

    Raises
    ------
    ValueError
        When a path leaves the network or comes back to a node.
    """
    ports = np.zeros(len(next_port), np.uint8)
    for destination in destinations:
        node = source
        for _ in range(len(next_port) + 1):
            port = int(next_port[node, destination])
            ports[node] |= 1 << port
            if port == LOCAL:
                break
            node = int(neighbour[node, port])
            if node < 0:
                break
        if node != destination:
            raise ValueError(
                f"routing: the path from node {source} to node {destination} does not arrive; "
                "use a routing function made for this topology"
            )
    return ports
