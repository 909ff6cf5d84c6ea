"""The mesh as a networkx graph, and its neighbour table."""

import networkx as nx
import numpy as np
from numpy.typing import NDArray

EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
PORT_NAMES = ("+x", "-x", "+y", "-y", "local")
N_PORTS = 5
MAX_NODES = 4096


def mesh(width: int, height: int) -> "nx.DiGraph[int]":
    """Return a ``width`` x ``height`` mesh, one edge per direction of a link.

    Parameters
    ----------
    width, height : int
        Nodes in x and y.

    Returns
    -------
    networkx.DiGraph
        Node ``x + width*y`` with attributes ``x`` and ``y``; edges with attribute ``port``, the
        output port of the sending router (0 +x, 1 -x, 2 +y, 3 -y).

    Raises
    ------
    ValueError
        When a side is below 1 or the mesh has more than ``MAX_NODES`` nodes.
    """
    for name, side in (("width", width), ("height", height)):
        if side < 1:
            raise ValueError(f"mesh.{name}: must be at least 1, got {side}")
    if width * height > MAX_NODES:
        raise ValueError(
            f"mesh: must have at most {MAX_NODES} nodes, got {width} x {height}; "
            "make width or height smaller"
        )
    graph: nx.DiGraph[int] = nx.DiGraph(width=width, height=height)
    for y in range(height):
        for x in range(width):
            graph.add_node(x + width * y, x=x, y=y)
    for node in list(graph):
        at = graph.nodes[node]
        if at["x"] + 1 < width:
            graph.add_edge(node, node + 1, port=EAST)
            graph.add_edge(node + 1, node, port=WEST)
        if at["y"] + 1 < height:
            graph.add_edge(node, node + width, port=NORTH)
            graph.add_edge(node + width, node, port=SOUTH)
    return graph


def neighbours(graph: "nx.DiGraph[int]") -> NDArray[np.int64]:
    """Return int64[n_nodes, 4]: the node behind each output port, -1 where there is none."""
    table = np.full((graph.number_of_nodes(), LOCAL), -1, np.int64)
    for source, target in graph.edges:
        table[source, graph.edges[source, target]["port"]] = target
    return table


def snake(graph: "nx.DiGraph[int]") -> list[int]:
    """Return the nodes along the snake: even rows in ascending x, odd rows in descending x."""
    at = graph.nodes
    return sorted(
        at, key=lambda n: (at[n]["y"], at[n]["x"] if at[n]["y"] % 2 == 0 else -at[n]["x"])
    )
