"""Lines of text of records, many at once, by a template."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel

Array = NDArray[Any]
MOST_DIGITS = 20
"""Of a number of 64 bits."""
ZERO, TEN = ord("0"), ord("a") - 10
LITERAL, DECIMAL, HEXADECIMAL, WORD = range(4)
"""Kinds of parts; a word is chosen by a column's number."""


@kernel
def put_lines(column: Array, part: Array, first: Array, letter: Array, text: Array) -> int:
    """Write a line for each row; return how many bytes.

    Parameters
    ----------
    column : uint64[n_columns, n]
    part : int64[n_parts, 3]
        Kind, column, and text (of a word its first) of each part of a line.
    first : int64[n_texts + 1]
        Letters of each text.
    letter : uint8[n_letters]
    text : uint8[n_bytes]
        Result.
    """
    at = 0
    one, four, ten, fifteen = np.uint64(1), np.uint64(4), np.uint64(10), np.uint64(15)
    for i in range(column.shape[1]):
        for k in range(len(part)):
            kind = part[k, 0]
            if kind == LITERAL or kind == WORD:
                which = part[k, 2]
                if kind == WORD:
                    which += np.int64(column[part[k, 1], i])
                for j in range(first[which], first[which + 1]):
                    text[at] = letter[j]
                    at += 1
                continue
            rest = column[part[k, 1], i]
            digits = 1
            if kind == DECIMAL:
                most = ten
                while digits < MOST_DIGITS and rest >= most:
                    digits += 1
                    most *= ten if digits < MOST_DIGITS else one
                for place in range(at + digits - 1, at - 1, -1):
                    left = rest // ten
                    text[place] = ZERO + np.int64(rest - left * ten)
                    rest = left
            else:
                left = rest >> four
                while left:
                    digits += 1
                    left >>= four
                for place in range(at + digits - 1, at - 1, -1):
                    digit = np.int64(rest & fifteen)
                    text[place] = ZERO + digit if digit < 10 else TEN + digit
                    rest >>= four
            at += digits
    return at


class Template:
    r"""A line, such as ``"0x{address:x} {op} {cycle}\n"``.

    Parameters
    ----------
    line : str
        ASCII. Fields are columns: in decimal, with ``:x`` in hexadecimal, or as words.
    words : dict
        Column -> its words by number.
    """

    def __init__(self, line: str, words: Mapping[str, Sequence[str]] | None = None) -> None:
        self.columns: list[str] = []
        words = words or {}
        parts: list[tuple[int, int, int]] = []
        texts: list[bytes] = []
        self._most = 0
        for literal, name, form, _ in Formatter().parse(line):
            if literal:
                parts.append((LITERAL, 0, len(texts)))
                texts.append(literal.encode("ascii"))
                self._most += len(literal)
            if name is None:
                continue
            if name not in self.columns:
                self.columns.append(name)
            chosen = [word.encode("ascii") for word in words.get(name, ())]
            kind = WORD if chosen else HEXADECIMAL if form == "x" else DECIMAL
            parts.append((kind, self.columns.index(name), len(texts)))
            texts += chosen
            self._most += max(map(len, chosen), default=MOST_DIGITS)
        lengths = [len(text) for text in texts]
        self._part = np.array(parts, np.int64)
        self._first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._letter = np.frombuffer(b"".join(texts), np.uint8)

    def lines(self, rows: Mapping[str, NDArray[Any]] | NDArray[Any]) -> NDArray[np.uint8]:
        """Return uint8[bytes]: a line for each row.

        Parameters
        ----------
        rows : structured array[n], or dict of arrays
            With the line's columns; values below 2**64, not negative.
        """
        column = np.array([rows[name] for name in self.columns], np.uint64)
        text = np.empty(self._most * column.shape[1], np.uint8)
        return text[: put_lines(column, self._part, self._first, self._letter, text)]
