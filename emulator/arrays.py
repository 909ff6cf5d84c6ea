"""NamedTuples of arrays that kernels work on: how their fields are declared, and built."""

from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

I64x1 = Annotated[NDArray[Any], np.int64, 1]
I64x2 = Annotated[NDArray[Any], np.int64, 2]
I64x3 = Annotated[NDArray[Any], np.int64, 3]
I32x1 = Annotated[NDArray[Any], np.int32, 1]
I32x2 = Annotated[NDArray[Any], np.int32, 2]
I32x3 = Annotated[NDArray[Any], np.int32, 3]
I16x3 = Annotated[NDArray[Any], np.int16, 3]
U8x1 = Annotated[NDArray[Any], np.uint8, 1]
F32x1 = Annotated[NDArray[Any], np.float32, 1]

Arrays = TypeVar("Arrays", bound=NamedTuple)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def build(kind: type[Arrays], **fields: Any) -> Arrays:
    """Return a `Params`, `LayerArrays`, `PeState` or `Columns` with fields of the declared types.

    Raises
    ------
    TypeError
        When a field is missing, unknown or of the wrong number of dimensions.
    """
    hints = _hints(kind)
    if set(hints) != set(fields):
        raise TypeError(f"{kind.__name__}: fields differ: {sorted(set(hints) ^ set(fields))}")
    values: list[Any] = []
    for name, hint in hints.items():
        if hint is int:
            values.append(int(fields[name]))
            continue
        dtype, ndim = hint.__metadata__
        array = np.require(fields[name], dtype, ["C", "W"])
        if array.ndim != ndim:
            raise TypeError(
                f"{kind.__name__}.{name}: must have {ndim} dimensions, got {array.ndim}"
            )
        values.append(array)
    return kind(*values)


def example(kind: type[Arrays]) -> Arrays:
    """Return the smallest value of a kind, from which numba takes the type."""
    return build(
        kind,
        **{
            name: 0 if hint is int else np.zeros((1,) * hint.__metadata__[1])
            for name, hint in _hints(kind).items()
        },
    )
