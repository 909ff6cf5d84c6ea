"""Run-length coding against Eyeriss and a coder that goes value by value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tensors import equal, from_bits, tensors, to_bits

from firemesh.encoders.entries import entries
from firemesh.encoders.runlength import EYERISS, PLAIN, RunLength, Runs, count_pairs, decode, encode

codes_of_runs = st.builds(RunLength, run_bits=st.integers(1, 8))


def one_by_one(codes, zero_point, longest):
    """Return the (run, value) pairs of a coder that looks at one value after the other."""
    pairs, run = [], 0
    points = np.broadcast_to(zero_point, codes.shape)
    for code, point in zip(codes.flat, points.flat, strict=True):
        if code == point and run < longest:
            run += 1
        else:
            pairs.append((run, int(code)))
            run = 0
    if run:
        pairs.append((run - 1, int(points.flat[-1])))
    return pairs


def pairs_of(runs):
    return list(zip(runs.run.tolist(), runs.value.tolist(), strict=True))


@settings(deadline=None)
@given(tensor=tensors(), code=codes_of_runs)
def test_decoding_gives_back_the_tensor(tensor, code):
    assert equal(decode(encode(*tensor, code)), tensor[0])


@settings(deadline=None)
@given(tensor=tensors(), code=codes_of_runs)
def test_pairs_are_those_of_a_coder_that_goes_value_by_value(tensor, code):
    expected = one_by_one(*tensor, 2**code.run_bits - 1)
    assert pairs_of(encode(*tensor, code)) == expected
    assert count_pairs(entries(*tensor), code) == len(expected)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 200), max_size=5),
    tail=st.integers(0, 200),
    code=codes_of_runs,
    point=st.integers(-128, 127),
)
def test_runs_of_any_length_come_back(lengths, tail, code, point):
    parts = [[point] * n + [point - 1 if point > 0 else point + 1] for n in lengths]
    codes = np.array([*sum(parts, []), *[point] * tail, point], np.int8)
    runs = encode(codes, point, code)
    assert pairs_of(runs) == one_by_one(codes, point, 2**code.run_bits - 1)
    assert equal(decode(runs), codes)


@settings(deadline=None)
@given(tensor=tensors(), run_bits=st.integers(1, 8), extra=st.integers(0, 60), data=st.data())
def test_the_size_is_the_length_of_the_bit_string_and_the_string_is_enough_to_read_it(
    tensor, run_bits, extra, data
):
    value_bits = data.draw(st.integers(8, 16), label="value_bits")
    word_bits = data.draw(st.none() | st.just(run_bits + value_bits + 1 + extra), label="word")
    code = RunLength(run_bits, value_bits, word_bits)
    runs = encode(*tensor, code)
    pairs = [to_bits([r], run_bits) + to_bits([v], value_bits) for r, v in pairs_of(runs)]
    text = "".join(pairs)
    if word_bits:
        each = next(n for n in range(word_bits, 0, -1) if n * len(pairs[0]) + 1 <= word_bits)
        words = ["".join(pairs[i : i + each]) for i in range(0, len(pairs), each)]
        text = "".join(word.ljust(word_bits - 1, "0") + "01"[word is words[-1]] for word in words)
    assert code.size_bits(len(runs.run)) == len(text)
    read, text_left, word_left = [], text, word_bits
    while sum(run + 1 for run, _ in read) < tensor[0].size:
        if word_bits and word_left < run_bits + value_bits + 1:
            assert text_left[word_left - 1] == "0"
            text_left, word_left = text_left[word_left:], word_bits
        (run,), text_left = from_bits(text_left, run_bits, 1)
        (value,), text_left = from_bits(text_left, value_bits, 1)
        read.append((run, value))
        word_left = word_left and word_left - run_bits - value_bits
    assert text_left == ("0" * (word_left - 1) + "1" if word_bits else "")
    assert [run for run, _ in read] == runs.run.tolist()
    assert equal(np.array([v % 256 for _, v in read]).astype(runs.value.dtype), runs.value)


@pytest.mark.paper
def test_eyeriss_packs_three_pairs_and_a_termination_bit_into_a_word():
    """Eyeriss, JSSC 2017, section IV-B and Fig. 8: 3 x (5 + 16) + 1 = 64 bits."""
    codes = np.array([0, 0, 12, 0, 0, 0, 0, 53, 0, 0, 22], np.int8)
    runs = encode(codes, 0, EYERISS)
    assert pairs_of(runs) == [(2, 12), (4, 53), (2, 22)]
    assert [EYERISS.size_bits(n) for n in (1, 2, 3, 4, 6, 7)] == [64, 64, 64, 128, 128, 192]
    assert 3 * (EYERISS.run_bits + EYERISS.value_bits) + 1 == EYERISS.word_bits


@pytest.mark.paper
def test_eyeriss_runs_have_at_most_31_zeros():
    """Eyeriss, section IV-B: the value after 31 zeros is stored, also if it is zero."""
    for n, expected in {
        31: [(31, 7)],
        32: [(31, 0), (0, 7)],
        63: [(31, 0), (31, 7)],
        64: [(31, 0), (31, 0), (0, 7)],
    }.items():
        codes = np.array([0] * n + [7], np.int8)
        assert pairs_of(encode(codes, 0)) == expected
        assert PLAIN.size_bits(len(expected)) == 13 * len(expected)


def test_zeros_at_the_end_are_a_pair_whose_value_is_the_last_of_them():
    assert pairs_of(encode(np.array([9, 0, 0], np.int8), 0)) == [(0, 9), (1, 0)]
    assert pairs_of(encode(np.zeros(33, np.int8), 0)) == [(31, 0), (0, 0)]


@pytest.mark.parametrize("run", [[], [1], [3], [0, 0, 0, 0]])
def test_pairs_that_do_not_fill_the_tensor_are_refused(run):
    runs = Runs(np.array(run, np.int64), np.ones(len(run), np.int8), (3,), 0)
    with pytest.raises(ValueError, match=r"^Runs\.run: must stand for 3 values, got \d$"):
        decode(runs)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"run_bits": 0}, "run_bits: must be 1..32, got 0"),
        ({"run_bits": 33}, "run_bits: must be 1..32, got 33"),
        ({"value_bits": 7}, "value_bits: must be at least 8, got 7"),
        (
            {"word_bits": 13},
            "word_bits: must be at least 14 for a pair and the termination bit, got 13",
        ),
    ],
)
def test_widths_that_hold_no_pair_are_refused(fields, said):
    with pytest.raises(ValueError, match=f"^RunLength.{said}$"):
        RunLength(**fields)
