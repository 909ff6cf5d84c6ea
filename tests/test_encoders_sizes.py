"""Sizes by format, each against what its encoder really writes; the bitmap's encoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tensors import equal, nnz, tensors, to_bits
from small_windows import layers

from firemesh.encoders import bitmap, runlength, sparse
from firemesh.encoders.bits import compact_fields, event_fields
from firemesh.encoders.events import Window, conv_events, raster
from firemesh.encoders.sizes import FORMATS, sizes


@settings(deadline=None)
@given(tensor=tensors())
def test_a_bitmap_gives_back_the_tensor(tensor):
    encoded = bitmap.encode(*tensor)
    assert equal(bitmap.decode(encoded), tensor[0])
    assert len(encoded.mask) == -(-tensor[0].size // 8)


@settings(deadline=None)
@given(tensor=tensors())
def test_a_bitmap_takes_a_bit_per_value_in_little_order_and_eight_per_entry(tensor):
    encoded = bitmap.encode(*tensor)
    text = "".join(f"{byte:08b}"[::-1] for byte in encoded.mask)
    points = np.broadcast_to(tensor[1], tensor[0].shape)
    differs = [str(int(a != b)) for a, b in zip(tensor[0].flat, points.flat, strict=True)]
    assert text == "".join(differs).ljust(len(text), "0")
    written = len(differs) + len(to_bits(encoded.value, 8))
    assert bitmap.size_bits(tensor[0].size, len(encoded.value)) == written


@settings(deadline=None)
@given(tensor=tensors())
def test_sizes_are_those_of_what_the_encoders_write(tensor):
    codes, zero_point = tensor
    found = sizes(codes, zero_point)
    assert found["dense"] == 8 * codes.size
    assert found["rlc"] == (5 + 8) * len(runlength.encode(codes, zero_point).run)
    assert found["bitmap"] == codes.size + 8 * len(bitmap.encode(codes, zero_point).value)
    for form in sparse.FORMS:
        widths = sparse.widths(form, codes.shape)
        arrays = sparse.encode(codes, zero_point, form).arrays
        assert found[form] == sum(a.size * widths[name] for name, a in arrays.items())


@settings(deadline=None)
@given(layer=layers(), channels=st.integers(1, 4), data=st.data())
def test_full_events_are_those_that_an_output_uses_and_compact_ones_all(layer, channels, data):
    size, window = layer
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(-2, 2, (channels, *size)).astype(np.int8)
    events = conv_events(*raster(codes, -1), window)
    found = sizes(codes, -1, window)
    full, compact = event_fields(codes.shape, window), compact_fields(codes.shape)
    assert found["event_full"] == len(events.source) * sum(full.values())
    assert found["event_compact"] == nnz(codes, -1) * sum(compact.values())


@given(n=st.integers(1, 300), step=st.integers(1, 5))
def test_an_event_of_a_vector_is_value_and_index(n, step):
    codes = np.zeros(n, np.uint8)
    codes[::step] = 3
    window = Window((1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
    found = sizes(codes, 0, window)
    events = len(range(0, n, step)) * (8 + (n - 1).bit_length())
    assert found["event_full"] == found["event_compact"] == events


@settings(deadline=None)
@given(tensor=tensors())
def test_formats_that_do_not_know_a_tensor_are_left_out(tensor):
    codes, zero_point = tensor
    known = list(FORMATS)
    known.remove("event_full")
    if codes.ndim in (2, 4):
        known.remove("event_compact")
    assert list(sizes(codes, zero_point)) == known


def test_published_sizes_and_formats_of_ones_own_can_be_asked_for():
    code = runlength.EYERISS
    mine = {"eyeriss": lambda mask, window: code.size_bits(runlength.count_pairs(mask, code))}
    assert sizes(np.arange(4, dtype=np.int8), 0, formats=mine) == {"eyeriss": 64}


@pytest.mark.paper
def test_bitmaps_pay_below_a_density_of_seven_eighths():
    """FlexNN's form: 1/8 + density bytes per int8 value, less than dense below 0.875."""
    codes = np.ones(800, np.int8)
    for n_zeros, pays in ((99, False), (100, None), (101, True)):
        codes[:n_zeros] = 0
        found = sizes(codes, 0)
        assert found["bitmap"] == 800 + 8 * (800 - n_zeros)
        assert (found["bitmap"] < found["dense"]) is (pays is True)
        assert (found["bitmap"] > found["dense"]) is (pays is False)
