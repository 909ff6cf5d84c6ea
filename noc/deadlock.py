"""Whether a routing can deadlock: cycles among the channels that its packets hold and wait for.

A channel is a link with one class of its VCs: (node, output port, class). A packet that holds one
waits for the next of its path. Without a cycle of such dependencies no set of packets can wait for
each other for ever (Dally and Seitz, IEEE Trans. Computers C-36(5), 1987). Here every port that an
adaptive routing permits is a dependency; that some of them could be enough to escape by (Duato) is
not argued.
"""

from typing import TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from .routing import suited
from .table import Table
from .topology import PORT_NAMES, Graph, neighbours, node_name

Channel: TypeAlias = tuple[int, int, int]
"""Node, output port, class."""
MOST_PRINTED = 12


class DeadlockError(ValueError):
    """A routing whose packets may wait for each other in a circle."""


def dependencies(graph: Graph, table: Table, merged: bool = False) -> "nx.DiGraph[Channel]":
    """Return the channel dependency graph of a routing.

    Parameters
    ----------
    graph : networkx.DiGraph
        Of `firemesh.noc.topology`.
    table : Table
    merged : bool
        Whether the classes share their VCs, as in a router without any: all channels are of class
        0.

    Returns
    -------
    networkx.DiGraph
        Every channel that some path takes as a node (node, output port, class); an edge to another
        where a path takes that one next.
    """
    neighbour = neighbours(graph)
    n, radix = neighbour.shape
    uses = {
        (port, part): _uses(table, port, part, merged)
        for port in range(radix)
        for part in range(1 if merged else table.classes)
    }
    channels: nx.DiGraph[Channel] = nx.DiGraph()
    for (port, part), held in uses.items():
        nodes = np.flatnonzero(held.any(axis=1))
        channels.add_nodes_from((node, port, part) for node in nodes.tolist())
        behind = neighbour[nodes, port]
        for (onward, onward_part), wanted in uses.items():
            waits = (held[nodes] & wanted[behind]).any(axis=1)
            channels.add_edges_from(
                ((node, port, part), (following, onward, onward_part))
                for node, following in zip(
                    nodes[waits].tolist(), behind[waits].tolist(), strict=True
                )
            )
    return channels


def _uses(table: Table, port: int, part: int, merged: bool) -> NDArray[np.uint8]:
    """Return uint8[n_nodes, ceil(n_nodes/8)]: destinations that a channel leads to, as bits."""
    taken = table.ports >> port & 1
    if table.classes == 2 and not merged:
        upper = table.upper >> port & 1
        taken = upper if part else taken & ~upper
    return np.packbits(taken.astype(bool), axis=1)


def check(graph: Graph, table: Table, merged: bool = False) -> None:
    """Raise when packets may wait for each other in a circle.

    Parameters
    ----------
    graph, table, merged
        As of `dependencies`.

    Raises
    ------
    DeadlockError
        With a cycle of channels.
    """
    channels = dependencies(graph, table, merged)
    cycle = find_cycle(channels)
    if cycle:
        has_classes = table.classes == 2 and not merged
        names = [_name(graph, channel, has_classes) for channel in [*cycle, cycle[0]]]
        raise DeadlockError(f"routing: may deadlock: {_shown(names)}; {_remedy(graph, merged)}")


def find_cycle(channels: "nx.DiGraph[Channel]") -> list[Channel]:
    """Return the channels of a cycle, from the lowest on; none where there is no cycle.

    Of the cycles through that channel it is a shortest one.
    """
    if nx.is_directed_acyclic_graph(channels):
        return []
    parts = [part for part in nx.strongly_connected_components(channels) if len(part) > 1]
    part = channels.subgraph(min(parts, key=min))
    first = min(part)
    ways = [nx.shortest_path(part, following, first) for following in sorted(part[first])]
    return [first, *min(ways, key=len)[:-1]]


def _name(graph: Graph, channel: Channel, has_classes: bool) -> str:
    node, port, part = channel
    suffix = (" lower", " upper")[part] if has_classes else ""
    if graph.graph["kind"] != "graph":
        return f"{node_name(graph, node)}{PORT_NAMES[port]}{suffix}"
    target = int(neighbours(graph)[node, port])
    return f"{node_name(graph, node)}->{node_name(graph, target)}{suffix}"


def _shown(names: list[str]) -> str:
    """Return the names, of many the first ones and the last."""
    n_channels = len(names) - 1
    if n_channels <= MOST_PRINTED:
        return " -> ".join(names)
    return (
        " -> ".join([*names[: MOST_PRINTED - 1], "...", *names[-2:]]) + f" ({n_channels} channels)"
    )


def _remedy(graph: Graph, merged: bool) -> str:
    kind = graph.graph["kind"]
    if kind == "graph":
        return "use up-down, which is safe where links go both ways"
    if kind == "torus" and merged:
        return "use a router with virtual channels and xy or yx, or a mesh"
    *names, last = (name for name in suited(graph) if name != "shortest")
    return f"use {', '.join(names)} or {last}"
