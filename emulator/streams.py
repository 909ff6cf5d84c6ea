"""The streams of a trace, and what the makers of its lists share."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .kinds import Memory

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
