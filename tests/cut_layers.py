"""Random layers that are cut into waves, and docs/mnf-cycles.md, "Cutting", in plain Python."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, product
from math import ceil, gcd

import numpy as np
from hypothesis import strategies as st
from small_layers import nocs, roomy
from small_mappings import machines, network_of, shapes

from firemesh.emulator.machine import Machine
from firemesh.emulator.mnf.mapping import Mapping, candidates
from firemesh.emulator.mnf.plan import make_plan
from firemesh.emulator.mnf.rows import row_counts
from firemesh.emulator.shape import Pool, covers_psums, pool_window
from firemesh.models.network import MaxPool, ModelError, Network
from firemesh.models.shapes import pool_shape


def needed_rows(pool, output, height):
    """Return the psum rows that an output row needs."""
    first = output * pool.strides[0] - pool.pads[0]
    rows = (first + i * pool.dilations[0] for i in range(pool.kernel[0]))
    return {row for row in rows if 0 <= row < height}


def page_bands(pool, height, n_outputs, size):
    """Return (b0, b1, p0, p1) of each band of ``size`` output rows of an ofmap."""
    found = []
    for p0 in range(0, n_outputs, size):
        p1 = min(p0 + size, n_outputs)
        rows = set().union(*(needed_rows(pool, output, height) for output in range(p0, p1)))
        found.append([min(rows), max(rows) + 1, p0, p1])
    found[0][0], found[-1][1] = 0, height
    for before, after in pairwise(found):
        before[1] = max(before[1], after[0])
    return [tuple(band) for band in found]


def bank_words(mapping, n_rows):
    """Return the words of a filter group in a bank, for a band of so many ofmap rows."""
    window = mapping.shape.window
    if mapping.is_linear:
        return ceil(Fraction(n_rows * window.ofmap[1], mapping.modules))
    words = 1
    for axis, n in enumerate((n_rows, window.ofmap[1])):
        e = window.dilations[axis] // gcd(window.strides[axis], window.dilations[axis])
        words *= e * ceil(Fraction(n, e * mapping.tile[axis]))
    return words


def fire_steps(mapping, lanes, held, n_rows):
    """Return the steps in which a PE scans a band of filter groups of the sizes ``held``."""
    width, multipliers = mapping.shape.window.ofmap[1], mapping.modules * mapping.lanes
    if lanes == multipliers:
        places = product(range(n_rows), range(width))
        return len(held) * len({block(mapping, y, x) for y, x in places})
    return sum(ceil(Fraction(size, lanes)) for size in held) * n_rows * width


def block(mapping, y, x):
    """Return (iy, ix) of a position; linear: n div M."""
    if mapping.is_linear:
        return (y * mapping.shape.window.ofmap[1] + x) // mapping.modules
    at = []
    for axis, o in enumerate((y, x)):
        window = mapping.shape.window
        e = window.dilations[axis] // gcd(window.strides[axis], window.dilations[axis])
        at.append(o // (e * mapping.tile[axis]) * e + o % e)
    return tuple(at)


def reached(shape, b0, b1):
    """Return how many positions of the ifmap some ofmap position of the band uses."""
    window, found = shape.window, []
    for axis, outputs in ((0, range(b0, b1)), (1, range(window.ofmap[1]))):
        taps = product(outputs, range(window.kernel[axis]))
        at = {
            window.strides[axis] * o + window.dilations[axis] * k - window.pads[axis]
            for o, k in taps
        }
        found.append(len(at & set(range((shape.height, shape.width)[axis]))))
    return found[0] * found[1]


def weight_flits(machine, mapping, counts, q):
    """Return the flits of weights of a cut, once and for each band; None if they never fit."""
    once = often = 0
    for first in range(0, mapping.most_groups, q):
        held = np.zeros((machine.n_pes, counts.shape[1]), int)
        for group, rows in zip(mapping.groups, counts, strict=True):
            if first <= group.number < first + q:
                held[group.pe] += rows
        if (held > machine.pe.weight_rows).any():
            return None
        rows = int(held.sum())
        flits = max(ceil(Fraction(8 * rows * machine.pe.multipliers, machine.noc.flit_bits)), rows)
        if (held.sum(axis=1) > machine.pe.weight_rows).any():
            often += flits
        else:
            once += flits
    return once, often


def page_cuts(mapping, pool, n_outputs, machine, counts, is_streamed):
    """Return {(q, height): (cycles, waves)} of each cut that fits."""
    shape, most = mapping.shape, mapping.most_groups
    per_phase = shape.window.strides[0] * shape.window.strides[1]
    found = {}
    for q, n in product(range(1, most + 1), range(1, n_outputs + 1)):
        size = ceil(Fraction(n_outputs, n))
        bands = page_bands(pool, shape.window.ofmap[0], n_outputs, size)
        fits = all(
            q * bank_words(mapping, b1 - b0) <= machine.pe.bank_words for b0, b1, *_ in bands
        )
        flits = weight_flits(machine, mapping, counts, q) if is_streamed else (0, 0)
        if not fits or flits is None:
            continue
        cycles, firsts = Fraction(flits[0] + flits[1] * len(bands)), range(0, most, q)
        for first, (b0, b1, *_) in product(firsts, bands):
            held = [i for i, g in enumerate(mapping.groups) if first <= g.number < first + q]
            channels = len({mapping.groups[i].conv_group for i in held}) * shape.group_channels
            of_pe = [[i for i in held if mapping.groups[i].pe == pe] for pe in range(mapping.n_pes)]
            rows = max(sum(int(counts[i].sum()) for i in groups) for groups in of_pe)
            steps = max(
                fire_steps(
                    mapping, machine.pe.fire_lanes, [mapping.groups[i].size for i in pe], b1 - b0
                )
                for pe in of_pe
            )
            places = reached(shape, b0, b1)
            cycles += max(places * channels, Fraction(places * rows, per_phase)) + steps
        found[q, size] = cycles, len(firsts) * len(bands)
    return found


@st.composite
def pools(draw, filters, ofmap):
    """A max-pool of ``y``, and the size of its output; None for none or one that is not fused."""
    if draw(st.booleans()):
        return None, ofmap
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    pads = draw(st.tuples(*(st.integers(0, kernel[axis % 2] - 1) for axis in range(4))))
    dilations = draw(st.sampled_from(((1, 1), (2, 2), (3, 1))))
    pool = MaxPool("pool", ("y",), "z", kernel, draw(pair), pads, dilations)
    try:
        return pool, pool_shape(pool, (filters, *ofmap), draw(st.booleans()))[1:]
    except ModelError:
        return None, ofmap


@dataclass(frozen=True)
class CutCase:
    """A layer, its network, and a machine on which it fits whole."""

    network: Network
    machine: Machine
    mapping: Mapping
    pool: Pool
    n_outputs: int

    @property
    def counts(self):
        return row_counts(self.mapping, self.network.layers[0], self.machine.pe.weights == "dense")

    def on_words(self, words):
        """Return the machine with banks of so many words."""
        return self.machine.replace(pe__psum_bank_bytes=4 * self.machine.pe.lanes * words)

    def row_words(self):
        """Return the words that any one output row of a filter group takes at most."""
        height = self.mapping.shape.window.ofmap[0]
        rows = page_bands(self.pool, height, self.n_outputs, 1)
        return max(bank_words(self.mapping, b1 - b0) for b0, b1, *_ in rows)

    def codes(self, seed):
        """Return random input codes [1, c, h, w]."""
        rng, tensor = np.random.default_rng(seed), self.network.tensors["x"]
        codes = rng.integers(-128, 128, (1, *tensor.shape))
        codes[rng.random(codes.shape) < rng.choice((0.0, 0.5, 0.9))] = tensor.zero_point
        return codes.astype(np.int8)


@st.composite
def cut_cases(draw, weights=("rows", "dense")):
    """Random layers, perhaps with a fused max-pool, on random machines with large memories."""
    shape, on = draw(shapes()), draw(machines())
    layout = draw(st.sampled_from(("tile", "tile", "linear")))
    on = on.replace(
        pe__weights=draw(st.sampled_from(weights)) if layout == "tile" else "rows",
        pe__row_layout=layout,
        pe__fire_lanes=draw(st.sampled_from((1, on.pe.lanes, on.pe.multipliers))),
        noc__flit_bits=draw(st.sampled_from((16, 32, 64))),
        **draw(nocs()),
    )
    pool, pooled = draw(pools(shape.filters, shape.window.ofmap))
    network = network_of(shape, draw(st.integers(0, 2**32 - 1)), pool, pooled)
    if pool and not covers_psums(network, pool):
        pool, pooled = None, shape.window.ofmap
        network = network_of(shape, draw(st.integers(0, 2**32 - 1)))
    mapping = candidates(shape, on)[0]
    return CutCase(network, on, mapping, pool_window(pool), pooled[0])


@st.composite
def planned(draw, weights=("rows", "dense")):
    """A cut case and its plan on a machine with small banks, and perhaps few weight rows."""
    case = draw(cut_cases(weights))
    small = case.on_words(draw(st.integers(case.row_words(), case.mapping.bank_words)))
    memory = draw(st.sampled_from(("large", "small", "least")))
    if memory != "large":
        held = np.zeros((small.n_pes, case.counts.shape[1]), int)
        for group, rows in zip(case.mapping.groups, case.counts, strict=True):
            held[group.pe] += rows
        least = max(1, int(case.counts.max()))
        most = max(least, int(held.sum(axis=1).max()))
        rows = least if memory == "least" else draw(st.integers(least, most))
        small = small.replace(pe__weight_bytes=rows * small.pe.multipliers)
    plan = roomy(make_plan(case.network, small))
    depth = plan.machine.noc.buffer_flits
    return replace(case, machine=case.machine.replace(noc__buffer_flits=depth)), plan
