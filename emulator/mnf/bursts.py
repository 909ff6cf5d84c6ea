"""Kernels that turn the bursts of a layer into starts and stalls of a trace's list rows."""

from typing import Any

from numpy.typing import NDArray

from ...noc.kernel import outer_kernel

Array = NDArray[Any]


@outer_kernel
def event_rows(
    pes: Array, message: Array, run: Array, first_run: Array, pattern: Array, is_linear: int,
    load_lag: int, mac_lag: int, received_cycle: Array, taken_cycle: Array,
    bursts: Array, burst_cycle: Array, burst_first: Array, burst_count: Array,
    burst_message: Array, entry_of_row: Array, first_entry: Array, kind: Array, period: Array,
    load_slack: Array, mac_slack: Array, n_stalls: Array, stall: Array,
) -> int:  # fmt: skip
    """Tell slack and stalls of the load and psum rows of PEs that are sent the same messages.

    Parameters
    ----------
    pes : int64[u]
    message, run, pattern : int64[n]
        Message, run (-1 for none) and first psum pattern of each row.
    first_run : int64[u]
        To be added to ``run``.
    is_linear : int
        Whether a row may take several cycles at the MACs; else it takes one.
    load_lag, mac_lag : int
        From arrival to the first row read, from there to the MACs, without delay. An event
        without rows is at the MACs when it could be, but not before the event before.
    received_cycle, taken_cycle
        Of `firemesh.emulator.mnf.state.Columns`.
    bursts, burst_cycle, burst_first, burst_count, burst_message
        Likewise; of kinds load and MAC.
    entry_of_row, first_entry, kind, period
        Entries of weight rows and of runs; kinds of entries; periods of patterns.
    load_slack, mac_slack : int32[u, n]
        Results.
    n_stalls : int64[2, u]
        Result, of load and MAC.
    stall : uint32[stalls, 3]
        Result: row, entry, cycles; load's of all PEs, then MAC's. A row's first entry may stall at
        load, whose row begins when the message is taken.

    Returns
    -------
    int
        Stalls of load.
    """
    total = n_load = 0
    for stage in range(2):
        for u in range(len(pes)):
            p = pes[u]
            burst, before = 0, total
            free = 0
            for i in range(len(message)):
                ready = taken_cycle[p, i] + 1
                if stage == 1:
                    ready += mac_lag
                start = ready if stage == 0 else max(ready, free)
                is_first = stage == 1
                cycle = start
                while burst < bursts[stage, p] and burst_message[stage, p, burst] == message[i]:
                    at, row = burst_cycle[stage, p, burst], burst_first[stage, p, burst]
                    count = burst_count[stage, p, burst]
                    entry = entry_of_row[row]
                    if is_first:
                        start = cycle = at
                        is_first = False
                    if at > cycle:
                        stall[total, 0], stall[total, 2] = i, at - cycle
                        stall[total, 1] = entry - first_entry[run[i] + first_run[u]]
                        total += 1
                    cycle = at + count
                    if stage == 1 and is_linear != 0:
                        cycle = at
                        while count > 0:
                            taken = period[pattern[i] + kind[entry]]
                            cycle += taken
                            if taken > 0:
                                count -= 1
                            entry += 1
                    burst += 1
                if stage == 1:
                    mac_slack[u, i] = start - ready
                    free = start
                else:
                    load_slack[u, i] = start - max(free, received_cycle[p + 1, i] + load_lag)
                    free = max(cycle, start + 1)
            n_stalls[stage, u] = total - before
        if stage == 0:
            n_load = total
    return n_load


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
def arrivals(
    leader: Array, of: Array, nodes: Array, received_cycle: Array, candidates: int,
    ahead: Array, slack: Array,
) -> None:  # fmt: skip
    """Tell arrivals at PEs against departures from storage.

    Where flow control holds storage back, a PE's arrivals move with a later departure: as many
    messages later as wait between the two. The count with the most equal steps in a sample wins.

    Parameters
    ----------
    leader : int64[m]
        Departures.
    of : int64[n]
        Departure of each message.
    nodes : int64[u]
    received_cycle : int32[N, capacity]
    candidates : int
    ahead : int64[u]
        Result, in 0 .. candidates - 1.
    slack : int32[u, n]
        Result: cycles from departure ``of + ahead`` to arrival.
    """
    n, m = len(of), len(leader)
    first = max(1, n // 2 - 256)
    end = min(n, first + 512)
    for u in range(len(nodes)):
        node = nodes[u]
        best = -1
        for k in range(candidates):
            equal = 0
            for i in range(first, end):
                now, before = min(of[i] + k, m - 1), min(of[i - 1] + k, m - 1)
                step = leader[now] - leader[before]
                if received_cycle[node, i] - received_cycle[node, i - 1] == step:
                    equal += 1
            if equal > best:
                best, ahead[u] = equal, k
            if equal == end - first:
                break
        for i in range(n):
            slack[u, i] = received_cycle[node, i] - leader[min(of[i] + ahead[u], m - 1)]
