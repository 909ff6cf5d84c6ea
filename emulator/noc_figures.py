"""Figures of a network: latency and throughput against load, and the load of its links."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..noc.topology import EAST, NORTH, SOUTH, WEST, Graph
from ..traces.figures import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..noc.sweep import Point

BLUE, ORANGE = "#0072B2", "#D55E00"
CELL_INCHES, MOST_INCHES = 0.75, 60.0
"""Of a node in a map, and of a map's side; in one that would be larger nodes have no numbers."""
BEGIN = {EAST: (0.24, 0.09), WEST: (-0.24, -0.09), NORTH: (-0.09, 0.24), SOUTH: (0.09, -0.24)}
LENGTH = {EAST: (0.52, 0.0), WEST: (-0.52, 0.0), NORTH: (0.0, 0.52), SOUTH: (0.0, -0.52)}
"""Arrows of links, from the node, in distances between nodes."""
MOST_TICKS = 16
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
    cell = min(CELL_INCHES, MOST_INCHES / max(width, height))

    def paint(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        colours = _paint_links(axes, graph, load)
        _paint_nodes(axes, graph, colours.to_rgba(load[:, -1]), cell / CELL_INCHES)
        axes.set_title(title)
        axes.set_aspect("equal")
        axes.set_xlim(-0.9, width - 0.1)
        axes.set_ylim(-0.9, height - 0.1)
        axes.set_xlabel("x; squares: delivered to the node")
        axes.set_ylabel("y")
        axes.set_xticks(range(0, width, 1 + (width - 1) // MOST_TICKS))
        axes.set_yticks(range(0, height, 1 + (height - 1) // MOST_TICKS))
        figure.colorbar(colours, ax=axes, label="flits per cycle", shrink=0.8)

    draw(path, (2.0 + cell * width, 1.2 + cell * height), paint)


def _paint_links(axes: Any, graph: Graph, load: NDArray[np.float64]) -> Any:
    """Draw an arrow for each link; return what maps a load to its colour."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(0, float(load.max()) or 1.0), "viridis_r")
    links = [(node, link["port"]) for node, _, link in graph.edges(data=True)]
    if links:
        at = np.array([_place(graph, node) for node, _ in links])
        at += [BEGIN[port] for _, port in links]
        arrows = np.array([LENGTH[port] for _, port in links])
        colour = colours.to_rgba(load[tuple(np.transpose(links))])
        form: Any = {"angles": "xy", "scale_units": "xy", "scale": 1, "units": "xy", "width": 0.04}
        axes.quiver(*at.T, *arrows.T, color=colour, **form)
    return colours


def _paint_nodes(axes: Any, graph: Graph, colour: NDArray[np.float64], size: float) -> None:
    """Draw a square for each node: float64[n_nodes, 4] are their colours, ``size`` 1 is whole."""
    places = np.array([_place(graph, node) for node in graph])
    axes.scatter(
        *places.T, s=(17 * size) ** 2, c=colour, marker="s", edgecolors="#333333", zorder=2
    )
    if size < 1:
        return
    for node, (x, y) in enumerate(places):
        tone = "black" if sum(colour[node, :3]) > 1.5 else "white"
        axes.text(x, y, str(node), color=tone, ha="center", va="center", fontsize=7)


def _place(graph: Graph, node: int) -> tuple[float, float]:
    return float(graph.nodes[node]["x"]), float(graph.nodes[node]["y"])
