"""Causes: what each multiplier slot of a cycle was used for, or lost to."""

from enum import IntEnum


class Cause(IntEnum):
    """What a multiplier slot was used for or lost to; the first that applies."""

    EXECUTED = 0
    """Multiplied a weight that differs from its zero point."""
    INEFFECTUAL = 1
    """Multiplied a weight equal to its zero point, in a row that holds others."""
    BORDER = 2
    """The position lies outside the ofmap or band."""
    TILE = 3
    """The row has fewer positions than the tile."""
    CHANNEL = 4
    """The filter lies beyond the layer's."""
    FIRE = 5
    """The PE scanned psums in its fire phase."""
    FIRE_PORT = 6
    """The PE waited for the network in its fire phase."""
    HAZARD = 7
    """A row waited for one of its psum words in flight."""
    BANK = 8
    """A row wanted several words of one module."""
    PEER = 9
    """No event came while another PE was not ready for one."""
    INJECT = 10
    """No event came from storage or network."""
    DECODE = 11
    """An event or row was on its way to the multipliers."""
    DRAIN = 12
    """Before the PE's first event, or after its last."""
    WEIGHTS = 13
    """Weights came in from DRAM."""
    UNUSED = 14
    """The PE has no filters in the wave, the VPE no part in the layer, or the host unit works."""
    ROUNDING = 15
    """FlexNN, as those that follow: the block is short, the lane has no channels."""
    IMBALANCE = 16
    """The lane waited for the slowest one of its window."""
    EMPTY = 17
    """The window had no pair of non-zeros."""
    BARRIER = 18
    """The VPE waited for others before its next round."""
    LOAD = 19
    """The VPE waited for operands from SRAM."""
    DRAM = 20
    """The VPE waited for DRAM."""
    DRAIN_BOUND = 21
    """The VPE waited until results had left."""
    FILL = 22
    """The first load, and overheads of rounds."""


BUSY = (Cause.EXECUTED, Cause.INEFFECTUAL)
"""Causes that are no loss of a multiplier."""

IDLE = (
    Cause.FIRE_PORT,
    Cause.HAZARD,
    Cause.BANK,
    Cause.PEER,
    Cause.INJECT,
    Cause.DECODE,
    Cause.DRAIN,
    Cause.WEIGHTS,
    Cause.UNUSED,
    Cause.BARRIER,
    Cause.LOAD,
    Cause.DRAM,
    Cause.DRAIN_BOUND,
    Cause.FILL,
)
"""Causes of cycles in which a PE neither multiplies nor scans; whole cycles, never single slots."""

LABELS = {cause: cause.name.lower().replace("_", " ") for cause in Cause}
