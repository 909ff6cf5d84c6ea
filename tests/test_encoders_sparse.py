"""CSR, CSC and COO: lossless, defined as in the textbook, sizes to the bit."""

from math import ceil, log2, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tensors import equal, from_bits, nnz, tensors, to_bits

from firemesh.encoders.sparse import FORMS, decode, encode, matrix_shape, size_bits, widths

forms = st.sampled_from(sorted(FORMS))


def laid_out(data, codes):
    """Draw how many axes number the rows."""
    return data.draw(st.none() | st.integers(0, codes.ndim), label="row_axes")


@settings(deadline=None)
@given(tensor=tensors(), form=forms, data=st.data())
def test_decoding_gives_back_the_tensor(tensor, form, data):
    codes, zero_point = tensor
    sparse = encode(codes, zero_point, form, laid_out(data, codes))
    assert equal(decode(sparse), codes)
    assert len(sparse.arrays["value"]) == nnz(codes, zero_point)


@settings(deadline=None)
@given(tensor=tensors(), form=forms, data=st.data())
def test_the_size_is_the_length_of_the_bit_string_and_the_string_is_enough_to_read_it(
    tensor, form, data
):
    codes, zero_point = tensor
    row_axes = laid_out(data, codes)
    least = max(widths(form, codes.shape, row_axes).values())
    index_bits = data.draw(st.none() | st.integers(least, least + 20), label="index_bits")
    sparse = encode(codes, zero_point, form, row_axes)
    each = widths(form, codes.shape, row_axes, index_bits)
    n = nnz(codes, zero_point)
    text = "".join(to_bits(array, each[name]) for name, array in sparse.arrays.items())
    assert size_bits(form, codes.shape, n, row_axes, index_bits) == len(text)
    rows, columns = matrix_shape(codes.shape, row_axes)
    lengths = {"row_pointer": rows + 1, "column_pointer": columns + 1}
    for name, array in sparse.arrays.items():
        read, text = from_bits(text, each[name], lengths.get(name, n))
        assert np.array_equal(np.array(read, np.int64).astype(array.dtype), array)


@settings(deadline=None)
@given(tensor=tensors(ranks=(2,)))
def test_arrays_are_those_of_the_definition(tensor):
    codes, zero_point = tensor
    points = np.broadcast_to(zero_point, codes.shape)
    listed = [
        (y, x, int(codes[y, x]))
        for y in range(codes.shape[0])
        for x in range(codes.shape[1])
        if codes[y, x] != points[y, x]
    ]
    by_column = sorted(listed, key=lambda entry: (entry[1], entry[0]))
    starts = [sum(y < row for y, _, _ in listed) for row in range(codes.shape[0] + 1)]
    tops = [sum(x < column for _, x, _ in listed) for column in range(codes.shape[1] + 1)]
    assert lists(codes, zero_point, "coo") == {
        "row": [y for y, _, _ in listed],
        "column": [x for _, x, _ in listed],
        "value": [v for _, _, v in listed],
    }
    assert lists(codes, zero_point, "csr") == {
        "row_pointer": starts,
        "column": [x for _, x, _ in listed],
        "value": [v for _, _, v in listed],
    }
    assert lists(codes, zero_point, "csc") == {
        "column_pointer": tops,
        "row": [y for y, _, _ in by_column],
        "value": [v for _, _, v in by_column],
    }


def lists(codes, zero_point, form):
    return {name: a.tolist() for name, a in encode(codes, zero_point, form, 1).arrays.items()}


@pytest.mark.paper
def test_the_textbooks_matrix_in_every_form():
    """Saad, Iterative Methods for Sparse Linear Systems, section 3.4, counted from 0."""
    matrix = np.array(
        [[1, 0, 0, 2, 0], [3, 4, 0, 5, 0], [6, 0, 7, 8, 9], [0, 0, 10, 11, 0], [0, 0, 0, 0, 12]],
        np.int8,
    )
    assert lists(matrix, 0, "csr") == {
        "row_pointer": [0, 2, 5, 9, 11, 12],
        "column": [0, 3, 0, 1, 3, 0, 2, 3, 4, 2, 3, 4],
        "value": list(range(1, 13)),
    }
    assert lists(matrix, 0, "coo")["row"] == [0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4]
    assert lists(matrix, 0, "csc")["column_pointer"] == [0, 3, 4, 6, 10, 12]


@given(shape=st.lists(st.integers(1, 300), min_size=1, max_size=4).map(tuple), data=st.data())
def test_widths_are_the_least_that_number_what_there_is(shape, data):
    axes = data.draw(st.integers(0, len(shape)), label="row_axes")
    rows, columns = prod(shape[:axes]), prod(shape[axes:])
    assert matrix_shape(shape, axes) == (rows, columns)
    if rows * columns > 2**45:
        return
    pointer, row, column = (ceil(log2(n)) for n in (rows * columns + 1, rows, columns))
    assert widths("csr", shape, axes) == {"row_pointer": pointer, "column": column, "value": 8}
    assert widths("csc", shape, axes) == {"column_pointer": pointer, "row": row, "value": 8}
    assert widths("coo", shape, axes) == {"row": row, "column": column, "value": 8}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((7,), (1, 7)), ((5, 7), (5, 7)), ((3, 5, 7), (3, 35)), ((2, 3, 5, 7), (2, 105))],
)
def test_a_tensor_has_a_row_per_channel_or_filter_and_a_vector_is_one_row(shape, expected):
    assert matrix_shape(shape) == expected


def test_fixed_widths_that_cannot_number_the_values_are_refused():
    said = r"^index_bits: must be at least 11 for \(4, 16, 16\), got 10$"
    with pytest.raises(ValueError, match=said):
        size_bits("csr", (4, 16, 16), 3, index_bits=10)
    assert size_bits("csr", (4, 16, 16), 3, index_bits=11) == 5 * 11 + 3 * (11 + 8)


def test_unknown_forms_and_layouts_are_refused():
    codes = np.zeros((2, 3), np.int8)
    with pytest.raises(ValueError, match="^form: must be one of csr, csc, coo, got ell$"):
        encode(codes, 0, "ell")
    with pytest.raises(ValueError, match=r"^row_axes: must be 0\.\.2, got 3$"):
        encode(codes, 0, "csr", 3)


@pytest.mark.parametrize(
    ("codes", "zero_point", "said"),
    [
        (np.zeros(3, np.int16), 0, "codes: must be int8 or uint8, got int16"),
        (np.zeros((3, 0), np.int8), 0, r"codes: must have at least one value, got shape \(3, 0\)"),
        (np.zeros(3, np.int8), 128, r"zero_point: must be -128\.\.127, got 128"),
        (np.zeros(3, np.uint8), -1, r"zero_point: must be 0\.\.255, got -1"),
    ],
)
def test_what_is_no_tensor_of_codes_is_refused(codes, zero_point, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        encode(codes, zero_point)
