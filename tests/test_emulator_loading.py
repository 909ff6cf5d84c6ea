"""Weights that come in from DRAM: which rows, when, where to, their cost; the same outputs."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from column_accesses import accesses as column_accesses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamed_networks import frames, streamed_network
from test_emulator_rows import row_places
from test_traces_networks import record
from test_traces_oracle import expanded

import firemesh
from firemesh.emulator.check import differences
from firemesh.emulator.kinds import Kind, Memory
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.emulator.mnf.plan import make_plan
from firemesh.emulator.mnf.run import WaveRun
from firemesh.emulator.mnf.steps import MnfStep, Residency
from firemesh.emulator.recorder import Recorder
from firemesh.emulator.slots import Cause
from firemesh.models.reference import forward
from firemesh.traces import writer
from firemesh.traces.verify import verify

few = settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32 - 1)
LARGE = firemesh.machine("mnf-tiny").replace(pe__weight_bytes=1 << 20)
SMALL = LARGE.replace(pe__weight_bytes=60 * 6, pe__psum_bank_bytes=40 * 8)
"""The first layer's weights fit, those of others do not."""


@st.composite
def machines(draw, routers=("simple", "simple", "P4", "P2")):
    """Machines with few weight rows, of every option that packets of weights depend on."""
    router = draw(st.sampled_from(routers))
    multicast = draw(st.sampled_from(("tree", "chain", "unicast")))
    width, height = draw(st.sampled_from(((2, 1), (2, 2), (3, 2))))
    return SMALL.replace(
        mesh__width=width,
        mesh__height=height,
        pe__weight_bytes=6 * draw(st.sampled_from((3, 20, 60, 150, 400))),
        pe__psum_bank_bytes=8 * draw(st.sampled_from((12, 40, 96))),
        pe__weights=draw(st.sampled_from(("rows", "rows", "dense"))),
        noc__multicast=multicast,
        noc__router=router,
        noc__buffer_flits=draw(st.integers(2, 4)) if router == "simple" else 8,
        noc__flit_bits=draw(st.sampled_from((16, 64, 256))),
        storage__weight_packet_rows=draw(st.integers(1, 9)),
        storage__event_order=draw(st.sampled_from(("row", "channel", "raster"))),
    )


def run_frames(network, on, codes):
    """Return the plan, and of each frame the frame and its runs on PEs."""
    emulation = MnfEmulation(network, on)
    found = []
    for frame in emulation.frames(codes):
        found.append((frame, [run for run in frame.runs if isinstance(run, WaveRun)]))
    return emulation.plan, found


def channels_of(block):
    """Return the layer's input channel of each of a block's rows, by PE, in order of address."""
    rows, size = block.rows(), block.mapping.shape.group_channels
    found = {pe: [] for pe in range(block.mapping.n_pes)}
    for pe, channel, _, _ in row_places(block.mapping, rows):
        rank, local = divmod(channel, size)
        group = rows.group_rank[pe].tolist().index(rank)
        found[pe].append(group * size + local)
    return found


def wanted_rows(plan):
    """Return {(layer, wave): [(PE, weight address, DRAM address, channel)]}, from the page."""
    width, dram, found = plan.machine.pe.multipliers, 0, {}
    for step in (step for step in plan.steps if isinstance(step, MnfStep)):
        blocks, first = [], Counter()
        for block in step.blocks:
            rows = []
            for pe, channels in channels_of(block).items():
                for channel in channels:
                    rows.append((pe, first[pe] * width, dram, channel))
                    first[pe] += 1
                    dram += width
            blocks.append(rows)
            if step.residency is Residency.WAVE:
                first.clear()
        there = None
        for wave in step.waves:
            came = [blocks[wave.block]] if wave.block != there else []
            if step.residency is Residency.LAYER:
                came = blocks if wave.number == 0 else []
            there = wave.block
            found[step.name, wave.number] = [row for rows in came for row in rows]
    return found


# --- Which rows ---


