"""With values a trace tells what psum words held: the PEs' sums, and zero after the fire phase."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from small_layers import cases
from test_emulator_oracle import run_frames
from test_traces_oracle import record

import firemesh
from firemesh.traces.opened import open_trace


def fired(trace, layer, unit):
    """Return (cycle, address) -> psum read, of each lane."""
    found = {}
    for block, values in trace.psums(layer, unit):
        reads = block["op"] == 0
        for access, value in zip(block[reads], values[reads], strict=True):
            for lane in range(access["size"] // 4):
                found[int(access["cycle"]), int(access["address"]) + 4 * lane] = int(value[lane])
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_the_psums_that_the_fire_phase_reads_are_those_that_the_pes_accumulated(
    case, tmp_path_factory
):
    path = tmp_path_factory.mktemp("values") / "run.h5"
    runs = [(frame, run) for frame, run, _ in run_frames(case, 1)]
    record(case.plan, runs, path, values=True)
    machine = case.plan.machine
    units = range(1, machine.mesh.n_nodes)
    with open_trace(path) as trace:
        for layer in {run.step.name for _, run in runs}:
            reads = {unit: fired(trace, layer, unit) for unit in units}
            for _, run in runs:
                if run.step.name == layer and run.wave.fires:
                    check_sums(run, machine.pe, reads)


def check_sums(run, pe, reads):
    """Compare the last reads of a wave that fires, which are those of its fire phase."""
    images = {
        unit: {a: value for (t, a), value in sorted(of_unit.items()) if t in wave_cycles(run)}
        for unit, of_unit in reads.items()
    }
    mapping = run.wave.mapping
    for group in mapping.groups:
        for position in range(group.size):
            for y, x in np.ndindex(*run.sums.shape[1:]):
                module, word = mapping.word(group.number, position, y, x)
                address = module * pe.psum_bank_bytes + (word * pe.lanes + position % pe.lanes) * 4
                assert images[group.pe + 1][address] == run.sums[group.first + position, y, x]


def wave_cycles(run):
    return range(run.cycle0, run.cycle1)


def test_the_last_write_of_each_word_clears_it():
    with open_trace(firemesh.sample_trace()) as trace:
        for unit in trace.units[1:]:
            last = {}
            for block, values in trace.psums("conv2", unit):
                for access, value in zip(block, values, strict=True):
                    if access["op"] == 1:
                        last[int(access["address"])] = value
            assert last and not np.any(list(last.values()))


def test_the_values_of_packets_are_the_activations(tmp_path):
    network, images = firemesh.load("digits"), firemesh.images("digits", 1)[0]
    firemesh.run(network, images, trace=tmp_path / "run.h5", values=True)
    with open_trace(tmp_path / "run.h5") as trace:
        kinds = [name.decode() for name in trace.table("kinds")["name"]]
        packets = np.concatenate(list(trace.packets()))
    is_event = packets["kind"] == kinds.index("event")
    is_output = packets["kind"] == kinds.index("fired")
    assert (packets["value"][is_event | is_output] != 0).all()
    assert not packets["value"][~is_event & ~is_output].any()
    for layer in range(3):
        sent = np.sort(packets["value"][is_output & (packets["layer"] == layer)])
        read = np.sort(packets["value"][is_event & (packets["layer"] == layer + 1)])
        assert np.array_equal(sent, read)


def test_a_trace_without_values_says_so(tmp_path):
    network, images = firemesh.load("digits"), firemesh.images("digits", 1)[0]
    firemesh.run(network, images, trace=tmp_path / "run.h5")
    with open_trace(tmp_path / "run.h5") as trace:
        with pytest.raises(firemesh.TraceError, match="holds no values; record it with --values"):
            next(trace.psums("conv1", "pe1"))
