"""Random layers on random machines, and what the page says of their weights, for tests."""

from collections import defaultdict
from itertools import product
from math import gcd

import numpy as np
from hypothesis import strategies as st
from small_windows import layers

from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.mapping import linear, with_tile
from firemesh.emulator.shape import ConvShape
from firemesh.models.network import Conv, Network, Tensor

TINY = machine("mnf-tiny")
TILES = ((3, 3), (3, 1), (1, 3), (1, 1))


@st.composite
def shapes(draw, most_groups=3):
    """Random layers of a few channels and filters, grouped or not."""
    size, window = draw(layers())
    groups = draw(st.integers(1, most_groups))
    filters, channels = groups * draw(st.integers(1, 30)), groups * draw(st.integers(1, 3))
    return ConvShape(filters, channels, *size, groups, window)


@st.composite
def machines(draw, tile=(1, 1)):
    """Machines with PEs of 1, 3 or 9 modules that can be split by a tile, memories without end."""
    modules = [m for m in (1, 3, 9) if m % (tile[0] * tile[1]) == 0]
    width, height = draw(st.sampled_from(((2, 1), (3, 1), (2, 2), (4, 3))))
    return TINY.replace(
        mesh__width=width,
        mesh__height=height,
        pe__modules=draw(st.sampled_from(modules)),
        pe__lanes=draw(st.integers(1, 3)),
        pe__weight_bytes=1 << 30,
        pe__psum_bank_bytes=1 << 30,
    )


@st.composite
def mappings(draw, tiles=TILES, has_linear=True):
    """A layer on a machine, with any tile or with linear rows."""
    tile = draw(st.sampled_from((*tiles, None) if has_linear else tiles))
    shape = draw(shapes())
    if tile is None:
        on = draw(machines())
        return linear(shape, on.pe, on.n_pes)
    on = draw(machines(tile))
    return with_tile(shape, tile, on.pe, on.n_pes)


def network_of(shape, seed=0, pool=None, pooled=None):
    """Return a network of a layer of some shape, with ReLU and random weights, named conv.

    Parameters
    ----------
    shape : ConvShape
    seed : int
    pool : MaxPool, optional
        Reads ``y`` and writes ``z``.
    pooled : (int, int), optional
        Height and width of its output.
    """
    rng, window = np.random.default_rng(seed), shape.window
    ends = []
    for axis, size in enumerate((shape.height, shape.width)):
        span = window.dilations[axis] * (window.kernel[axis] - 1) + 1
        end = (window.ofmap[axis] - 1) * window.strides[axis] + span
        ends.append(max(0, end - size - window.pads[axis]))
    weight = rng.integers(-128, 128, (shape.filters, shape.group_channels, *window.kernel))
    weight[rng.random(weight.shape) < rng.choice((0.0, 0.5, 0.9))] = 0
    conv = Conv(
        name="conv",
        inputs=("x",),
        output="y",
        weight=weight.astype(np.int8),
        weight_zero_point=np.zeros(shape.filters, np.int32),
        multiplier=rng.uniform(1e-4, 5e-3, shape.filters).astype(np.float32),
        bias=rng.integers(-5000, 5000, shape.filters).astype(np.int32),
        low=-7,
        high=127,
        strides=window.strides,
        pads=(*window.pads, *ends),
        dilations=window.dilations,
        groups=shape.groups,
    )
    tensors = [
        Tensor("x", (shape.channels, shape.height, shape.width), "int8", 1.0, 5),
        Tensor("y", (shape.filters, *window.ofmap), "int8", 1.0, -7),
    ]
    if pool is None:
        return Network("net", (conv,), {t.name: t for t in tensors}, ("x",), ("y",))
    tensors.append(Tensor("z", (shape.filters, *pooled), "int8", 1.0, -7))
    return Network("net", (conv, pool), {t.name: t for t in tensors}, ("x",), ("z",))


def place_of(shape, axis, k):
    """Return (phase, tap) of a kernel index, from the text of the page."""
    s, d = shape.window.strides[axis], shape.window.dilations[axis]
    return k * d % s, k // (s // gcd(s, d))


def tiles_of(shape, tile):
    """Return the kernel positions of each tile by (phase y, phase x, run y, run x)."""
    tiles = defaultdict(list)
    for ky, kx in product(*map(range, shape.window.kernel)):
        (phase_y, tap_y), (phase_x, tap_x) = place_of(shape, 0, ky), place_of(shape, 1, kx)
        tiles[phase_y, phase_x, tap_y // tile[0], tap_x // tile[1]].append((ky, kx))
    return tiles
