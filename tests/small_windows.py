"""Random windows over small ifmaps, for tests."""

import numpy as np
from hypothesis import strategies as st

from firemesh.encoders.events import Window

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw):
    """Height and width of an ifmap, and a window over it; kernels may be larger than the ifmap."""
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    strides, dilations = draw(PAIR), draw(PAIR)
    before, ofmap = [], []
    for axis in (0, 1):
        span = dilations[axis] * (kernel[axis] - 1) + 1
        pads = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
        pads = (pads[0], max(pads[1], span - size[axis] - pads[0]))
        before.append(pads[0])
        ofmap.append((size[axis] + sum(pads) - span) // strides[axis] + 1)
    return size, Window(kernel, strides, dilations, tuple(before), tuple(ofmap))


def pixels(size):
    """Return y and x of each pixel of an ifmap, in raster order."""
    y, x = np.divmod(np.arange(size[0] * size[1]), size[1])
    return y, x
