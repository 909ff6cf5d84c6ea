"""How the kernels that write and read traces are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.extending import intrinsic as _intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_config: Any = numba.config
_njit: Any = numba.njit


def kernel(function: Function) -> Function:
    """Compile a kernel; where compiled code cannot be kept, it is compiled in each process."""
    try:
        return cast(Function, _njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(Function, _njit(nogil=True)(function))


if _config.DISABLE_JIT:

    def lowest_bit(word: int) -> int:
        """Return the number of the lowest bit that is set; the word, uint64, is not 0."""
        return (int(word) & -int(word)).bit_length() - 1

    def popcount(word: int) -> int:
        """Return the number of bits that are set in a word, uint64."""
        return int(word).bit_count()

else:

    @_intrinsic
    def lowest_bit(context: Any, word: Any) -> Any:
        """Return the number of the lowest bit that is set; the word, uint64, is not 0."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return numba.int64(numba.uint64), code

    @_intrinsic
    def popcount(context: Any, word: Any) -> Any:
        """Return the number of bits that are set in a word, uint64."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.ctpop(arguments[0])

        return numba.int64(numba.uint64), code
