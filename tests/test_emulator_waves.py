"""Waves: the cheapest cut, bands, chunks, what is sent again; the same outputs with any cut."""

from dataclasses import fields
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
from cut_layers import bank_words, cut_cases, needed_rows, page_bands, page_cuts, planned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_mappings import mappings, network_of

import firemesh
from firemesh.emulator.latency import Latency
from firemesh.emulator.layer_result import LayerResult
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.mnf.mapping import candidates
from firemesh.emulator.mnf.result import of_wave
from firemesh.emulator.mnf.rows import packed, row_counts, weight_rows
from firemesh.emulator.mnf.run import WaveRun
from firemesh.emulator.mnf.steps import Residency
from firemesh.emulator.mnf.waves import Cutter, bands, best_cut, chunks, held_rows, of_band
from firemesh.emulator.shape import ConvShape, Pool, weights
from firemesh.encoders.events import Window
from firemesh.models.reference import forward

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))
few = settings(quick, max_examples=60)
SEEDS = st.integers(0, 2**32 - 1)


# --- The cut ---


@quick
@given(case=cut_cases(), is_streamed=st.booleans(), data=st.data())
def test_the_cut_is_the_cheapest_of_all_channel_waves_and_bands_that_fit(case, is_streamed, data):
    lowest = max(1, case.row_words() - 2)
    small = case.on_words(data.draw(st.integers(lowest, case.mapping.bank_words)))
    rows = data.draw(st.integers(max(1, int(case.counts.max()) - 1), 40))
    small = small.replace(pe__weight_bytes=rows * small.pe.multipliers)
    arguments = (case.mapping, case.pool, case.n_outputs, small, case.counts, is_streamed)
    cutter, wanted = Cutter(*arguments), page_cuts(*arguments)
    found = {(cut.groups, cut.height): (cut.cycles, cut.n_waves) for cut in cutter.cuts()}
    assert found == wanted
    best = best_cut(cutter)
    if not wanted:
        assert best is None
        return
    order = {cut: (*cost, -cut[0]) for cut, cost in wanted.items()}
    assert order[best.groups, best.height] == min(order.values())


def test_of_equal_cuts_that_with_the_fewest_waves_and_then_with_more_filter_groups_is_taken():
    """A 1x1 layer: bands and channel waves cost the same where rows bound every wave."""
    shape = ConvShape(6, 1, 4, 4, 1, Window((1, 1), (1, 1), (1, 1), (0, 0), (4, 4)))
    on = firemesh.machine("mnf-tiny").replace(mesh__width=2, mesh__height=1, pe__tile="3x1")
    (mapping,) = candidates(shape, on)
    counts = np.ones((3, 1), np.int64)
    cutter = Cutter(mapping, Pool(), 4, on.replace(pe__psum_bank_bytes=8 * 16), counts)
    costs = {(cut.groups, cut.height): (cut.cycles, cut.n_waves) for cut in cutter.cuts()}
    assert {cost for cost, _ in costs.values()} == {Fraction(16 * 3 + 16 * 6)}
    fewest = [cut for cut, (_, n) in costs.items() if n == min(n for _, n in costs.values())]
    assert sorted(fewest) == [(2, 4), (3, 2)]
    best = best_cut(cutter)
    assert (best.groups, best.height, best.n_waves) == (3, 2, 2)


