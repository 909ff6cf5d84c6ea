"""Lines ``cycle src dst size`` to numbers: plain lines with numpy, all others one by one.

Both ways read a plain line alike. Where the numpy way meets anything but a good plain line it
leaves the block to the other one, which is the only judge of what is wrong.
"""

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .text_file import MOST_NUMBER, LineError, at_line, node, shown, whole

MOST_CYCLE = (1 << 62) - 1
"""So that a cycle plus a latency is still an int64."""
MOST_DIGITS = 18
"""Numbers of so many digits are below `MOST_CYCLE`."""
LINE_FEED = ord("\n")
BLANKS = b" \t\r"
CYCLE_SOURCE_FLITS_SET = (0, 1, 3, 2)
"""Columns of a line in the order of a `PacketTrace`."""


class LineReader:
    """Reads the blocks of one file, in order.

    Parameters
    ----------
    path : str or path
        For messages.
    n_nodes : int
        Nodes of the network.

    Attributes
    ----------
    sets : dict
        Multicast set, as ascending nodes -> its number, from ``n_nodes`` on.
    """

    def __init__(self, path: str | PathLike[str], n_nodes: int) -> None:
        self.sets: dict[tuple[int, ...], int] = {}
        self._path = path
        self._n_nodes = n_nodes
        self._last = 0
        self._numbers: dict[bytes, int] = {}

    def read(self, first: int, block: bytes) -> NDArray[np.int64]:
        """Return the packets of a block of whole lines.

        Parameters
        ----------
        first : int
            Number of the block's first line.
        block : bytes
            Lines, each with its line feed.

        Returns
        -------
        int64[m, 4]
            Columns cycle, source, flits, number of the destination set.

        Raises
        ------
        TrafficFileError
            For the first line that breaks a rule.
        """
        packets = plain_lines(block)
        if packets is None or not self._is_good(packets):
            packets = self._any_lines(first, block)
        if len(packets):
            self._last = int(packets[-1, 0])
        return packets[:, CYCLE_SOURCE_FLITS_SET]

    def _is_good(self, packets: NDArray[np.int64]) -> bool:
        cycle, source, destination, flits = packets.T
        return (
            int(cycle[0]) >= self._last
            and bool(np.all(cycle[1:] >= cycle[:-1]))
            and int(source.max()) < self._n_nodes
            and int(destination.max()) < self._n_nodes
            and int(flits.min()) >= 1
            and int(flits.max()) <= MOST_NUMBER
        )

    def _any_lines(self, first: int, block: bytes) -> NDArray[np.int64]:
        packets: list[tuple[int, int, int, int]] = []
        last = self._last
        for number, line in enumerate(block.split(b"\n"), first):
            fields = line.partition(b"#")[0].split()
            if not fields:
                continue
            try:
                packets.append(self._packet(fields, last))
            except LineError as error:
                raise at_line(self._path, number, error) from None
            last = packets[-1][0]
        return np.array(packets, np.int64).reshape(-1, 4)

    def _packet(self, fields: list[bytes], last: int) -> tuple[int, int, int, int]:
        if len(fields) != 4:
            raise LineError(
                f"must have the four fields 'cycle src dst size', got {shown(b' '.join(fields))}; "
                "write a set of destinations without blanks, as in 1,2,5"
            )
        cycle = whole(fields[0], "cycle", MOST_CYCLE)
        if cycle < last:
            raise LineError(
                f"cycle must not go back, got {cycle} after {last}; "
                "order the lines by cycle, as with sort -s -n -k 1,1"
            )
        source = node(fields[1], "src", self._n_nodes)
        destinations = self._destinations(fields[2])
        flits = whole(fields[3], "size")
        if flits < 1:
            raise LineError("size must be at least 1 flit, got 0; correct it or leave out the line")
        return cycle, source, destinations, flits

    def _destinations(self, field: bytes) -> int:
        if b"," not in field:
            return node(field, "dst", self._n_nodes)
        number = self._numbers.get(field)
        if number is None:
            if not all(field.split(b",")):
                raise LineError(
                    f"dst must be nodes with single commas between them, got {shown(field)}; "
                    "write a set as in 1,2,5"
                )
            members = sorted({node(name, "dst", self._n_nodes) for name in field.split(b",")})
            if len(members) == 1:
                number = members[0]
            else:
                number = self.sets.setdefault(tuple(members), self._n_nodes + len(self.sets))
            self._numbers[field] = number
        return number


def plain_lines(block: bytes) -> NDArray[np.int64] | None:
    """Return the numbers of lines that all have four of them, and nothing else.

    Parameters
    ----------
    block : bytes
        Lines, each with its line feed.

    Returns
    -------
    int64[m, 4] or None
        None when a line is blank, has a comment, a sign, a set or not four fields, or a number
        has more than `MOST_DIGITS` digits.
    """
    text = np.frombuffer(block, np.uint8)
    digit = text - np.uint8(ord("0"))
    is_digit = digit < 10
    feeds = np.flatnonzero(text == LINE_FEED)
    n_others = sum(block.count(blank) for blank in BLANKS) + len(feeds)
    # a number begins and ends where one byte is a digit and the byte before it is not, or the
    # other way round; the block ends in a line feed, so the changes come in pairs
    changes = np.flatnonzero(np.diff(is_digit.view(np.int8), prepend=np.int8(0)))
    begin, end = changes[0::2], changes[1::2]
    if int(is_digit.sum()) + n_others != len(text) or len(begin) != 4 * len(feeds):
        return None
    begin, end = begin.reshape(-1, 4), end.reshape(-1, 4)
    if np.any(begin[1:, 0] < feeds[:-1]) or np.any(end[:, 3] > feeds):
        return None
    length = end - begin
    if not len(feeds) or int(length.max()) > MOST_DIGITS:
        return None
    packets = np.empty((4, len(feeds)), np.int64)
    for column in range(4):
        packets[column] = _numbers(digit, end[:, column], length[:, column])
    return packets.T


def _numbers(
    digit: NDArray[np.uint8], end: NDArray[np.int64], length: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the numbers whose digits end before ``end``, from the last digit to the first."""
    number = digit[end - 1].astype(np.int64)
    for place in range(1, int(length.max())):
        here = np.flatnonzero(length > place)
        number[here] += digit[end[here] - 1 - place] * np.int64(10**place)
    return number
