"""Where the memories of all units lie in the addresses of a file."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace

PAGE = 4096
"""Memories begin at its multiples."""
UNKNOWN_BYTES = 1 << 32
"""Room for a memory of which no size is known, such as a bus."""
MOST_ADDRESS = 1 << 62


class Places(NamedTuple):
    """Where each memory of each unit begins.

    Parameters
    ----------
    base : uint64[n_memories, n_units]
        0 where it is the only one, and where there is none.
    regions : list of dict
        Memory, unit, base and bytes, as JSON has them.
    """

    base: NDArray[np.uint64]
    regions: list[dict[str, Any]]


def places_of(trace: Trace, counted: NDArray[Any], burst: int, is_apart: bool) -> Places:
    """Lay out memories one behind another.

    Parameters
    ----------
    trace : Trace
    counted : structured array
        Counts of all layers, frames and cycles, so that files of parts have the same places.
    burst : int
        Bytes; a burst is of one memory.
    is_apart : bool
        Whether each has addresses of its own, from 0.

    Raises
    ------
    TraceError
        When they take more than 62 bits.
    """
    at, step = 0, max(PAGE, burst)
    regions: list[dict[str, Any]] = []
    base = np.zeros((len(trace.memories), len(trace.units)), np.uint64)
    for memory in np.unique(counted["memory"]).tolist():
        size = int(trace.table("memories")["bytes"][memory]) or UNKNOWN_BYTES
        mine = counted["unit"][counted["memory"] == memory]
        for unit in np.unique(mine).tolist():
            base[memory, unit] = at
            names = {"memory": trace.memories[memory], "unit": trace.units[unit]}
            regions.append(names | {"base": at, "bytes": size})
            at += 0 if is_apart else -(-size // step) * step
            if max(at, size) > MOST_ADDRESS:
                raise TraceError(
                    f"{trace.path}: its memories hold more than 2**62 bytes; choose some with "
                    "--memory and --unit"
                )
    return Places(base, regions)