def test_capacity_is_that_of_the_fullest_bank():
    """128 filters at 112 x 112 fit in total, and not in bank (0, 0) of the paper's machine."""
    shape = ConvShape(128, 64, 112, 112, 1, Window((3, 3), (1, 1), (1, 1), (1, 1), (112, 112)))
    on = firemesh.machine("mnf-22nm").replace(pe__tile="3x3")
    (mapping,) = candidates(shape, on)
    held = max(
        sum(group.size for group in mapping.groups_of(pe)) * 112 * 112 * 4 for pe in range(on.n_pes)
    )
    assert held <= on.pe.modules * on.pe.psum_bank_bytes
    words = set()
    for number, y, x in product(range(mapping.most_groups), range(112), range(112)):
        module, word = mapping.word(number, 0, y, x)
        if module == 0:
            words.add(word)
    assert len(words) == max(words) + 1 == 5776 > on.pe.bank_words == 5625
    counts = np.ones((len(mapping.groups), 64), np.int64)
    cutter = Cutter(mapping, Pool(), 112, on, counts)
    assert (4, 112) not in {(cut.groups, cut.height) for cut in cutter.cuts()}
    room = on.replace(pe__psum_bank_bytes=5776 * 12)
    best = best_cut(Cutter(mapping, Pool(), 112, room, counts))
    assert (best.groups, best.height, best.n_waves) == (4, 112, 1)


@few
@given(planned=planned())
def test_no_psum_of_a_wave_lies_outside_its_bank(planned):
    _, plan = planned
    limit = plan.machine.pe.bank_words
    for wave in plan.steps[0].waves:
        height, width = wave.mapping.shape.window.ofmap
        assert height == wave.band.rows[1] - wave.band.rows[0]
        assert wave.mapping.most_groups * bank_words(wave.mapping, height) <= limit
        for group in wave.mapping.groups:
            for y, x in product(range(height), range(width)):
                assert 0 <= wave.mapping.word(group.number, 0, y, x)[1] < limit


# --- Bands ---


@quick
@given(case=cut_cases(), data=st.data())
def test_bands_are_those_of_the_page(case, data):
    """Pools that overlap, with dilation and pads, and rows that no output needs."""
    shape, height = case.mapping.shape, data.draw(st.integers(1, case.n_outputs))
    n_rows = shape.window.ofmap[0]
    found = bands(shape, case.pool, case.n_outputs, height)
    wanted = page_bands(case.pool, n_rows, case.n_outputs, height)
    assert [(*band.rows, *band.outputs) for band in found] == wanted


def test_a_band_begins_with_the_first_row_that_any_of_its_outputs_needs():
    """With dilation and pads an output may need an earlier row than the one before it."""
    pool = Pool((4, 1), (1, 1), (3, 0), (2, 1))  # 2 needs rows 1, 3, 5 and 3 needs 0, 2, 4, 6
    shape = ConvShape(1, 1, 9, 1, 1, Window((1, 1), (1, 1), (1, 1), (0, 0), (9, 1)))
    found = bands(shape, pool, 6, 2)
    assert [band.outputs for band in found] == [(0, 2), (2, 4), (4, 6)]
    assert [band.rows for band in found] == [(0, 5), (0, 7), (1, 9)]


@quick
@given(case=cut_cases(), data=st.data())
def test_bands_hold_every_output_once_and_every_psum_row_that_it_needs(case, data):
    shape, height = case.mapping.shape, data.draw(st.integers(1, case.n_outputs))
    n_rows = shape.window.ofmap[0]
    found = bands(shape, case.pool, case.n_outputs, height)
    outputs = [output for band in found for output in range(*band.outputs)]
    assert outputs == list(range(case.n_outputs))
    assert {row for band in found for row in range(*band.rows)} == set(range(n_rows))
    for band in found:
        assert 0 < band.outputs[1] - band.outputs[0] <= height
        for output in range(*band.outputs):
            assert needed_rows(case.pool, output, n_rows) <= set(range(*band.rows))


@quick
@given(case=cut_cases(), data=st.data())
def test_a_band_is_a_layer_of_its_own_whose_rows_meet_the_same_activations(case, data):
    shape, height = case.mapping.shape, data.draw(st.integers(1, case.n_outputs))
    whole, n_rows = shape.window, shape.window.ofmap[0]

    def ifmap_row(window, row, tap):
        return window.strides[0] * row + window.dilations[0] * tap - window.pads[0]

    for band in bands(shape, case.pool, case.n_outputs, height):
        part = of_band(shape, band).window
        assert part.ofmap == (band.rows[1] - band.rows[0], whole.ofmap[1])
        for row, tap in product(range(*band.rows), range(whole.kernel[0])):
            assert ifmap_row(part, row - band.rows[0], tap) == ifmap_row(whole, row, tap)
    assert n_rows == whole.ofmap[0]


