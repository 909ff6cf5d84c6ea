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


def tree(
    port_of: Callable[[int, int], int],
    neighbour: NDArray[np.int64],
    source: int,
    destinations: Iterable[int],
) -> NDArray[np.uint8]:
    """Return the multicast tree from a source: the union of the paths to its destinations.

    Parameters
    ----------
    port_of : callable
        ``port_of(node, destination)``: the output port that leads on, LOCAL at the destination.
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
        When a path does not arrive, or two paths enter a node by different links.
    """
    ports = np.zeros(len(neighbour), np.uint8)
    entered = {source: -1}
    for destination in destinations:
        node, path = source, {source}
        while True:
            port = port_of(node, destination)
            ports[node] |= 1 << port
            following = int(neighbour[node, port]) if port != LOCAL else -1
            if following < 0 or following in path:
                break
            path.add(following)
            if entered.setdefault(following, node) != node:
                raise ValueError(
                    f"routing: paths from node {source} enter node {following} by two links; use a "
                    "routing function whose paths from a node form a tree"
                )
            node = following
        if port != LOCAL or node != destination:
            raise ValueError(
                f"routing: the path from node {source} to node {destination} does not arrive; "
                "use a routing function made for this topology"
            )
    return ports
