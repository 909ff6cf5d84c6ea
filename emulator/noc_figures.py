"""Figures of a network: latency and throughput against load, and the load of its links."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..noc.topology import EAST, NORTH, SOUTH, WEST, Graph
from ..traces.analyses import mesh_map
from ..traces.figures import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..noc.sweep import Point

BLUE, ORANGE = "#0072B2", "#D55E00"
DIRECTION = np.zeros((4, 2))
"""Where the links of each port go."""
DIRECTION[[EAST, WEST, NORTH, SOUTH]] = (1, 0), (-1, 0), (0, 1), (0, -1)
LATENCY_ROOM = 6.0
"""The latency axis ends at so many times the lowest latency, where the curve goes up for ever."""


def draw_sweep(path: Path, points: Sequence["Point"], title: str) -> None:
    """Draw mean latency, 99th percentile and accepted throughput against offered load.

    Parameters
    ----------
    path : Path
        Of a .png or .svg file.
    points : sequence of Point
        Of ascending load.
    title : str
    """

    def paint(figure: "Figure") -> None:
        latency, throughput = figure.subplots(1, 2)
        _paint_latency(latency, points)
        _paint_throughput(throughput, points)
        figure.suptitle(title)

    draw(path, (8.0, 3.4), paint)


def _paint_latency(axes: "Axes", points: Sequence["Point"]) -> None:
    stable = [point for point in points if point.packets and not point.saturated]
    load = [point.offered for point in stable]
    mean = [point.lat_packet for point in stable]
    axes.plot(load, mean, "o-", color=BLUE, markersize=3, label="mean")
    late = [point.lat_packet_p99 for point in stable]
    axes.plot(load, late, "s--", color=ORANGE, markersize=3, label="99th percentile")
    if stable:
        top = LATENCY_ROOM * min(mean)
        axes.set_ylim(0, top)
    first = next((point.offered for point in points if point.saturated), None)
    if first is not None:
        axes.axvline(first, color="#999999", linestyle=":", label="saturated")
    axes.set_xlabel("offered load (flits/node/cycle)")
    axes.set_ylabel("packet latency (cycles)")
    axes.set_xlim(left=0)
    axes.legend(frameon=False)


def _paint_throughput(axes: "Axes", points: Sequence["Point"]) -> None:
    load = [point.offered for point in points]
    accepted = [point.accepted for point in points]
    axes.plot(load, load, color="#999999", linestyle=":", label="offered")
    axes.plot(load, accepted, "o-", color=BLUE, markersize=3, label="accepted")
    least = [point.accepted_min for point in points]
    axes.plot(load, least, "s--", color=ORANGE, markersize=3, label="accepted, least of a node")
    axes.set_xlabel("offered load (flits/node/cycle)")
    axes.set_ylabel("throughput (flits/node/cycle)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def draw_links(
    path: Path, graph: Graph, link_flits: NDArray[np.int64], cycles: int, title: str
) -> None:
    """Draw the load of every link of a mesh or torus, and what each node was delivered.

    Parameters
    ----------
    path : Path
        Of a .png or .svg file.
    graph : networkx.DiGraph
        A mesh or torus.
    link_flits : int64[n_nodes, 5]
        Flits sent by each output.
    cycles : int
        In which they were sent.
    title : str
    """
    load = link_flits / max(cycles, 1)
    width, height = graph.graph["width"], graph.graph["height"]
    cell = mesh_map.cell_of(width, height)
    edges = [(node, link["port"]) for node, _, link in graph.edges(data=True)]
    source, port = np.array(edges, np.int64).reshape(-1, 2).T
    places = [(graph.nodes[node]["x"], graph.nodes[node]["y"]) for node in graph]
    what = mesh_map.MeshMap(
        np.array(places, np.float64), source, DIRECTION[port], load[source, port], load[:, -1]
    )

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        mesh_map.paint(figure, axes, what, cell)
        axes.set_title(title)

    draw(path, (2.0 + cell * width, 1.2 + cell * height), paint)