# --- Weight rows and chunks ---


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_row_counts_are_the_rows_that_are_built(mapping, seed, is_dense):
    (layer,) = network_of(mapping.shape, seed).layers
    counts = row_counts(mapping, layer, is_dense)
    held = held_rows(mapping, counts, 0, mapping.most_groups)
    rows = weight_rows(mapping, weights(layer), is_dense)
    assert np.array_equal(held.sum(axis=1), np.diff(rows.first))
    found = np.zeros_like(counts)
    window, channels = mapping.shape.window, mapping.shape.group_channels
    n_phases = window.strides[0] * window.strides[1]
    for pe in range(mapping.n_pes):
        for row in range(rows.first[pe], rows.first[pe + 1]):
            slot = next(place[2] for place in rows.place[row].tolist() if place[2] >= 0)
            group = mapping.groups_of(pe)[slot // mapping.filters]
            pointer = np.searchsorted(rows.pointer, row, side="right") - 1
            channel = (pointer - rows.pointer_first[pe]) // n_phases % channels
            found[mapping.groups.index(group), channel] += 1
    assert np.array_equal(found, counts)


@quick
@given(mapping=mappings(has_linear=False), seed=SEEDS)
def test_packed_rows_are_never_more_than_those_that_are_counted(mapping, seed):
    (layer,) = network_of(mapping.shape, seed).layers
    held = held_rows(mapping, row_counts(mapping, layer, False), 0, mapping.most_groups)
    rows = packed(weight_rows(mapping, weights(layer), False))
    assert (np.diff(rows.first) <= held.sum(axis=1)).all()


@quick
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1), st.data())
def test_chunks_partition_the_channels_fit_every_pe_and_are_as_large_as_they_can_be(rows, data):
    n = min(map(len, rows))
    counts = np.array([row[:n] for row in rows], np.int64)
    limit = data.draw(st.integers(max(1, int(counts.max())), 30))
    found = chunks(counts, limit)
    assert [channel for chunk in found for channel in range(*chunk)] == list(range(n))
    for first, end in found:
        assert (counts[:, first:end].sum(axis=1) <= limit).all()
        assert end == n or (counts[:, first : end + 1].sum(axis=1) > limit).any()


@few
@given(planned=planned())
def test_blocks_hold_every_filter_group_and_channel_once_and_fit_the_weight_srams(planned):
    case, plan = planned
    (step,) = plan.steps[:1]
    seen = []
    for block in step.blocks:
        rows = block.rows()
        assert np.array_equal(np.diff(rows.first), block.n_rows)
        assert (block.row_base + block.n_rows <= plan.machine.pe.weight_rows).all()
        for group in block.mapping.groups:
            seen += [(group.first, group.size, channel) for channel in range(*block.channels)]
    wanted = product(case.mapping.groups, range(case.mapping.shape.group_channels))
    assert sorted(seen) == sorted((group.first, group.size, c) for group, c in wanted)


# --- What waves do ---


def frames_of(network, on, codes):
    """Return emulation, runs on PEs and frame of one frame."""
    emulation = MnfEmulation(network, on)
    (frame,) = emulation.frames(codes)
    return emulation, [run for run in frame.runs if isinstance(run, WaveRun)], frame


@few
@given(planned=planned(("rows", "dense", "ideal")), seed=SEEDS)
def test_a_layer_in_waves_has_the_outputs_of_the_same_layer_whole(planned, seed):
    case, plan = planned
    codes = case.codes(seed)
    _, cut, frame = frames_of(case.network, plan.machine, codes)
    _, whole, other = frames_of(case.network, case.machine, codes)
    assert len(whole) == 1 and len(cut) == len(plan.steps[0].waves)
    assert frame.output.dtype == other.output.dtype
    assert np.array_equal(frame.output, other.output)
    wanted = forward(case.network, codes)
    assert np.array_equal(frame.output, wanted[case.network.outputs[0]][0])
    for name, before in frame.before_pool.items():
        assert np.array_equal(before, wanted[name][0])


