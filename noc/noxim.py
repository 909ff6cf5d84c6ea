"""Noxim's files of traffic: the table of flows, and the packets of each cycle.

Source: ``GlobalTrafficTable.cpp`` and ``GlobalTrafficHardcoding.cpp`` of Noxim, and
``ProcessingElement::canShot`` for what a table means.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .packet_trace import PacketTrace, single_sets
from .text_file import (
    MOST_NUMBER,
    LineError,
    TrafficFileError,
    at_line,
    lines,
    node,
    require_nodes,
    shown,
    whole,
)

MOST_CHARACTERS = 511
"""Of a line with its line feed; Noxim never comes past a longer one."""
DEFAULT_PIR = 0.01
"""Packets per cycle of a flow without ``pir``: Noxim's ``-pir`` when it is not given."""
NEVER = 1 << 62
"""``t_off`` and ``t_period`` of a flow without them; Noxim takes the end of its run."""
ROUNDING = 1e-9
"""By which the sum of rates may exceed 1."""


@dataclass(frozen=True)
class NoximTable:
    """Flows in the order of the file; each array [n_flows].

    A flow is active in cycle t when ``t_on < (t + reset_cycles) mod t_period < t_off``.

    Attributes
    ----------
    n_nodes : int
    src, dst : int32
    pir : float64
        Packets per cycle while active.
    por : float64
        Packets per cycle right after a cycle in which the source made a packet.
    t_on, t_off, t_period : int64
        Cycles; `NEVER` where the file has none.
    """

    n_nodes: int
    src: NDArray[np.int32]
    dst: NDArray[np.int32]
    pir: NDArray[np.float64]
    por: NDArray[np.float64]
    t_on: NDArray[np.int64]
    t_off: NDArray[np.int64]
    t_period: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check what the reader would refuse in a file."""
        sizes = {len(column) for column in (self.dst, self.pir, self.por, self.t_on, self.t_off)}
        if sizes | {len(self.t_period)} != {len(self.src)}:
            raise ValueError("NoximTable: must have columns of one length; give all of each flow")
        rules = {
            "src": (self.src >= 0) & (self.src < self.n_nodes),
            "dst": (self.dst >= 0) & (self.dst < self.n_nodes),
            "pir": (self.pir >= 0) & (self.pir <= 1),
            "por": (self.por >= 0) & (self.por <= 1),
            "t_on": self.t_on >= 0,
            "t_off": self.t_off > self.t_on,
            "t_period": (self.t_period > self.t_off) | (self.t_off == NEVER),
        }
        for name, is_good in rules.items():
            if not np.all(is_good):
                flow = int(np.argmin(is_good))
                raise ValueError(
                    f"NoximTable.{name}: out of range in flow {flow}, "
                    f"got {getattr(self, name)[flow]}; correct it"
                )
        if np.any(np.bincount(self.src, self.pir) > 1 + ROUNDING):
            raise ValueError("NoximTable.pir: must add up to at most 1 per source; lower the rates")


def read_noxim_table(
    path: str | PathLike[str], n_nodes: int, pir: float = DEFAULT_PIR
) -> NoximTable:
    """Read the file of ``noxim -traffic table FILE``.

    A line is ``src dst [pir [por [t_on [t_off [t_period]]]]]``; one whose first character is ``%``
    is a comment. What Noxim replaces in silence (a rate outside 0..1, a negative time) or drops (a
    line without ``dst``, what follows the seventh field) is refused here.

    Parameters
    ----------
    path : str or path
    n_nodes : int
        Nodes of the network.
    pir : float
        Packets per cycle of flows that do not name theirs.

    Returns
    -------
    NoximTable
        ``por`` is ``pir`` where not given, ``t_on`` 0, ``t_off`` and ``t_period`` `NEVER`.

    Raises
    ------
    TrafficFileError
        When the file cannot be read, holds no flow, or a line breaks a rule: 2 to 7 fields,
        nodes of the network, rates from 0 to 1, t_on < t_off < t_period; and when the rates of a
        source add up to more than 1.
    """
    require_nodes(n_nodes)
    if not 0 <= pir <= 1:
        raise ValueError(f"pir: must be from 0 to 1 packets per cycle, got {pir}; correct it")
    total: dict[int, float] = {}
    flows = []
    for number, line in _noxim_lines(path, b"%"):
        try:
            flow = _flow(line.split(), n_nodes, pir)
            source = flow[0]
            total[source] = total.get(source, 0.0) + flow[2]
            if total[source] > 1 + ROUNDING:
                raise LineError(
                    f"the pir of source {source} add up to {total[source]:.6g} here and must not "
                    "exceed 1; a node makes at most one packet per cycle, so lower its rates"
                )
        except LineError as error:
            raise at_line(path, number, error) from None
        flows.append(flow)
    if not flows:
        raise TrafficFileError(f"{path}: holds no flows; write a line 'src dst pir' for each flow")
    src, dst, *rest = zip(*flows, strict=True)
    own, retry, t_on, t_off, t_period = rest
    return NoximTable(
        n_nodes,
        np.array(src, np.int32),
        np.array(dst, np.int32),
        np.array(own, np.float64),
        np.array(retry, np.float64),
        np.array(t_on, np.int64),
        np.array(t_off, np.int64),
        np.array(t_period, np.int64),
    )


def read_noxim_hardcoded(path: str | PathLike[str], n_nodes: int, flits: int) -> PacketTrace:
    """Read the file of ``noxim -traffic hardcoded FILE``.

    A line ``src dst`` is a packet of the current cycle, ``-1`` ends the cycle; one whose first
    character is ``#`` or ``%`` is a comment. Cycle 0 is the first after reset.

    Parameters
    ----------
    path : str or path
    n_nodes : int
        Nodes of the network.
    flits : int
        Length of every packet, Noxim's ``-size``. Noxim itself takes no less than 2.

    Raises
    ------
    TrafficFileError
        When the file cannot be read, holds no packet, or a line breaks a rule.
    """
    require_nodes(n_nodes)
    if not 1 <= flits <= MOST_NUMBER:
        raise ValueError(f"flits: must be from 1 to {MOST_NUMBER}, got {flits}; correct it")
    cycle = 0
    packets = []
    for number, line in _noxim_lines(path, b"%#"):
        fields = line.split()
        if fields[0] == b"-1" and len(fields) == 1:
            cycle += 1
            continue
        try:
            if len(fields) != 2:
                raise LineError(
                    f"must be 'src dst', or -1 at the end of a cycle, got {shown(line)}; "
                    "correct the line"
                )
            packets.append(
                (cycle, node(fields[0], "src", n_nodes), node(fields[1], "dst", n_nodes))
            )
        except LineError as error:
            raise at_line(path, number, error) from None
    if not packets:
        raise TrafficFileError(f"{path}: holds no packets; write a line 'src dst' for each packet")
    columns = np.array(packets, np.int64).T
    return PacketTrace(
        cycle=columns[0].copy(),
        source=columns[1].astype(np.int32),
        flits=np.full(len(packets), flits, np.int32),
        destinations=columns[2].astype(np.int32),
        sets=single_sets(n_nodes),
    )


def _noxim_lines(path: str | PathLike[str], comments: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of the lines that count, none of them too long for Noxim."""
    for number, line in lines(path):
        if len(line) >= MOST_CHARACTERS:
            raise at_line(
                path,
                number,
                LineError(
                    f"must have at most {MOST_CHARACTERS} characters with its line feed, got "
                    f"{len(line) + 1}; Noxim cannot read on after it, so shorten it"
                ),
            )
        if line.strip() and line[0] not in comments:
            yield number, line


