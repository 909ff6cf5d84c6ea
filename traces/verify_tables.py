"""Checks a trace's tables, but for its accesses: ids, names, places, order."""

from dataclasses import dataclass, field

import numpy as np

from .reader import Trace
from .schema import OPS

MOST_PROBLEMS = 50


@dataclass
class Report:
    """What `verify` found.

    Parameters
    ----------
    problems : list of str
        One sentence each; at most `MOST_PROBLEMS`.
    segments, accesses, packets : int
        Checked.
    """

    problems: list[str] = field(default_factory=list)
    segments: int = 0
    accesses: int = 0
    packets: int = 0

    def add(self, problem: str) -> None:
        """Add a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def check_tables(trace: Trace, report: Report) -> None:
    """Report what is wrong with the tables that do not tell accesses."""
    before = len(report.problems)
    _check_names(trace, report)
    _check_numbers(trace, report)
    if len(report.problems) == before:
        _check_links(trace, report)
        _check_groups(trace, report)
        _check_weights(trace, report)
        _check_waves(trace, report)
    _check_segments(trace, report)


def _check_names(trace: Trace, report: Report) -> None:
    for name in ("units", "memories", "links", "causes", "waits", "kinds", "streams", "layers"):
        ids = trace.table(name)["id"]
        if not np.array_equal(ids, np.arange(len(ids))):
            report.add(f"{name}: ids are not 0, 1, 2, ...")
    named = {"layers": trace.layers, "units": trace.units, "causes": trace.causes}
    for name, names in named.items():
        if len(set(names)) != len(names):
            report.add(f"{name}: two have the same name")
    for name in ("read_byte_pj", "write_byte_pj"):
        prices = trace.table("memories")[name]
        if not (np.isfinite(prices) & (prices >= 0)).all():
            report.add(f"memories: {name} holds what is no price")
    causes = trace.table("causes")
    if ((causes["is_busy"] > 1) | (causes["is_busy"] + causes["is_idle"] > 1)).any():
        report.add("causes: one is busy and idle")


def _check_numbers(trace: Trace, report: Report) -> None:
    """Check that the numbers of layers, units and so on exist."""
    limits = {
        ("counters", "segment"): len(trace.segments),
        ("counters", "unit"): len(trace.units),
        ("counters", "memory"): len(trace.memories),
        ("counters", "op"): len(OPS),
        ("slots", "segment"): len(trace.segments),
        ("slots", "unit"): len(trace.units),
        ("slots", "cause"): len(trace.causes),
        ("flits", "segment"): len(trace.segments),
        ("flits", "link"): len(trace.table("links")),
        ("vc_stalls", "segment"): len(trace.segments),
        ("vc_stalls", "unit"): len(trace.units),
        ("vc_stalls", "wait"): len(trace.waits),
        ("links", "source"): len(trace.units),
        ("links", "target"): len(trace.units),
        ("segments", "layer"): len(trace.layers),
        ("lists", "stream"): len(trace.table("streams")),
        ("waves", "layer"): len(trace.layers),
        ("filter_groups", "layer"): len(trace.layers),
        ("filter_groups", "unit"): len(trace.units),
        ("weights/rows", "layer"): len(trace.layers),
        ("weights/rows", "unit"): len(trace.units),
    }
    for (table, column), limit in limits.items():
        values = trace.table(table)[column]
        if len(values) and values.max() >= limit:
            report.add(f"{table}: {column} {values.max()} does not exist; there are {limit}")


def _check_weights(trace: Trace, report: Report) -> None:
    rows, is_pe = trace.table("weights/rows"), trace.table("units")["kind"] == b"pe"
    place = rows["layer"].astype(np.int64) << 32 | rows["block"].astype(np.int64) << 16
    place |= rows["unit"]
    count = rows["count"].astype(np.int64)
    if (
        (rows["first"] != np.cumsum(count) - count).any()
        or count.sum() != len(trace.table("weights/values"))
        or (np.diff(place) <= 0).any()
        or not is_pe[rows["unit"]].all()
    ):
        report.add("weights/rows: rows are not in order, or not all of weights/values")


def _check_links(trace: Trace, report: Report) -> None:
    units, links = trace.table("units"), trace.table("links")
    place = np.stack([units["x"], units["y"]], axis=1).astype(np.int64)
    if len(np.unique(place, axis=0)) != len(place):
        report.add("units: two are at the same place")
    ends = np.stack([links["source"], links["target"]], axis=1).astype(np.int64)
    if len(np.unique(ends, axis=0)) != len(ends):
        report.add("links: two are between the same units")
    if (np.abs(place[ends[:, 0]] - place[ends[:, 1]]).sum(axis=1) > 1).any():
        report.add("links: one is between units that are not neighbours")


def _check_groups(trace: Trace, report: Report) -> None:
    """Check that each filter of a layer is in one group."""
    groups, layers = trace.table("filter_groups"), trace.table("layers")
    end = groups["first"].astype(np.int64) + groups["size"]
    if (end > layers["filters"][groups["layer"]]).any():
        report.add("filter_groups: one has filters that its layer does not have")
    for layer in np.unique(groups["layer"]):
        own = groups[groups["layer"] == layer]
        own = own[np.argsort(own["first"], kind="stable")]
        size = own["size"].astype(np.int64)
        is_whole = size.sum() == layers["filters"][layer]
        if not is_whole or (own["first"] != np.cumsum(size) - size).any():
            report.add(f"filter_groups: those of {trace.layers[layer]} are not its filters")


def _check_waves(trace: Trace, report: Report) -> None:
    """Check that waves are in order and lie inside their layers, and that segments are of them."""
    waves, layers, segments = trace.table("waves"), trace.table("layers"), trace.segments
    place = waves["layer"].astype(np.int64) << 16 | waves["wave"]
    if (np.diff(place) <= 0).any():
        report.add("waves: they are not in order")
    of = layers[waves["layer"]]
    for name, limit in (("row", of["ofmap_height"]), ("channel", of["channels"])):
        first, end = waves[f"first_{name}"], waves[f"end_{name}"]
        if ((first >= end) | (end > limit)).any():
            report.add(f"waves: one has {name}s that its layer does not have")
    if (waves["first_output"] >= waves["end_output"]).any():
        report.add("waves: one has no outputs")
    on_pes = layers["mode"][segments["layer"]] == b"mnf"
    of_segment = segments["layer"].astype(np.int64) << 16 | segments["wave"]
    if not np.isin(of_segment[on_pes], place).all():
        report.add("segments: one is of a wave that does not exist")


def _check_segments(trace: Trace, report: Report) -> None:
    segments = trace.segments
    order = segments["frame"].astype(np.uint64) << np.uint64(32)
    order |= segments["layer"].astype(np.uint64) << np.uint64(16)
    order |= segments["wave"]
    if (order[1:] <= order[:-1]).any():
        report.add("segments: frames, layers and waves are not in order")
    if (segments["cycle1"] <= segments["cycle0"]).any():
        report.add("segments: one ends before it begins")
    if (segments["cycle0"][1:] < segments["cycle1"][:-1]).any():
        report.add("segments: two overlap")
    frames = trace.attribute("frames")
    last = int(segments["frame"][-1]) + 1 if len(segments) else 0
    if trace.complete and last != frames:
        report.add(f"segments: the last frame is {last - 1}, of {frames} frames in all")