@few
@given(planned=planned(), seed=SEEDS)
def test_waves_run_in_order_channel_waves_then_bands_then_chunks(planned, seed):
    case, plan = planned
    _, runs, _ = frames_of(case.network, plan.machine, case.codes(seed))
    assert all(before.cycle1 == after.cycle0 for before, after in pairwise(runs))
    waves = [run.wave for run in runs]
    assert tuple(waves) == plan.steps[0].waves
    step = plan.steps[0]
    keys = [(step.channel_wave(w.block), w.band.outputs[0], w.channels[0]) for w in waves]
    assert keys == sorted(set(keys))
    for wave in waves:
        assert wave.begins is (wave.channels[0] == 0)
        assert wave.fires is (wave.channels[1] == step.shape.group_channels)


@few
@given(planned=planned(), seed=SEEDS)
def test_a_layers_result_is_the_sum_of_its_waves(planned, seed):
    case, plan = planned
    _, runs, frame = frames_of(case.network, plan.machine, case.codes(seed))
    waves, whole = [of_wave(run) for run in runs], frame.results[0]
    assert whole.waves == len(waves)
    assert whole.frames == 1
    arrays = ("slots", "counts", "bytes", "link_flits", "sent_flits", "stalls")
    summed = ("cycles", "events", "fired", *arrays)
    for name in summed:
        total = sum(getattr(wave, name) for wave in waves)
        assert np.array_equal(getattr(whole, name), total)
    for column in (Latency.COUNT, Latency.CYCLES):
        assert np.array_equal(
            whole.latency[:, column], sum(wave.latency[:, column] for wave in waves)
        )
    most = [wave.latency[:, Latency.MOST] for wave in waves]
    assert np.array_equal(whole.latency[:, Latency.MOST], np.max(most, axis=0))
    same = ("name", "op", "mode", "active", "inputs", "tile")
    for name in same:
        assert {getattr(wave, name) for wave in waves} == {getattr(whole, name)}
    known = {*summed, *same, "latency", "waves", "frames", "halo", "repeated"}
    assert {field.name for field in fields(LayerResult)} == known


@few
@given(planned=planned(), seed=SEEDS)
def test_events_of_other_bands_are_halo_and_those_of_other_filters_repeated(planned, seed):
    """Of a channel wave an event's first sending is no halo, of the layer it is not repeated."""
    case, plan = planned
    _, runs, frame = frames_of(case.network, plan.machine, case.codes(seed))
    sent, of_waves, halo, repeated = set(), set(), 0, 0
    for run in runs:
        first_filter = run.wave.mapping.groups[0].first
        for source in run.messages.source.tolist():
            is_halo = (source, first_filter) in of_waves
            halo += is_halo
            repeated += source in sent and not is_halo
            sent.add(source)
            of_waves.add((source, first_filter))
    assert (frame.results[0].halo, frame.results[0].repeated) == (halo, repeated)
    assert frame.results[0].events == len(sent) + halo + repeated


def test_random_plans_reach_waves_with_weights_that_stay_and_with_chunks():
    """What the tests above draw: else they say nothing."""
    found = set()

    @settings(few, max_examples=200, database=None, derandomize=True)
    @given(planned=planned())
    def draw(planned):
        step = planned[1].steps[0]
        n_chunks = len(step.blocks) - len(step.channel_waves)
        found.add((step.residency, len(step.waves) > 1, n_chunks > 0, step.pool is not None))

    draw()
    for has_pool in (False, True):
        assert (Residency.NETWORK, True, False, has_pool) in found
        assert (Residency.WAVE, True, True, has_pool) in found
