"""Which of netrace's types a packet has.

The type tells the kind of packet. Each kind has one type of 8 bytes and one of 72; a packet has
that whose flits, on channels as wide as the trace's flits, are nearer to its own.
"""

SHORT_BYTES, LONG_BYTES = 8, 72
L1D, L2 = 0, 2
"""Node types: a PE is an L1D, storage an L2."""

TYPES = {
    "event": (("InvalidateReq", 27), ("ReadRespWithInvalidate", 3)),
    "end": (("UpgradeResp", 14), ("ReadExResp", 16)),
    "weights": (("WriteResp", 5), ("ReadResp", 2)),
    "fired": (("InvalidateResp", 28), ("Writeback", 6)),
    "fired_end": (("UpgradeReq", 13), ("DowngradeResp", 30)),
    "operands": (("DowngradeReq", 29), ("ReadResp", 2)),
    "results": (("ReadExReq", 15), ("WriteReq", 4)),
}
"""Kind of packet -> netrace's types of 8 and of 72 bytes.

They run as the packets do: event, end, weights and operands from the L2 to an L1, the others back.
There are not enough of 72 bytes, so those of weights (mode mnf) and operands (mode flexnn) share
one.
"""

FLEXNN = ("operands", "results")
"""Kinds that layers of mode flexnn alone have."""


def flits_of(flit_bits: int) -> tuple[int, int]:
    """Return the flits of netrace's two sizes, on channels of so many bits."""
    return -(-8 * SHORT_BYTES // flit_bits), -(-8 * LONG_BYTES // flit_bits)
