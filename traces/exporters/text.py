"""Numbers to text, many at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

MOST_BYTES = 21
"""Of a number of 64 bits with its sign and the character after it."""

Array = NDArray[Any]


@kernel
def put_numbers(number: Array, after: Array, text: Array) -> int:
    """Write numbers in decimal, each followed by a character; return how many bytes.

    Parameters
    ----------
    number : int64[n]
        Above -2**63.
    after : uint8[n]
    text : uint8[21 * n]
        Result.
    """
    at = 0
    for i in range(len(number)):
        rest = number[i]
        if rest < 0:
            text[at] = 45
            at += 1
            rest = -rest
        digits, left = 1, rest // 10
        while left > 0:
            digits += 1
            left //= 10
        for place in range(at + digits - 1, at - 1, -1):
            text[place] = 48 + rest % 10
            rest //= 10
        at += digits
        text[at] = after[i]
        at += 1
    return at


def numbers_text(number: NDArray[np.int64], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8[bytes]: numbers in decimal, each followed by its character.

    Parameters
    ----------
    number : int64[n]
    after : uint8[n]
        ASCII.
    """
    text = np.empty(MOST_BYTES * len(number), np.uint8)
    return text[: put_numbers(number, after, text)]
