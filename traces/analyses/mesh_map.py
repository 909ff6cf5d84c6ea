"""A map of a network: arrows for its links, squares for its nodes, coloured by load."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AHEAD, ASIDE, LENGTH = 0.24, 0.09, 0.52
"""Where an arrow begins, from its node along its direction and to the left, and how long it is;
in distances between nodes."""
CELL_INCHES, MOST_INCHES = 0.75, 60.0
"""Of a node, and of a map's side; in one that would be larger nodes have no numbers."""
MOST_TICKS = 16


class MeshMap(NamedTuple):
    """What is drawn.

    Parameters
    ----------
    places : float64[n_nodes, 2]
        x and y of nodes.
    source : int64[n_links]
        Node that each link leaves.
    direction : float64[n_links, 2]
        Where to: one step along x or y.
    load : float64[n_links]
        Flits per cycle.
    delivered : float64[n_nodes]
        Flits per cycle delivered to each node; nan for nodes that are left white.
    """

    places: Floats
    source: Ints
    direction: Floats
    load: Floats
    delivered: Floats


def cell_of(width: float, height: float) -> float:
    """Return inches of a node of a map of so many columns and rows."""
    return min(CELL_INCHES, MOST_INCHES / max(width, height))


def paint(figure: "Figure", axes: "Axes", what: MeshMap, cell: float = CELL_INCHES) -> None:
    """Draw a map on axes, and its scale of colours beside them.

    Parameters
    ----------
    figure : Figure
    axes : Axes
    what : MeshMap
    cell : float
        Inches of a node.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    loads = np.concatenate([what.load, what.delivered[~np.isnan(what.delivered)], [0.0]])
    colours = ScalarMappable(Normalize(0, float(loads.max()) or 1.0), "viridis_r")
    _paint_links(axes, what, colours)
    _paint_nodes(axes, what, colours, cell / CELL_INCHES)
    (left, bottom), (right, top) = what.places.min(axis=0), what.places.max(axis=0)
    axes.set_aspect("equal")
    axes.set_xlim(left - 0.9, right + 0.9)
    axes.set_ylim(bottom - 0.9, top + 0.9)
    axes.set_xlabel("x; squares: delivered to the node")
    axes.set_ylabel("y")
    for first, last, ticks in ((left, right, axes.set_xticks), (bottom, top, axes.set_yticks)):
        ticks(range(int(first), int(last) + 1, 1 + int(last - first) // MOST_TICKS))
    figure.colorbar(colours, ax=axes, label="flits per cycle", shrink=0.8)


def _paint_links(axes: Any, what: MeshMap, colours: Any) -> None:
    """Draw an arrow for each link; a pair of links goes past each other."""
    if not len(what.load):
        return
    left = what.direction[:, ::-1] * [-1, 1]
    at = what.places[what.source] + AHEAD * what.direction + ASIDE * left
    form: Any = {"angles": "xy", "scale_units": "xy", "scale": 1, "units": "xy", "width": 0.04}
    arrows = LENGTH * what.direction
    axes.quiver(*at.T, *arrows.T, color=colours.to_rgba(what.load), **form)


def _paint_nodes(axes: Any, what: MeshMap, colours: Any, size: float) -> None:
    """Draw a square for each node; ``size`` 1 is whole."""
    colour = colours.to_rgba(np.nan_to_num(what.delivered))
    colour[np.isnan(what.delivered)] = 1.0
    axes.scatter(
        *what.places.T, s=(17 * size) ** 2, c=colour, marker="s", edgecolors="#333333", zorder=2
    )
    if size < 1:
        return
    for node, (x, y) in enumerate(what.places):
        tone = "black" if sum(colour[node, :3]) > 1.5 else "white"
        axes.text(x, y, str(node), color=tone, ha="center", va="center", fontsize=7)
