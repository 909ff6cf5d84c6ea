"""The routing table that routers read; the lengths of its paths; the multicast trees on it."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .topology import Graph, neighbours, node_name, port_name, sources
from .walk import settle, walk

_REMEDY = "use a routing made for this topology"


class Table(NamedTuple):
    """The ways to all destinations, as bit masks of output ports.

    Attributes
    ----------
    ports : uint16[n_nodes, n_nodes]
        By (node, destination): the output ports that lead on. Of several any one may be taken. Bit
        ``radix``, the port to the node itself, where node and destination are the same.
    upper : uint16[n_nodes, n_nodes]
        By (node, destination): those ports whose link is entered in class 1, the upper half of the
        VCs; the others take the lower half. [1, 1] of 0 where there is one class of all VCs.
    classes : int
        1 or 2. The port to the node itself is of no class.
    """

    ports: NDArray[np.uint16]
    upper: NDArray[np.uint16]
    classes: int


def hops(table: Table, graph: Graph) -> NDArray[np.int16]:
    """Return the most links on a path between two nodes, having checked that every path arrives.

    Parameters
    ----------
    table : Table
    graph : networkx.DiGraph
        Of `firemesh.noc.topology`.

    Returns
    -------
    int16[n_nodes, n_nodes]
        By (node, destination).

    Raises
    ------
    ValueError
        When a path leaves the links, ends elsewhere or never ends, or the table is not of the form
        that `Table` says.
    """
    _check_form(table, graph)
    _check_masks(table, graph)
    n = graph.number_of_nodes()
    length = np.zeros((n, n), np.int16)
    unsettled, queue = np.zeros((2, n), np.int64)
    destination = settle(table.ports, *sources(graph), length, unsettled, queue)
    if destination >= 0:
        raise ValueError(_circle(table, graph, destination, unsettled))
    return length


def _check_form(table: Table, graph: Graph) -> None:
    """Raise when the arrays are not of the form that `Table` says."""
    n = graph.number_of_nodes()
    shapes = ((n, n), (n, n) if table.classes == 2 else (1, 1))
    parts = (table.ports, table.upper)
    if table.classes not in (1, 2) or tuple(part.shape for part in parts) != shapes:
        raise ValueError(
            f"table: must have 1 or 2 classes, ports [{n}, {n}] and upper [{n}, {n}] or, with one "
            f"class, [1, 1], got {table.classes} classes, {list(table.ports.shape)} and "
            f"{list(table.upper.shape)}; make it for this topology"
        )
    if any(part.dtype != np.uint16 for part in parts):
        raise ValueError(
            f"table: must be of uint16, got {' and '.join(str(p.dtype) for p in parts)}"
        )
    if np.any(table.upper & ~table.ports) or (table.classes == 1 and table.upper.any()):
        raise ValueError(
            "table: upper must hold ports of the same table, and none with one class; clear the "
            "rest"
        )


def _check_masks(table: Table, graph: Graph) -> None:
    """Raise when a mask is empty or holds a port that has no link."""
    neighbour = neighbours(graph)
    radix = neighbour.shape[1]
    links = ((neighbour >= 0) @ (1 << np.arange(radix))).astype(np.uint16)
    here = np.uint16(1 << radix)
    wrong = (table.ports & ~links[:, None] != 0) | (table.ports == 0)
    np.fill_diagonal(wrong, np.diagonal(table.ports) != here)
    if not wrong.any():
        return
    node, destination = map(int, np.argwhere(wrong)[0])
    at, to = node_name(graph, node), node_name(graph, destination)
    mask = int(table.ports[node, destination])
    if node == destination:
        raise ValueError(f"routing: must deliver at node {at} what is for it; set bit {radix} only")
    if mask == 0 or mask & int(here):
        raise ValueError(
            f"routing: the path to node {to} ends at node {at}, so it does not arrive; {_REMEDY}"
        )
    port = next(bit for bit in range(16) if (mask & ~int(links[node])) >> bit & 1)
    raise ValueError(
        f"routing: the path to node {to} does not arrive: node {at} has no link behind "
        f"{port_name(graph, node, port)}; {_REMEDY}"
    )


def _circle(table: Table, graph: Graph, destination: int, unsettled: NDArray[np.int64]) -> str:
    """Return the sentence about a path that never ends."""
    neighbour = neighbours(graph)
    source = int(np.argmax(unsettled > 0))
    path = [source]
    while len(set(path)) == len(path):
        mask = int(table.ports[path[-1], destination])
        targets = [int(t) for port, t in enumerate(neighbour[path[-1]]) if mask >> port & 1]
        path.append(next(node for node in targets if unsettled[node]))
    names = [node_name(graph, node) for node in (source, destination, path[-1])]
    return (
        f"routing: the path from node {names[0]} to node {names[1]} does not arrive, it comes back "
        f"to node {names[2]}; {_REMEDY}"
    )


def tree(
    table: Table, neighbour: NDArray[np.int64], source: int, destinations: Iterable[int]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the multicast tree from a source: the union of the paths to its destinations.

    Where several ports may be taken, the path is that of the lowest.

    Parameters
    ----------
    table : Table
    neighbour : int64[n_nodes, radix]
        Of `firemesh.noc.topology.neighbours`.
    source : int
    destinations : iterable of int

    Returns
    -------
    ports : uint16[n_nodes]
        Bit mask of output ports per node; 0 where the tree does not pass.
    upper : uint16[n_nodes]
        Those of them that are entered in class 1: by all their destinations. One that takes class 0
        takes the others along, because it has the closing link of a ring still before it.

    Raises
    ------
    ValueError
        When a path does not arrive, two paths enter a node by different links, a node is not there
        or the table is of another graph.
    """
    n = len(neighbour)
    if table.ports.shape != (n, n):
        raise ValueError(
            f"table: must have ports [{n}, {n}], got {list(table.ports.shape)}; make it for this "
            "topology"
        )
    members = np.unique(np.fromiter(destinations, np.int64))
    for node in (source, *members[:1], *members[-1:]):
        if not 0 <= node < n:
            raise ValueError(f"destinations: node must be in 0..{n - 1}, got {node}")
    ports, lower = np.zeros((2, n), np.uint16)
    lost = walk(table.ports, table.upper, neighbour, int(source), members, ports, lower)
    if lost >= 0:
        raise ValueError(
            f"routing: the path from node {source} to node {lost} does not arrive; {_REMEDY}"
        )
    _check_tree(ports, neighbour, source)
    return ports, ports & ~lower


def _check_tree(ports: NDArray[np.uint16], neighbour: NDArray[np.int64], source: int) -> None:
    """Raise when a node is entered by two links, or the source by one."""
    nodes = np.flatnonzero(ports)
    is_taken = (ports[nodes, None] >> np.arange(neighbour.shape[1])) & 1 > 0
    entered = np.bincount(neighbour[nodes][is_taken], minlength=len(neighbour))
    entered[source] += 1
    if entered.max() > 1:
        raise ValueError(
            f"routing: paths from node {source} enter node {np.argmax(entered)} by two links; use "
            "a routing function whose paths from a node form a tree"
        )
