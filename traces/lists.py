"""Lists: the rows that stand for accesses, and how a segment's are put together.

A list is what some units, its members, do in the same order; each member has its own cycles. With
``start`` of row ``i`` of a member:

    no leader        start[i] = start[i-1] + max(length[i-1], least) + lag + slack[i]
    leader           start[i] = leader.start[min(of[i] + ahead, last row)] + lag + slack[i]
    leader, queues   start[i] = max(start[i-1] + max(length[i-1], least), leader's + lag) + slack[i]

``length`` is the sum of the periods of a row's entries and of the stalls between them; before row 0
is the segment's first cycle. The leader's start is that of the same unit, or of its first member.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel
from .schema import COLUMNS, INHERITED, dtype_of

LISTS, MEMBERS, STALLS = dtype_of("lists"), dtype_of("members"), dtype_of("stalls")
REFERENCES = tuple(name for name in COLUMNS if name != "slack")
Values = NDArray[Any] | int | None
MOST_CYCLES = 2**31 - 1


@kernel
def distinct(slack: NDArray[Any], which: NDArray[Any]) -> int:
    """Tell which rows of a matrix are equal, and which are zero.

    Parameters
    ----------
    slack : int32[n, rows]
    which : int64[n]
        Result: -1 for a row of zeros; else the number of the row among the distinct ones.

    Returns
    -------
    int
        Distinct rows.
    """
    found = 0
    for i in range(len(slack)):
        which[i] = -1
        for j in range(slack.shape[1]):
            if slack[i, j] != 0:
                which[i] = found
                break
        if which[i] < 0:
            continue
        for k in range(i):
            if which[k] < 0 or which[k] == which[i]:
                continue
            is_equal = True
            for j in range(slack.shape[1]):
                if slack[i, j] != slack[k, j]:
                    is_equal = False
                    break
            if is_equal:
                which[i] = which[k]
                break
        if which[i] == found:
            found += 1
    return found


class Lists:
    """The lists of a segment.

    Parameters
    ----------
    segment : int
    first : int
        Lists of the segments before.

    Attributes
    ----------
    parts : dict
        Arrays to append to each table, in order.
    """

    def __init__(self, segment: int, first: int) -> None:
        self._segment = segment
        self._first = self.n_lists = first
        self.parts: dict[str, list[NDArray[Any]]] = {}

    def _append(self, table: str, array: NDArray[Any]) -> None:
        self.parts.setdefault(table, []).append(array)

    def _column(self, name: str, values: NDArray[Any], rows: NDArray[Any] | None) -> None:
        column = COLUMNS[name]
        array = values.astype(column.dtype)
        if column.is_delta and len(array):
            array[1:] = np.diff(values)
            if rows is not None:
                first = np.cumsum(rows) - rows
                first = first[rows > 0]
                array[first] = values[first]
        self._append(f"columns/{name}", array)

    def _references(
        self, record: NDArray[Any], columns: dict[str, Values], rows: NDArray[Any] | None
    ) -> None:
        for name in REFERENCES:
            values = columns.get(name)
            if values is None:
                record[name] = INHERITED
            elif isinstance(values, np.ndarray):
                record[name] = 0
                self._column(name, values, rows)
            else:
                record[name] = -2 - values

    def add(
        self,
        stream: int,
        units: Sequence[int] | NDArray[Any],
        rows: int,
        slack: NDArray[Any] | None = None,
        leader: int = -1,
        member: dict[str, Any] | None = None,
        stalls: NDArray[Any] | None = None,
        columns: dict[str, Values] | None = None,
        **fields: int,
    ) -> int:
        """Add a list; return its number.

        Parameters
        ----------
        stream : int
        units : int[n]
            Its members.
        rows : int
        slack : int[n, rows], optional
            Zero by default; equal ones are stored once.
        leader : int
            Number of a list added before; -1 for none.
        member : dict, optional
            ``ahead``, ``run_offset``, ``base_offset``, ``stalls``; each a number or int[n].
        stalls : STALLS[...], optional
            Of all members, one after another.
        columns : dict, optional
            Columns of the rows: an array, a number for every row, or absent.
        **fields
            Other fields of the list.
        """
        record = np.zeros(1, LISTS)
        record["segment"], record["stream"], record["rows"] = self._segment, stream, rows
        record["leader"], record["members"] = leader, len(units)
        for name, value in fields.items():
            record[name] = value
        self._references(record, columns or {}, None)
        which = np.full(len(units), -1, np.int64)
        if slack is not None:
            slack = np.ascontiguousarray(slack, np.int32)
            for number in range(distinct(slack, which)):
                self._append("columns/slack", slack[int(np.argmax(which == number))])
        self._members(units, which, member or {})
        if stalls is not None and len(stalls):
            self._append("stalls", stalls)
        self._append("lists", record)
        self.n_lists += 1
        return self.n_lists - 1

    def _members(
        self, units: Sequence[int] | NDArray[Any], which: Any, member: dict[str, Any]
    ) -> None:
        members = np.zeros(len(units), MEMBERS)
        members["unit"], members["slack"] = units, which
        for name, value in member.items():
            members[name] = value
        self._append("members", members)

    def add_each(
        self,
        stream: int,
        units: NDArray[Any],
        rows: NDArray[Any],
        slack: NDArray[Any] | None = None,
        leaders: NDArray[Any] | None = None,
        member: dict[str, Any] | None = None,
        stalls: NDArray[Any] | None = None,
        columns: dict[str, Values] | None = None,
        **fields: Any,
    ) -> NDArray[Any]:
        """Add a list for each unit; arrays of rows hold those of all lists, one after another.

        Returns
        -------
        int64[n]
            The lists' numbers.
        """
        n = len(units)
        record = np.zeros(n, LISTS)
        record["segment"], record["stream"], record["rows"] = self._segment, stream, rows
        record["leader"], record["members"] = -1 if leaders is None else leaders, 1
        for name, value in fields.items():
            record[name] = value
        self._references(record, columns or {}, rows)
        if slack is not None:
            self._column("slack", slack, rows)
        self._members(units, -1 if slack is None else 0, member or {})
        if stalls is not None and len(stalls):
            self._append("stalls", stalls)
        self._append("lists", record)
        self.n_lists += n
        return np.arange(self.n_lists - n, self.n_lists)
