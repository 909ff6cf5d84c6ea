"""What a candidate is estimated to cost: kernels; `docs/flexnn-schedule.md` has the formulas.

`measure` works out what blocks and partitions alone decide, `price_rounds` what orders add, `price`
what tiles do. All are products of loop counts; nothing loops over rounds.
"""

from typing import NamedTuple

import numpy as np

from ...noc.kernel import kernel, outer_kernel
from ..state import I64x1, I64x2, I64x3
from .expectations import Table
from .problem import Fact, Kind, Price, Problem, Share, Trial, Width

N_DIMS = 8
NO_RUN = 4
TINY = 1e-9
"""Of a word: what floating point may add to a quotient that is whole."""


@kernel
def copy(source: I64x1, target: I64x1) -> None:
    """Copy an array, which numpy would not do without allocating."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def upward(value: float) -> float:
    """Round up, but for what floating point added to a whole number."""
    return np.ceil(value - TINY)


@kernel
def lane_unit(problem: Problem, mode: int, dim: int) -> int:
    """Return the elements of a dimension that the lanes take at once: vxv IC, mxm OC."""
    return problem.machine[Width.LANES] if dim == 5 - mode else 1


@kernel
def span(problem: Problem, axis: int, tall: int, step: int, deep: int, kernel_step: int) -> float:
    """Return the ifmap rows (axis 0) or columns of all blocks of outputs and kernel positions.

    Parameters
    ----------
    problem : Problem
    axis : int
    tall, step : int
        Output rows of a block, and from one to the next.
    deep, kernel_step : int
        The same of kernel rows.
    """
    size, kernel_size = problem.sizes[2 + axis], problem.sizes[6 + axis]
    stride, dilation = problem.geometry[axis], problem.geometry[2 + axis]
    pad, height = problem.geometry[4 + axis], problem.geometry[6 + axis]
    total = 0
    for begin in range(0, size, step):
        end = min(begin + tall, size)
        for first in range(0, kernel_size, kernel_step):
            last = min(first + deep, kernel_size) - 1
            low = max(begin * stride + first * dilation - pad, 0)
            high = min((end - 1) * stride + last * dilation - pad + 1, height)
            total += max(high - low, 0)
    return float(total)


@kernel
def cut_dim(problem: Problem, trial: Trial, dim: int) -> None:
    """Work out what block and partitions of a dimension decide."""
    size, block = problem.sizes[dim], trial.block[dim]
    step = block * trial.rows[dim] * trial.columns[dim]
    n = (size + step - 1) // step
    rest = size - (n - 1) * step
    unit = lane_unit(problem, trial.choice[0], dim)
    whole, last = min(block, size), min(block, rest)
    column = trial.rows[dim] * block
    trial.n_blocks[dim] = n
    trial.first[dim] = (n - 1) * ((whole + unit - 1) // unit) + (last + unit - 1) // unit
    trial.column[dim] = (n - 1) * min(column, size) + min(column, rest)
    trial.n_vpes[dim] = (size + block - 1) // block


@kernel
def cut_axis(problem: Problem, trial: Trial, axis: int) -> None:
    """Work out the ifmap rows (axis 0) or columns of `Trial.spans`."""
    out, inside = 2 + axis, 6 + axis
    block, deep = trial.block[out], trial.block[inside]
    tall, kernel_tall = block * trial.rows[out], deep * trial.rows[inside]
    step, kernel_step = tall * trial.columns[out], kernel_tall * trial.columns[inside]
    trial.spans[axis, 0] = span(problem, axis, step, step, kernel_step, kernel_step)
    trial.spans[axis, 1] = span(problem, axis, tall, step, kernel_tall, kernel_step)
    trial.spans[axis, 2] = span(problem, axis, block, block, deep, deep)


@kernel
def windows(problem: Problem, trial: Trial) -> None:
    """Work out a round's cycles of windows, and the energy of all windows."""
    sizes, block, facts = problem.sizes, trial.block, trial.facts
    mode, sparsity = trial.choice[0], trial.choice[1]
    lanes, share, pj = problem.machine[Width.LANES], problem.shares[sparsity], problem.pj
    rounds = dense = work = reduced = 1.0
    n_windows = vpes = 1.0
    rows = points = 1
    for dim in range(N_DIMS):
        unit = lane_unit(problem, mode, dim)
        rounds *= trial.n_blocks[dim]
        dense *= trial.first[dim]
        work *= (sizes[dim] + unit - 1) // unit
        vpes *= trial.rows[dim] * trial.columns[dim]
        rows *= trial.rows[dim]
        if problem.kinds[dim] == Kind.REDUCED:
            reduced *= trial.n_vpes[dim]
        else:
            points *= sizes[dim]
            n_windows *= (min(block[dim], sizes[dim]) + unit - 1) // unit
    own = min(block[5 - mode], sizes[5 - mode])
    each = (own + lanes - 1) // lanes
    channels = each if mode == 0 else min(block[5], sizes[5])
    positions = min(block[6], sizes[6]) * min(block[7], sizes[7]) * channels
    having = (own + each - 1) // each if mode == 0 else min(own, lanes)
    table = problem.windows[problem.window_row[mode, sparsity, having]]
    at = min(positions, table.shape[1] - 1)
    mean = table[0, at] / at
    deviation = np.sqrt(table[1, at] / (at * positions * n_windows))
    domain = vpes if problem.machine[Width.BARRIER] == 2 else 1.0
    if problem.machine[Width.BARRIER] == 1:
        domain = float(rows)
    slowest = min(mean + deviation * problem.maxima[int(domain)], max(mean, 1.0))
    facts[Fact.ROUNDS], facts[Fact.VPES] = rounds, vpes
    facts[Fact.COMPUTE] = dense * slowest / rounds
    facts[Fact.BUSY] = dense * mean / rounds
    # of all VPEs: windows, and dense cycles of theirs
    all_windows = work * reduced
    for dim in range(5, N_DIMS):
        all_windows /= (sizes[dim] + lanes - 1) // lanes if dim == 5 - mode else sizes[dim]
    macs = float(points) * sizes[5] * sizes[6] * sizes[7]
    if_reads = macs * share[Share.PAIRS] if mode == 0 else work * mean * table[2, at]
    if_lanes = lanes if mode == 0 else 1
    facts[Fact.PAIRS_PJ] = (
        macs * share[Share.PAIRS] * (pj[Price.RF_FL] + 4 * pj[Price.ACC] + pj[Price.MAC])
        + if_reads * pj[Price.RF_IF]
        + 4 * points * reduced * table[2, at] * pj[Price.RF_OF]
        + bitmap_bytes(share[Share.IF_BITS], if_lanes, work, all_windows) * pj[Price.BITMAP_IF]
        + bitmap_bytes(share[Share.FL_BITS], lanes, work, all_windows) * pj[Price.BITMAP_FL]
    )


