"""What is counted: kinds of packets, and memories."""

from enum import IntEnum

STORAGE_NODE = 0
"""The node, and the unit, of the storage PE."""


class Kind(IntEnum):
    """Kinds of packets."""

    EVENT = 0
    END = 1
    FIRED = 2
    FIRED_END = 3
    WEIGHTS = 4
    OPERANDS = 5
    """Of mode flexnn, as the next one: what storage sends to VPEs."""
    RESULTS = 6


class Memory(IntEnum):
    """Memories whose accesses are counted."""

    STORAGE = 0
    EVENT_FIFO = 1
    POINTER = 2
    INDEX = 3
    WEIGHT = 4
    PSUM = 5
    BIAS = 6
    DRAM = 7
    RF_IF = 8
    """Register files of a VPE, of mode flexnn like those that follow: ifmap."""
    RF_FL = 9
    RF_OF = 10
    BITMAP_IF = 11
    BITMAP_FL = 12
    ACC = 13
    """Accumulators of the lanes."""
    BUS = 14
    """No memory, but the buses of the distribution network: what a unit takes is read, psums that
    go to a neighbour are written."""
