"""Topologies as networkx graphs, and the tables of links that routers read.

Node ``x + width*y`` of a mesh or torus lies at (x, y), unless it is `renumbered`. Every edge has a
``port``, the output port of its source, and an ``entry``, the input port of its target. The port to
the node itself comes after those to neighbours: its number is the graph's ``radix``.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
"""Ports of a mesh or torus. An output leads to the neighbour that the input of its number is from;
behind an output lies the input of number ``port ^ 1``."""
PORT_NAMES = ("+x", "-x", "+y", "-y", "local")
MAX_NODES = 4096
MAX_NEIGHBOURS = 15
"""A mask of 16 bits holds the ports to so many neighbours and the one to the node."""

Graph: TypeAlias = "nx.DiGraph[int]"


def mesh(width: int, height: int) -> Graph:
    """Return a ``width`` x ``height`` mesh, one edge per direction of a link.

    Parameters
    ----------
    width, height : int
        Nodes in x and y.

    Returns
    -------
    networkx.DiGraph
        Node ``x + width*y`` with attributes ``x`` and ``y``; edges with attributes ``port`` (0 +x,
        1 -x, 2 +y, 3 -y) and ``entry`` (0 from the +x neighbour, and so on: ``port ^ 1``); graph
        attributes ``kind``, ``width``, ``height`` and ``radix``, which is 4.

    Raises
    ------
    ValueError
        When a side is below 1 or there are more than ``MAX_NODES`` nodes.
    """
    return _grid("mesh", width, height)


def torus(width: int, height: int) -> Graph:
    """Return a ``width`` x ``height`` torus: a mesh whose rows and columns are closed to rings.

    Only a side of 3 or more is closed. On a side of 2 the closing link would join the two nodes
    that the mesh's link joins already, so it is left out; on a side of 1 it would be a loop.

    Parameters
    ----------
    width, height : int
        Nodes in x and y.

    Returns
    -------
    networkx.DiGraph
        As of `mesh`; the link from the last node of a row or column to its first is +x or +y.

    Raises
    ------
    ValueError
        When a side is below 1 or there are more than ``MAX_NODES`` nodes.
    """
    return _grid("torus", width, height)


def renumbered(graph: Graph, order: Sequence[int]) -> Graph:
    """Return a mesh or torus whose nodes are numbered otherwise; positions and links stay.

    Parameters
    ----------
    graph : networkx.DiGraph
    order : sequence of int
        Each node of the graph once, in the order of the new numbers.
    """
    number = {node: new for new, node in enumerate(order)}
    found: Graph = nx.DiGraph(**graph.graph)
    found.add_nodes_from((number[node], graph.nodes[node]) for node in order)
    found.add_edges_from((number[a], number[b], link) for a, b, link in graph.edges(data=True))
    return found


def is_ring(graph: Graph, side: int) -> bool:
    """Return whether rows or columns of ``side`` nodes are closed to rings in this graph."""
    return graph.graph["kind"] == "torus" and side > 2


def _grid(kind: str, width: int, height: int) -> Graph:
    for name, side in (("width", width), ("height", height)):
        if side < 1:
            raise ValueError(f"{kind}.{name}: must be at least 1, got {side}")
    if width * height > MAX_NODES:
        raise ValueError(
            f"{kind}: must have at most {MAX_NODES} nodes, got {width} x {height}; "
            "make width or height smaller"
        )
    graph: Graph = nx.DiGraph(kind=kind, width=width, height=height, radix=LOCAL)
    for y in range(height):
        for x in range(width):
            graph.add_node(x + width * y, x=x, y=y)
    for node in list(graph):
        at = graph.nodes[node]
        if at["x"] + 1 < width or is_ring(graph, width):
            _join(graph, node, (at["x"] + 1) % width + width * at["y"], EAST)
        if at["y"] + 1 < height or is_ring(graph, height):
            _join(graph, node, at["x"] + width * ((at["y"] + 1) % height), NORTH)
    return graph


def _join(graph: Graph, node: int, other: int, port: int) -> None:
    graph.add_edge(node, other, port=port, entry=port ^ 1)
    graph.add_edge(other, node, port=port ^ 1, entry=port)


def from_graph(graph: Any) -> Graph:
    """Return the topology of a networkx graph; an undirected link is one link per direction.

    Parameters
    ----------
    graph : networkx.Graph or networkx.DiGraph
        Strongly connected, without self loops. Attributes are not looked at.

    Returns
    -------
    networkx.DiGraph
        Nodes 0..n-1 in sorted order, or in the given order where nodes cannot be compared, with
        the given node as attribute ``label``. Edges with attributes ``port``, counted over a node's
        successors ascending, and ``entry``, counted over its predecessors ascending; so between
        nodes that are joined both ways throughout, input and output have the same number. Graph
        attributes ``kind``, which is "graph", and ``radix``: the most ports of a node to others.

    Raises
    ------
    ValueError
        When it is no such graph, is empty or has more than ``MAX_NODES`` nodes or
        ``MAX_NEIGHBOURS`` neighbours of a node.
    """
    if not isinstance(graph, nx.Graph) or graph.is_multigraph():
        raise ValueError(
            f"graph: must be a networkx.Graph or networkx.DiGraph, got {type(graph).__name__}; "
            "make one with one edge per link"
        )
    if not 1 <= graph.number_of_nodes() <= MAX_NODES:
        raise ValueError(
            f"graph: must have 1 to {MAX_NODES} nodes, got {graph.number_of_nodes()}; "
            "give a graph of another size"
        )
    try:
        labels = sorted(graph)
    except TypeError:
        labels = list(graph)
    number = {label: node for node, label in enumerate(labels)}
    numbered: Graph = nx.DiGraph(kind="graph")
    numbered.add_nodes_from((node, {"label": label}) for node, label in enumerate(labels))
    numbered.add_edges_from((number[a], number[b]) for a, b in graph.to_directed().edges)
    _refuse_unsuited(numbered)
    most = 0
    for node in numbered:
        for port, target in enumerate(sorted(numbered.successors(node))):
            numbered.edges[node, target]["port"] = port
            most = max(most, port + 1)
        for entry, source in enumerate(sorted(numbered.predecessors(node))):
            numbered.edges[source, node]["entry"] = entry
            most = max(most, entry + 1)
    numbered.graph["radix"] = most
    return numbered


def _refuse_unsuited(graph: Graph) -> None:
    """Raise unless a numbered graph's links can be those of routers."""
    for node in graph:
        if graph.has_edge(node, node):
            raise ValueError(
                f"graph: node {node_name(graph, node)} is linked to itself; remove the self loop"
            )
        n_neighbours = max(graph.out_degree(node), graph.in_degree(node))
        if n_neighbours > MAX_NEIGHBOURS:
            raise ValueError(
                f"graph: node {node_name(graph, node)} must have at most {MAX_NEIGHBOURS} "
                f"neighbours, got {n_neighbours}; spread its links over several nodes"
            )
    for is_out, reached in ((True, nx.descendants(graph, 0)), (False, nx.ancestors(graph, 0))):
        missed = set(graph) - reached - {0}
        if missed:
            names = [node_name(graph, node) for node in (0, min(missed))]
            source, target = names if is_out else reversed(names)
            raise ValueError(
                f"graph: must be strongly connected, got no way from node {source} to node "
                f"{target}; add links"
            )


