"""Traces of mixed runs: what was counted, byte for byte again, and where tensors lie."""

from collections import Counter, namedtuple
from itertools import pairwise, product

import numpy as np
import pytest
from test_emulator_cli import refused
from test_hybrid_exact import (
    PRESET,
    QUICK,
    conversion_numbers,
    cost_case,
    onnx_network,
    random_modes,
    wanted_conversions,
)

import firemesh
from firemesh.emulator.emulation import Emulation
from firemesh.emulator.flexnn.plan import FlexStep
from firemesh.emulator.hybrid.convert import ConvertStep
from firemesh.emulator.hybrid.emulation import HybridEmulation
from firemesh.emulator.hybrid.plan import make_choices, make_hybrid_plan
from firemesh.emulator.kinds import Memory
from firemesh.emulator.recorder import Recorder
from firemesh.emulator.run import Tally, recording
from firemesh.models.network import Quantize, Reshape
from firemesh.traces import writer
from firemesh.traces.errors import TraceError
from firemesh.traces.verify import verify

Case = namedtuple("Case", "choices modes images")
FORM = {"mnf": "events", "flexnn": "zvc"}


def case_of(seed, n_most=5, least_conversions=1):
    """Return a case whose modes make conversions."""
    for attempt in range(1000):
        rng, choices, images = cost_case([seed, attempt], 2, n_most)
        modes = random_modes(rng, choices)
        changes = wanted_conversions(choices.network, modes, choices.pooled_by)
        if len(changes) >= least_conversions:
            return Case(choices, modes, images)
    raise AssertionError("no such case")


def record(case, path, **options):
    """Run with a trace; return emulation, frames and result."""
    emulation = HybridEmulation(make_hybrid_plan(case.choices, case.modes))
    tally, frames = Tally(emulation, "mixed"), []
    with recording(emulation, case.images, "mixed", "test", path, **options) as recorder:
        for frame in emulation.frames(case.images, None, recorder, tally):
            frames.append(frame)
            tally.add(frame)
    return emulation, frames, tally.result()


def counted(result):
    """Return (layer, unit, memory, op) -> count and bytes, from a result."""
    found = {}
    for layer in result.layers:
        for at in np.argwhere(layer.counts):
            unit, memory, op = map(int, at)
            key = layer.name, unit, Memory(memory).name.lower(), op
            found[key] = int(layer.counts[tuple(at)]), int(layer.bytes[tuple(at)])
    return found


def of_counters(trace):
    names = {name: number for number, name in enumerate(trace.units)}
    return {
        (row["layer"], names[row["unit"]], row["memory"], trace.ops.index(row["op"])): (
            int(row["count"]),
            int(row["bytes"]),
        )
        for row in trace.counters(by=("layer", "unit", "memory", "op"))
        if not row["memory"].startswith("noc_")
    }


def of_accesses(trace, order):
    counts, sizes = Counter(), Counter()
    for number, layer in enumerate(trace.layers):
        for block in trace.accesses(layer=number, order=order):
            for unit, memory, op, size in zip(
                *(block[name].tolist() for name in ("unit", "memory", "op", "size")), strict=True
            ):
                key = layer, unit, trace.memories[memory], op
                counts[key] += 1
                sizes[key] += size
    return {key: (n, sizes[key]) for key, n in counts.items()}