def _flow(
    fields: list[bytes], n_nodes: int, default_pir: float
) -> tuple[int, int, float, float, int, int, int]:
    if not 2 <= len(fields) <= 7:
        raise LineError(
            "must have 2 to 7 fields 'src dst [pir [por [t_on [t_off [t_period]]]]]', "
            f"got {len(fields)}; correct the line"
        )
    src, dst = node(fields[0], "src", n_nodes), node(fields[1], "dst", n_nodes)
    pir = _rate(fields[2], "pir") if len(fields) > 2 else default_pir
    por = _rate(fields[3], "por") if len(fields) > 3 else pir
    t_on = whole(fields[4], "t_on") if len(fields) > 4 else 0
    t_off = whole(fields[5], "t_off") if len(fields) > 5 else NEVER
    t_period = whole(fields[6], "t_period") if len(fields) > 6 else NEVER
    if t_off <= t_on:
        raise LineError(f"t_off must come after t_on {t_on}, got {t_off}; make it larger")
    if t_period <= t_off < NEVER:
        raise LineError(f"t_period must exceed t_off {t_off}, got {t_period}; make it larger")
    return src, dst, pir, por, t_on, t_off, t_period


def _rate(field: bytes, name: str) -> float:
    try:
        rate = float(field) if b"_" not in field else math.nan
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        raise LineError(f"{name} must be a number from 0 to 1, got {shown(field)}; correct it")
    return rate
