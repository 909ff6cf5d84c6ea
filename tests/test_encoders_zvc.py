"""Laws of blocks of bitmap and non-zeros."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tensors import tensors

from firemesh.encoders import zvc
from firemesh.encoders.entries import entries


@given(tensors(), st.integers(1, 70), st.sampled_from([0.0, 0.5, 0.875, 1.0]))
def test_decode_of_encode_is_the_identity(tensor, block, pays_below):
    codes, point = tensor
    found = zvc.decode(zvc.encode(codes, point, block, pays_below))
    assert found.dtype == codes.dtype and np.array_equal(found, codes)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_rank_counts_the_bits_before(bits):
    words = zvc.pack(np.array(bits))
    assert np.array_equal(zvc.unpack(words, len(bits)), bits)
    want = [sum(bits[:at]) for at in range(len(bits) + 1)]
    assert zvc.rank(words, np.arange(len(bits) + 1)).tolist() == want


def test_a_value_lies_at_the_rank_of_its_bit():
    codes = np.array([0, 7, 0, 0, 9, 3, 0, 1], np.uint8)
    found = zvc.encode(codes, 0)
    at = np.flatnonzero(codes)
    assert np.array_equal(found.value[zvc.rank(found.words, at)], codes[at])


def test_sizes_by_hand():
    codes = np.concatenate([np.zeros(8, np.uint8), np.ones(8, np.uint8), np.zeros(3, np.uint8)])
    found = zvc.encode(codes, 0, block=8)
    assert found.is_packed.tolist() == [True, False, True]
    assert zvc.size_bits(codes != 0, block=8) == 3 + 8 + 64 + 3


@given(tensors(), st.integers(1, 70), st.sampled_from([0.0, 0.5, 0.875, 1.0]))
def test_sizes_are_those_of_what_is_written(tensor, block, pays_below):
    codes, point = tensor
    found = zvc.encode(codes, point, block, pays_below)
    lengths = [min(block, codes.size - at) for at in range(0, codes.size, block)]
    bitmaps = sum(n for n, packed in zip(lengths, found.is_packed, strict=True) if packed)
    written = len(lengths) + bitmaps + 8 * len(found.value)
    assert zvc.size_bits(entries(codes, point), block, pays_below) == written


def test_a_block_pays_below_seven_eighths_only():
    seven = np.array([0] + [1] * 7, np.uint8)
    assert not zvc.encode(seven, 0).is_packed[0]
    assert zvc.encode(np.array([0, 0] + [1] * 6, np.uint8), 0).is_packed[0]


def test_an_empty_block_is_refused():
    with pytest.raises(ValueError, match="block: must be at least 1, got 0"):
        zvc.encode(np.zeros(3, np.uint8), 0, block=0)
