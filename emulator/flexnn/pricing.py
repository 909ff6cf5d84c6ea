"""What a candidate is estimated to cost: kernels; `docs/flexnn-schedule.md` has the formulas.

`cut_block` and `cut_axis` work out what block and partitions of a dimension decide, `price_windows`
and `price_blocks` what all of them decide, with bounds, and `price` what orders and tiles add. All
are products of loop counts: nothing loops over rounds.
"""

import numpy as np

from ...noc.kernel import first_class, kernel, signature
from ..arrays import I64x1, example
from .dims import Dim
from .problem import Fact, Kind, Price, Problem, Share, Trial

N_DIMS = len(Dim)
TINY = 1e-9
"""Of a word: what floating point may add to a quotient that is whole."""

NO_KIND = Kind.NONE.value
"""A plain number, which may become another kind's."""

SIGNATURE = signature(example(Problem), example(Trial))
DIM_SIGNATURE = signature(example(Problem), example(Trial), 0)


@kernel
def copy(source: I64x1, target: I64x1) -> None:
    """Copy an array, which numpy would not do without allocating."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def upward(value: float) -> float:
    """Round up, but for what floating point added to a whole number."""
    return float(np.ceil(value - TINY))


@kernel
def stored(elements: float, data: float, bits: float) -> float:
    """Return the bytes of a box: what is stored of each element, and whole bytes of bitmap."""
    return elements * data + upward(elements * bits)


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
    size, kernel_size = problem.sizes[Dim.OY + axis], problem.sizes[Dim.FY + axis]
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


@first_class(DIM_SIGNATURE)
def cut_block(problem: Problem, trial: Trial, dim: int) -> int:
    """Work out what block and partitions of a dimension decide."""
    size, block, unit = problem.sizes[dim], trial.block[dim], trial.units[dim]
    step = block * trial.rows[dim] * trial.columns[dim]
    n = (size + step - 1) // step
    rest = size - (n - 1) * step
    whole, last, column = min(block, size), min(block, rest), trial.rows[dim] * block
    trial.n_blocks[dim] = n
    trial.first[dim] = (n - 1) * ((whole + unit - 1) // unit) + (last + unit - 1) // unit
    trial.column[dim] = (n - 1) * min(column, size) + min(column, rest)
    trial.vpes[dim] = (size + block - 1) // block
    return 0


@first_class(DIM_SIGNATURE)
def cut_axis(problem: Problem, trial: Trial, axis: int) -> int:
    """Work out the ifmap rows (axis 0) or columns of `Trial.spans`."""
    out, inside = Dim.OY + axis, Dim.FY + axis
    block, deep = trial.block[out], trial.block[inside]
    tall, kernel_tall = block * trial.rows[out], deep * trial.rows[inside]
    step, kernel_step = tall * trial.columns[out], kernel_tall * trial.columns[inside]
    trial.spans[axis, 0] = span(problem, axis, step, step, kernel_step, kernel_step)
    trial.spans[axis, 1] = span(problem, axis, tall, step, kernel_tall, kernel_step)
    trial.spans[axis, 2] = span(problem, axis, block, block, deep, deep)
    return 0


@kernel
def bitmap_bytes(bits: float, lanes: int, positions: float, n_windows: float) -> float:
    """Return the bytes of bitmaps that all windows read, each of them whole bytes."""
    if bits == 0:
        return 0.0
    return n_windows * upward(lanes * positions / (8 * n_windows))


@first_class(SIGNATURE)
def price_windows(problem: Problem, trial: Trial) -> int:
    """Work out the cycles of a round and the energy of all windows: bounds that cost little."""
    sizes, block, facts = problem.sizes, trial.block, trial.facts
    mode, lanes, pj = trial.choice[0], problem.lanes, problem.pj
    share = problem.shares[trial.choice[1]]
    rounds = dense = work = reduced = own_windows = all_windows = macs = points = 1.0
    vpes = rows = 1
    for dim in range(N_DIMS):
        unit = trial.units[dim]
        in_lanes = (sizes[dim] + unit - 1) // unit
        rounds *= trial.n_blocks[dim]
        dense *= trial.first[dim]
        work *= in_lanes
        macs *= sizes[dim]
        rows *= trial.rows[dim]
        vpes *= trial.rows[dim] * trial.columns[dim]
        if problem.kinds[dim] == Kind.REDUCED:
            reduced *= trial.vpes[dim]
            all_windows *= trial.vpes[dim]
        else:
            points *= sizes[dim]
            own_windows *= (min(block[dim], sizes[dim]) + unit - 1) // unit
            all_windows *= in_lanes
    lane_dim = Dim.IC if mode == 0 else Dim.OC
    own = min(block[lane_dim], sizes[lane_dim])
    each = (own + lanes - 1) // lanes
    channels, having = each, (own + each - 1) // each
    if mode == 1:
        channels, having = min(block[Dim.IC], sizes[Dim.IC]), min(own, lanes)
    positions = min(block[Dim.FY], sizes[Dim.FY]) * min(block[Dim.FX], sizes[Dim.FX]) * channels
    table = problem.windows[problem.window_row[mode, trial.choice[1], having]]
    at = min(positions, table.shape[1] - 1)
    mean, some = table[0, at] / at, table[2, at]
    deviation = np.sqrt(table[1, at] / (at * positions * own_windows))
    domain = 1
    if problem.barrier > 0:
        domain = rows if problem.barrier == 1 else vpes
    slowest = min(mean + deviation * problem.maxima[domain], max(mean, 1.0))
    facts[Fact.ROUNDS], facts[Fact.VPES] = rounds, vpes
    facts[Fact.COMPUTE], facts[Fact.BUSY] = dense * slowest / rounds, dense * mean / rounds
    pairs = macs * share[Share.PAIRS]
    if_read, if_lanes = (pairs, lanes) if mode == 0 else (work * mean * some, 1)
    facts[Fact.PAIRS_PJ] = (
        pairs * (pj[Price.RF_FL] + 4 * pj[Price.ACC] + pj[Price.MAC])
        + if_read * pj[Price.RF_IF]
        + 4 * points * reduced * some * pj[Price.RF_OF]
        + bitmap_bytes(share[Share.IF_BITS], if_lanes, work, all_windows) * pj[Price.BITMAP_IF]
        + bitmap_bytes(share[Share.FL_BITS], lanes, work, all_windows) * pj[Price.BITMAP_FL]
    )
    moved = problem.least_moved[trial.choice[1]]
    least = max(facts[Fact.COMPUTE] * rounds, moved / problem.dram_bytes)
    facts[Fact.LEAST_CYCLES] = least * (1 - TINY)
    facts[Fact.LEAST_ENERGY] = (1 - TINY) * (
        facts[Fact.PAIRS_PJ] + moved * (pj[Price.DRAM] + pj[Price.STORAGE])
    )
    return 0


@kernel
def flits(problem: Problem, n_bytes: float) -> float:
    """Return the flits of a message."""
    return upward(n_bytes / problem.flit_bytes)


@kernel
def mesh_links(problem: Problem) -> float:
    """Return the links of a message to a VPE in the middle, and its delivery."""
    return problem.mesh_hops / 2 + 1.0


@kernel
def measure_mesh(
    problem: Problem, trial: Trial, if_flits: float, fl_flits: float, of_all: float
) -> None:
    """Work out the flits of a load, and of a drain."""
    facts = trial.facts
    of_boxes = 1.0
    for dim in range(N_DIMS):
        if problem.kinds[dim] != Kind.REDUCED:
            of_boxes *= trial.vpes[dim]
        # of each box one copy for each VPE that wants it
        if problem.is_unicast:
            copies = trial.vpes[dim] / trial.n_blocks[dim]
            if_flits *= copies if problem.kinds[dim] == Kind.FILTER else 1
            fl_flits *= copies if problem.kinds[dim] == Kind.POINT else 1
    facts[Fact.IF_COLUMN], facts[Fact.FL_COLUMN] = if_flits, fl_flits
    n, own = of_boxes / facts[Fact.N_BLOCKS], of_all / of_boxes
    facts[Fact.OUT_FLITS] = n * flits(problem, own)
    facts[Fact.OF_COLUMN] = n * flits(problem, 4 * own) / 4


@kernel
def measure(problem: Problem, trial: Trial) -> None:
    """Work out what loads and drains of blocks are; `cut_block` and `cut_axis` came before."""
    sizes, facts, pj = problem.sizes, trial.facts, problem.pj
    share = problem.shares[trial.choice[1]]
    n_if = n_fl = n_of = if_boxes = fl_boxes = 1.0
    if_all = if_column = fl_all = fl_column = of_all = of_column = 1.0
    parts = 1
    for dim in range(N_DIMS):
        kind = problem.kinds[dim]
        if kind != Kind.FILTER:
            n_if *= trial.n_blocks[dim]
            if_boxes *= trial.vpes[dim]
            if dim == Dim.N or dim == Dim.G or dim == Dim.IC:
                if_all *= sizes[dim]
                if_column *= trial.column[dim]
        if kind != Kind.POINT:
            n_fl *= trial.n_blocks[dim]
            fl_boxes *= trial.vpes[dim]
            fl_all *= sizes[dim]
            fl_column *= trial.column[dim]
        if kind != Kind.REDUCED:
            n_of *= trial.n_blocks[dim]
            of_all *= sizes[dim]
            of_column *= trial.column[dim]
        else:
            parts *= trial.rows[dim] * trial.columns[dim]
    if_vpes = if_all * trial.spans[0, 2] * trial.spans[1, 2]
    if_all *= trial.spans[0, 0] * trial.spans[1, 0]
    if_column *= trial.spans[0, 1] * trial.spans[1, 1]
    if_data, if_bits = share[Share.IF_DATA], share[Share.IF_BITS]
    fl_data, fl_bits = share[Share.FL_DATA], share[Share.FL_BITS]
    facts[Fact.N_BLOCKS], facts[Fact.REDUCED] = n_of, parts
    facts[Fact.IF_BYTES] = stored(if_all / n_if, if_data, if_bits)
    facts[Fact.FL_BYTES] = stored(fl_all / n_fl, fl_data, fl_bits)
    facts[Fact.IF_WORDS] = upward(facts[Fact.IF_BYTES] / problem.read_bytes)
    facts[Fact.FL_WORDS] = upward(facts[Fact.FL_BYTES] / problem.read_bytes)
    facts[Fact.IF_COLUMN] = stored(if_column / n_if, if_data, if_bits)
    facts[Fact.FL_COLUMN] = stored(fl_column / n_fl, fl_data, fl_bits)
    facts[Fact.OF_COLUMN], facts[Fact.POINTS] = of_column / n_of, of_all / n_of
    facts[Fact.TREE] = 0.0
    if parts > 1:
        depth = np.log2(float(parts)) if trial.choice[2] == 0 else parts - 1.0
        facts[Fact.TREE] = depth + upward(facts[Fact.POINTS] / problem.reduced_per_cycle)
    if_bitmap = upward(if_vpes / if_boxes * if_bits)
    fl_bitmap = upward(fl_all / fl_boxes * fl_bits)
    facts[Fact.IF_TAKEN] = if_vpes * if_data * pj[Price.RF_IF]
    facts[Fact.IF_TAKEN] += if_boxes * if_bitmap * pj[Price.BITMAP_IF]
    facts[Fact.FL_TAKEN] = fl_all * fl_data * pj[Price.RF_FL]
    facts[Fact.FL_TAKEN] += fl_boxes * fl_bitmap * pj[Price.BITMAP_FL]
    if problem.flit_bytes > 0:
        if_flits = if_boxes * flits(problem, if_vpes * if_data / if_boxes + if_bitmap)
        fl_flits = fl_boxes * flits(problem, fl_all * fl_data / fl_boxes + fl_bitmap)
        measure_mesh(problem, trial, if_flits / n_if, fl_flits / n_fl, of_all)
        each = mesh_links(problem) if problem.is_unicast else 2.0
        each *= problem.flit_bytes * pj[Price.HOP]
        facts[Fact.IF_TAKEN] += if_flits * each
        facts[Fact.FL_TAKEN] += fl_flits * each
    else:
        facts[Fact.IF_TAKEN] += (if_vpes * if_data + if_boxes * if_bitmap) * pj[Price.HOP]
        facts[Fact.FL_TAKEN] += (fl_all * fl_data + fl_boxes * fl_bitmap) * pj[Price.HOP]


@kernel
def innermost(problem: Problem, trial: Trial) -> int:
    """Return the kind of the innermost loops, while which a tensor stays; set `Trial.outer`.

    Goes from the innermost loop outwards, blocks, then tiles, until the kind changes.
    """
    run = NO_KIND
    trial.outer[:] = 2
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.order[place]
        if trial.inner[dim] > 1:
            if run == NO_KIND:
                run = problem.kinds[dim]
            elif run != problem.kinds[dim]:
                return run
            trial.outer[dim] = 1
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.tile_order[place]
        if trial.n_tiles[dim] > 1:
            if run == NO_KIND:
                run = problem.kinds[dim]
            elif run != problem.kinds[dim]:
                return run
            trial.outer[dim] = 0
    return run


@kernel
def takers(problem: Problem, trial: Trial, dim: int, stays: bool) -> float:
    """Return the VPEs with elements of a dimension, over the loads of a tensor without it."""
    if not stays or trial.outer[dim] == 2:
        return float(trial.vpes[dim])
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
    facts = trial.facts
    words = upward(facts[Fact.POINTS] * psums / problem.read_bytes)
    entering = facts[Fact.OF_COLUMN] * psums
    if has_if:
        words += facts[Fact.IF_WORDS]
        entering += facts[Fact.IF_COLUMN]
    if has_fl:
        words += facts[Fact.FL_WORDS]
        entering += facts[Fact.FL_COLUMN]
    if problem.flit_bytes > 0:
        through = upward(entering)
        return max(words, through + problem.mesh_hops if through > 0 else 0.0)
    return max(words, upward(entering / problem.column_bytes))


@kernel
def drain_cycles(problem: Problem, trial: Trial, size: float) -> float:
    """Return the cycles of a drain with some bytes a point."""
    n_bytes, tree = trial.facts[Fact.POINTS] * size, float(trial.facts[Fact.TREE])
    if problem.flit_bytes > 0:
        sent = out_flits(trial, size) / problem.storage_ports
        through = upward(sent) + problem.mesh_hops
        return tree + max(through, upward(n_bytes / problem.write_bytes))
    return tree + upward(n_bytes / min(problem.drain_bytes, problem.write_bytes))


@kernel
def out_flits(trial: Trial, size: float) -> float:
    """Return the flits of a drain whose points have 1 to 4 bytes in the mean, each 1 or 4."""
    spilled = (size - 1) / 3
    final, psums = float(trial.facts[Fact.OUT_FLITS]), 4 * float(trial.facts[Fact.OF_COLUMN])
    return final + spilled * (psums - final)


@kernel
def round_cycles(problem: Problem, load: float, drain: float, compute: float) -> float:
    """Return the cycles from one round to the next: the slowest of three stages."""
    if problem.is_shared:
        return max(compute, load + drain)
    return max(compute, load, drain)


@kernel
def price_rounds(problem: Problem, trial: Trial) -> None:
    """Work out cycles and energy of all rounds; orders, `Trial.n_tiles` and ``inner`` are set."""
    facts, pj, rounds = trial.facts, problem.pj, trial.facts[Fact.ROUNDS]
    run = innermost(problem, trial)
    often = 1.0
    for dim in range(N_DIMS):
        if trial.outer[dim] == 2:
            often *= trial.n_blocks[dim]
        elif trial.outer[dim] == 1:
            often *= trial.n_tiles[dim]
    if run > Kind.REDUCED:
        often = rounds
    stays_if, stays_fl, stays_of = run == Kind.FILTER, run == Kind.POINT, run == Kind.REDUCED
    n_of = often if stays_of else rounds
    n_if = often if stays_if else rounds
    n_fl = often if stays_fl else rounds
    again = 1 - facts[Fact.N_BLOCKS] / n_of
    compute, leaving = facts[Fact.COMPUTE] + problem.overhead, 1 + 3 * again
    load = load_cycles(problem, trial, True, True, 4 * again)
    drain = drain_cycles(problem, trial, leaving)
    some = load_cycles(problem, trial, not stays_if, not stays_fl, 0.0 if stays_of else 4 * again)
    whole = round_cycles(problem, load, drain, compute)
    part = round_cycles(problem, some, 0.0 if stays_of else drain, compute)
    facts[Fact.ROUND_CYCLES] = (often - 1) * whole + (rounds - often) * part + compute
    facts[Fact.FIRST_LOAD] = load_cycles(problem, trial, True, True, 0.0)
    facts[Fact.PART_LOAD], facts[Fact.LAST_DRAIN] = some, drain_cycles(problem, trial, 1.0)
    taken = facts[Fact.IF_TAKEN] * takers(problem, trial, Dim.OC, stays_if)
    fl_takers = takers(problem, trial, Dim.N, stays_fl) * takers(problem, trial, Dim.OY, stays_fl)
    taken += facts[Fact.FL_TAKEN] * fl_takers * takers(problem, trial, Dim.OX, stays_fl)
    points = facts[Fact.POINTS] * n_of
    reloaded, drained = 4 * points * again, points * leaving
    read = facts[Fact.IF_BYTES] * n_if + facts[Fact.FL_BYTES] * n_fl + reloaded
    hops = reloaded + drained
    if problem.flit_bytes > 0:
        own = n_of * (out_flits(trial, leaving) + 4 * again * facts[Fact.OF_COLUMN])
        hops = own * mesh_links(problem) * problem.flit_bytes
        if not problem.is_unicast:
            # a tree's way to the VPEs; in them each is a link and a delivery
            sent = facts[Fact.IF_COLUMN] * n_if + facts[Fact.FL_COLUMN] * n_fl
            hops += sent * (mesh_links(problem) - 2) * problem.flit_bytes
    hops += 4 * points * (facts[Fact.REDUCED] - 1)
    facts[Fact.SRAM_READ], facts[Fact.SRAM_WRITTEN] = read, drained
    facts[Fact.ROUNDS_PJ] = (
        facts[Fact.PAIRS_PJ]
        + taken
        + (read + drained) * pj[Price.STORAGE]
        + (reloaded + 4 * points * facts[Fact.REDUCED]) * pj[Price.RF_OF]
        + hops * pj[Price.HOP]
    )


@first_class(SIGNATURE)
def price_blocks(problem: Problem, trial: Trial) -> int:
    """Work out what loads and drains of blocks are, and what no orders and tiles are below.

    All rounds come after the first job and before the last. And with n tiles DRAM's jobs and n - 1
    first loads of tiles follow each other, then the rounds of the last tile: the least of all n is
    where both are equal.
    """
    facts, pj = trial.facts, problem.pj
    measure(problem, trial)
    trial.n_tiles[:] = 1
    copy(trial.n_blocks, trial.inner)
    cycles = energy = np.inf
    for order in range(3):
        copy(problem.orders[order], trial.order)
        price_rounds(problem, trial)
        cycles = min(cycles, facts[Fact.ROUND_CYCLES])
        energy = min(energy, facts[Fact.ROUNDS_PJ])
    most = most_if = most_fl = most_of = 1.0
    for dim in range(N_DIMS):
        if problem.is_tiled[dim]:
            n_tiles, kind = trial.n_blocks[dim], problem.kinds[dim]
            most *= n_tiles
            most_if *= 1 if kind == Kind.FILTER else n_tiles
            most_fl *= 1 if kind == Kind.POINT else n_tiles
            most_of *= 1 if kind == Kind.REDUCED else n_tiles
    dram, moved = problem.least_dram[trial.choice[1]], problem.least_moved[trial.choice[1]]
    load = load_cycles(problem, trial, True, False, 0.0)
    load = min(load, load_cycles(problem, trial, False, True, 0.0))
    facts[Fact.LEAST_ROUNDS], facts[Fact.LEAST_LOAD] = cycles, load
    n = min(max(np.sqrt(cycles / max(load, TINY)), 1.0), most)
    bare = (dram[0] / most_if + dram[1] / most_fl + dram[2] / most_of) / problem.dram_bytes
    cycles = max(cycles + bare, moved / problem.dram_bytes + (n - 1) * load + cycles / n)
    cycles += facts[Fact.FIRST_LOAD] + facts[Fact.LAST_DRAIN]
    busy = facts[Fact.VPES] * facts[Fact.BUSY] * facts[Fact.ROUNDS]
    energy += moved * (pj[Price.DRAM] + pj[Price.STORAGE])
    energy += max(problem.n_vpes * cycles - busy, 0.0) * pj[Price.IDLE]
    facts[Fact.LEAST_CYCLES] = cycles * (1 - TINY)
    facts[Fact.LEAST_ENERGY] = energy * (1 - TINY)
    return 0


@kernel
def tiles_stay(trial: Trial) -> bool:
    """Return whether the tensor that stays over blocks also stays over some tiles."""
    for dim in range(N_DIMS):
        if trial.outer[dim] == 0:
            return True
    return False


@kernel
def tile_cycles(trial: Trial, loop: float, transfer: float) -> float:
    """Return the cycles from one tile to the next.

    A tile's job begins when the first round of the tile before is loaded, its first load after the
    job; and a job waits for the last drain of the tile before the last.
    """
    drain = float(trial.facts[Fact.LAST_DRAIN])
    return max(loop, transfer, (loop + drain + transfer) / 2)


@kernel
def price_tiles(problem: Problem, trial: Trial) -> None:
    """Add DRAM to `price_rounds`."""
    facts, pj, sizes = trial.facts, problem.pj, problem.sizes
    share, width = problem.shares[trial.choice[1]], problem.dram_bytes
    run, stays = NO_KIND, True
    n = often = n_if = n_fl = n_of = if_all = fl_all = of_all = 1.0
    for place in range(N_DIMS - 1, -1, -1):
        dim = trial.tile_order[place]
        tiles, kind = trial.n_tiles[dim], problem.kinds[dim]
        n *= tiles
        if tiles > 1:
            if run == NO_KIND:
                run = kind
            stays = stays and kind == run and run != Kind.GROUP
            often *= 1 if stays else tiles
        if kind != Kind.FILTER:
            n_if *= tiles
            if_all *= sizes[dim] if dim == Dim.N or dim == Dim.G or dim == Dim.IC else 1
        if kind != Kind.POINT:
            n_fl *= tiles
            fl_all *= sizes[dim]
        if kind != Kind.REDUCED:
            n_of *= tiles
            of_all *= sizes[dim]
    for axis in range(2):
        tall, deep = trial.tile[Dim.OY + axis], trial.tile[Dim.FY + axis]
        if_all *= span(problem, axis, tall, tall, deep, deep)
    if_tile, fl_tile = if_all * share[Share.IF_BYTES] / n_if, fl_all * share[Share.FL_BYTES] / n_fl
    of_all *= share[Share.OF_BYTES]
    if_job, fl_job = upward(if_tile / width), upward(fl_tile / width)
    of_job = upward(of_all / n_of / width)
    last = of_job * (2 if n_of == n and n > 1 else 1)
    loop = facts[Fact.ROUND_CYCLES] / n
    cycles = if_job + fl_job + facts[Fact.FIRST_LOAD] + loop + facts[Fact.LAST_DRAIN] + last
    if n > 1:
        written = (of_job * n_of - last) / (n - 1)
        again = facts[Fact.PART_LOAD] if tiles_stay(trial) else facts[Fact.FIRST_LOAD]
        some = (0.0 if run == Kind.FILTER else if_job) + (0.0 if run == Kind.POINT else fl_job)
        whole = if_job + fl_job + written + facts[Fact.FIRST_LOAD]
        cycles += (often - 1) * tile_cycles(trial, loop, whole)
        cycles += (n - often) * tile_cycles(trial, loop, some + written + again)
    read = if_tile * (often if run == Kind.FILTER else n)
    read += fl_tile * (often if run == Kind.POINT else n)
    facts[Fact.DRAM_READ], facts[Fact.DRAM_WRITTEN], facts[Fact.CYCLES] = read, of_all, cycles
    busy = facts[Fact.VPES] * facts[Fact.BUSY] * facts[Fact.ROUNDS]
    facts[Fact.ENERGY] = (
        facts[Fact.ROUNDS_PJ]
        + (read + of_all) * (pj[Price.DRAM] + pj[Price.STORAGE])
        + max(problem.n_vpes * cycles - busy, 0.0) * pj[Price.IDLE]
    )


@first_class(SIGNATURE)
def price(problem: Problem, trial: Trial) -> int:
    """Work out cycles and energy; `price_blocks` came before, orders and tiles are set."""
    price_rounds(problem, trial)
    price_tiles(problem, trial)
    return 0
