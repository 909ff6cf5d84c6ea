"""Kernels that expand rows of lists into accesses: rows to entries, entries to accesses.

An access is three words of 64 bits: cycle, address, and the rest of it (see `WORD`), so that the
result is an array of `firemesh.traces.schema.ACCESS` under another name.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel

Array = NDArray[Any]
Ints = NDArray[np.int64]

CYCLE, ADDRESS, A_STEP, B_STEP, COUNT, CYCLE_STEP, ADDRESS_STEP, WORD = range(8)
"""Columns of an item. ``WORD`` holds unit, layer, size, memory and op in 16, 16, 16, 8, 8 bits."""


class Entries(NamedTuple):
    """Entries of some rows, each int64[n].

    Parameters
    ----------
    cycle, address, pattern
    a, b
        What the items' ``a_step`` and ``b_step`` multiply.
    """

    cycle: Ints
    address: Ints
    pattern: Ints
    a: Ints
    b: Ints


@kernel
def walk(
    start: Array, shift: int, address: Array, offset: int, pattern: Array, run: Array,
    run_offset: int, run_first: Array, kind: Array, run_a: Array, run_b: Array, period: Array,
    stall_row: Array, stall_entry: Array, stall_cycles: Array, row: int, of_cycle: Array,
    of_address: Array, of_pattern: Array, of_a: Array, of_b: Array,
) -> int:  # fmt: skip
    """Walk the runs of rows; return the number of entries.

    Parameters
    ----------
    start, address, pattern, run : int64[n]
        Of rows ``row`` to ``row + n``; runs below 0 for none.
    shift, offset, run_offset : int
        Added to start, address and run.
    run_first, kind, run_a, run_b
        Runs and their entries.
    period : int64[n_patterns]
    stall_row, stall_entry, stall_cycles : int64[n_stalls]
        By row and entry.
    row : int
    of_cycle, of_address, of_pattern, of_a, of_b : int64[n_entries]
        Results.
    """
    n = 0
    stall = np.searchsorted(stall_row, row)
    for i in range(len(start)):
        if run[i] < 0:
            continue
        cycle = start[i] + shift
        first = run_first[run[i] + run_offset]
        for entry in range(first, run_first[run[i] + run_offset + 1]):
            while (
                stall < len(stall_row)
                and stall_row[stall] == row + i
                and stall_entry[stall] == entry - first
            ):
                cycle += stall_cycles[stall]
                stall += 1
            of_cycle[n] = cycle
            of_address[n] = address[i] + offset
            of_pattern[n] = pattern[i] + kind[entry]
            of_a[n] = run_a[entry]
            of_b[n] = run_b[entry]
            cycle += period[of_pattern[n]]
            n += 1
    return n


@kernel
def count_cycles(
    cycle: Array, pattern: Array, beat_first: Array, beat: Array, low: int, high: int, count: Array
) -> None:
    """Add to int64[high - low] ``count`` the accesses of entries in each cycle from ``low`` on.

    Parameters
    ----------
    cycle, pattern : int64[n]
    beat_first : int64[n_patterns + 1]
    beat : int64[n_beats, 2]
        In which cycles of an entry there are accesses, and how many.
    low, high : int
    count : int64[high - low]
        Changed.
    """
    for i in range(len(cycle)):
        for k in range(beat_first[pattern[i]], beat_first[pattern[i] + 1]):
            at = cycle[i] + beat[k, 0]
            if low <= at < high:
                count[at - low] += beat[k, 1]


@kernel
def place(
    cycle: Array, address: Array, pattern: Array, a: Array, b: Array, first: Array, item: Array,
    word: int, modulo: int, low: int, high: int, cursor: Array, out: Array,
) -> None:  # fmt: skip
    """Expand entries, each access to the place that its cycle's cursor tells.

    Parameters
    ----------
    cycle, address, pattern, a, b : int64[n]
        See `Entries`.
    first, item
        Items of patterns.
    word : int
        Added to the items' words.
    modulo : int
        Of the address; 0 for none.
    low, high : int
        Accesses of other cycles are left out.
    cursor : int64[high - low]
        Next place of each cycle; changed.
    out : uint64[n_accesses, 3]
        Result.
    """
    for i in range(len(cycle)):
        for k in range(first[pattern[i]], first[pattern[i] + 1]):
            at = cycle[i] + item[k, CYCLE]
            byte = address[i] + item[k, ADDRESS] + a[i] * item[k, A_STEP] + b[i] * item[k, B_STEP]
            for _ in range(item[k, COUNT]):
                if low <= at < high:
                    n = cursor[at - low]
                    cursor[at - low] = n + 1
                    out[n, 0] = at
                    out[n, 1] = byte % modulo if modulo > 0 else byte
                    out[n, 2] = item[k, WORD] + word
                at += item[k, CYCLE_STEP]
                byte += item[k, ADDRESS_STEP]


@kernel
def fill(
    cycle: Array, address: Array, pattern: Array, a: Array, b: Array, first: Array, item: Array,
    word: int, modulo: int, out: Array,
) -> int:  # fmt: skip
    """Expand entries in their order into uint64[n, 3]; parameters as for `place`; return n."""
    n = 0
    for i in range(len(cycle)):
        for k in range(first[pattern[i]], first[pattern[i] + 1]):
            at = cycle[i] + item[k, CYCLE]
            byte = address[i] + item[k, ADDRESS] + a[i] * item[k, A_STEP] + b[i] * item[k, B_STEP]
            for _ in range(item[k, COUNT]):
                out[n, 0] = at
                out[n, 1] = byte % modulo if modulo > 0 else byte
                out[n, 2] = item[k, WORD] + word
                at += item[k, CYCLE_STEP]
                byte += item[k, ADDRESS_STEP]
                n += 1
    return n
