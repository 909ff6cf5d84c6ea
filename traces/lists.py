"""Lists: the rows that stand for accesses, and how a segment's are put together.

A list is what some units, its members, do in the same order; each member has its own cycles. With
``start`` of row ``i`` of a member:

    no leader        start[i] = end[i-1] + slack[i]
    leader           start[i] = leader.start[min(of[i] + ahead, last row)] + lag + slack[i]
    leader, queues   start[i] = max(end[i-1], leader's + lag) + slack[i]

with ``end[i] = start[i] + max(length[i], least)``, before row 0 the segment's first cycle, and
``length`` the sum of the periods of a row's entries and of the stalls between them, or of the
cycles of its windows of masks. The leader's start is that of the same unit, or of its first member.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel
from .schema import COLUMNS, INHERITED, OWN, Walk, dtype_of

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

    walks: int = Walk.ENTRY
    """What a row is: an entry of kind 0, a run, a span of bytes, or pairs of two masks."""
    queues: int = 0
    least: int = 0
    lag: int = 0
    pattern_offset: int = 0
    step: int = 0
    """Bytes from a row's address to the next one's, by ``of`` or place in the queue."""
    queue_step: int = 0
    run_step: int = 0
    modulo: int = 0
    mask_a: int | NDArray[Any] = -1
    """Mask set A of rows of masks, a number of `firemesh.traces.masks.Masks`; of `add_each` also
    int[n], one for each list."""
    mask_b: int | NDArray[Any] = -1
    empty: int = 0
    """Cycles of a window without pairs."""


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
        n: int,
        rule: Rule,
        columns: Mapping[str, Values],
        first: NDArray[Any],
        **fields: Any,
    ) -> NDArray[Any]:
        """Return the records of ``n`` lists, and append their columns."""
        unknown = set(columns) - set(REFERENCES)
        if unknown:
            raise ValueError(f"columns: must be of {', '.join(REFERENCES)}, got {min(unknown)}")
        records = np.zeros(n, LISTS)
        records["segment"] = self._segment
        for name, value in {**rule._asdict(), **fields}.items():
            records[name] = value
        for name in REFERENCES:
            values = columns.get(name)
            if isinstance(values, int | np.integer) and values < 0:  # its number would be taken
                values = np.full(int(np.sum(fields["rows"])), values)
            if values is None:
                records[name] = INHERITED
            elif isinstance(values, np.ndarray):
                records[name] = OWN
                self._column(name, values, first)
            else:
                records[name] = -2 - values
        return records

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
        record = self._record(
            1, rule, columns, FIRST[:rows],
            stream=stream, rows=rows, leader=leader, members=len(units),
        )  # fmt: skip
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
        self._append("lists", record)
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
        record = self._record(
            n, rule, columns, first,
            stream=stream, rows=rows, leader=-1 if leaders is None else leaders, members=1,
        )  # fmt: skip
        if slack is not None:
            self._column("slack", slack, first)
        self._members(units, -1 if slack is None else 0, member or {})
        if stalls is not None and len(stalls):
            self._append("stalls", stalls)
        self._append("lists", record)
        self._n_lists += n
        return np.arange(self._n_lists - n, self._n_lists)
