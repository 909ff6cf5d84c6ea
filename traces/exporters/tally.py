"""What was selected of a trace, and what was written, counted on the way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PacketTally:
    """Counts packets.

    Attributes
    ----------
    packets, deliveries, flits : int
        Packets, their destinations, and the flits that their sources send.
    delivered_flits : int
        Those that arrive: a packet's at each of its destinations.
    first_cycle, last_cycle : int or None
        Of the run, in which the first and the last packet was made; None without packets.
    """

    def __init__(self) -> None:
        self.packets = self.deliveries = self.flits = self.delivered_flits = 0
        self.first_cycle: int | None = None
        self.last_cycle: int | None = None

    def add(self, packets: NDArray[Any], first: NDArray[np.int64]) -> None:
        """Count packets, in order of cycles; packet ``i`` has ``first[i + 1] - first[i]`` copies.

        Parameters
        ----------
        packets : structured array[n]
            Of dtype `firemesh.traces.schema.PACKET`.
        first : int64[n + 1]
        """
        if not len(packets):
            return
        flits = packets["flits"].astype(np.int64)
        self.packets += len(packets)
        self.deliveries += int(first[-1] - first[0])
        self.flits += int(flits.sum())
        self.delivered_flits += int((flits * np.diff(first)).sum())
        if self.first_cycle is None:
            self.first_cycle = int(packets["created"][0])
        self.last_cycle = int(packets["created"][-1])

    def facts(self) -> dict[str, int | None]:
        """Return the counts, fit for JSON."""
        names = ("packets", "deliveries", "flits", "first_cycle", "last_cycle")
        return {name: getattr(self, name) for name in names}

    def written(self, records: int, deliveries: int, flits: int, zero: int) -> dict[str, Any]:
        """Return what the file holds of them, fit for JSON; its cycles count from ``zero``."""
        cycles = {"first_cycle": self.first_cycle, "last_cycle": self.last_cycle}
        return {"records": records, "deliveries": deliveries, "flits": flits} | {
            name: None if cycle is None else cycle - zero for name, cycle in cycles.items()
        }


@dataclass
class AccessTally:
    """Counts accesses, or the records that they become.

    Parameters
    ----------
    count, reads, writes, bytes : int
    first_cycle, last_cycle : int or None
        None before the first.
    """

    count: int = 0
    reads: int = 0
    writes: int = 0
    bytes: int = 0
    first_cycle: int | None = None
    last_cycle: int | None = None

    def add(self, block: NDArray[Any]) -> None:
        """Count a block of dtype ACCESS, by cycle."""
        if not len(block):
            return
        writes = int(np.count_nonzero(block["op"]))
        self.count += len(block)
        self.reads += len(block) - writes
        self.writes += writes
        self.bytes += int(block["size"].sum(dtype=np.int64))
        if self.first_cycle is None:
            self.first_cycle = int(block["cycle"][0])
        self.last_cycle = int(block["cycle"][-1])

    def facts(self, what: str) -> dict[str, int | None]:
        """Return the counts, fit for JSON; ``what`` names the things."""
        names = ("reads", "writes", "bytes", "first_cycle", "last_cycle")
        return {what: self.count} | {name: getattr(self, name) for name in names}
