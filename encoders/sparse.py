"""Tensors as sparse matrices: compressed rows (CSR), compressed columns (CSC), coordinates (COO).

An entry is a value that differs from the zero point; scipy.sparse converts. Source: Saad,
"Iterative Methods for Sparse Linear Systems", 2nd edition, section 3.4: COO is three arrays of
length nnz; CSR is the values, their columns and n + 1 pointers to the start of each row; CSC is the
same by columns.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array

from .bits import VALUE_BITS, width
from .entries import Codes, ZeroPoint, entries, without_entries


class Form(NamedTuple):
    """A form of a sparse matrix."""

    build: Callable[[Any], Any]
    """The matrix in this form, from a scipy matrix in another."""
    arrays: dict[str, str]
    """Attribute of the scipy matrix that holds each array."""


FORMS = {
    "csr": Form(csr_array, {"row_pointer": "indptr", "column": "indices", "value": "data"}),
    "csc": Form(csc_array, {"column_pointer": "indptr", "row": "indices", "value": "data"}),
    "coo": Form(coo_array, {"row": "row", "column": "col", "value": "data"}),
}


class Sparse(NamedTuple):
    """A tensor as a sparse matrix of its entries."""

    form: str
    matrix: Any
    """scipy.sparse array; its data are codes, as they are, and what it lacks is the zero point."""
    shape: tuple[int, ...]
    zero_point: ZeroPoint

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the form: pointers and indices of integers, and the codes."""
        names = FORMS[self.form].arrays
        return {name: getattr(self.matrix, attribute) for name, attribute in names.items()}


def matrix_shape(shape: tuple[int, ...], row_axes: int | None = None) -> tuple[int, int]:
    """Return rows and columns of the matrix that a tensor is laid out as.

    Parameters
    ----------
    shape : tuple of int
    row_axes : int, optional
        How many leading axes number the rows; the others number the columns, both in C order. By
        default one: [c, h, w] has a row per channel, [k, c, r, s] a row per filter; a vector is one
        row.

    Returns
    -------
    (int, int)

    Raises
    ------
    ValueError
        When the tensor has fewer axes.
    """
    axes = min(1, max(0, len(shape) - 1)) if row_axes is None else row_axes
    if not 0 <= axes <= len(shape):
        raise ValueError(f"row_axes: must be 0..{len(shape)}, got {row_axes}")
    return prod(shape[:axes]), prod(shape[axes:])


def encode(
    codes: Codes, zero_point: ZeroPoint, form: str = "csr", row_axes: int | None = None
) -> Sparse:
    """Return a tensor as a sparse matrix.

    Parameters
    ----------
    codes : int8 or uint8 array
    zero_point : int or integer array that broadcasts to the shape of codes
    form : {"csr", "csc", "coo"}
    row_axes : int, optional
        How many leading axes number the rows; see `matrix_shape`.

    Returns
    -------
    Sparse
        With sorted indices.
    """
    build = _form(form).build
    size = matrix_shape(codes.shape, row_axes)
    at = np.nonzero(entries(codes, zero_point).reshape(size))
    return Sparse(
        form, build(coo_array((codes.reshape(size)[at], at), size)), codes.shape, zero_point
    )


def decode(sparse: Sparse) -> Codes:
    """Return the tensor that was encoded."""
    coordinates = sparse.matrix.tocoo()
    codes = without_entries(sparse.shape, coordinates.dtype, sparse.zero_point)
    codes.reshape(coordinates.shape)[coordinates.row, coordinates.col] = coordinates.data
    return codes


def widths(
    form: str, shape: tuple[int, ...], row_axes: int | None = None, index_bits: int | None = None
) -> dict[str, int]:
    """Return the bits of an element of each array.

    Parameters
    ----------
    form : {"csr", "csc", "coo"}
    shape : tuple of int
        Of the tensor.
    row_axes : int, optional
        How many leading axes number the rows; see `matrix_shape`.
    index_bits : int, optional
        One width for all indices and pointers. By default each has ceil(log2) of what it numbers:
        rows, columns, or 0 to all values for a pointer. So widths follow from the shape alone and
        hold for any density.

    Raises
    ------
    ValueError
        When the form is unknown, or ``index_bits`` cannot number what there is.
    """
    rows, columns = matrix_shape(shape, row_axes)
    pointer = width(rows * columns + 1)
    least = {
        "row_pointer": pointer,
        "column_pointer": pointer,
        "row": width(rows),
        "column": width(columns),
    }
    found = {name: least.get(name, VALUE_BITS) for name in _form(form).arrays}
    if index_bits is None:
        return found
    needed = max(found[name] for name in found if name in least)
    if index_bits < needed:
        raise ValueError(f"index_bits: must be at least {needed} for {shape}, got {index_bits}")
    return {name: index_bits if name in least else bits for name, bits in found.items()}


def size_bits(
    form: str,
    shape: tuple[int, ...],
    nnz: int,
    row_axes: int | None = None,
    index_bits: int | None = None,
) -> int:
    """Return the size of a tensor with ``nnz`` entries in bits; parameters as in `widths`."""
    rows, columns = matrix_shape(shape, row_axes)
    lengths = {"row_pointer": rows + 1, "column_pointer": columns + 1}
    of_each = widths(form, shape, row_axes, index_bits)
    return sum(lengths.get(name, nnz) * bits for name, bits in of_each.items())


def _form(name: str) -> Form:
    if name not in FORMS:
        raise ValueError(f"form: must be one of {', '.join(FORMS)}, got {name}")
    return FORMS[name]
