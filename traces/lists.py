"""Lists: the rows that stand for accesses, and how a segment's are put together.

A list is what some units, its members, do in the same order; each member has its own cycles. With
``start`` of row ``i`` of a member:

    no leader        start[i] = end[i-1] + slack[i]
    leader           start[i] = leader.start[min(of[i] + ahead, last row)] + lag + slack[i]
    leader, queues   start[i] = max(end[i-1], leader's + lag) + slack[i]

with ``end[i] = start[i] + max(length[i], least)``, before row 0 the segment's first cycle, and
``length`` the sum of the periods of a row's entries and of the stalls between them. The leader's
start is that of the same unit, or of its first member.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel
from .schema import COLUMNS, INHERITED, OWN, dtype_of

LISTS, MEMBERS, STALLS = dtype_of("lists"), dtype_of("members"), dtype_of("stalls")
REFERENCES = tuple(name for name in COLUMNS if name != "slack")
Values = NDArray[Any] | int | None
FIRST = np.zeros(1, np.int64)


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


class Rule(NamedTuple):
    """How a list's rows become starts and addresses; fields of the table of lists."""

    walks: int = 0
    """Whether a row walks its run; else it is one entry of kind 0."""
    queues: int = 0
    least: int = 0
    lag: int = 0
    pattern_offset: int = 0
    step: int = 0
    """Bytes from a row's address to the next one's, by ``of`` or place in the queue."""
    queue_step: int = 0
    run_step: int = 0
    modulo: int = 0


class Lists:
    """The lists of a segment.

    Parameters
    ----------
    segment : int
    first : int
        Lists of the segments before.
    append : callable
        Takes the name of a table and rows to append to it.
    """

    def __init__(
        self, segment: int, first: int, append: Callable[[str, NDArray[Any]], None]
    ) -> None:
        self._segment = segment
        self._n_lists = first
        self._append = append

    def _column(self, name: str, values: NDArray[Any], first: NDArray[Any]) -> None:
        """Append a column of lists that begin at the rows ``first``."""
        column = COLUMNS[name]
        array = values.astype(column.dtype)
        if column.is_delta and len(array):
            array[1:] -= array[:-1].copy()
            array[first] = values[first]
        self._append(f"columns/{name}", array)

    def _record(
        self,
        stream: int,
        rows: int,
        members: int,
        leader: int,
        rule: Rule,
        columns: Mapping[str, Values],
        first: NDArray[Any],
    ) -> tuple[int, ...]:
        references = []
        for name in REFERENCES:
            values = columns.get(name)
            if values is None:
                references.append(INHERITED)
            elif isinstance(values, np.ndarray):
                references.append(OWN)
                self._column(name, values, first)
            else:
                references.append(-2 - values)
        start = (self._segment, stream, rule.walks, rule.queues, rule.least, rule.lag, rows, leader)
        return (*start, members, *references, *rule[4:])

    def add(
        self,
        stream: int,
        units: Sequence[int] | NDArray[Any],
        rows: int,
        rule: Rule,
        columns: Mapping[str, Values],
        slack: NDArray[Any] | None = None,
        leader: int = -1,
        member: Mapping[str, Any] | None = None,
        stalls: NDArray[Any] | None = None,
    ) -> int:
        """Add a list; return its number.

        Parameters
        ----------
        stream : int
        units : int[n]
            Its members.
        rows : int
        rule : Rule
        columns : dict
            Columns of the rows: an array, or a number for every row; without it the leader's.
        slack : int[n, rows], optional
            Zero by default; equal ones are stored once.
        leader : int
            Number of a list added before; -1 for none.
        member : dict, optional
            ``ahead``, ``run_offset``, ``base_offset``, ``stalls``; each a number or int[n].
        stalls : STALLS[...], optional
            Of all members, one after another.
        """
        record = self._record(stream, rows, len(units), leader, rule, columns, FIRST[:rows])
        which = np.full(len(units), -1, np.int64)
        if slack is not None:
            if slack.shape != (len(units), rows):
                raise ValueError(f"slack: must be {len(units)} x {rows}, got {slack.shape}")
            slack = np.ascontiguousarray(slack, np.int32)
            for number in range(distinct(slack, which)):
                self._append("columns/slack", slack[int(np.argmax(which == number))])
        self._members(units, which, member or {})
        if stalls is not None and len(stalls):
            self._append("stalls", stalls)
        self._append("lists", np.array([record], LISTS))
        self._n_lists += 1
        return self._n_lists - 1

    def _members(
        self, units: Sequence[int] | NDArray[Any], which: Any, member: Mapping[str, Any]
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
        rule: Rule,
        columns: Mapping[str, Values],
        slack: NDArray[Any] | None = None,
        leaders: NDArray[Any] | None = None,
        member: Mapping[str, Any] | None = None,
        stalls: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Add a list for each unit; arrays of rows hold those of all lists, one after another.

        No list may be empty. Parameters as for `add`.

        Returns
        -------
        int64[n]
            The lists' numbers.
        """
        n, first = len(units), np.cumsum(rows) - rows
        one = self._record(stream, 0, 1, -1, rule, columns, first)
        record = np.array([one], LISTS).repeat(n)
        record["rows"] = rows
        if leaders is not None:
            record["leader"] = leaders
        if slack is not None:
            self._column("slack", slack, first)
        self._members(units, -1 if slack is None else 0, member or {})
        if stalls is not None and len(stalls):
            self._append("stalls", stalls)
        self._append("lists", record)
        self._n_lists += n
        return np.arange(self._n_lists - n, self._n_lists)
