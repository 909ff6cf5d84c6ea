"""Links: flits that each link of the network carries, and each node is delivered."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TraceError
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from . import mesh_map
from .counted import rows_of
from .figure import title
from .finding import Finding, table
from .window import Floats, Ints, about, window

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def links(trace: Trace, selection: Selection = ALL, progress: Progress = silent) -> Finding:
    """Return the load of each link.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Of layers, units (links that leave or reach them) and a frame. Flits are counted by wave:
        windows of cycles are not heeded.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by link, the busiest first: ``source`` and ``target`` unit, the same for a router's
        output to its own node, ``x``, ``y``, ``to_x``, ``to_y``, ``flits``,
        ``flits_per_cycle``, ``share`` of the flits of all links, or of all deliveries, and the
        layer with the largest load, ``peak_layer`` and ``peak_flits_per_cycle``. Series by layer
        and link.

    Raises
    ------
    TraceError
        When there are no links.
    """
    if selection.cycles is not None:
        raise TraceError("cycles: flits over links are counted by wave; leave it out, or --layer")
    if not len(trace.links):
        raise TraceError(
            f"{trace.path}: the machine has buses and no links; see firemesh trace bandwidth "
            "--memory bus"
        )
    part = window(trace, selection)
    of, segments = trace.table("links"), trace.segments
    kept = _kept(trace, selection)
    length = np.zeros(len(trace.layers), np.int64)
    record = segments[part.segments]
    np.add.at(length, record["layer"], (record["cycle1"] - record["cycle0"]).astype(np.int64))
    layers = np.flatnonzero(length)
    rows = rows_of(trace, "flits")
    rows = rows[np.isin(rows["segment"], part.segments)]
    flits = np.zeros((len(trace.layers), len(of)), np.int64)
    np.add.at(flits, (segments["layer"][rows["segment"]], rows["link"]), rows["count"].astype(int))
    mine = flits[np.ix_(layers, kept)]
    progress(1, 1)
    is_door = (of["source"] == of["target"])[kept]
    total = mine.sum(axis=0)
    facts = about(trace, selection) | {"cycles": int(length.sum())}
    facts |= {"flits": int(total[~is_door].sum()), "delivered": int(total[is_door].sum())}
    return _finding(trace, facts, kept, layers, mine, length[layers])


def _kept(trace: Trace, selection: Selection) -> Ints:
    """Return int64[n]: numbers of the links that are selected."""
    of, units = trace.table("links"), numbers(trace.units, selection.unit, "unit")
    if units is None:
        return np.arange(len(of))
    mine = sorted(units)
    return np.flatnonzero(np.isin(of["source"], mine) | np.isin(of["target"], mine))


def _finding(
    trace: Trace, facts: dict[str, Any], kept: Ints, layers: Ints, mine: Ints, length: Ints
) -> Finding:
    of, units, total = trace.table("links")[kept], trace.table("units"), mine.sum(axis=0)
    is_door, rate = of["source"] == of["target"], mine / length[:, None]
    whole = np.where(is_door, facts["delivered"], facts["flits"])
    peak = rate.argmax(axis=0)
    names = np.array(trace.units)
    source, target = names[of["source"]], names[of["target"]]
    rows = table(
        source=source, target=target,
        x=units["x"][of["source"]], y=units["y"][of["source"]],
        to_x=units["x"][of["target"]], to_y=units["y"][of["target"]],
        flits=total, flits_per_cycle=total / facts["cycles"],
        share=np.where(whole, total / np.maximum(whole, 1), np.nan),
        peak_flits_per_cycle=rate.max(axis=0),
        peak_layer=np.where(total > 0, np.array(trace.layers)[layers][peak], ""),
    )  # fmt: skip
    between = np.flatnonzero(~is_door)
    if len(between):
        busiest = between[total[between].argmax()]
        load = float(rows["flits_per_cycle"][busiest])
        facts |= {
            "busiest": f"{source[busiest]}>{target[busiest]}",
            "busiest_flits_per_cycle": load,
        }
    n = len(kept)
    series = table(
        layer=np.repeat(np.array(trace.layers)[layers], n), source=np.tile(source, len(layers)),
        target=np.tile(target, len(layers)), flits=mine.ravel(), flits_per_cycle=rate.ravel(),
    )  # fmt: skip
    facts["nodes"] = [
        {"unit": name, "x": int(unit["x"]), "y": int(unit["y"])}
        for name, unit in zip(trace.units, units, strict=True)
    ]
    return Finding("links", rows[np.argsort(-total, kind="stable")], facts, series, draw, (6, 5))


def draw(found: Finding, figure: "Figure") -> None:
    """Draw a map of the network: arrows are links, squares nodes and what they are delivered."""
    nodes, rows = found.facts["nodes"], found.rows
    number = {node["unit"]: i for i, node in enumerate(nodes)}
    places = np.array([(node["x"], node["y"]) for node in nodes], np.float64)
    source = np.array([number[name] for name in rows["source"].tolist()], np.int64)
    is_door = rows["source"] == rows["target"]
    delivered = np.full(len(nodes), np.nan)
    delivered[source[is_door]] = rows["flits_per_cycle"][is_door]
    links = rows[~is_door]
    what = mesh_map.MeshMap(
        places, source[~is_door], _direction(links), links["flits_per_cycle"], delivered
    )
    width, height = np.ptp(places, axis=0) + 1
    cell = mesh_map.cell_of(width, height)
    figure.set_size_inches(2.4 + cell * width, 1.6 + cell * height)
    mesh_map.paint(figure, figure.subplots(), what, cell)
    title(figure, f"{found.facts['network']}: load of links")


def _direction(rows: Any) -> Floats:
    """Return one step along x or y for each link; one over the edge of a torus goes outwards."""
    step = np.stack([rows["to_x"] - rows["x"], rows["to_y"] - rows["y"]], axis=1).astype(np.float64)
    away = np.abs(step).max(axis=1, initial=1)
    direction: Floats = np.sign(step) * np.where(away > 1, -1, 1)[:, None]
    return direction
