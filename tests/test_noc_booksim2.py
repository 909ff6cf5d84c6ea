"""The virtual-channel router equals BookSim 2's, packet for packet, and under random traffic."""

from collections import defaultdict

import booksim2
import numpy as np
import pytest

from firemesh.noc.network import Network
from firemesh.noc.patterns import make_pattern
from firemesh.noc.profiles import PROFILES, Profile
from firemesh.noc.simulate import replay
from firemesh.noc.sweep import measure
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


PRECISION = 0.004
"""Standard error of a mean latency, as a part of it, below which no more seeds are run."""
SEEDS = range(5, 41)
"""How many seeds are run, at least and at most."""
SWEPT = ("profile", "k", "packet_size", "num_vcs", "vc_buf_size", "traffic")


def point(config, offered, seed):
    profile, k, size, vcs, buffer, traffic = config
    network = Network(mesh(int(k), int(k)), profile, "xy", int(vcs), int(buffer))
    pattern = make_pattern(traffic, int(k), int(k))
    return measure(network, pattern, offered, int(size), seed)


def mean_latency(config, offered):
    """Return the mean over seeds, of which there are as many as its precision needs."""
    found = []
    for seed in range(1, SEEDS.stop):
        found.append(point(config, offered, seed).lat_packet)
        error = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.inf
        if len(found) >= SEEDS.start and error <= PRECISION * np.mean(found):
            break
    return np.mean(found)


@pytest.mark.slow
def test_below_the_knee_latency_lies_in_the_range_of_booksims_seeds_widened_by_a_hundredth():
    knee = {
        tuple(row[key] for key in SWEPT): float(row["max_offered_with_lat_below_3x"])
        for row in booksim2.rows("saturation")
    }
    latencies = defaultdict(list)
    for row in booksim2.rows("sweep"):
        config = tuple(row[key] for key in SWEPT)
        if float(row["offered"]) <= knee[config] and row["saturated"] == "0":
            latencies[config, float(row["offered"])].append(float(row["lat_packet"]))
    several = {place: known for place, known in latencies.items() if len(known) == 3}
    assert len(several) == 235
    outside = []
    for (config, offered), known in several.items():
        found = mean_latency(config, offered)
        if not 0.99 * min(known) <= found <= 1.01 * max(known):
            outside.append((*config, offered, known, round(found, 2)))
    print(
        f"{len(several) - len(outside)} of {len(several)} points within; outside:",
        *outside,
        sep="\n",
    )
    assert len(outside) <= 0.05 * len(several)


@pytest.mark.slow
def test_at_full_load_accepted_throughput_is_booksims_within_two_hundredths():
    rows = [
        row
        for row in booksim2.rows("saturation")
        if row["profile"] == "P4" and row["traffic"] in ("uniform", "transpose")
    ]
    assert {(row["k"], row["num_vcs"]) for row in rows} == {(k, v) for k in "48" for v in "124"}
    for row in rows:
        config = tuple(row[key] for key in SWEPT)
        accepted = np.mean([point(config, 1.0, seed).accepted for seed in range(1, 6)])
        assert accepted == pytest.approx(float(row["accepted_at_offered_1.0"]), rel=0.02), config
