"""Values: what psum words hold, recomputed from events and weights while a trace is expanded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .blocks import members
from .errors import DamageError, TraceError
from .expand import A_STEP, ADDRESS, ADDRESS_STEP, B_STEP, COUNT
from .kernel import kernel
from .schema import ACCESS
from .selection import number_of

if TYPE_CHECKING:
    from .reader import Trace

Array = NDArray[Any]
WORD_BYTES = 4


@kernel
def accumulate(
    value: Array, address: Array, pattern: Array, a: Array, b: Array, first: Array, item: Array,
    op: Array, operand: Array, weight: Array, base: int, psum: Array, out: Array,
) -> bool:  # fmt: skip
    """Multiply and accumulate entries in their order, and tell what each access reads or writes.

    Parameters
    ----------
    value, address, pattern, a, b : int64[n]
        Of entries; ``value`` of their event.
    first, item
        Items of patterns.
    op : int64[n_items]
    operand : int64[n_items, 3]
        Weight address, what ``a`` and each repeat add to it; where ``a`` adds nothing a write
        clears.
    weight : int16[n_weights]
        Those at addresses from ``base`` on.
    base : int
    psum : int32[words]
        Changed; wrapping.
    out : int32[n_accesses, lanes]
        Result.
    """
    n = 0
    for i in range(len(pattern)):
        for k in range(first[pattern[i]], first[pattern[i] + 1]):
            byte = address[i] + item[k, ADDRESS] + a[i] * item[k, A_STEP] + b[i] * item[k, B_STEP]
            of = operand[k, 0] + operand[k, 1] * a[i] - base
            lanes = ((item[k, 7] >> 32) & 0xFFFF) // WORD_BYTES
            for _ in range(item[k, COUNT]):
                for lane in range(lanes):
                    at = byte // WORD_BYTES + lane
                    if at < 0 or at >= len(psum):
                        return False
                    if op[k] == 1 and operand[k, 1] == 0:
                        psum[at] = 0
                    elif op[k] == 1:
                        if of + lane < 0 or of + lane >= len(weight):
                            return False
                        psum[at] += np.int32(value[i]) * np.int32(weight[of + lane])
                    out[n, lane] = psum[at]
                byte += item[k, ADDRESS_STEP]
                of += operand[k, 2]
                n += 1
    return True


def psums(
    trace: "Trace", layer: str | int, unit: str | int, frame: int, memory: str = "psum"
) -> Iterator[tuple[Array, Array]]:
    """Yield a PE's psum accesses of a layer in storage order, and the values that they move.

    Parameters
    ----------
    trace : Trace
        Recorded with values.
    layer, unit : str or int
    frame : int
    memory : str
        Name of the psum memory.

    Yields
    ------
    structured array
        Of dtype `firemesh.traces.schema.ACCESS`.
    int32[n, lanes]
        Read or written by each; narrow accesses fill the first lanes.

    Raises
    ------
    TraceError
        When the trace holds no values.
    """
    if not trace.attribute("values"):
        raise TraceError(f"{trace.path}: holds no values; record it with --values")
    shapes = trace._shapes(memory, None)
    layer_number = number_of(trace.layers, layer, "layer")
    unit_number = number_of(trace.units, unit, "unit")
    weight, base = _weights(trace, layer_number, unit_number)
    number = trace.memories.index(memory)
    psum = np.zeros(int(trace.table("memories")["bytes"][number]) // WORD_BYTES, np.int32)
    items = trace._tables.items[trace._tables.items["memory"] == number]
    names = ("operand", "operand_a_step", "operand_step")
    operand = np.stack([items[name] for name in names], axis=1).astype(np.int64)
    lanes = int(items["size"].max(initial=0)) // WORD_BYTES
    for one in trace._segment_numbers(frame, {layer_number}):
        segment = trace._segment(int(one))
        for member in members(segment, shapes, layer_number, {unit_number}):
            value = segment.column("value", member.number)
            for first, end, n in member.spans():
                block = np.empty((n, 3), np.uint64)
                member.fill(first, end, block)
                entries = member.entries(first, end)
                result = np.zeros((n, lanes), np.int32)
                per_entry = np.repeat(value[first:end], member.n_entries(first, end))
                is_inside = accumulate(
                    per_entry, entries.address, entries.pattern, entries.a, entries.b,
                    shapes.first, shapes.item, items["op"].astype(np.int64), operand, weight,
                    base, psum, result,
                )  # fmt: skip
                if not is_inside:
                    raise DamageError("psums or weights lie outside their memories")
                yield block.view(ACCESS)[:, 0], result


def _weights(trace: "Trace", layer: int, unit: int) -> tuple[Array, int]:
    """Return a PE's weights of a layer, and the address of the first."""
    rows = trace.table("weights/rows")
    mine = np.flatnonzero((rows["layer"] == layer) & (rows["unit"] == unit))
    if not len(mine):
        return np.zeros(0, np.int16), 0
    row = rows[mine[0]]
    first = int(row["first"])
    return trace.table("weights/values")[first : first + int(row["count"])], int(row["address"])