@few
@given(seed=SEEDS, on=machines())
def test_each_row_of_a_channel_with_events_comes_in_once_whenever_its_block_does(seed, on):
    network, codes = streamed_network(seed), frames(seed, 2)
    plan, found = run_frames(network, on, codes)
    wanted = {} if plan.load_cycles else wanted_rows(plan)
    for _, runs in found:
        for run in runs:
            rows = wanted.get((run.step.name, run.wave.number), [])
            silent = run.inputs.dense().reshape(run.step.shape.channels, -1) == -5
            rows = [row for row in rows if not silent[row[3]].all()]
            came = []
            if run.load is not None:
                columns = run.load.pe, run.load.address, run.load.dram_address
                came = list(zip(*(column.tolist() for column in columns), strict=True))
            assert sorted(came) == sorted(row[:3] for row in rows)
            assert came == sorted(came)
            assert all(address < on.pe.weight_bytes for _, address, _ in came)


def test_the_networks_here_have_weights_of_both_kinds_channel_waves_bands_and_chunks():
    plan = make_plan(streamed_network(0), SMALL)
    steps = {step.name: step for step in plan.steps if isinstance(step, MnfStep)}
    assert plan.load_cycles == 0
    assert steps["conv1"].residency is Residency.LAYER
    assert len(steps["conv1"].channel_waves) > 1
    assert steps["fc1"].residency is Residency.WAVE
    assert len(steps["fc1"].blocks) > len(steps["fc1"].channel_waves)
    narrow = make_plan(streamed_network(0), SMALL.replace(pe__psum_bank_bytes=12 * 8))
    steps = {step.name: step for step in narrow.steps if isinstance(step, MnfStep)}
    assert len(steps["conv1"].channel_waves) > 1
    assert len({wave.band for wave in steps["conv1"].waves}) > 1


@few
@given(seed=SEEDS, on=machines())
def test_a_plans_weights_lie_apart_in_dram_and_fill_it(seed, on):
    plan = make_plan(streamed_network(seed), on)
    taken = []
    for step in (step for step in plan.steps if isinstance(step, MnfStep)):
        for block in step.blocks:
            sizes = block.n_rows * on.pe.multipliers
            taken += zip(block.dram_base.tolist(), (block.dram_base + sizes).tolist(), strict=True)
    assert taken[0][0] == 0 and taken[-1][1] == plan.dram_bytes
    assert all(before[1] == after[0] for before, after in pairwise(taken))


# --- When ---


