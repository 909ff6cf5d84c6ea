"""Laws of synthetic traffic: patterns are what the field calls by their names, rates are met, and a
seed names the same packets however a run is cut."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.noc.noxim import NEVER, NoximTable
from firemesh.noc.packet_trace import PacketTrace
from firemesh.noc.patterns import PATTERNS, Fixed, make_pattern, uniforms
from firemesh.noc.traffic import packets, table_packets

SIDE = st.integers(1, 9)
COLUMNS = ("cycle", "source", "flits", "destinations")
HOT = {"nodes": (3, 5), "fraction": 0.25}
FIXED = ("transpose", "bit-complement", "tornado", "shuffle", "neighbour")


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def pattern_of(name, width=4, height=4):
    return make_pattern(name, width, height, **(HOT if name == "hotspot" else {}))


def joined(chunks):
    """Return all packets as one trace."""
    chunks = list(chunks)
    assert chunks
    return PacketTrace(
        *(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in COLUMNS),
        chunks[0].sets,
    )


def is_within(count, n, probability, sigmas=5):
    """Tell whether a count of n draws is what a probability lets expect."""
    return abs(count - n * probability) <= sigmas * math.sqrt(n * probability * (1 - probability))


def is_uniform(counts, sigmas=5):
    """Tell whether chi-square is what equally likely values let expect."""
    expected = counts.sum() / counts.size
    square = ((counts - expected) ** 2 / expected).sum()
    free = counts.size - 1
    return abs(square - free) <= sigmas * math.sqrt(2 * free)


# ---- patterns


@given(name=st.sampled_from(FIXED), k=SIDE, height=SIDE)
def test_fixed_patterns_are_permutations(name, k, height):
    if name == "transpose":
        height = k
    if name == "shuffle":
        k, height = 1 << k % 4, 1 << height % 4
    pattern = make_pattern(name, k, height)
    assert sorted(pattern.to.tolist()) == list(range(k * height)) and pattern.n_nodes == k * height
    assert pattern.to.dtype == np.int32


@given(width=SIDE, height=SIDE)
def test_patterns_by_coordinates_are_those_of_the_book(width, height):
    to = {name: make_pattern(name, width, height).to for name in ("tornado", "neighbour")}
    for node in range(width * height):
        x, y = node % width, node // width
        far_x, far_y = math.ceil(width / 2) - 1, math.ceil(height / 2) - 1
        tornado = (x + far_x) % width + width * ((y + far_y) % height)
        assert to["tornado"][node] == tornado
        assert to["neighbour"][node] == (x + 1) % width + width * ((y + 1) % height)


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
def test_patterns_by_bits_are_those_of_the_book(bits):
    width = 1 << bits // 2
    height = (1 << bits) // width
    complement = make_pattern("bit-complement", width, height).to
    shuffle = make_pattern("shuffle", width, height).to
    for node in range(1 << bits):
        address = f"{node:0{bits}b}"
        swapped = address.translate(str.maketrans("01", "10"))
        assert complement[node] == int(swapped, 2)
        assert shuffle[node] == int(address[1:] + address[0], 2)
        if width == height:
            half = bits // 2
            expected = int(address[half:] + address[:half], 2)
            assert make_pattern("transpose", width, height).to[node] == expected


@given(k=SIDE)
def test_transpose_swaps_coordinates_and_its_diagonal_sends_to_itself(k):
    to = make_pattern("transpose", k, k).to
    assert np.array_equal(to.reshape(k, k), np.arange(k * k).reshape(k, k).T)
    assert [node for node in range(k * k) if to[node] == node] == [i * (k + 1) for i in range(k)]


@given(width=SIDE, height=SIDE)
def test_bit_complement_reflects_a_mesh_of_any_size(width, height):
    to = make_pattern("bit-complement", width, height).to
    for node in range(width * height):
        assert to[node] % width == width - 1 - node % width
        assert to[node] // width == height - 1 - node // width


def test_a_ring_of_one_or_two_nodes_has_a_tornado_that_stays():
    assert make_pattern("tornado", 2, 1).to.tolist() == [0, 1]
    assert make_pattern("tornado", 1, 1).to.tolist() == [0]


@pytest.mark.parametrize("n_draws, width, height", [(64_000, 8, 8), (50_000, 5, 3)])
def test_uniform_sends_everywhere_alike_the_source_included(n_draws, width, height):
    n = width * height
    sources = np.arange(n_draws, dtype=np.int32) % n
    to = make_pattern("uniform", width, height).destinations(sources, generator(7))
    assert to.dtype == np.int32 and to.min() == 0 and to.max() == n - 1
    assert is_uniform(np.bincount(to, minlength=n))
    pairs = np.bincount(sources * n + to, minlength=n * n)
    assert is_uniform(pairs)


def test_the_mean_distance_of_uniform_is_that_of_the_mesh():
    sources = np.arange(64_000, dtype=np.int32) % 64
    to = make_pattern("uniform", 8, 8).destinations(sources, generator(1))
    distance = abs(to % 8 - sources % 8) + abs(to // 8 - sources // 8)
    deviation = distance.std() / math.sqrt(len(to))
    assert abs(distance.mean() - 5.25) < 5 * deviation


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_hotspot_sends_its_fraction_to_the_hot_nodes_and_the_rest_everywhere(fraction):
    n, n_draws = 16, 60_000
    pattern = make_pattern("hotspot", 4, 4, nodes=[3, 5], fraction=fraction)
    to = pattern.destinations(np.zeros(n_draws, np.int32), generator(2))
    assert to.dtype == np.int32
    counts = np.bincount(to, minlength=n)
    hot = counts[[3, 5]]
    for count in hot:
        assert is_within(count, n_draws, fraction / 2 + (1 - fraction) / n)
    assert is_uniform(hot)
    others = np.delete(counts, [3, 5])
    assert is_uniform(others) if fraction < 1 else not others.any()


def test_a_hot_node_named_twice_gets_twice_as_much():
    pattern = make_pattern("hotspot", 2, 2, nodes=[1, 1, 2], fraction=1)
    counts = np.bincount(pattern.destinations(np.zeros(9000, np.int32), generator()), minlength=4)
    assert counts[0] == counts[3] == 0 and is_within(counts[1], 9000, 2 / 3)


@pytest.mark.parametrize(
    "arguments, options, why",
    [
        (("waves", 4, 4), {}, "pattern: must be one of uniform, transpose, .*, got 'waves'"),
        (("transpose", 4, 3), {}, "transpose: needs a square mesh, got 4 x 3"),
        (("shuffle", 3, 4), {}, "shuffle: needs a number of nodes that is a power of two, got 12"),
        (("uniform", 0, 4), {}, r"pattern\.width: must be at least 1, got 0"),
        (("tornado", 4, -1), {}, r"pattern\.height: must be at least 1, got -1"),
        (("hotspot", 4, 4), {}, "hotspot: must have nodes and fraction, got none"),
        (("uniform", 4, 4), HOT, "uniform: must have no options, got nodes and fraction"),
        (("hotspot", 4, 4), HOT | {"nodes": [16]}, r"hotspot\.nodes: must be .* 0..15, got \[16\]"),
        (("hotspot", 4, 4), HOT | {"nodes": []}, r"hotspot\.nodes: must be one or more"),
        (("hotspot", 4, 4), HOT | {"fraction": 1.5}, r"hotspot\.fraction: must be from 0 to 1"),
        (("hotspot", 4, 4), HOT | {"fraction": math.nan}, r"hotspot\.fraction: must be"),
    ],
)
def test_a_pattern_that_cannot_be_made_is_refused(arguments, options, why):
    with pytest.raises(ValueError, match=f"^{why}"):
        make_pattern(*arguments, **options)


def test_numbers_are_the_upper_bits_of_the_words_of_pcg64():
    words = [int(word) for word in np.random.PCG64(5).random_raw(6)]
    drawn = uniforms(generator(5), (2, 3))
    assert drawn.ravel().tolist() == [(word >> 11) / 2**53 for word in words]
    assert drawn.min() >= 0 and drawn.max() < 1


def test_a_generator_with_short_words_is_refused():
    with pytest.raises(ValueError, match="^rng: must have words of 64 bits"):
        uniforms(np.random.Generator(np.random.MT19937(0)), 3)


# ---- Bernoulli


@pytest.mark.parametrize("name", PATTERNS)
@given(seed=st.integers(0, 2**64), chunk=st.integers(1, 130), flits=st.sampled_from((1, (1, 4, 5))))
@settings(deadline=None, max_examples=10)
def test_how_a_run_is_cut_changes_nothing(name, seed, chunk, flits):
    run = (pattern_of(name), 0.4, flits, 100, seed)
    whole = joined(packets(*run))
    assert joined(packets(*run, chunk_cycles=chunk)) == whole
    longer = joined(packets(*run[:3], 150, seed))
    kept = longer.cycle < 100
    for column in COLUMNS:
        assert np.array_equal(getattr(longer, column)[kept], getattr(whole, column))


def test_a_seed_names_one_run_and_another_seed_another():
    runs = [joined(packets(pattern_of("uniform"), 0.3, (1, 2), 200, seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    for column in COLUMNS:
        assert not np.array_equal(getattr(runs[0], column), getattr(runs[2], column))


def test_patterns_and_lengths_do_not_change_who_creates_when():
    one = joined(packets(pattern_of("uniform"), 0.2, 1, 300, 9))
    other = joined(packets(pattern_of("hotspot"), 0.6, (2, 4), 300, 9))
    assert np.array_equal(one.cycle, other.cycle) and np.array_equal(one.source, other.source)


def test_a_seed_gives_the_same_packets_for_ever():
    trace = joined(packets(pattern_of("hotspot", 4, 2), 0.5, (1, 2, 4), 500, 12345))
    rows = list(zip(*(getattr(trace, column).tolist() for column in COLUMNS), strict=True))
    assert (len(rows), hashlib.sha256(str(rows).encode()).hexdigest()[:16]) == GOLDEN


GOLDEN = (835, "19a0dd948802f9b1")
"""Packets and digest, of the first run that there was."""


def test_packets_are_those_of_a_draw_per_node_and_cycle():
    rate, n, cycles, seed = 0.3, 16, 40, 4
    trace = joined(packets(pattern_of("transpose"), rate, 2, cycles, seed))
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,)))
    expected = []
    for cycle in range(cycles):
        for node in range(n):
            if (int(stream.random_raw()) >> 11) / 2**53 < rate / 2:
                expected.append((cycle, node, 2, node % 4 * 4 + node // 4))
    assert list(zip(*(getattr(trace, c).tolist() for c in COLUMNS), strict=True)) == expected


@pytest.mark.parametrize("rate, flits", [(0.1, 1), (0.6, 4), (0.9, (1, 5)), (0.02, 16)])
def test_the_offered_load_is_met_by_every_node(rate, flits):
    n, cycles = 16, 20_000
    lengths = np.atleast_1d(flits)
    trace = joined(packets(pattern_of("uniform"), rate, flits, cycles, 3))
    probability = rate / lengths.mean()
    assert is_within(len(trace), n * cycles, probability)
    for count in np.bincount(trace.source, minlength=n):
        assert is_within(count, cycles, probability)
    assert set(trace.flits.tolist()) == set(lengths.tolist())
    load = trace.flits.sum() / (n * cycles)
    deviation = math.sqrt(probability * (lengths.astype(float) ** 2).mean() / (n * cycles))
    assert abs(load - rate) <= 5 * deviation
    for length in lengths if len(lengths) > 1 else ():
        assert is_within((trace.flits == length).sum(), len(trace), 1 / len(lengths))


def test_creations_in_following_cycles_do_not_depend_on_each_other():
    trace = joined(packets(pattern_of("uniform"), 0.3, 1, 20_000, 8))
    made = np.zeros((20_000, 16), bool)
    made[trace.cycle, trace.source] = True
    both = (made[1:] & made[:-1]).sum()
    assert is_within(both, made[1:].size, 0.09, sigmas=7)  # neighbours in time share a draw
    assert is_within((made[:, 1:] & made[:, :-1]).sum(), made[:, 1:].size, 0.09, sigmas=7)


def test_packets_are_ordered_by_cycle_then_source_at_most_one_of_each():
    trace = joined(packets(pattern_of("uniform"), 0.5, 1, 300, 1, chunk_cycles=7))
    place = trace.cycle * 16 + trace.source
    assert np.all(np.diff(place) > 0)


def test_no_load_makes_nothing_and_full_load_a_packet_in_every_cycle():
    none = list(packets(pattern_of("uniform"), 0, 3, 10, 1, chunk_cycles=4))
    assert [len(chunk) for chunk in none] == [0, 0, 0]
    full = joined(packets(pattern_of("neighbour"), 3, (2, 4), 10, 1))
    assert full.cycle.tolist() == np.repeat(np.arange(10), 16).tolist()
    assert list(packets(pattern_of("uniform"), 0.5, 1, 0, 1)) == []


def test_each_chunk_holds_its_cycles_also_when_it_is_empty():
    chunks = list(packets(pattern_of("uniform", 2, 1), 0.01, 1, 1000, 1, chunk_cycles=16))
    assert len(chunks) == math.ceil(1000 / 16)
    assert any(not len(chunk) for chunk in chunks)
    for i, chunk in enumerate(chunks):
        assert np.all((chunk.cycle >= 16 * i) & (chunk.cycle < 16 * (i + 1)))
        assert chunk.n_nodes == 2


@pytest.mark.parametrize(
    "change, why",
    [
        ({"rate": -0.1}, "rate: must be from 0 to 2 flits"),
        ({"rate": 2.01}, "rate: must be from 0 to 2 flits"),
        ({"rate": math.nan}, "rate: must be from 0 to 2 flits"),
        ({"flits": 0}, "flits: must be one or more lengths from 1"),
        ({"flits": ()}, "flits: must be one or more lengths from 1"),
        ({"flits": (1, 0)}, "flits: must be one or more lengths from 1"),
        ({"flits": 1.5}, "flits: must be one or more lengths from 1"),
        ({"flits": 1 << 31}, "flits: must be one or more lengths from 1"),
        ({"cycles": -1}, "cycles: must be at least 0, got -1"),
        ({"chunk_cycles": 0}, "chunk_cycles: must be at least 1, got 0"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
    ],
)
def test_a_parameter_out_of_range_is_refused_before_the_first_chunk(change, why):
    run = {"rate": 0.5, "flits": (1, 3), "cycles": 10, "seed": 1}
    with pytest.raises(ValueError, match=f"^{why}"):
        packets(pattern_of("uniform"), **run | change)
    if "rate" not in change:
        del run["rate"]
        with pytest.raises(ValueError, match=f"^{why}"):
            table_packets(table_of([(0, 1, 0.5)]), **run | change)


# ---- Noxim's tables


def table_of(flows, n_nodes=4):
    """Return a table of (src, dst, pir[, t_on, t_off, t_period]), with a por that is not pir."""
    defaults = (None, None, None, 0, NEVER, NEVER)
    rows = [flow + defaults[len(flow) :] for flow in flows]
    src, dst, pir, t_on, t_off, t_period = (np.array(column) for column in zip(*rows, strict=True))
    return NoximTable(
        n_nodes, src.astype(np.int32), dst.astype(np.int32), pir.astype(float),
        np.ones(len(rows)), t_on, t_off, t_period,
    )  # fmt: skip


FLOWS = [(0, 1, 0.2), (2, 2, 0.5, 3, 40), (0, 3, 0.3, 5, 20, 50), (0, 1, 0.5, 1010), (3, 0, 1.0)]


@given(seed=st.integers(0, 99), chunk=st.integers(1, 60), reset=st.sampled_from((0, 1, 990, 1000)))
@settings(deadline=None, max_examples=40)
def test_a_table_makes_what_noxim_s_draw_per_node_and_cycle_makes(seed, chunk, reset):
    table, cycles = table_of(FLOWS), 55
    stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0,)))
    expected = []
    for cycle in range(cycles):
        for node in range(4):
            drawn, total = (int(stream.random_raw()) >> 11) / 2**53, 0.0
            for src, dst, pir, on, off, period in zip(
                table.src, table.dst, table.pir, table.t_on, table.t_off, table.t_period,
                strict=True,
            ):  # fmt: skip
                if src == node and on < (cycle + reset) % period < off:
                    total += pir
                    if drawn < total:
                        expected.append((cycle, node, 2, int(dst)))
                        break
    trace = joined(table_packets(table, 2, cycles, seed, reset, chunk))
    assert list(zip(*(getattr(trace, c).tolist() for c in COLUMNS), strict=True)) == expected


def test_every_flow_of_a_table_has_its_rate():
    cycles = 30_000
    trace = joined(table_packets(table_of([(0, 1, 0.1), (0, 2, 0.4), (3, 1, 0.02)]), 2, cycles, 5))
    for src, dst, pir in ((0, 1, 0.1), (0, 2, 0.4), (3, 1, 0.02)):
        count = ((trace.source == src) & (trace.destinations == dst)).sum()
        assert is_within(count, cycles, pir)
    assert set(trace.source.tolist()) == {0, 3}


def test_a_flow_is_active_strictly_between_its_times_on_the_clock_that_counts_reset():
    table = table_of([(1, 2, 1.0, 2, 5, 10)])
    trace = joined(table_packets(table, 2, 20, 1, reset_cycles=1000))
    assert trace.cycle.tolist() == [3, 4, 13, 14]
    shifted = joined(table_packets(table, 2, 20, 1, reset_cycles=1))
    assert shifted.cycle.tolist() == [2, 3, 12, 13]
    never_on = joined(table_packets(table_of([(1, 2, 1.0, 0, 500)]), 2, 20, 1))
    assert len(never_on) == 0  # the reset cycles alone are longer than that


def test_lengths_of_a_table_s_packets_are_drawn_alike():
    trace = joined(table_packets(table_of([(0, 1, 1.0)]), (2, 3, 7), 9000, 5))
    for length in (2, 3, 7):
        assert is_within((trace.flits == length).sum(), 9000, 1 / 3)


def test_a_negative_number_of_reset_cycles_is_refused():
    with pytest.raises(ValueError, match="^reset_cycles: must be at least 0, got -1"):
        table_packets(table_of([(0, 1, 0.5)]), 2, 10, 1, reset_cycles=-1)


def test_a_map_of_one_s_own_is_a_pattern():
    trace = joined(packets(Fixed(np.array([2, 2, 0], np.int32)), 1, 1, 2, 0))
    assert trace.destinations.tolist() == [2, 2, 0] * 2
