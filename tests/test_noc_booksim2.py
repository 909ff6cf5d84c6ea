"""The virtual-channel router equals BookSim 2's, packet for packet, and under random traffic."""

import booksim2
import numpy as np
import pytest

from firemesh.noc.network import Network
from firemesh.noc.profiles import PROFILES, Profile
from firemesh.noc.simulate import replay
from firemesh.noc.topology import mesh
from firemesh.noc.zero_load import zero_load

CASES = [booksim2.golden(row) for row in booksim2.rows("cases")]
OF_SIX_STAGES = Profile(routing_delay=2, vc_alloc_delay=2)
ALONE = [row for row in booksim2.rows("zero_load") if row["hops"] == "0"]


def profile_of(name):
    return OF_SIX_STAGES if name == "P6" else PROFILES[name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_column_of_every_packet_is_booksims(case):
    network = Network(mesh(case.k, case.k), case.profile, "xy", case.vcs, case.buffer)
    found = replay(network, case.trace)
    assert np.array_equal(found["t_create"], case.trace.cycle)
    for name, column in case.expected.items():
        wrong = np.flatnonzero(found[name] != column)
        assert len(wrong) == 0, f"{name} of packet {wrong[0]}"


def test_all_fifty_one_cases_are_there_and_differ():
    assert len({case.name for case in CASES}) == len(CASES) == 51
    for case, row in zip(CASES, booksim2.rows("cases"), strict=True):
        assert len(case.trace) == int(row["n_packets"])
        assert case.expected["t_ej_tail"].sum() == int(row["sum_t_ej_tail"])


@pytest.mark.parametrize(
    "row",
    ALONE,
    ids=lambda r: f"{r['profile']}-k{r['k']}-v{r['num_vcs']}b{r['vc_buf_size']}-{r['packet_size']}",
)
def test_a_packet_alone_takes_booksims_cycles_and_those_of_the_closed_form(row):
    same = ("profile", "k", "num_vcs", "vc_buf_size", "packet_size")
    expected = [r for r in booksim2.rows("zero_load") if all(r[key] == row[key] for key in same)]
    k, vcs, buffer, flits = (int(row[key]) for key in same[1:])
    profile = profile_of(row["profile"])
    found = zero_load(
        lambda: Network(mesh(k, k), profile, "xy", vcs, buffer), profile, flits, buffer
    )
    assert len(found) == len(expected) == 2 * k - 1
    for one, other in zip(found, expected, strict=True):
        assert one.hops == int(other["hops"])
        assert one.t_head_net == one.head_formula == int(other["t_head_net"])
        assert one.t_tail_net == one.tail_formula == int(other["t_tail_net"])
        assert one.all_pairs_equal == int(other["all_pairs_equal"]) == 1
        assert one.n_pairs >= int(other["n_pairs"])