@few
@given(seed=SEEDS, on=machines(("simple",)))
def test_packets_of_weights_follow_each_other_flit_by_flit(seed, on):
    """Nothing else is in the network: a flit leaves storage in each cycle and is never held up."""
    _, found = run_frames(streamed_network(seed), on, frames(seed, 1))
    for run in (run for run in found[0][1] if run.load is not None):
        load, width = run.load, on.pe.multipliers
        at, cycle = 0, run.cycle0
        for number, (pe, n) in enumerate(packets_of(load.pe.tolist(), on)):
            flits = max(-(-8 * n * width // on.noc.flit_bits), n)
            assert load.packets.kind[number] == Kind.WEIGHTS
            assert (load.packets.created[number], load.packets.flits[number]) == (cycle, flits)
            assert load.packets.item[number] == at
            x, y = (pe + 1) % on.mesh.width, (pe + 1) // on.mesh.width
            first = cycle + 2 + x + y  # into router 0, x + y hops, to the node
            assert load.arrived[number] == first + flits - 1
            for j in range(n):
                assert load.read_cycle[at + j] == cycle + j * flits // n
                assert load.write_cycle[at + j] == first + -(-(j + 1) * flits // n) - 1
            at, cycle = at + n, cycle + flits
        assert at == len(load.pe)
        assert number + 1 == len(load.packets.source)


def packets_of(pes, on):
    """Return (PE, rows) of each packet for rows of these PEs."""
    found = []
    for pe in pes:
        is_full = bool(found) and found[-1][1] == on.storage.weight_packet_rows
        if not found or found[-1][0] != pe or is_full:
            found.append([pe, 0])
        found[-1][1] += 1
    return found


@few
@given(seed=SEEDS, on=machines())
def test_the_first_event_is_offered_in_the_cycle_after_the_last_row_was_written(seed, on):
    _, found = run_frames(streamed_network(seed), on, frames(seed, 1))
    for run in found[0][1]:
        begin = run.cycle0
        if run.load is not None:
            begin = run.load.write_cycle.max() + 1
            assert run.load.cycle1 == begin
        assert run.packets.created.min() == begin


# --- What it costs ---


@few
@given(seed=SEEDS, on=machines())
def test_slots_and_accesses_of_a_load_are_those_of_its_cycles_and_rows(seed, on):
    _, found = run_frames(streamed_network(seed), on, frames(seed, 2))
    width = on.pe.multipliers
    for run in (run for _, runs in found for run in runs):
        cycles = run.load.cycle1 - run.cycle0 if run.load else 0
        pes = run.load.pe.tolist() if run.load else []
        columns, of_pe = run.columns, [pes.count(pe) for pe in range(on.n_pes)]
        assert (columns.slots[:, Cause.WEIGHTS] == cycles * width).all()
        assert (columns.slots.sum(axis=1) == (run.cycle1 - run.cycle0) * width).all()
        assert columns.counts[0, Memory.DRAM].tolist() == [len(pes), 0]
        assert columns.counts[1:, Memory.WEIGHT, 1].tolist() == of_pe
        assert columns.bytes[0, Memory.DRAM].tolist() == [len(pes) * width, 0]
        assert columns.bytes[1:, Memory.WEIGHT, 1].tolist() == [n * width for n in of_pe]
        assert not columns.counts[1:, Memory.DRAM].any()
        assert not columns.counts[0, Memory.WEIGHT].any()


@few
@given(seed=SEEDS, on=machines())
def test_a_rows_read_comes_after_its_write(seed, on):
    plan, found = run_frames(streamed_network(seed), on, frames(seed, 1))
    written = {}
    for run in found[0][1]:
        for cycle, node, memory, op, address, _ in column_accesses(plan, run):
            if memory == "weight" and op == "write":
                written[node, address] = cycle
            elif memory == "weight" and not plan.load_cycles:
                assert written[node, address] < cycle


# --- Networks ---


@few
@given(seed=SEEDS, on=machines())
def test_a_network_whose_weights_do_not_fit_has_the_outputs_of_one_whose_do(seed, on):
    network, codes = streamed_network(seed), frames(seed, 2)
    plan, found = run_frames(network, on, codes)
    whole = firemesh.run(network, codes, LARGE)
    assert whole.load_cycles > 0
    for (frame, _), output, values in zip(found, whole.outputs, codes, strict=True):
        assert np.array_equal(frame.output, output)
        compared, wrong = differences(network, frame, values, 0)
        assert (compared, wrong) == (len(network.tensors), [])


def test_a_fully_connected_layer_larger_than_all_srams_is_exact():
    network, codes = streamed_network(3), frames(3, 3)
    on = LARGE.replace(pe__weight_bytes=6 * 12)
    plan = make_plan(network, on)
    fc1 = next(step for step in plan.steps if step.name == "fc1")
    n_rows = sum(int(block.n_rows.sum()) for block in fc1.blocks)
    assert n_rows > 10 * on.n_pes * on.pe.weight_rows
    result = firemesh.run(network, codes, on)
    assert np.array_equal(result.outputs, forward(network, codes)["f"])
    layer = result.layers.by_name("fc1")
    assert layer.waves == len(fc1.waves) > 10
    assert 0 < layer.counts[0, Memory.DRAM, 0] < 3 * n_rows


def test_every_frame_brings_its_weights_in_again():
    network, codes = streamed_network(0), frames(1, 1).repeat(3, axis=0)
    _, found = run_frames(network, SMALL, codes)
    came = []
    for _, runs in found:
        loads = [(run.step.name, run.wave.number, run.load) for run in runs if run.load]
        came.append([(name, n, load.pe.tolist(), load.address.tolist()) for name, n, load in loads])
    assert {name for name, *_ in came[0]} == {"conv1", "conv2", "fc1", "fc2"}
    assert came[0] == came[1] == came[2]


def test_weights_that_come_in_are_part_of_the_frame_and_of_its_energy():
    network, codes = streamed_network(1), frames(1, 1)
    cut, whole = (firemesh.run(network, codes, on) for on in (SMALL, LARGE))
    assert (cut.load_cycles, cut.slots["weights"] > 0) == (0, True)
    assert (whole.load_cycles > 0, whole.slots["weights"]) == (True, 0)
    assert cut.cycles * SMALL.multipliers == sum(cut.slots.values())
    assert cut.energy["DRAM"] > 0 == whole.energy["DRAM"]


# --- Traces ---


@pytest.mark.parametrize("multicast", ("tree", "chain", "unicast"))
def test_a_trace_of_waves_and_loads_verifies_and_is_what_they_did(multicast, tmp_path):
    network, codes = streamed_network(2), frames(2, 2)
    on = SMALL.replace(noc__multicast=multicast)
    emulation, done, result = record(network, codes, on, tmp_path / "run.h5", values=True)
    wanted = []
    for run in (run for frame in done for run in frame.runs if isinstance(run, WaveRun)):
        wanted += column_accesses(emulation.plan, run)
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        assert verify(trace).problems == []
        assert sorted(expanded(trace)) == sorted(wanted)
        assert trace.cycles == result.cycles
        segments = trace.segments
        waves = sum(layer.waves for layer in result.layers)
        assert len(segments) == 2 * waves


def overtakes(load):
    """Whether a packet of weights arrives at its PE before an earlier one."""
    pe = load.pe[load.packets.item]
    return bool(((np.diff(load.arrived) < 0) & (np.diff(pe) == 0)).any())


def test_weights_that_overtake_each_other_are_traced_as_they_came(tmp_path):
    network, codes = streamed_network(2), frames(2, 1)
    on = SMALL.replace(
        noc__router="P3",
        noc__buffer_flits=1,
        noc__multicast="chain",
        storage__weight_packet_rows=2,
    )
    emulation, (frame,), _ = record(network, codes, on, tmp_path / "run.h5")
    runs = [run for run in frame.runs if isinstance(run, WaveRun)]
    assert any(overtakes(run.load) for run in runs if run.load)
    wanted = [access for run in runs for access in column_accesses(emulation.plan, run)]
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        assert verify(trace).problems == []
        assert sorted(expanded(trace)) == sorted(wanted)


def test_a_run_with_waves_resumed_after_any_layer_ends_as_if_it_had_not_been_interrupted(
    tmp_path, monkeypatch
):
    network, codes = streamed_network(4), frames(4, 2)
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    whole = tmp_path / "whole.h5"
    *_, result = record(network, codes, SMALL, whole)
    commit, commits = Recorder.commit, 0

    def stopping(self, state):
        nonlocal commits
        commit(self, state)
        commits += 1
        if commits % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "commit", stopping)
    path, interrupts = tmp_path / "run.h5", 0
    while not path.exists():
        try:
            *_, resumed = record(network, codes, SMALL, path, resume=True)
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts > 2
    assert path.read_bytes() == whole.read_bytes()
    assert (resumed.outputs == result.outputs).all()
    for mine, other in zip(resumed.layers, result.layers, strict=True):
        for name in ("name", "waves", "cycles", "events", "halo", "repeated"):
            assert getattr(mine, name) == getattr(other, name)
        for name in ("slots", "counts", "bytes", "link_flits"):
            assert np.array_equal(getattr(mine, name), getattr(other, name))
