"""The regions of a netrace file: parts that readers can seek."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .traffic import Traffic

MOST = 100
REGION = np.dtype([("seek_offset", "<u8"), ("num_cycles", "<u8"), ("num_packets", "<u8")])

Ints = NDArray[np.int64]


class Regions:
    """A region for each layer of each frame that has packets.

    Where these are more than 100 there is one for each frame, and where these are, one in all. A
    region ends where the next one begins; the first begins with cycle 0.

    Parameters
    ----------
    traffic : Traffic
    records, waiting : int64[n_segments]
        Records and dependencies of each segment of ``traffic``.
    record_bytes, dependency_bytes : int

    Attributes
    ----------
    table : structured array
        As in the file.
    facts : dict
        ``each``: of what a region is; ``table``: frame, layer and first id and cycle of each.
    """

    def __init__(
        self, traffic: Traffic, records: Ints, waiting: Ints, record_bytes: int,
        dependency_bytes: int,
    ) -> None:  # fmt: skip
        with_packets = np.flatnonzero(records)
        segments = traffic.segments[with_packets]
        each, begin = _begins(segments)
        first = with_packets[begin]
        size = record_bytes * records + dependency_bytes * waiting
        seek = (np.cumsum(size) - size)[first]
        id_ = (np.cumsum(records) - records)[first]
        cycle = segments["cycle0"][begin].astype(np.int64) - traffic.zero
        cycle[0] = 0
        self.table = np.zeros(len(first), REGION)
        self.table["seek_offset"] = seek
        self.table["num_cycles"] = np.diff(cycle, append=traffic.end)
        self.table["num_packets"] = np.diff(id_, append=int(records.sum()))
        self.facts: dict[str, Any] = {"each": each, "table": []}
        layers = traffic.trace.layers
        for place, one in enumerate(begin.tolist()):
            told: dict[str, Any] = {"first_id": int(id_[place]), "first_cycle": int(cycle[place])}
            if each != "trace":
                told["frame"] = int(segments["frame"][one])
            if each == "layer":
                told["layer"] = layers[segments["layer"][one]]
            self.facts["table"].append(told)


def _begins(segments: NDArray[Any]) -> tuple[str, Ints]:
    """Return of what a region is, and the segments with which they begin."""
    is_frame = np.diff(segments["frame"].astype(np.int64), prepend=-1) != 0
    is_layer = is_frame | (np.diff(segments["layer"].astype(np.int64), prepend=-1) != 0)
    for each, is_first in (("layer", is_layer), ("frame", is_frame)):
        if is_first.sum() <= MOST:
            return each, np.flatnonzero(is_first)
    return "trace", np.zeros(1, np.int64)
