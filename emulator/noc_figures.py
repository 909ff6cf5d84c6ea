"""Figures of a network: latency and throughput against load, and the load of its links."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..noc.topology import EAST, NORTH, SOUTH, WEST, Graph
from .studies.figures import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..noc.sweep import Point

BLUE, ORANGE = "#0072B2", "#D55E00"
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
    stable = [point for point in points if not point.saturated]
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

    def paint(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        _paint_links(figure, axes, graph, load)
        axes.set_title(title)

    width, height = graph.graph["width"], graph.graph["height"]
    draw(path, (2.0 + 0.75 * width, 1.2 + 0.75 * height), paint)


def _paint_links(figure: "Figure", axes: Any, graph: Graph, load: NDArray[np.float64]) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    apart = {EAST: (0.0, 0.09), WEST: (0.0, -0.09), NORTH: (-0.09, 0.0), SOUTH: (0.09, 0.0)}
    step = {EAST: (1, 0), WEST: (-1, 0), NORTH: (0, 1), SOUTH: (0, -1)}
    colours = ScalarMappable(Normalize(0, float(load.max()) or 1.0), colormaps["viridis_r"])
    for source, _, link in graph.edges(data=True):
        at, port = graph.nodes[source], link["port"]
        x, y = at["x"] + apart[port][0], at["y"] + apart[port][1]
        dx, dy = step[port]
        colour = colours.to_rgba(load[source, port])
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.0, "mutation_scale": 8}
        start, end = (x + 0.24 * dx, y + 0.24 * dy), (x + 0.76 * dx, y + 0.76 * dy)
        axes.annotate("", end, start, arrowprops=arrow)
    local = load.shape[1] - 1
    for node, at in graph.nodes(data=True):
        colour = colours.to_rgba(load[node, local])
        axes.plot(at["x"], at["y"], "s", color=colour, markersize=17, markeredgecolor="#333333")
        light = sum(colour[:3]) > 1.5
        tone = "black" if light else "white"
        axes.text(at["x"], at["y"], str(node), color=tone, ha="center", va="center", fontsize=7)
    axes.set_aspect("equal")
    axes.set_xlim(-0.9, graph.graph["width"] - 0.1)
    axes.set_ylim(-0.9, graph.graph["height"] - 0.1)
    axes.set_xlabel("x; squares: delivered to the node")
    axes.set_ylabel("y")
    axes.set_xticks(range(graph.graph["width"]))
    axes.set_yticks(range(graph.graph["height"]))
    figure.colorbar(colours, ax=axes, label="flits per cycle", shrink=0.8)
