"""A packet trace: who sends how many flits to whom in which cycle; and its text file."""

import gzip
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BufferedWriter
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .packet_lines import MOST_CYCLE, LineReader
from .text_file import MOST_NUMBER, TrafficFileError, blocks, require_nodes

LINES_AT_A_TIME = 1 << 16
COMPRESSION = 6
"""Level of gzip; 9 takes several times as long for a few per cent."""
COLUMNS = {
    "cycle": np.dtype(np.int64),
    "source": np.dtype(np.int32),
    "flits": np.dtype(np.int32),
    "destinations": np.dtype(np.int32),
}


@lru_cache(maxsize=16)
def single_sets(n_nodes: int) -> tuple[tuple[int, ...], ...]:
    """Return the sets {0}, {1}, ... that every trace begins its sets with."""
    return tuple((node,) for node in range(n_nodes))


@dataclass(frozen=True, eq=False)
class PacketTrace:
    """Packets in the order of their creation; packets of one source and cycle are sent in it.

    Attributes
    ----------
    cycle : int64[m]
        Cycle of creation, ascending.
    source : int32[m]
        Node that sends.
    flits : int32[m]
        Length, at least 1.
    destinations : int32[m]
        Index into ``sets``.
    sets : tuple of tuple of int
        Set ``i`` below ``n_nodes`` is {i}; those after them are multicast sets, each of at least
        two nodes in ascending order.

    Raises
    ------
    ValueError
        When a column breaks one of these rules.
    """

    cycle: NDArray[np.int64]
    source: NDArray[np.int32]
    flits: NDArray[np.int32]
    destinations: NDArray[np.int32]
    sets: tuple[tuple[int, ...], ...]

    def part(self, first: int, end: int) -> "PacketTrace":
        """Return the packets ``first`` to below ``end``, with all sets."""
        columns = {name: getattr(self, name)[first:end] for name in COLUMNS}
        return PacketTrace(**columns, sets=self.sets)

    def __post_init__(self) -> None:
        """Check columns and sets."""
        for name, dtype in COLUMNS.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != (len(self),):
                raise ValueError(
                    f"PacketTrace.{name}: must be {dtype}[{len(self)}], one entry per packet, "
                    f"got {column.dtype}{list(column.shape)}; convert it"
                )
        self._check_sets()
        if np.any(self.cycle[1:] < self.cycle[:-1]):
            raise ValueError("PacketTrace.cycle: must ascend; sort the packets by cycle (stable)")
        ends = {
            "cycle": (0, MOST_CYCLE),
            "source": (0, self.n_nodes - 1),
            "flits": (1, MOST_NUMBER),
            "destinations": (0, len(self.sets) - 1),
        }
        for name, (least, most) in ends.items():
            column = getattr(self, name)
            if len(self) and not (least <= column.min() and column.max() <= most):
                raise ValueError(
                    f"PacketTrace.{name}: must be from {least} to {most}, "
                    f"got {column.min()} to {column.max()}; correct the column"
                )

    def _check_sets(self) -> None:
        n = self.n_nodes
        if n and self.sets is single_sets(n):
            return
        for i, members in enumerate(self.sets):
            is_good = members == tuple(sorted(set(members))) and all(0 <= m < n for m in members)
            if not is_good or (members != (i,) if i < n else len(members) < 2):
                raise ValueError(
                    f"PacketTrace.sets: set {i} must be "
                    + (f"({i},)" if i < n else f"two or more of the nodes 0..{n - 1}, ascending")
                    + f", got {members}; begin with one set per node, then the multicast sets"
                )
        if len(set(self.sets)) < len(self.sets) or not n:
            raise ValueError("PacketTrace.sets: must hold (0,), and every set once; merge the sets")

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self.cycle)

    def __eq__(self, other: object) -> bool:
        """Tell whether all columns and sets are equal."""
        if not isinstance(other, PacketTrace):
            return NotImplemented
        return self.sets == other.sets and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS
        )

    @cached_property
    def n_nodes(self) -> int:
        """Number of nodes: of the sets with one member."""
        if self.sets is single_sets(len(self.sets)):
            return len(self.sets)
        return sum(len(members) == 1 for members in self.sets)


def read_trace(path: str | PathLike[str], n_nodes: int) -> PacketTrace:
    """Read a text file with a line ``cycle src dst size`` per packet.

    ``dst`` is a node, or the nodes of a multicast with commas and no blanks between them; a node
    that is named twice counts once. ``#`` begins a comment; blank lines do not count. Lines are
    ordered by cycle, and packet i is that of the i-th line that counts. The file may be gzip.

    Parameters
    ----------
    path : str or path
    n_nodes : int
        Nodes of the network.

    Returns
    -------
    PacketTrace
        With its multicast sets in the order in which the file first names them.

    Raises
    ------
    TrafficFileError
        When the file cannot be read, is not text or holds no packets; and for the first line
        that breaks a rule, with its number.
    """
    require_nodes(n_nodes)
    reader = LineReader(path, n_nodes)
    parts: list[list[NDArray[Any]]] = [[] for _ in COLUMNS]
    for first, block in blocks(path):
        packets = reader.read(first, block)
        for part, column, dtype in zip(parts, packets.T, COLUMNS.values(), strict=True):
            part.append(column.astype(dtype))
    if not sum(map(len, parts[0])):
        raise TrafficFileError(
            f"{path}: holds no packets; write a line 'cycle src dst size' for each packet"
        )
    cycle, source, flits, destinations = (np.concatenate(part) for part in parts)
    sets = single_sets(n_nodes) + tuple(reader.sets)
    return PacketTrace(cycle, source, flits, destinations, sets)


def write_trace(path: str | PathLike[str], trace: PacketTrace) -> None:
    """Write a text file that `read_trace` makes the same packets of.

    Multicast sets that no packet uses are not in the file, and the reader numbers the others in
    the order of their first use. A name that ends in ``.gz`` makes a gzip file, whose bytes depend
    on the packets alone.

    Raises
    ------
    TrafficFileError
        When there are no packets or the file cannot be written.
    """
    if not len(trace):
        raise TrafficFileError(f"{path}: not written: the trace holds no packets; add a packet")
    try:
        with open(path, "wb") as raw:
            if str(path).endswith(".gz"):
                with gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as stream:
                    _write_lines(stream, trace)
            else:
                _write_lines(raw, trace)
    except OSError as error:
        raise TrafficFileError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place"
        ) from None


def _write_lines(stream: gzip.GzipFile | BufferedWriter, trace: PacketTrace) -> None:
    names = [",".join(map(str, members)) for members in trace.sets]
    for first in range(0, len(trace), LINES_AT_A_TIME):
        part = slice(first, first + LINES_AT_A_TIME)
        columns = (trace.cycle, trace.source, trace.destinations, trace.flits)
        packets = zip(*(column[part].tolist() for column in columns), strict=True)
        text = "".join(f"{cycle} {src} {names[dst]} {size}\n" for cycle, src, dst, size in packets)
        stream.write(text.encode())
