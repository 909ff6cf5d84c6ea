"""Widths of fields: enough for every event, and no bit more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_windows import layers, pixels

from firemesh.encoders.bits import compact_fields, event_fields, flits, message_bits, width
from firemesh.encoders.events import Window, conv_events

VGG_16 = [
    (3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56),
    (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 28), (512, 512, 14),
    (512, 512, 14), (512, 512, 14),
]  # fmt: skip
"""Channels in and out and side of the 13 convolutions, all 3x3 with one pixel of padding."""


@given(n=st.integers(1, 2**40))
def test_a_width_tells_n_things_apart_and_one_bit_less_does_not(n):
    assert 2 ** width(n) >= n
    assert n == 1 or 2 ** (width(n) - 1) < n


def test_one_thing_takes_no_bits():
    assert width(1) == 0


@pytest.mark.parametrize("n", [0, -1])
def test_a_width_of_nothing_is_refused(n):
    with pytest.raises(ValueError, match=rf"^width: n must be at least 1, got {n}$"):
        width(n)


@settings(deadline=None)
@given(layer=layers(), channels=st.integers(1, 70))
def test_every_event_fits_the_fields_of_its_layer_and_its_jumps_need_all_their_bits(
    layer, channels
):
    size, window = layer
    y, x = pixels(size)
    events = conv_events(np.full(len(y), channels - 1), y, x, window)
    fields = event_fields((channels, *size), window)
    for name, array in events._asdict().items():
        if name != "source":
            assert np.all(array < 2 ** fields[name])
    for name in ("x_jump", "y_jump"):
        if fields[name] and len(events.source):
            assert getattr(events, name).max() >= 2 ** (fields[name] - 1)


@settings(deadline=None)
@given(layer=layers(), channels=st.integers(1, 70))
def test_the_fields_of_addresses_are_as_wide_as_what_they_number(layer, channels):
    size, window = layer
    fields = event_fields((channels, *size), window)
    assert fields["value"] == 8
    assert fields["channel"] == width(channels)
    assert fields["start_weight"] == width(window.kernel[0] * window.kernel[1])
    assert fields["start_neuron"] == width(window.ofmap[0] * window.ofmap[1])


@given(shape=st.tuples(st.integers(1, 600), st.integers(1, 300), st.integers(1, 300)))
def test_the_compact_event_numbers_channel_row_and_column(shape):
    assert compact_fields(shape) == dict(
        value=8, channel=width(shape[0]), y=width(shape[1]), x=width(shape[2])
    )


@pytest.mark.paper
def test_vgg_16_needs_at_most_41_bits_for_a_full_event_and_33_for_a_compact_one():
    """MNF's fields of an event (section 4.1.1) over the 13 convolutions; derived, mnf.md 1."""
    full = [
        event_fields((c, side, side), Window((3, 3), (1, 1), (1, 1), (1, 1), (side, side)))
        for c, _, side in VGG_16
    ]
    compact = [compact_fields((c, side, side)) for c, _, side in VGG_16]
    widest = {name: max(fields[name] for fields in full) for name in full[0]}
    assert widest == dict(value=8, channel=9, start_weight=4, start_neuron=16, x_jump=2, y_jump=2)
    assert sum(widest.values()) == 41
    assert sum(max(fields[name] for fields in compact) for name in compact[0]) == 33


@given(widths=st.lists(st.integers(0, 16)), n=st.integers(0, 64))
def test_a_message_is_two_bits_of_type_its_fields_and_a_bit_per_destination(widths, n):
    fields = {f"field {i}": bits for i, bits in enumerate(widths)}
    assert message_bits(fields, n) == 2 + sum(widths) + n


@given(bits=st.integers(1, 500), flit_bits=st.integers(1, 300))
def test_flits_hold_the_message_and_one_flit_less_does_not(bits, flit_bits):
    n = flits(bits, flit_bits)
    assert n * flit_bits >= bits > (n - 1) * flit_bits


def test_a_flit_without_bits_is_refused():
    with pytest.raises(ValueError, match=r"^flit_bits: must be at least 1, got 0$"):
        flits(10, 0)