def neighbours(graph: Graph) -> NDArray[np.int64]:
    """Return int64[n_nodes, radix]: the node behind each output port, -1 where there is none."""
    table = _no_links(graph)
    for source, target, link in graph.edges(data=True):
        table[source, link["port"]] = target
    return table


def entries(graph: Graph) -> NDArray[np.int64]:
    """Return int64[n_nodes, radix]: the neighbour's input port behind each output, -1 for none."""
    table = _no_links(graph)
    for source, _, link in graph.edges(data=True):
        table[source, link["port"]] = link["entry"]
    return table


def sources(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each input port, the node before it and the output port of that node.

    Returns
    -------
    int64[n_nodes, radix], int64[n_nodes, radix]
        -1 where nothing is linked to the input.
    """
    node, port = _no_links(graph), _no_links(graph)
    for source, target, link in graph.edges(data=True):
        node[target, link["entry"]], port[target, link["entry"]] = source, link["port"]
    return node, port


def _no_links(graph: Graph) -> NDArray[np.int64]:
    return np.full((graph.number_of_nodes(), graph.graph["radix"]), -1, np.int64)


def node_name(graph: Graph, node: int) -> str:
    """Return how messages name a node: ``(x,y)``, or the label that a graph's user gave it."""
    at = graph.nodes[node]
    return str(at["label"]) if graph.graph["kind"] == "graph" else f"({at['x']},{at['y']})"


def port_name(graph: Graph, node: int, port: int) -> str:
    """Return how messages name an output port: ``+x``, ``to 7``, ``local`` or ``port 9``."""
    if port == graph.graph["radix"]:
        return PORT_NAMES[LOCAL]
    if graph.graph["kind"] != "graph" and port < LOCAL:
        return PORT_NAMES[port]
    for target in graph.successors(node):
        if graph.edges[node, target]["port"] == port:
            return f"to {node_name(graph, target)}"
    return f"port {port}"


def snake(graph: Graph) -> list[int]:
    """Return the nodes along the snake: even rows in ascending x, odd rows in descending x.

    Raises
    ------
    ValueError
        When the graph has no rows.
    """
    if graph.graph["kind"] == "graph":
        raise ValueError("snake: must be of a mesh or torus, got a graph; order its nodes yourself")
    at = graph.nodes
    return sorted(
        at, key=lambda n: (at[n]["y"], at[n]["x"] if at[n]["y"] % 2 == 0 else -at[n]["x"])
    )