@pytest.mark.parametrize("seed", range(30))
def test_a_mixed_runs_trace_verifies_and_its_accesses_add_up_to_the_result(seed, tmp_path):
    case = case_of(seed)
    emulation, _, result = record(case, tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        assert verify(trace).problems == []
        assert trace.layers == [layer.name for layer in result.layers]
        assert trace.cycles == result.cycles == emulation.cycle
        wanted = counted(result)
        assert of_counters(trace) == wanted
        assert of_accesses(trace, "cycle") == wanted
        assert of_accesses(trace, "storage") == wanted
        flits = Counter()
        for row in trace.flits(by=("layer",)):
            flits[row["layer"]] += int(row["count"])
        assert flits == Counter({x.name: n for x in result.layers if (n := x.link_flits.sum())})
        for row in trace.slots(by=("layer",)):
            (layer,) = (layer for layer in result.layers if layer.name == row["layer"])
            assert row["count"] == layer.slots.sum()
        modes = {row["name"].decode(): row["mode"].decode() for row in trace.table("layers")}
        assert modes == {layer.name: layer.mode for layer in result.layers}


def written_out(result, frame, machine):
    """Return (memory, op, size) of a conversion's accesses, one a cycle, from its definition."""
    name, form = result.name.split(" to ")
    part, width = frame.tensors[name], machine.flexnn.dram.bytes_per_cycle
    memory = "dram" if machine.mnf.storage.tensors == "dram" else "storage"
    events = [(memory, 8)] * len(part.flat)
    left, zvc = conversion_bytes(part, machine), []
    while left:
        zvc.append(("dram", min(left, width)))
        left -= zvc[-1][1]
    sides = (events, zvc) if form == "zvc" else (zvc, events)
    return [(memory, op, size) for op, side in enumerate(sides) for memory, size in side]


def conversion_bytes(part, machine):
    codes = part.dense()
    numbers = conversion_numbers(codes, part.tensor.zero_point, "zvc", machine)
    return numbers[2][Memory.DRAM, 1]


@pytest.mark.parametrize("seed", range(12))
def test_a_conversion_reads_first_then_writes_an_access_a_cycle(seed, tmp_path):
    case = case_of(50 + seed)
    machine = case.choices.machine
    _, frames, _ = record(case, tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        for frame in frames:
            for result in (result for result in frame.results if result.mode == "convert"):
                (segment,) = (
                    row
                    for row in trace.segments
                    if trace.layers[row["layer"]] == result.name and row["frame"] == frame.number
                )
                blocks = list(trace.accesses(layer=result.name, frame=frame.number))
                found = [
                    (trace.memories[a["memory"]], int(a["op"]), int(a["size"]))
                    for block in blocks
                    for a in block
                ]
                cycles = [int(cycle) for block in blocks for cycle in block["cycle"]]
                assert found == written_out(result, frame, machine)
                assert cycles == list(range(segment["cycle0"], segment["cycle1"]))


@pytest.mark.parametrize("seed", range(5))
def test_the_trace_of_a_mixed_run_of_an_onnx_file_verifies(seed, tmp_path):
    network, images = onnx_network(seed, tmp_path)
    choices = make_choices(network, PRESET, None, QUICK)
    modes = random_modes(np.random.default_rng(seed), choices)
    _, _, result = record(Case(choices, modes, images), tmp_path / "run.h5")
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        assert verify(trace).problems == []
        assert of_counters(trace) == of_accesses(trace, "storage") == counted(result)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("values", [False, True])
def test_two_mixed_runs_give_the_same_bytes(seed, values, tmp_path):
    case = case_of(100 + seed)
    for name in ("one.h5", "two.h5"):
        record(case, tmp_path / name, values=values)
    with firemesh.open_trace(tmp_path / "one.h5") as trace:
        assert verify(trace).problems == []
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def stopping(monkeypatch, every):
    """Let every some commits of a trace be the last of its process."""
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    commit, commits = Recorder.commit, 0

    def commit_and_stop(self, state):
        nonlocal commits
        commit(self, state)
        commits += 1
        if commits % every == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "commit", commit_and_stop)


def resumed(run, path):
    """Run until the trace is whole; return what came last, and the interrupts."""
    interrupts = 0
    while not path.exists():
        try:
            last = run()
        except KeyboardInterrupt:
            interrupts += 1
    return last, interrupts


def equal_results(one, other):
    return all(
        (a.name, a.mode, a.cycles, a.events) == (b.name, b.mode, b.cycles, b.events)
        and all(np.array_equal(getattr(a, x), getattr(b, x)) for x in ("slots", "counts", "bytes"))
        for a, b in zip(one.layers, other.layers, strict=True)
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_mixed_run_resumed_after_any_layer_or_conversion_gives_the_same_bytes(
    seed, tmp_path, monkeypatch
):
    case = case_of(200 + seed)
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    *_, whole = record(case, tmp_path / "whole.h5")
    stopping(monkeypatch, every=2 + seed % 2)
    path = tmp_path / "run.h5"
    (*_, result), interrupts = resumed(lambda: record(case, path, resume=True), path)
    assert interrupts > 1
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert equal_results(result, whole) and np.array_equal(result.outputs, whole.outputs)


@pytest.mark.parametrize("mode", ["auto", {"conv*": "flexnn", "*": "mnf"}])
def test_a_run_of_digits_resumed_gives_the_same_bytes(mode, tmp_path, monkeypatch):
    images = firemesh.images("digits", 2)[0]

    def run(name, **options):
        return firemesh.run("digits", images, PRESET, mode, trace=tmp_path / name, **options)

    whole = run("whole.h5")
    stopping(monkeypatch, every=3)
    result, interrupts = resumed(lambda: run("run.h5", resume=True), tmp_path / "run.h5")
    assert interrupts > 0
    assert (tmp_path / "run.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert equal_results(result, whole) and np.array_equal(result.outputs, whole.outputs)


def test_an_interrupt_within_a_frame_is_resumed_to_the_same_bytes(tmp_path, monkeypatch):
    case = case_of(300, least_conversions=2)
    record(case, tmp_path / "whole.h5")
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    run_step = Emulation.run_step

    def until(self, step, *rest):
        if isinstance(step, ConvertStep) and self._position.frame == 1:
            raise KeyboardInterrupt
        run_step(self, step, *rest)

    monkeypatch.setattr(Emulation, "run_step", until)
    with pytest.raises(KeyboardInterrupt):
        record(case, tmp_path / "run.h5")
    monkeypatch.setattr(Emulation, "run_step", run_step)
    record(case, tmp_path / "run.h5", resume=True)
    assert (tmp_path / "run.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


# --- Addresses ---


def in_dram(seed, **more):
    """Return a case whose event lists lie in DRAM."""
    for attempt in range(1000):
        case = case_of([400, seed, attempt], **more)
        if case.choices.machine.mnf.storage.tensors == "dram":
            return case
    raise AssertionError("no such case")


def roots(network):
    found = {name: name for name in network.tensors}
    for layer in network.layers:
        if isinstance(layer, Reshape):
            found[layer.output] = found[layer.inputs[0]]
    return found


def entered(network):
    """Return the code tensors that are there before cycle 0."""
    quantised = [layer.output for layer in network.layers if isinstance(layer, Quantize)]
    return [name for name in (*network.inputs, *quantised) if network.tensors[name].is_code]


def accesses_of(trace, layer, frame, memory):
    """Return (op, address, size) of a unit's, that is storage's, accesses in order of cycles."""
    found = []
    for block in trace.accesses(layer=layer, frame=frame, memory=memory, unit=0):
        found += zip(*(block[x].tolist() for x in ("op", "address", "size")), strict=True)
    return found


def addresses(accesses, op):
    return {address for o, address, _ in accesses if o == op}


@pytest.mark.parametrize("seed", range(32))
def test_events_are_read_where_the_conversion_or_the_layer_before_wrote_them(seed, tmp_path):
    case = case_of(500 + seed)
    machine = case.choices.machine.replace(flexnn__dram__bytes_per_cycle=64)
    case = case._replace(choices=make_choices(case.choices.network, machine, None, QUICK))
    emulation, frames, _ = record(case, tmp_path / "run.h5")
    plan, root, memory = emulation.plan, roots(case.choices.network), "dram"
    first, n_checked = plan.mnf.dram_bytes, 0
    steps = [step for step in plan.steps if plan.modes.get(step.name) != "flexnn"]
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        for frame in frames:
            there = {name: frame.tensors[name].address for name in entered(case.choices.network)}
            lists = {name: set(address.tolist()) for name, address in there.items()}
            for step in (step for step in steps if step.name in trace.layers):
                done = accesses_of(trace, step.name, frame.number, memory)
                if isinstance(step, ConvertStep) and step.to == "zvc":
                    assert addresses(done, 0) == lists[step.tensor]
                    n_checked += 1
                    continue
                written = addresses(done, 1)
                assert len(written) == sum(op for op, *_ in done)
                assert written == set(frame.tensors[step.output].address.tolist())
                known = [lists.get(root[name]) for name in step.inputs]
                if not isinstance(step, ConvertStep) and None not in known:
                    read = [address for op, address, _ in done if not op and address >= first]
                    assert set(read) <= set.union(*known)
                    (result,) = (r for r in frame.results if r.name == step.name)
                    assert len(read) >= result.events
                    n_checked += 1
                lists[step.output] = written
    assert n_checked


def areas(plan):
    """Return the bytes of DRAM of each kind: half-open ranges."""
    first, zvc, behind = plan.mnf.dram_bytes, plan.flexnn.tensor_base, plan.flexnn.weight_base
    steps = [step for step in plan.flexnn.steps if isinstance(step, FlexStep)]
    found = {
        "mnf weights": (0, first),
        "zvc": (zvc, zvc + plan.flexnn.storage_bytes),
        "flexnn weights": (behind, behind + 2 * sum(step.layer.weight.size for step in steps)),
    }
    if plan.machine.mnf.storage.tensors == "dram":
        found["events"] = first, first + plan.mnf.storage_bytes
    return found


@pytest.mark.parametrize("seed", range(40))
def test_every_byte_of_dram_that_is_read_holds_what_the_reader_wants(seed, tmp_path):
    """Bytes are replayed: of tensors the last writer has to be the one of tensor and form.

    A layer of mode flexnn that writes tiles of a tensor is taken to write its whole region.
    """
    case = in_dram(seed) if seed % 4 else case_of([600, seed])
    network, machine = case.choices.network, case.choices.machine
    emulation, frames, _ = record(case, tmp_path / "run.h5")
    plan = emulation.plan
    root, kinds = roots(network), areas(plan)
    ends = sorted(kinds.values())
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    regions = {"zvc": {name: kinds["zvc"][0] + at for name, at in plan.flexnn.regions.items()}}
    if machine.mnf.storage.tensors == "dram":
        regions["events"] = plan.mnf.regions
    number = {}

    def key(name, form):
        return number.setdefault((root[name], form), len(number))

    def region(name, form):
        at = regions[form][name]
        assert kinds[form][0] <= at and at + 8 * network.tensors[name].size <= kinds[form][1]
        return slice(at, at + 8 * network.tensors[name].size)

    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        for frame in frames:
            holds = np.full(ends[-1][1], -1)
            for name, form in product(entered(network), regions):
                holds[region(name, form)] = key(name, form)
            for step in (step for step in plan.steps if step.name in trace.layers):
                mode, form = plan.modes.get(step.name), None
                wanted, form = {key(name, FORM.get(mode)) for name in step.inputs}, FORM.get(mode)
                if isinstance(step, ConvertStep):
                    form = step.to
                    wanted = {key(step.tensor, "zvc" if form == "events" else "events")}
                for op, address, size in accesses_of(trace, step.name, frame.number, "dram"):
                    own = slice(address, address + size)
                    if op:
                        whole = region(step.output, form)
                        assert whole.start <= own.start and own.stop <= whole.stop
                        holds[own if form == "events" else whole] = key(step.output, form)
                    elif (held := set(holds[own].tolist())) == {-1}:
                        low, high = kinds[f"{mode} weights"]
                        assert low <= own.start and own.stop <= high
                    else:
                        assert held <= wanted


class StoppedError(Exception):
    """Ends a run."""


def stop(frame, layer):
    raise StoppedError


def test_a_run_is_gone_on_from_with_the_same_modes_only(tmp_path):
    network, images = firemesh.load("digits"), firemesh.images("digits", 2)[0]
    path = tmp_path / "run.h5"
    given = {"machine": "hybrid-256", "trace": path}
    modes = {"conv1": "mnf", "*": "flexnn"}
    with pytest.raises(StoppedError):
        firemesh.run(network, images, mode=modes, progress=stop, **given)
    with pytest.raises(TraceError, match="another run, with another mode; repeat that run"):
        firemesh.run(network, images, mode={"*": "flexnn"}, resume=True, **given)
    firemesh.run(network, images, mode={"conv1": "mnf", "*[2c1]*": "flexnn"}, resume=True, **given)
    with firemesh.open_trace(path) as trace:
        assert trace.attribute("mode").startswith("mixed ")
        assert verify(trace).problems == []


def test_a_trace_does_not_replace_what_the_run_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "modes.yaml").write_text('"*": flexnn\n')
    told = refused(
        capsys, "run", "digits", "--frames", "1", "--mode", "modes.yaml",
        "--trace", "modes.yaml", "--force",
    )  # fmt: skip
    assert told.startswith("--trace modes.yaml: is given twice; name different files")
    assert (tmp_path / "modes.yaml").read_text() == '"*": flexnn\n'
