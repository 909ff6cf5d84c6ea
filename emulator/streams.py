"""The streams of a trace, and what the makers of its lists share."""

from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..noc.router import Packets
from ..traces.lists import STALLS
from .patterns import READ, WRITE, Item, Patterns
from .state import Memory

NOC_INJECT, NOC_EJECT = len(Memory), len(Memory) + 1
"""Numbers in the trace of the nodes' doors to the network, after the memories."""

Ints = NDArray[np.int64]


class Stream(IntEnum):
    """What a list stands for; numbers as in the trace."""

    INJECT = 0
    STORAGE_READ = 1
    EJECT = 2
    PUSH = 3
    LOAD = 4
    POP = 5
    POINTER = 6
    PSUM = 7
    FIRE = 8
    BIAS = 9
    SEND = 10
    COLLECT = 11
    STORAGE_WRITE = 12
    HOST_READ = 13
    HOST_WRITE = 14
    WEIGHT_READ = 15
    WEIGHT_SEND = 16
    WEIGHT_ARRIVE = 17
    WEIGHT_WRITE = 18
    OPERAND_READ = 19
    OPERAND_WRITE = 20
    BITMAP_WRITE = 21
    WINDOWS = 22
    PSUM_LEAVE = 23
    RESULT_WRITE = 24
    TILE_IN = 25
    TILE_OUT = 26
    PSUM_RETURN = 27
    DISTRIBUTE = 28
    ARRIVE = 29
    GATHER = 30
    GATHERED = 31
    CONVERT_READ = 32
    CONVERT_WRITE = 33


STREAMS = {
    Stream.INJECT: "packets of storage: events and, without a run, end-of-data messages",
    Stream.STORAGE_READ: "storage reads an event as it is injected",
    Stream.EJECT: "packets from storage or from the PE before in a chain arrive at PEs",
    Stream.PUSH: "a message that arrived is written to the event FIFO",
    Stream.LOAD: "an event's weight rows and their indices are read",
    Stream.POP: "a message is taken from the event FIFO",
    Stream.POINTER: "an event's pointer is read when it is taken",
    Stream.PSUM: "an event's rows are multiplied: psum words are read, later written",
    Stream.FIRE: "psums of a chunk of filters are read, and cleared in the next cycle",
    Stream.BIAS: "a chunk's biases are read with its first psums",
    Stream.SEND: "packets of a PE: forwarded messages, outputs, end-of-data",
    Stream.COLLECT: "packets of a PE arrive at storage",
    Stream.STORAGE_WRITE: "storage writes an output that arrived",
    Stream.HOST_READ: "the host unit reads its inputs, events from storage or bytes from DRAM",
    Stream.HOST_WRITE: "the host unit writes its output, events to storage or bytes to DRAM",
    Stream.WEIGHT_READ: "a weight row is read from DRAM",
    Stream.WEIGHT_SEND: "packets of weight rows that storage sends",
    Stream.WEIGHT_ARRIVE: "packets of weight rows arrive at PEs",
    Stream.WEIGHT_WRITE: "a weight row is written to the weight SRAM",
    Stream.OPERAND_READ: "SRAM gives what a round needs: ifmap, weights or psums",
    Stream.OPERAND_WRITE: "a VPE takes values of ifmap or weights from its bus",
    Stream.BITMAP_WRITE: "a VPE takes the bitmap of ifmap or weights from its bus",
    Stream.WINDOWS: "a VPE works through the windows of a round, pair by pair",
    Stream.PSUM_LEAVE: "psums leave a VPE, for SRAM or for its neighbour",
    Stream.RESULT_WRITE: "SRAM takes results, or psums that come back",
    Stream.TILE_IN: "a tile's ifmap or weights come from DRAM into SRAM",
    Stream.TILE_OUT: "a tile's ofmap goes from SRAM to DRAM",
    Stream.PSUM_RETURN: "a VPE takes psums that come back",
    Stream.DISTRIBUTE: "packets of operands that storage sends to VPEs",
    Stream.ARRIVE: "packets of operands arrive at VPEs",
    Stream.GATHER: "packets of results that a VPE sends",
    Stream.GATHERED: "packets of results of a VPE arrive at storage",
    Stream.CONVERT_READ: "a tensor that changes its form is read: events, or bytes from DRAM",
    Stream.CONVERT_WRITE: "a tensor is written in its other form",
}


def steps(cycles: Ints) -> Ints:
    """Return the slack of rows of one cycle each, from their cycles since the segment began."""
    slack = cycles.copy()
    slack[1:] -= cycles[:-1] + 1
    return slack


def constant(values: NDArray[Any]) -> NDArray[Any] | int:
    """Return a column, as one number where all its rows are equal and not negative."""
    if len(values) and values[0] >= 0 and (values == values[0]).all():
        return int(values[0])
    return values


def stall_rows(stall: NDArray[Any]) -> NDArray[Any]:
    """Return rows of the table of stalls from uint32[n, 3]."""
    rows = np.empty(len(stall), STALLS)
    rows["row"], rows["entry"], rows["cycles"] = stall.T
    return rows


def door_patterns(patterns: Patterns, door: int, flits: NDArray[Any]) -> Ints | int:
    """Return the pattern of each packet at a node's door; sizes are flits."""
    op = WRITE if door == NOC_INJECT else READ
    if len(flits) and (flits == flits[0]).all():
        return patterns.single(Item(door, op, int(flits[0])))
    sizes = np.unique(flits).tolist()
    numbers = [patterns.single(Item(door, op, size)) for size in sizes]
    found: Ints = np.array(numbers, np.int64)[np.searchsorted(sizes, flits)]
    return found


class Sources:
    """A wave's packets by source, those of weights left out.

    Parameters
    ----------
    packets : Packets
    n_nodes : int
    patterns : Patterns
        Of the trace, with those of all packets.
    n_weights : int
        Packets of weights, which storage sent before.

    Attributes
    ----------
    count : int64[n_nodes]
        Packets of each source.
    order : int64[n_packets]
        Packets by source, in order of creation.
    n_weights : int
    """

    def __init__(self, packets: Packets, n_nodes: int, patterns: Patterns, n_weights: int) -> None:
        self._packets, self._patterns, self.n_weights = packets, patterns, n_weights
        self.count = np.bincount(packets.source, minlength=n_nodes)
        self.order = np.argsort(packets.source.astype(np.int16), kind="stable")

    @property
    def of_storage(self) -> Ints:
        """Packets of storage in order of creation."""
        return self.order[: self.count[0]]

    @property
    def of_pes(self) -> Ints:
        """Packets of PEs, by PE and creation."""
        return self.order[self.count[0] :]

    @cached_property
    def serial(self) -> Ints:
        """int64[n_packets]: number of each packet among those of its source."""
        first = np.cumsum(self.count) - self.count
        serial = np.empty(len(self.order), np.int64)
        serial[self.order] = np.arange(len(serial)) - np.repeat(first, self.count)
        return serial

    def patterns(self, door: int, packets: NDArray[Any]) -> Ints | int:
        """Return the pattern of each packet at a node's door."""
        return door_patterns(self._patterns, door, self._packets.flits[packets])