@kernel
def bitmap_bytes(bits: float, lanes: int, positions: float, n_windows: float) -> float:
    """Return the bytes of bitmaps that all windows read, each in whole bytes."""
    if bits == 0:
        return 0.0
    return n_windows * upward(lanes * positions / (8 * n_windows))


@outer_kernel
def measure(problem: Problem, trial: Trial) -> None:
    """Work out what blocks and partitions decide; `cut_dim` and `cut_axis` came before."""
    sizes, facts, machine = problem.sizes, trial.facts, problem.machine
    share, pj = problem.shares[trial.choice[1]], problem.pj
    windows(problem, trial)
    n_if = n_fl = n_of = 1.0
    if_all = if_column = if_vpes = fl_all = fl_column = of_all = of_column = 1.0
    parts = 1
    for dim in range(N_DIMS):
        kind = problem.kinds[dim]
        if kind != Kind.FILTER:
            n_if *= trial.n_blocks[dim]
            if dim < 2 or dim == 5:
                if_all *= sizes[dim]
                if_column *= trial.column[dim]
        if kind != Kind.POINT:
            n_fl *= trial.n_blocks[dim]
            fl_all *= sizes[dim]
            fl_column *= trial.column[dim]
        if kind != Kind.REDUCED:
            n_of *= trial.n_blocks[dim]
            of_all *= sizes[dim]
            of_column *= trial.column[dim]
        else:
            parts *= trial.rows[dim] * trial.columns[dim]
    if_once = if_all
    if_vpes = if_all * trial.spans[0, 2] * trial.spans[1, 2]
    if_all *= trial.spans[0, 0] * trial.spans[1, 0]
    if_column *= trial.spans[0, 1] * trial.spans[1, 1]
    if_bytes, fl_bytes = share[Share.IF_BYTES], share[Share.FL_BYTES]
    facts[Fact.N_BLOCKS], facts[Fact.REDUCED] = n_of, parts
    facts[Fact.LEAST_DRAM] = fl_all * fl_bytes + of_all * share[Share.OF_BYTES]
    # the ifmap at least once, as far as it is read
    facts[Fact.LEAST_DRAM] += if_once * problem.reach[0] * problem.reach[1] * if_bytes
    facts[Fact.IF_BYTES], facts[Fact.FL_BYTES] = if_all * if_bytes / n_if, fl_all * fl_bytes / n_fl
    facts[Fact.IF_WORDS] = upward(facts[Fact.IF_BYTES] / machine[Width.READ])
    facts[Fact.FL_WORDS] = upward(facts[Fact.FL_BYTES] / machine[Width.READ])
    facts[Fact.IF_COLUMN] = if_column * if_bytes / n_if
    facts[Fact.FL_COLUMN] = fl_column * fl_bytes / n_fl
    facts[Fact.OF_COLUMN], facts[Fact.POINTS] = of_column / n_of, of_all / n_of
    facts[Fact.TREE] = 0
    if parts > 1:
        depth = parts - 1.0
        if trial.choice[2] == 0:
            depth = np.log2(float(parts))
        facts[Fact.TREE] = depth + upward(facts[Fact.POINTS] / machine[Width.REDUCED])
    if machine[Width.MESH] > 0:
        facts[Fact.IF_COLUMN] = if_vpes * if_bytes / n_if
        facts[Fact.FL_COLUMN] = facts[Fact.FL_BYTES]
        facts[Fact.OF_COLUMN] = facts[Fact.POINTS]
    hop = pj[Price.HOP]
    facts[Fact.IF_TAKEN] = if_vpes * (
        share[Share.IF_DATA] * (pj[Price.RF_IF] + hop)
        + share[Share.IF_BITS] * (pj[Price.BITMAP_IF] + hop)
    )
    facts[Fact.FL_TAKEN] = fl_all * (
        share[Share.FL_DATA] * (pj[Price.RF_FL] + hop)
        + share[Share.FL_BITS] * (pj[Price.BITMAP_FL] + hop)
    )


