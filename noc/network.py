"""The driver of a network: topology, routes, and the state that a router's kernel steps."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import step_simple
from .router import SENTENCES, Packets, Ports, StepStatus, make_ports, take
from .routing import ROUTINGS
from .table import tree
from .topology import mesh, neighbours, snake

ROUTERS: dict[str, Any] = {"simple": step_simple}
DECLARED = ("neighbour", "outputs", "order", "route_of", "route")
"""Fields of a router's state that topology and routes give."""


class NetworkError(RuntimeError):
    """A network that cannot go on."""


class Network:
    """A mesh of routers with its routes.

    Parameters
    ----------
    width, height : int
        Sides of the mesh.
    router : str
        Name in `ROUTERS`.
    routing : str
        Name in `firemesh.noc.routing.ROUTINGS`.
    buffer_flits : int
        Depth of each input FIFO.
    ports : int
        Flits that node 0 is delivered per cycle, at most; the other nodes are delivered one.

    Attributes
    ----------
    graph : networkx.DiGraph
        Of `firemesh.noc.topology.mesh`.
    ports : Ports
        The wires to the nodes.
    state : NamedTuple
        The router's state; changes identity when routes are declared.
    step : cfunc
        The router's kernel.
    """

    def __init__(
        self,
        width: int,
        height: int,
        router: str = "simple",
        routing: str = "xy",
        buffer_flits: int = 4,
        ports: int = 1,
    ) -> None:
        if router not in ROUTERS:
            raise ValueError(f"router: must be one of {', '.join(ROUTERS)}, got {router!r}")
        if routing not in ROUTINGS:
            raise ValueError(f"routing: must be one of {', '.join(ROUTINGS)}, got {routing!r}")
        for field, value in (("buffer_flits", buffer_flits), ("ports", ports)):
            if value < 1:
                raise ValueError(f"{field}: must be at least 1, got {value}")
        self.graph = mesh(width, height)
        self.ports: Ports = make_ports(self.graph.number_of_nodes(), ports - 1)
        self._neighbour = neighbours(self.graph)
        self._table = ROUTINGS[routing](self.graph)
        self._sets: list[tuple[int, ...]] = []
        self._routes: dict[tuple[int, int], int] = {}
        self._module = ROUTERS[router]
        self.state = self._module.make_state(self._neighbour, buffer_flits, ports - 1)
        self.step = self._module.step

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
        """Destination sets by number."""
        return tuple(self._sets)

    @property
    def set_bits(self) -> NDArray[np.uint8]:
        """uint8[n_sets, ceil(n_nodes/8)]: destination sets as bit masks, little bit order."""
        member = np.zeros((len(self._sets), self.n_nodes), bool)
        for row, nodes in enumerate(self._sets):
            member[row, list(nodes)] = True
        return np.packbits(member, axis=1, bitorder="little")

    def destinations(self, source: int, nodes: Iterable[int]) -> int:
        """Declare that ``source`` will send to ``nodes``; return the destination set's number."""
        members = tuple(sorted(set(nodes)))
        if not members:
            raise ValueError("destinations: must hold at least one node, got none")
        for node in (source, *members):
            if not 0 <= node < self.n_nodes:
                raise ValueError(f"destinations: node must be in 0..{self.n_nodes - 1}, got {node}")
        if members not in self._sets:
            self._sets.append(members)
        number = self._sets.index(members)
        if (source, number) not in self._routes:
            self._routes[source, number] = len(self._routes)
            ports, _ = tree(self._table, self._neighbour, source, members)
            self._declare(source, number, ports)
        return number

    def _declare(self, source: int, number: int, ports: NDArray[np.uint16]) -> None:
        known = self.state.route_of
        route_of = np.full((self.n_nodes, len(self._sets)), -1, np.int64)
        route_of[:, : min(known.shape[1], route_of.shape[1])] = known[:, : route_of.shape[1]]
        route_of[source, number] = len(self._routes) - 1
        rows = [*self.state.route[: len(self._routes) - 1], ports]
        self.state = self.state._replace(route_of=route_of, route=np.array(rows, np.uint8))

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
        """Return the state's arrays that change from step to step, by name."""
        fields = self.state._asdict().items()
        return {name: part.copy() for name, part in fields if name not in DECLARED}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go back to a state that `saved` gave."""
        for name, part in arrays.items():
            getattr(self.state, name)[...] = part

    def flits_inside(self) -> int:
        """Return the number of flits in the routers."""
        return int(self.state.load.sum())
