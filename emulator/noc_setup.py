"""A network alone, as the command line tells it; and its traffic."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
from pydantic import ValidationError

from ..noc.network import Network
from ..noc.patterns import make_pattern
from ..noc.profiles import Profile
from ..noc.sweep import Method, Point, measure
from ..noc.topology import Graph, from_graph, mesh, torus
from .machine import MachineError, Noc, sentence
from .routers import router_fields

GRIDS = {"mesh": mesh, "torus": torus}
OPTIONS = {
    "vcs": "--vcs",
    "routing": "--routing",
    "router": "--router",
    "pattern": "--traffic",
    "hotspot.nodes": "--hotspots",
    "hotspot.fraction": "--fraction",
    "rate": "--load",
    "flits": "--size",
    "seed": "--seed",
}
"""Names that functions have for values, and the options that give them."""
UNREADABLE = (
    OSError, EOFError, zlib.error, ValueError, TypeError, LookupError, AttributeError,
    SyntaxError, RecursionError, nx.NetworkXException,
)  # fmt: skip
"""What readers of graphs raise about files that are none."""


@dataclass(frozen=True)
class NocSetup:
    """What a network is made of.

    Parameters
    ----------
    topology : str
        mesh, torus, or the path of a graph's file.
    width, height : int
        Of a mesh or torus.
    routing : str
        Name; empty for xy, or of a graph's file for shortest.
    router : str or Profile
    vcs, buffer_flits : int
    """

    topology: str
    width: int
    height: int
    routing: str
    router: str | Profile
    vcs: int
    buffer_flits: int

    @property
    def is_grid(self) -> bool:
        """Whether nodes lie in rows and columns."""
        return self.topology in GRIDS

    @property
    def router_name(self) -> str:
        """The router's name; of one from a file "own"."""
        return self.router if isinstance(self.router, str) else "own"

    def graph(self) -> Graph:
        """Return the topology.

        Raises
        ------
        MachineError
            When sides or file are not allowed.
        """
        try:
            if self.is_grid:
                return GRIDS[self.topology](self.width, self.height)
            return from_graph(read_graph(Path(self.topology)))
        except MachineError:
            raise
        except ValueError as error:
            place = "" if self.is_grid else f"{self.topology}: "
            raise MachineError(f"{place}{str(error).removeprefix('graph: ')}") from None

    @property
    def routing_name(self) -> str:
        """The routing's name."""
        return self.routing or ("xy" if self.is_grid else "shortest")

    def network(self) -> Network:
        """Return the network, idle.

        Raises
        ------
        MachineError
            When the parts cannot go together, or packets could wait for each other in a circle.
        """
        graph = self.graph()
        try:
            return Network(graph, self.router, self.routing_name, self.vcs, self.buffer_flits)
        except ValueError as error:
            raise as_option(error) from None


def make_setup(
    topology: str,
    width: int,
    height: int,
    routing: str,
    router: str,
    vcs: int | None,
    buffer_flits: int | None,
) -> NocSetup:
    """Return the setup that options tell; VCs and buffers go before those of a router's file.

    Raises
    ------
    MachineError
        When a value is not allowed.
    """
    fields: dict[str, Any] = {"vcs": 4, "buffer_flits": 8} | router_fields(router)
    _noc(fields, f"--router {router}")
    for option, name, value in (("--vcs", "vcs", vcs), ("--buffer", "buffer_flits", buffer_flits)):
        if value is not None:
            fields[name] = value
            _noc(fields, option)
    noc = Noc.model_validate(fields)
    return NocSetup(topology, width, height, routing, noc.router, noc.vcs, noc.buffer_flits)


def _noc(fields: dict[str, Any], where: str) -> Noc:
    try:
        return Noc.model_validate(fields)
    except ValidationError as error:
        raise MachineError(sentence(error, where, Noc)) from None


def as_option(error: ValueError) -> MachineError:
    """Return what a function found wrong with a value as a mistake in the option for it."""
    name, colon, rest = str(error).partition(":")
    return MachineError(f"{OPTIONS.get(name, name)}{colon}{rest}")


def read_graph(path: Path) -> "nx.Graph[Any]":
    """Return the graph of a file: GraphML, GML, or an edge list of two nodes a line.

    An edge list and GML without ``directed`` are of links that go both ways. A name that ends in
    ``.gz`` is of a gzip file.

    Raises
    ------
    MachineError
        When there is no such file, or it cannot be read.
    """
    if not path.exists():
        known = " or ".join(GRIDS)
        raise MachineError(
            f"--topology {path}: must be {known}, or the path of a graph's file (.graphml, .gml, "
            "or lines with two nodes), got neither"
        )
    try:
        return _parsed(path)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:80] or "it holds no graph"
        raise MachineError(
            f"{path}: cannot be read as a graph ({reason}); give GraphML, GML, or lines with two "
            "nodes"
        ) from None


def _parsed(path: Path) -> "nx.Graph[Any]":
    form = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if form == ".graphml":
        return nx.read_graphml(path)
    if form == ".gml":
        return nx.read_gml(path)
    try:
        graph = nx.read_edgelist(path, nodetype=int, data=False)
    except TypeError:
        graph = nx.read_edgelist(path, data=False)
    if not graph:
        raise ValueError("it holds no line of two names with a blank between them")
    return graph


@dataclass(frozen=True)
class Load:
    """One point of a sweep.

    Parameters
    ----------
    setup : NocSetup
    pattern : str
    options : tuple of (str, value)
        Of the pattern.
    offered : float
        Flits per node and cycle.
    flits : tuple of int
        Packet lengths, all equally likely.
    seed : int
    method : Method
    """

    setup: NocSetup
    pattern: str
    options: tuple[tuple[str, Any], ...]
    offered: float
    flits: tuple[int, ...]
    seed: int
    method: Method

    def run(self) -> Point:
        """Return what the network does at this load.

        Raises
        ------
        MachineError
            When a value is not allowed.
        """
        network = self.setup.network()
        try:
            pattern = make_pattern(
                self.pattern, self.setup.width, self.setup.height, **dict(self.options)
            )
            return measure(network, pattern, self.offered, self.flits, self.seed, self.method)
        except ValueError as error:
            raise MachineError(str(error)) from None


def run_load(load: Load) -> Point:
    """Return what a network does at a load; a process of its own finds this function."""
    return load.run()
