"""Values: what psum words hold, recomputed from events and weights while a trace is expanded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import members
from .decode import Segment
from .errors import DamageError
from .expand import A_STEP, ADDRESS, ADDRESS_STEP, B_STEP, COUNT
from .kernel import kernel
from .members import EntryRows
from .schema import ACCESS
from .shapes import Shapes

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


def psum_blocks(
    segment: Segment,
    shapes: Shapes,
    items: Array,
    layer: int,
    unit: int,
    weight: Array,
    base: int,
    psum: NDArray[np.int32],
) -> Iterator[tuple[Array, NDArray[np.int32]]]:
    """Yield a unit's psum accesses of a segment in storage order, and the values that they move.

    Parameters
    ----------
    segment : Segment
    shapes : Shapes
        Patterns with the items of the psum memory only.
    items : structured array
        Those items, as in the trace.
    layer, unit : int
    weight : int16[n]
        The unit's weights of the layer.
    base : int
        Address of the first.
    psum : int32[words]
        The psum memory; changed.

    Yields
    ------
    structured array
        Of dtype `firemesh.traces.schema.ACCESS`.
    int32[n, lanes]
        Read or written by each; narrow accesses fill the first lanes.

    Raises
    ------
    DamageError
        When an address lies outside its memory.
    """
    names = ("operand", "operand_a_step", "operand_step")
    operand = np.stack([items[name] for name in names], axis=1).astype(np.int64)
    lanes, op = int(items["size"].max(initial=0)) // WORD_BYTES, items["op"].astype(np.int64)
    for member in members(segment, shapes, layer, {unit}):
        if not isinstance(member, EntryRows):
            raise DamageError(f"list {member.number} has psums, but no rows of entries")
        value = segment.column("value", member.number)
        for first, end, n in member.spans():
            block, result = np.empty((n, 3), np.uint64), np.zeros((n, lanes), np.int32)
            member.fill(first, end, block)
            entries = member.entries(first, end)
            per_entry = np.repeat(value[first:end], member.n_entries(first, end))
            is_inside = accumulate(
                per_entry, entries.address, entries.pattern, entries.a, entries.b, shapes.first,
                shapes.item, op, operand, weight, base, psum, result,
            )  # fmt: skip
            if not is_inside:
                raise DamageError("psums or weights lie outside their memories")
            yield block.view(ACCESS)[:, 0], result