@kernel
def stationary(problem: Problem, trial: Trial) -> int:
    """Return the kind of the innermost loops, over which a tensor stays; set `Trial.outer`.

    Walks from the innermost loop outwards, blocks, then tiles, until the kind changes.
    """
    run = NO_RUN
    trial.outer[:] = 2
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.order[place]
        if trial.inner[dim] > 1:
            if run == NO_RUN:
                run = problem.kinds[dim]
            elif run != problem.kinds[dim]:
                return run
            trial.outer[dim] = 1
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.tile_order[place]
        if trial.n_tiles[dim] > 1:
            if run == NO_RUN:
                run = problem.kinds[dim]
            elif run != problem.kinds[dim]:
                return run
            trial.outer[dim] = 0
    return run


@kernel
def takers(problem: Problem, trial: Trial, dim: int, is_stationary: bool) -> float:
    """Return the VPEs with elements of a dimension, over all loads of a tensor without it."""
    if not is_stationary or trial.outer[dim] == 2:
        return trial.n_vpes[dim]
    size, tile, block = problem.sizes[dim], trial.tile[dim], trial.block[dim]
    parts = trial.rows[dim] * trial.columns[dim]
    if trial.outer[dim] == 0 or trial.n_tiles[dim] == 1:
        return float(min(parts, (min(tile, size) + block - 1) // block))
    n = trial.n_tiles[dim] - 1
    rest = size - n * tile
    return float(n * parts + min(parts, (rest + block - 1) // block))


@kernel
def load_cycles(problem: Problem, trial: Trial, has_if: bool, has_fl: bool, psums: float) -> float:
    """Return the cycles of a load; ``psums``: bytes of a point that are reloaded."""
    facts, machine = trial.facts, problem.machine
    points = facts[Fact.POINTS] * psums
    words, entering = upward(points / machine[Width.READ]), facts[Fact.OF_COLUMN] * psums
    if has_if:
        words += facts[Fact.IF_WORDS]
        entering += facts[Fact.IF_COLUMN]
    if has_fl:
        words += facts[Fact.FL_WORDS]
        entering += facts[Fact.FL_COLUMN]
    through = upward(entering / machine[Width.COLUMN])
    if machine[Width.MESH] > 0 and entering > 0:
        through += machine[Width.MESH]
    return max(words, through)


@kernel
def drain_cycles(problem: Problem, trial: Trial, size: float) -> float:
    """Return the cycles of a drain with some bytes a point."""
    machine, n_bytes = problem.machine, trial.facts[Fact.POINTS] * size
    narrow = min(machine[Width.DRAIN], machine[Width.WRITE])
    return trial.facts[Fact.TREE] + upward(n_bytes / narrow)


@kernel
def round_cycles(problem: Problem, load: float, drain: float, compute: float) -> float:
    """Return the cycles from one round to the next, the slowest of three stages."""
    if problem.machine[Width.SHARED]:
        return max(compute, load + drain)
    return max(compute, load, drain)


@outer_kernel
def price_rounds(problem: Problem, trial: Trial) -> None:
    """Work out cycles and energy of all rounds; `Trial.n_tiles` and ``inner`` are set."""
    facts, pj = trial.facts, problem.pj
    run = stationary(problem, trial)
    rounds = facts[Fact.ROUNDS]
    often = 1.0
    for dim in range(N_DIMS):
        if trial.outer[dim] == 2:
            often *= trial.n_blocks[dim]
        elif trial.outer[dim] == 1:
            often *= trial.n_tiles[dim]
    if run > Kind.REDUCED:
        often = rounds
    n_of = often if run == Kind.REDUCED else rounds
    n_if = often if run == Kind.FILTER else rounds
    n_fl = often if run == Kind.POINT else rounds
    again = 1 - facts[Fact.N_BLOCKS] / n_of
    leaving = 1 + 3 * again
    compute = facts[Fact.COMPUTE] + problem.machine[Width.OVERHEAD]
    drain = drain_cycles(problem, trial, leaving)
    whole = round_cycles(
        problem, load_cycles(problem, trial, True, True, 4 * again), drain, compute
    )
    stays_of = run == Kind.REDUCED
    load = load_cycles(
        problem, trial, run != Kind.FILTER, run != Kind.POINT, 0.0 if stays_of else 4 * again
    )
    part = round_cycles(problem, load, 0.0 if stays_of else drain, compute)
    facts[Fact.ROUND_CYCLES] = (often - 1) * whole + (rounds - often) * part + compute
    facts[Fact.FIRST_LOAD] = load_cycles(problem, trial, True, True, 0.0)
    facts[Fact.LAST_DRAIN] = drain_cycles(problem, trial, 1.0)
    taken = facts[Fact.IF_TAKEN] * takers(problem, trial, 4, run == Kind.FILTER)
    fl_taken = facts[Fact.FL_TAKEN]
    for dim in (0, 2, 3):
        fl_taken *= takers(problem, trial, dim, run == Kind.POINT)
    points = facts[Fact.POINTS] * n_of
    reloaded = 4 * points * again
    drained = points * leaving
    read = facts[Fact.IF_BYTES] * n_if + facts[Fact.FL_BYTES] * n_fl + reloaded
    facts[Fact.SRAM_READ], facts[Fact.SRAM_WRITTEN] = read, drained
    facts[Fact.ROUNDS_PJ] = (
        facts[Fact.PAIRS_PJ]
        + (read + drained) * pj[Price.STORAGE]
        + taken
        + fl_taken
        + (reloaded + 4 * points * facts[Fact.REDUCED]) * pj[Price.RF_OF]
        + (reloaded + drained + 4 * points * (facts[Fact.REDUCED] - 1)) * pj[Price.HOP]
    )
    if problem.machine[Width.MESH] > 0:
        sent = facts[Fact.IF_COLUMN] * n_if + facts[Fact.FL_COLUMN] * n_fl + reloaded + drained
        facts[Fact.ROUNDS_PJ] += sent * pj[Price.HOP] * problem.machine[Width.MESH] / 2


@kernel
def words(n_bytes: float, width: int) -> float:
    """Return the cycles of DRAM, at least one where something moves."""
    return upward(n_bytes / width)


@outer_kernel
def price(problem: Problem, trial: Trial) -> None:
    """Add DRAM and its time to `price_rounds`; `Trial.tile` and ``n_tiles`` are set."""
    facts, pj, sizes = trial.facts, problem.pj, problem.sizes
    share, width = problem.shares[trial.choice[1]], problem.machine[Width.DRAM]
    run, stays, n = NO_RUN, True, 1.0
    often = n_if = n_fl = n_of = if_all = fl_all = of_all = 1.0
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.tile_order[place]
        tiles, kind = trial.n_tiles[dim], problem.kinds[dim]
        n *= tiles
        if tiles > 1:
            if run == NO_RUN:
                run = kind
            stays = stays and kind == run and run < Kind.GROUP
            if not stays:
                often *= tiles
        if kind != Kind.FILTER:
            n_if *= tiles
            if_all *= sizes[dim] if dim < 2 or dim == 5 else 1
        if kind != Kind.POINT:
            n_fl *= tiles
            fl_all *= sizes[dim]
        if kind != Kind.REDUCED:
            n_of *= tiles
            of_all *= sizes[dim]
    if_all *= span(problem, 0, trial.tile[2], trial.tile[2], trial.tile[6], trial.tile[6])
    if_all *= span(problem, 1, trial.tile[3], trial.tile[3], trial.tile[7], trial.tile[7])
    if_bytes, fl_bytes = if_all * share[Share.IF_BYTES], fl_all * share[Share.FL_BYTES]
    of_bytes = of_all * share[Share.OF_BYTES]
    if_reads = often if run == Kind.FILTER else n
    fl_reads = often if run == Kind.POINT else n
    if_job, fl_job = words(if_bytes / n_if, width), words(fl_bytes / n_fl, width)
    of_job = words(of_bytes / n_of, width)
    last = of_job * (2 if n_of == n and n > 1 else 1)
    loop = facts[Fact.ROUND_CYCLES] / n
    cycles = if_job + fl_job + facts[Fact.FIRST_LOAD] + loop + facts[Fact.LAST_DRAIN] + last
    if n > 1:
        written = (of_job * n_of - last) / (n - 1)
        cycles += (often - 1) * max(loop, if_job + fl_job + written)
        some = (if_job if run != Kind.FILTER else 0.0) + (fl_job if run != Kind.POINT else 0.0)
        cycles += (n - often) * max(loop, some + written)
    read = if_bytes / n_if * if_reads + fl_bytes / n_fl * fl_reads
    facts[Fact.DRAM_READ], facts[Fact.DRAM_WRITTEN] = read, of_bytes
    facts[Fact.CYCLES] = cycles
    busy = facts[Fact.VPES] * facts[Fact.BUSY] * facts[Fact.ROUNDS]
    idle = max(problem.machine[Width.VPES] * cycles - busy, 0.0)
    facts[Fact.ENERGY] = (
        facts[Fact.ROUNDS_PJ]
        + (read + of_bytes) * (pj[Price.DRAM] + pj[Price.STORAGE])
        + idle * pj[Price.IDLE]
    )


MOST_VALUES = 96


@kernel
def values(size: int, kind: int, out: I64x1) -> int:
    """Put the values of a size in ascending order into ``out`` and return how many there are.

    Parameters
    ----------
    size : int
    kind : int
        0: where ``ceil(size / v)`` changes, if a power of two or a divisor; 1: where it changes;
        2: 1 and the size.
    out : int64[values]
    """
    if kind == 2:
        out[0], out[1] = 1, size
        return 1 if size == 1 else 2
    n, value = 0, 1
    while n < out.size:
        if kind == 1 or size % value == 0 or value & (value - 1) == 0:
            out[n] = value
            n += 1
        quotient = (size + value - 1) // value
        if quotient == 1:
            break
        value = (size + quotient - 2) // (quotient - 1)
    return n


@kernel
def ifmap_box(problem: Problem, lengths: I64x1) -> int:
    """Return the elements of an unclipped IF box of ranges of some lengths."""
    g = problem.geometry
    height = (lengths[2] - 1) * g[0] + (lengths[6] - 1) * g[2] + 1
    width = (lengths[3] - 1) * g[1] + (lengths[7] - 1) * g[3] + 1
    return height * width * lengths[5] * lengths[1] * lengths[0]


@kernel
def with_bitmap(size: int, has_bitmap: bool) -> int:
    """Return the bytes of a block in the worst case."""
    return size + (size + 7) // 8 if has_bitmap else size


@kernel
def banks(problem: Problem, trial: Trial, sparsity: int, once: bool) -> int:
    """Return the sub-banks that a VPE needs; ``once``: as if no tensor were held twice."""
    block, n, unit = trial.block, trial.n_blocks, problem.machine[Width.BANK_BYTES]
    points = n[0] * n[1] * n[2] * n[3]
    reduced = n[5] * n[6] * n[7]
    changes_if = not once and points * reduced > 1
    changes_fl = not once and n[1] * n[4] * reduced > 1
    changes_of = not once and points * n[4] > 1
    size = with_bitmap(ifmap_box(problem, block), sparsity & 1 > 0) * (2 if changes_if else 1)
    total = (size + unit - 1) // unit
    size = block[1] * block[4] * block[5] * block[6] * block[7]
    size = with_bitmap(size, sparsity & 2 > 0) * (2 if changes_fl else 1)
    total += (size + unit - 1) // unit
    size = 4 * block[0] * block[1] * block[2] * block[3] * block[4] * (2 if changes_of else 1)
    return total + (size + unit - 1) // unit


@kernel
def spills(problem: Problem, trial: Trial) -> bool:
    """Return whether psums leave the VPEs before they are complete."""
    is_kept = True
    has_blocks = is_tiled = False
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.order[place]
        is_reduced = problem.kinds[dim] == Kind.REDUCED
        is_tiled = is_tiled or (is_reduced and trial.n_tiles[dim] > 1)
        if trial.inner[dim] > 1:
            if is_reduced and not is_kept:
                return True
            is_kept = is_kept and is_reduced
            has_blocks = has_blocks or not is_reduced
    return is_tiled and has_blocks


@kernel
def fits_sram(problem: Problem, trial: Trial) -> bool:
    """Return whether the tiles fit."""
    tile, sparsity = trial.tile, trial.choice[1]
    total = with_bitmap(ifmap_box(problem, tile), sparsity & 1 > 0)
    total += with_bitmap(tile[1] * tile[4] * tile[5] * tile[6] * tile[7], sparsity & 2 > 0)
    points = tile[0] * tile[1] * tile[2] * tile[3] * tile[4]
    total += points * (4 if spills(problem, trial) else 1)
    n = 1
    for dim in range(N_DIMS):
        n *= trial.n_tiles[dim]
    return total * (2 if n > 1 else 1) <= problem.machine[Width.SRAM]


class Options(NamedTuple):
    """What a search works on."""

    parts: I64x3
    """[partitions, 2, 8]: over rows, over columns; of one lane mode."""
    chains: I64x1
    """[partitions]: whether the reduction is a chain."""
    sparsities: I64x1
    orders: I64x2
    """[3, 8]: POINT, FILTER, REDUCED innermost."""
    tile_orders: I64x2
    """[2, 8]: POINT, FILTER innermost."""
    tiled: I64x1
    """Dimensions that may be tiled."""
    nested: I64x1
    """[8]: dimensions in the order in which blocks are chosen."""
    choice: I64x1
    """[5]: lane mode, objective, dataflow, kind of values, whether there are more than.."""
    n_values: I64x1
    value: I64x2
    """[8, values]: blocks."""
    cut: Table
    """[8, values, 4]"""
    span: Table
    """[2, values, 2, 3]"""
    place: I64x1
    tile_n: I64x1
    tile_value: I64x2
    tile_place: I64x1
    cost: Table
    """[keep]: ascending."""
    kept: I64x2
    """[keep, 38]"""
    counts: I64x1


@kernel
def cost(options: Options, cycles: float, energy: float) -> float:
    """Return the objective."""
    if options.choice[1] == 0:
        return cycles
    return energy if options.choice[1] == 1 else cycles * energy


@kernel
def keep(options: Options, trial: Trial, value: float, order: int, tile_order: int) -> None:
    """Insert a candidate that is better than the last one."""
    at = options.cost.size - 1
    while at > 0 and options.cost[at - 1] > value:
        options.cost[at] = options.cost[at - 1]
        copy(options.kept[at - 1], options.kept[at])
        at -= 1
    options.cost[at] = value
    row = options.kept[at]
    row[0], row[1], row[2] = trial.choice[0], trial.choice[1], trial.choice[2]
    row[3], row[4] = order, tile_order
    copy(trial.block, row[5:13])
    copy(trial.rows, row[13:21])
    copy(trial.columns, row[21:29])
    copy(trial.tile, row[29:37])


@kernel
def has_kind(problem: Problem, counts: I64x1, kind: int) -> bool:
    """Return whether a dimension of a kind has more than one."""
    for dim in range(N_DIMS):
        if problem.kinds[dim] == kind and counts[dim] > 1:
            return True
    return False


@kernel
def suits(problem: Problem, options: Options, trial: Trial, order: int) -> bool:
    """Return whether an order has a run of its own, and keeps the dataflow."""
    inner, dataflow = trial.inner, options.choice[2]
    if not has_kind(problem, inner, order):
        for kind in range(order):
            if has_kind(problem, inner, kind):
                return False
        for kind in range(order + 1, 3):
            if has_kind(problem, inner, kind):
                return False
        if order != 0:
            return False
    if dataflow == 1:
        return order == 0 or not has_kind(problem, inner, 0)
    if dataflow == 2:
        return order == 1 or not has_kind(problem, inner, 1)
    if dataflow == 3:
        return order == 2 or not has_kind(problem, inner, 2)
    if dataflow == 5:
        return order == 0 or inner[3] == 1
    return True


@kernel
def price_tiles(problem: Problem, options: Options, trial: Trial) -> None:
    """Price the tiles that are set, in all orders."""
    facts, worst = trial.facts, options.cost.size - 1
    both = has_kind(problem, trial.n_tiles, 0) and has_kind(problem, trial.n_tiles, 1)
    both = both and not has_kind(problem, trial.n_tiles, 2)
    for order in range(3):
        if not suits(problem, options, trial, order):
            continue
        copy(options.orders[order], trial.order)
        options.counts[5] += 1
        if not fits_sram(problem, trial):
            options.counts[6] += 1
            continue
        for tile_order in range(2 if both else 1):
            copy(options.tile_orders[tile_order], trial.tile_order)
            price_rounds(problem, trial)
            price(problem, trial)
            options.counts[7] += 1
            found = cost(options, facts[Fact.CYCLES], facts[Fact.ENERGY])
            if found < options.cost[worst]:
                keep(options, trial, found, order, tile_order)


@kernel
def try_tiles(problem: Problem, options: Options, trial: Trial) -> None:
    """Go through the tiles of blocks."""
    n = options.tiled.size
    for i in range(n):
        dim = options.tiled[i]
        step = trial.block[dim] * trial.rows[dim] * trial.columns[dim]
        options.tile_n[i] = values(trial.n_blocks[dim], options.choice[3], options.tile_value[i])
        for j in range(options.tile_n[i]):
            tile = min(options.tile_value[i, j] * step, problem.sizes[dim])
            options.tile_value[i, j] = tile
    options.tile_place[:] = 0
    copy(problem.sizes, trial.tile)
    trial.n_tiles[:] = 1
    copy(trial.n_blocks, trial.inner)
    while True:
        for i in range(n):
            dim = options.tiled[i]
            step = trial.block[dim] * trial.rows[dim] * trial.columns[dim]
            tile = options.tile_value[i, options.tile_n[i] - 1 - options.tile_place[i]]
            trial.tile[dim] = tile
            trial.n_tiles[dim] = (problem.sizes[dim] + tile - 1) // tile
            trial.inner[dim] = (tile + step - 1) // step
        price_tiles(problem, options, trial)
        i = n - 1
        while i >= 0:
            options.tile_place[i] += 1
            if options.tile_place[i] < options.tile_n[i]:
                break
            options.tile_place[i] = 0
            i -= 1
        if i < 0:
            return


@kernel
def bound(problem: Problem, options: Options, trial: Trial) -> float:
    """Return what no tiles and orders of blocks can be below."""
    facts, pj = trial.facts, problem.pj
    trial.n_tiles[:] = 1
    copy(trial.n_blocks, trial.inner)
    cycles = energy = np.inf
    for order in range(3):
        copy(options.orders[order], trial.order)
        price_rounds(problem, trial)
        cycles = min(cycles, facts[Fact.ROUND_CYCLES])
        energy = min(energy, facts[Fact.ROUNDS_PJ])
    most = 1.0
    for i in range(options.tiled.size):
        most *= trial.n_blocks[options.tiled[i]]
    sparsity = trial.choice[1]
    moved = facts[Fact.LEAST_DRAM]
    least = moved / problem.machine[Width.DRAM]
    cycles = facts[Fact.FIRST_LOAD] + facts[Fact.LAST_DRAIN] + max(cycles, least + cycles / most)
    busy = facts[Fact.VPES] * facts[Fact.BUSY] * facts[Fact.ROUNDS]
    energy += moved * (pj[Price.DRAM] + pj[Price.STORAGE])
    energy += max(problem.machine[Width.VPES] * cycles - busy, 0.0) * pj[Price.IDLE]
    return cost(options, cycles, energy) * (1 - TINY)


@kernel
def try_blocks(problem: Problem, options: Options, trial: Trial) -> None:
    """Bound blocks in each sparsity, and go through the tiles of those that may be good."""
    for i in range(options.sparsities.size):
        sparsity = options.sparsities[i]
        options.counts[1] += 1
        if banks(problem, trial, sparsity, False) > problem.machine[Width.BANKS]:
            options.counts[2] += 1
            continue
        trial.choice[1] = sparsity
        measure(problem, trial)
        if bound(problem, options, trial) >= options.cost[options.cost.size - 1]:
            options.counts[3] += 1
            continue
        options.counts[4] += 1
        try_tiles(problem, options, trial)


@kernel
def fill(problem: Problem, options: Options, trial: Trial) -> None:
    """Work out the blocks of the partitions that are set."""
    lanes, mode, dataflow = problem.machine[Width.LANES], options.choice[0], options.choice[2]
    for dim in range(N_DIMS):
        unit = lane_unit(problem, mode, dim)
        whole = unit * trial.rows[dim] * trial.columns[dim]
        kind = 2 if dim >= 6 else options.choice[3]
        n = values((problem.sizes[dim] + whole - 1) // whole, kind, options.value[dim])
        if dataflow == 4 or (dataflow == 5 and (dim == 2 or dim == 6)):
            n = 1
        if dataflow == 5 and dim == 7:
            options.value[dim, 0] = options.value[dim, n - 1]
            n = 1
        options.n_values[dim] = n
        for i in range(n):
            options.value[dim, i] *= unit
            trial.block[dim] = options.value[dim, i]
            cut_dim(problem, trial, dim)
            options.cut[dim, i, 0] = trial.n_blocks[dim]
            options.cut[dim, i, 1] = trial.first[dim]
            options.cut[dim, i, 2] = trial.column[dim]
            options.cut[dim, i, 3] = trial.n_vpes[dim]
    for axis in range(2):
        for i in range(options.n_values[2 + axis]):
            for j in range(options.n_values[6 + axis]):
                trial.block[2 + axis] = options.value[2 + axis, i]
                trial.block[6 + axis] = options.value[6 + axis, j]
                cut_axis(problem, trial, axis)
                copy(trial.spans[axis], options.span[axis, i, j])


@kernel
def set_block(options: Options, trial: Trial, dim: int, i: int) -> None:
    """Take a block of a dimension."""
    trial.block[dim] = options.value[dim, i]
    trial.n_blocks[dim] = int(options.cut[dim, i, 0])
    trial.first[dim] = options.cut[dim, i, 1]
    trial.column[dim] = options.cut[dim, i, 2]
    trial.n_vpes[dim] = options.cut[dim, i, 3]


@outer_kernel
def search(problem: Problem, options: Options, trial: Trial, begin: int, end: int) -> None:
    """Go through partitions ``begin`` to ``end``."""
    place, most = options.place, problem.machine[Width.BANKS]
    trial.choice[0] = options.choice[0]
    for number in range(begin, end):
        copy(options.parts[number, 0], trial.rows)
        copy(options.parts[number, 1], trial.columns)
        trial.choice[2] = options.chains[number]
        options.counts[0] += 1
        fill(problem, options, trial)
        for dim in range(N_DIMS):
            place[dim] = 0
            set_block(options, trial, dim, 0)
        depth = 0
        place[options.nested[0]] = -1
        while depth >= 0:
            dim = options.nested[depth]
            place[dim] += 1
            if place[dim] == options.n_values[dim]:
                place[dim] = 0
                set_block(options, trial, dim, 0)
                depth -= 1
                continue
            set_block(options, trial, dim, place[dim])
            if banks(problem, trial, 0, True) > most:
                place[dim] = 0
                set_block(options, trial, dim, 0)
                depth -= 1
                continue
            if depth < N_DIMS - 1:
                depth += 1
                place[options.nested[depth]] = -1
                continue
            for axis in range(2):
                copy(options.span[axis, place[2 + axis], place[6 + axis]], trial.spans[axis])
            try_blocks(problem, options, trial)
