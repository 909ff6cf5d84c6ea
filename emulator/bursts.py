"""Kernels that turn the bursts of a layer into starts and stalls of a trace's list rows."""

from typing import Any

from numpy.typing import NDArray

from ..noc.kernel import outer_kernel

Array = NDArray[Any]


@outer_kernel
def event_starts(
    pes: Array, message: Array, run: Array, pattern: Array, expected: Array, extra: int,
    bursts: Array, burst_cycle: Array, burst_first: Array, burst_count: Array,
    burst_message: Array, entry_of_row: Array, first_entry: Array, kind: Array, period: Array,
    start: Array, n_stalls: Array, stall: Array,
) -> None:  # fmt: skip
    """Tell when each event's entries begin, and the stalls between them.

    Parameters
    ----------
    pes : int64[u]
    message : int64[n]
        Messages of the rows.
    run, pattern : int64[u, n], int64[n]
        Run of the layer (-1 for none) and first pattern of each row.
    expected : int64[u, n]
        Start of each row where it does not depend on the bursts.
    extra : int
        -1 when ``expected`` is the start, and what comes before the first entry is a stall; else
        the start is that of the first burst, or, without one, as late as the row's before.
    bursts : int64[P]
    burst_cycle, burst_first, burst_count, burst_message : [P, capacity]
        Of one kind of bursts.
    entry_of_row, first_entry, kind, period
        Entries of weight rows, of runs; kinds of entries; periods of patterns.
    start : int64[u, n]
        Result.
    n_stalls : int64[u]
        Result.
    stall : uint32[u, capacity, 3]
        Result: row, entry, cycles.
    """
    for u in range(len(pes)):
        p = pes[u]
        burst, n, lag = 0, 0, extra
        for i in range(len(message)):
            begin = expected[u, i] if extra < 0 else expected[u, i] + lag
            is_first = True
            cycle = begin
            while burst < bursts[p] and burst_message[p, burst] == message[i]:
                at = burst_cycle[p, burst]
                entry = entry_of_row[burst_first[p, burst]] - first_entry[run[u, i]]
                if is_first and extra >= 0:
                    begin = cycle = at
                    lag = at - expected[u, i]
                if at > cycle:
                    stall[u, n, 0], stall[u, n, 1], stall[u, n, 2] = i, entry, at - cycle
                    n += 1
                is_first = False
                cycle = at
                left = burst_count[p, burst]
                entry += first_entry[run[u, i]]
                while left > 0:
                    taken = period[pattern[i] + kind[entry]]
                    cycle += taken
                    if taken > 0:
                        left -= 1
                    entry += 1
                burst += 1
            start[u, i] = begin
        n_stalls[u] = n


@outer_kernel
def chunk_starts(
    n_steps: int, bursts: Array, burst_cycle: Array, burst_first: Array, burst_count: Array,
    start: Array, n_stalls: Array, stall: Array,
) -> int:  # fmt: skip
    """Tell when each chunk's scan begins, and the stalls between its steps.

    Parameters
    ----------
    n_steps : int
        Scan steps of a chunk.
    bursts, burst_cycle, burst_first, burst_count
        Of kind fire.
    start : int64[chunks]
        Result, cycle of a chunk's first step.
    n_stalls : int64[P]
        Result.
    stall : uint32[capacity, 3]
        Result: chunk of the layer, step, cycles.

    Returns
    -------
    int
        Stalls of all PEs.
    """
    n = 0
    for p in range(len(bursts)):
        before = n
        expected = 0
        for burst in range(bursts[p]):
            at, cycle = burst_first[p, burst], burst_cycle[p, burst]
            left = burst_count[p, burst]
            while left > 0:
                chunk, step = at // n_steps, at % n_steps
                taken = min(left, n_steps - step)
                if step == 0:
                    start[chunk] = cycle
                elif cycle > expected:
                    stall[n, 0], stall[n, 1], stall[n, 2] = chunk, step, cycle - expected
                    n += 1
                at += taken
                cycle += taken
                left -= taken
                expected = cycle
        n_stalls[p] = n - before
    return n


@outer_kernel
def best_ahead(leader: Array, of: Array, followers: Array, ahead: Array, candidates: int) -> None:
    """Tell by how many of the leader's rows each follower runs behind a backed-up network.

    Where flow control holds storage back, a PE's arrivals move with a later departure: as many
    messages later as wait between the two. The count with the most equal steps in a sample wins.

    Parameters
    ----------
    leader : int64[m]
        Starts.
    of : int64[n]
        Leader's row of each row.
    followers : int64[u, n]
        Starts.
    ahead : int64[u]
        Result, in 0 .. candidates - 1.
    candidates : int
    """
    n, m = len(of), len(leader)
    first = max(1, n // 2 - 256)
    end = min(n, first + 512)
    for u in range(len(followers)):
        best = -1
        for k in range(candidates):
            equal = 0
            for i in range(first, end):
                now, before = min(of[i] + k, m - 1), min(of[i - 1] + k, m - 1)
                step = leader[now] - leader[before]
                if followers[u, i] - followers[u, i - 1] == step:
                    equal += 1
            if equal > best:
                best, ahead[u] = equal, k
            if equal == end - first:
                break
