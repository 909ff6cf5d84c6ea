"""The driver of a network: topology, routes, and the state that a router's kernel steps."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import deadlock, iq_state
from .profiles import PROFILES, ROUTERS, SIMPLE, Profile
from .router import SENTENCES, Links, Packets, Ports, Routes, StepStatus, make_ports, take
from .routing import OwnRouting, make_table
from .table import Table, tree
from .topology import Graph, entries, neighbours, snake

FIXED = ("design", "links", "routes", "target", "giver", "port_of", "outputs", "order")
"""Fields of a router's state that do not change from step to step."""


class NetworkError(RuntimeError):
    """A network that cannot go on."""


class Network:
    """Routers on a topology, with routes.

    Parameters
    ----------
    graph : networkx.DiGraph
        Of `firemesh.noc.topology`.
    router : str or Profile
        Name in `firemesh.noc.profiles.ROUTERS`, or a description of one with virtual channels.
    routing : str, callable or Table
        See `firemesh.noc.routing.make_table`.
    vcs : int
        Virtual channels of each input; the simple router has none.
    buffer_flits : int
        Depth of each input FIFO or VC.
    ports : int
        Flits that node 0 is delivered per cycle, at most; the other nodes are delivered one.

    Attributes
    ----------
    graph : networkx.DiGraph
    table : Table
    ports : Ports
        The wires to the nodes.
    state : NamedTuple
        The router's state; changes identity when routes are declared.
    step : cfunc
        The router's kernel.

    Raises
    ------
    ValueError
        When a value is not allowed, or the router cannot go with topology or routing.
    DeadlockError
        When packets may wait for each other in a circle.
    """

    def __init__(
        self,
        graph: Graph,
        router: str | Profile = SIMPLE,
        routing: str | OwnRouting | Table = "xy",
        vcs: int = 4,
        buffer_flits: int = 4,
        ports: int = 1,
    ) -> None:
        if isinstance(router, str) and router not in ROUTERS:
            raise ValueError(f"router: must be one of {', '.join(ROUTERS)}, got {router!r}")
        for field, value in (("vcs", vcs), ("buffer_flits", buffer_flits), ("ports", ports)):
            if value < 1:
                raise ValueError(f"{field}: must be at least 1, got {value}")
        self.graph = graph
        self.table = make_table(graph, routing)
        self.ports: Ports = make_ports(graph.number_of_nodes(), ports - 1)
        self._neighbour = neighbours(graph)
        self._sets: dict[tuple[int, ...], int] = {(node,): node for node in graph}
        self._trees: dict[tuple[int, int], int] = {}
        links = Links(self._neighbour, entries(graph))
        self.state: Any
        if router == SIMPLE:
            from . import step_simple

            _refuse_simple(graph, self.table)
            deadlock.check(graph, self.table, merged=True)
            self.step = step_simple.step
            self.state = step_simple.make_state(links, self._no_trees(), buffer_flits, ports - 1)
            return
        if self.table.classes > vcs:
            raise ValueError(
                f"vcs: must be at least {self.table.classes} for this routing's classes of "
                f"virtual channels, got {vcs}"
            )
        deadlock.check(graph, self.table)
        from . import step_iq  # imported where it is needed: it is compiled for ten seconds

        profile = PROFILES[router] if isinstance(router, str) else router
        self.step = step_iq.step
        self.state = iq_state.make_state(
            links, self._no_trees(), profile, vcs, buffer_flits, ports - 1
        )

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self._neighbour)

    @property
    def snake(self) -> list[int]:
        """Nodes along the snake through the mesh."""
        return snake(self.graph)

    @property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        """Destination sets by number; those of one node come first, by node."""
        return tuple(self._sets)

    def destinations(self, source: int, nodes: Iterable[int]) -> int:
        """Declare that ``source`` will send to ``nodes``; return the destination set's number."""
        members = tuple(sorted(set(nodes)))
        if not members:
            raise ValueError("destinations: must hold at least one node, got none")
        for node in (source, *members):
            if not 0 <= node < self.n_nodes:
                raise ValueError(f"destinations: node must be in 0..{self.n_nodes - 1}, got {node}")
        number = self._sets.setdefault(members, len(self._sets))
        if len(members) > 1 and (source, number) not in self._trees:
            parts = tree(self.table, self._neighbour, source, members)
            self._trees[source, number] = len(self._trees)
            self._declare(source, number, *parts)
        return number

    def _no_trees(self) -> Routes:
        n, has_classes = self.n_nodes, self.table.classes > 1
        return Routes(
            ports=self.table.ports,
            upper=self.table.upper,
            node_of=np.arange(n),
            tree_of=np.full((n, n), -1, np.int64),
            tree=np.zeros((1, n), np.uint16),
            tree_upper=np.zeros((1, n if has_classes else 1), np.uint16),
        )

    def _declare(
        self, source: int, number: int, ports: NDArray[np.uint16], upper: NDArray[np.uint16]
    ) -> None:
        """Enter the tree that was numbered last; tables double when they are full."""
        routes, at = self.state.routes, len(self._trees) - 1
        if number >= len(routes.node_of):
            more = len(routes.node_of)
            routes = routes._replace(
                node_of=np.pad(routes.node_of, (0, more), constant_values=-1),
                tree_of=np.pad(routes.tree_of, ((0, 0), (0, more)), constant_values=-1),
            )
        if at >= len(routes.tree):
            more = len(routes.tree)
            routes = routes._replace(
                tree=np.pad(routes.tree, ((0, more), (0, 0))),
                tree_upper=np.pad(routes.tree_upper, ((0, more), (0, 0))),
            )
        routes.tree_of[source, number] = at
        routes.tree[at] = ports
        if self.table.classes > 1:
            routes.tree_upper[at] = upper
        self.state = self.state._replace(routes=routes)

    def cycle(self, packets: Packets, cycle: int) -> None:
        """Take one step from Python.

        Raises
        ------
        NetworkError
            With the router's sentence when the step fails.
        """
        status = take(self.step, self.state, self.ports, packets, cycle)
        if status:
            raise NetworkError(SENTENCES[StepStatus(status)])

    def saved(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that change from step to step, by name."""
        return {name: part.copy() for name, part in self._changing()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go back to a state that `saved` gave."""
        for name, part in self._changing():
            part[...] = arrays[name]

    def _changing(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield "sent", self.ports.sent
        for name, part in self.state._asdict().items():
            if isinstance(part, np.ndarray) and name not in FIXED:
                yield name, part
            elif hasattr(part, "_asdict") and name not in FIXED:
                yield from (
                    (f"{name}.{field}", array)
                    for field, array in part._asdict().items()
                    if isinstance(array, np.ndarray)
                )

    def stalls(self) -> NDArray[np.int64]:
        """Return int64[n_nodes, 4]: cycles in which packets waited so far, by `iq_state.Stall`.

        The simple router counts none.
        """
        if not isinstance(self.state, iq_state.IqState):
            return np.zeros((self.n_nodes, len(iq_state.Stall)), np.int64)
        return np.array(self.state.stalls)

    def flits_inside(self) -> int:
        """Return the number of flits in the network."""
        if isinstance(self.state, iq_state.IqState):
            return int(self.state.clock[iq_state.Clock.INSIDE])
        return int(self.state.load.sum())


def _refuse_simple(graph: Graph, table: Table) -> None:
    """Raise when the simple router cannot go with a topology or a routing."""
    if graph.graph["kind"] == "graph":
        raise ValueError(
            "router: simple needs a mesh; use one with virtual channels for a graph, such as P4"
        )
    if np.any(table.ports & (table.ports - 1)):
        raise ValueError(
            "router: simple needs a routing with one path; use one with virtual channels, such as "
            "P4, or routing xy or yx"
        )
