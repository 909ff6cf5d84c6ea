"""Random layers on random machines, and what the page says of their weights, for tests."""

from collections import defaultdict
from itertools import product
from math import gcd

from hypothesis import strategies as st
from small_windows import layers

from firemesh.emulator.machine import machine
from firemesh.emulator.mapping import linear, with_tile
from firemesh.emulator.shape import ConvShape

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
