"""Random tensors of every density and zero point, and bit strings, for tests of encoders."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def tensors(draw, ranks=(1, 2, 3, 4), sides=(1, 9)):
    """Codes and a zero point: one code, or one for each index of the first axis."""
    rank = draw(st.sampled_from(ranks))
    shape = draw(st.tuples(*[st.integers(*sides)] * rank))
    dtype = draw(st.sampled_from((np.int8, np.uint8)))
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    point = draw(st.sampled_from((limits.min, 0, 5, limits.max)) | st.none())
    if point is None:
        point = rng.integers(limits.min, limits.max + 1, (shape[0],) + (1,) * (rank - 1))
    codes = rng.integers(limits.min, limits.max + 1, shape)
    density = draw(st.sampled_from((0.0, 0.02, 0.3, 0.9, 1.0)))
    codes = np.where(rng.random(shape) < density, codes, point)
    return codes.astype(dtype), point


def nnz(codes, zero_point):
    """Count the values that differ from the zero point, one by one."""
    points = np.broadcast_to(zero_point, codes.shape)
    return sum(int(a) != int(b) for a, b in zip(codes.flat, points.flat, strict=True))


def equal(one, other):
    """Tell whether two arrays are the same, types and shapes too."""
    return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)


def to_bits(values, width):
    """Return integers as a string of binary digits, ``width`` each; codes in two's complement."""
    assert all(-(2**width) // 2 <= int(v) < 2**width for v in values)
    return "".join(format(int(v) % 2**width, f"0{width}b") for v in values) if width else ""


def from_bits(text, width, n):
    """Return ``n`` unsigned integers and the rest of the string."""
    found = [int(text[i * width : (i + 1) * width] or "0", 2) for i in range(n)]
    return found, text[n * width :]
