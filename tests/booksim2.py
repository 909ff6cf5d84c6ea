"""BookSim 2's figures, see `data/booksim2/README.md`."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from firemesh.noc.packet_trace import PacketTrace, single_sets

FOLDER = Path(__file__).parent / "data" / "booksim2"
TIMES = ("t_inj_head", "t_inj_tail", "t_ej_head", "t_ej_tail", "routers")


@dataclass(frozen=True)
class Golden:
    """A trace, a router, and what BookSim 2's did with it."""

    name: str
    k: int
    profile: str
    vcs: int
    buffer: int
    trace: PacketTrace
    expected: dict


@cache
def _arrays():
    with np.load(FOLDER / "packets.npz") as packets:
        return dict(packets)


def rows(name):
    """Return the rows of one of the tables."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def golden(row) -> Golden:
    """Return the case of a row of ``cases``."""
    k = int(row["k"])
    since, source, destination, flits = _arrays()[row["trace"]]
    cycle = np.cumsum(since, dtype=np.int64)
    trace = PacketTrace(
        cycle,
        source.astype(np.int32),
        flits.astype(np.int32),
        destination.astype(np.int32),
        single_sets(k * k),
    )
    wait, tail_sent, head, tail, routers = _arrays()[f"case_{row['case']}"].astype(np.int64)
    sent = cycle + wait
    times = (sent, sent + tail_sent, sent + head, sent + head + tail, routers)
    return Golden(
        f"{row['case']}-k{k}-{row['traffic']}-{row['profile']}-v{row['num_vcs']}b{row['vc_buf_size']}",
        k,
        row["profile"],
        int(row["num_vcs"]),
        int(row["vc_buf_size"]),
        trace,
        dict(zip(TIMES, times, strict=True)),
    )
