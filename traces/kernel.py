"""How the kernels that write and read traces are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_njit: Any = numba.njit


def kernel(function: Function) -> Function:
    """Compile a kernel; where compiled code cannot be kept, it is compiled in each process."""
    try:
        return cast(Function, _njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(Function, _njit(nogil=True)(function))
