"""Random networks with layers in random modes: outputs, costs, conversions, and the choice."""

from collections import Counter
from dataclasses import fields
from itertools import product

import numpy as np
import onnx
import onnx_graphs
import pytest
from streamed_networks import frames as streamed_frames
from streamed_networks import streamed_network

import firemesh
from firemesh.emulator.check import differences
from firemesh.emulator.energy import energy
from firemesh.emulator.flexnn.emulation import FlexEmulation
from firemesh.emulator.flexnn.plan import Search
from firemesh.emulator.hybrid.assign import OBJECTIVES, total
from firemesh.emulator.hybrid.decide import decide
from firemesh.emulator.hybrid.emulation import HybridEmulation
from firemesh.emulator.hybrid.mode_file import modes_of
from firemesh.emulator.hybrid.plan import make_choices, make_hybrid_plan
from firemesh.emulator.kinds import Memory
from firemesh.emulator.mnf.emulation import MnfEmulation
from firemesh.models.network import (
    Add,
    Concat,
    Conv,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Network,
    Reshape,
    Tensor,
)
from firemesh.models.reference import forward

PRESET = firemesh.machine("hybrid-256")
QUICK = Search(keep=0)
PES = ((1, 1), (1, 2), (2, 1), (3, 1), (2, 2), (4, 1), (3, 2), (9, 1), (4, 3), (1, 16), (16, 1))
"""Modules and lanes of a PE."""
SIDES = ((1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (4, 4))
STEPS = (
    ("conv", "pool", "conv", "average"),
    ("conv", "residual", "depthwise", "pool"),
    ("concat", "conv", "activation", "mean"),
    ("pool", "conv", "product", "transpose", "pointwise"),
    ("pointwise", "softmax", "scaled", "axes", "conv"),
)


# --- Networks ---


class Maker:
    """Adds random layers that read any tensor there is, the newest more often."""

    def __init__(self, rng):
        self.rng, self.layers, self.tensors = rng, [], {}
        self.dtype = str(rng.choice(["int8", "uint8"]))
        self.info = np.iinfo(self.dtype)
        self.tensor("x", (int(rng.integers(1, 5)), *rng.integers(4, 8, 2).tolist()))

    def tensor(self, name, shape, like=None):
        zero = self.rng.choice(
            [self.info.min, self.info.max, self.rng.integers(self.info.min, 100)]
        )
        zero = like.zero_point if like else int(zero)
        self.tensors[name] = Tensor(name, tuple(map(int, shape)), self.dtype, 1.0, zero)

    def source(self, rank=None):
        """Return a tensor; of a rank, or None where there is none of it."""
        known = [t for t in self.tensors.values() if rank in (None, len(t.shape))]
        back = min(len(known), int(self.rng.geometric(0.6)))
        return known[-back] if known else None

    def add(self, kind, inputs, shape, like=None, **more):
        number = len(self.layers)
        self.tensor(f"t{number}", shape, like)
        names = tuple(t.name for t in inputs)
        self.layers.append(kind(f"{kind.op.lower()}{number}", names, f"t{number}", **more))

    def weighted(self, kind, inputs, shape, weight_shape, **more):
        rng, k = self.rng, weight_shape[0]
        weight = rng.integers(-128, 128, weight_shape)
        weight[rng.random(weight_shape) < rng.choice((0.0, 0.5, 0.9))] = 0
        number = f"t{len(self.layers)}"
        self.add(
            kind, inputs, shape, weight=weight.astype(np.int8),
            weight_zero_point=np.zeros(k, np.int32),
            multiplier=rng.uniform(1e-3, 1e-2, k).astype(np.float32),
            bias=rng.integers(-3000, 3000, k).astype(np.int32), low=self.info.min,
            high=self.info.max, **more,
        )  # fmt: skip
        if rng.random() < 0.6:
            fields_of = vars(self.layers[-1]) | {"low": self.tensors[number].zero_point}
            self.layers[-1] = kind(**fields_of)

    def conv(self, x=None):
        x, rng = x or self.source(3), self.rng
        c, *size = x.shape
        groups = (
            c if rng.random() < 0.3 else int(rng.choice([1, *(g for g in (2, 3) if not c % g)]))
        )
        k = groups * int(rng.integers(1, 4))
        window = [rng.integers(low, high, 2).tolist() for low, high in ((1, 4), (1, 3), (1, 3))]
        kernel, strides, dilations = window
        pads = rng.integers(0, 3, 4).tolist()
        room = [
            size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1 for i in (0, 1)
        ]
        if min(room) < 0:
            kernel, pads, room = [1, 1], [0] * 4, [n - 1 for n in size]
        shape = (k, *(room[i] // strides[i] + 1 for i in (0, 1)))
        self.weighted(
            Conv, [x], shape, (k, c // groups, *kernel), strides=tuple(strides), pads=tuple(pads),
            dilations=tuple(dilations), groups=groups,
        )  # fmt: skip

    def pool(self, x=None):
        x = x or self.source(3)
        c, *size = x.shape
        kernel = [min(n, int(self.rng.integers(1, 4))) for n in size]
        strides = self.rng.integers(1, 3, 2).tolist()
        shape = (c, *((size[i] - kernel[i]) // strides[i] + 1 for i in (0, 1)))
        self.add(MaxPool, [x], shape, like=x, kernel=tuple(kernel), strides=tuple(strides))

    def conv_pool(self):
        self.conv()
        self.pool(list(self.tensors.values())[-1])

    def join(self):
        """Join a tensor with a pointwise layer of it, or with itself, or with another."""
        x = self.source(3)
        if self.rng.random() < 0.7:
            c = x.shape[0]
            self.weighted(Conv, [x], x.shape, (c, c, 1, 1))
        same = [t for t in self.tensors.values() if t.shape == x.shape]
        other = same[self.rng.integers(len(same))]
        if self.rng.random() < 0.5:
            self.add(Add, [x, other], x.shape)
        else:
            parts = [x, other, x][: self.rng.integers(1, 4)]
            c = sum(t.shape[0] for t in parts)
            self.add(Concat, parts, (c, *x.shape[1:]), axis=0)

    def average(self):
        x = self.source(3)
        self.add(GlobalAveragePool, [x], (x.shape[0], 1, 1))

    def flatten(self):
        x = self.source(3)
        self.add(Reshape, [x], (x.size,), like=x)

    def linear(self):
        if self.source(1) is None or self.rng.random() < 0.3:
            self.flatten()
        x, k = self.source(1), int(self.rng.integers(1, 7))
        self.weighted(Linear, [x], (k,), (k, x.size))

    def network(self):
        read = {name for layer in self.layers for name in layer.inputs}
        made = [layer.output for layer in self.layers]
        outputs = [name for name in made if name not in read or self.rng.random() < 0.15]
        return Network("random", tuple(self.layers), self.tensors, ("x",), tuple(outputs))


def random_network(rng, n):
    """Return a network of at least n layers, all of code tensors."""
    maker = Maker(rng)
    kinds = ("conv", "conv", "conv_pool", "join", "join", "pool", "flatten", "linear", "average")
    while len(maker.layers) < n:
        getattr(maker, str(rng.choice(kinds)))()
    return maker.network()


def random_images(rng, network, n=1):
    """Return frames of a network whose input is of codes."""
    x = network.tensors[network.inputs[0]]
    info = np.iinfo(x.dtype)
    codes = rng.integers(info.min, info.max + 1, (n, *x.shape))
    codes[rng.random(codes.shape) < rng.choice((0.0, 0.4, 0.9, 1.0))] = x.zero_point
    return codes.astype(x.dtype)


def onnx_network(seed, folder):
    """Return a network from a random ONNX file, and two frames of real numbers."""
    is_qdq, kind = bool(seed % 3), ("int8", "uint8")[seed % 2]
    model, images = onnx_graphs.random_graph(seed, is_qdq, kind, STEPS[seed % len(STEPS)])
    onnx.save(model, folder / "random.onnx")
    return firemesh.load(folder / "random.onnx"), images[:2]


# --- Machines ---


def machine_changes(rng):
    """Return the changed fields of a small machine that keeps what hybrids check."""
    draw = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    (modules, lanes), (rows, columns) = draw(*PES), draw(*SIDES)
    ports, banks = draw(1, 1, 2, 4), int(rng.integers(3, 17))
    bank = 4 * lanes * draw(2, 5, 24, 400, 1500)
    bank_bytes = -(-(modules * bank + modules * lanes * draw(40, 200, 4000)) // banks) + 256
    router = draw("simple", "simple", "P4", "P2")
    tile = draw("auto", *(t for t in ("2x2", "3x1") if not modules % (int(t[0]) * int(t[2]))))
    return {
        "mnf__pe__modules": modules,
        "mnf__pe__lanes": lanes,
        "flexnn__array__lanes": modules * lanes,
        "flexnn__array__rows": rows,
        "flexnn__array__columns": columns,
        "mnf__pe__psum_bank_bytes": bank,
        "mnf__pe__weight_bytes": banks * bank_bytes - modules * bank,
        "flexnn__rf__banks": banks,
        "flexnn__rf__bank_bytes": bank_bytes,
        "mnf__pe__weights": draw("rows", "dense", "ideal"),
        "mnf__pe__tile": tile,
        "mnf__pe__fire_lanes": draw(1, lanes, modules * lanes),
        "mnf__pe__forwarding": draw(True, False),
        "mnf__storage__ports": ports,
        "flexnn__sdn__storage_ports": ports,
        "mnf__storage__weight_packet_rows": draw(1, 3, 8),
        "flexnn__dram__bytes_per_cycle": 8 * (1 + ports) + draw(0, 3, 50),
        "flexnn__sparsity__modes": draw(
            ("dense",), ("dense", "weight"), ("both",), ("dense", "activation", "weight", "both")
        ),
        "flexnn__sparsity__pays_below": draw(0.0, 0.5, 0.875, 1.0),
        "flexnn__sparsity__empty_window_cycles": draw(0, 1),
        "flexnn__sparsity__barrier": draw("vpe", "column", "array"),
        "flexnn__sram__ports": draw("split", "shared"),
        "flexnn__sdn__packet_flits": draw(1, 5, 16),
        "noc__router": router,
        "noc__routing": draw("xy", "yx", *(("west-first",) if router != "simple" else ())),
        "noc__buffer_flits": draw(1, 4) if router == "simple" else 16,
        "noc__vcs": draw(1, 2, 4),
        "noc__multicast": draw("tree", "unicast"),
        "noc__flit_bits": draw(16, 24, 64, 128),
        "noc__event_format": draw("full", "compact"),
    }


def random_machine(rng):
    return PRESET.replace(**machine_changes(rng))


# --- Runs ---


def random_modes(rng, choices):
    """Return a mode of each layer, and how they may be given."""
    return {unit.name: str(rng.choice(sorted(unit.steps))) for unit in choices.units}


def ran(choices, modes, images):
    """Return emulation and frames of an assignment."""
    emulation = HybridEmulation(make_hybrid_plan(choices, modes))
    return emulation, list(emulation.frames(images))


def check_exact(network, machine, images, rng, n=2):
    """Demand that random modes give the reference's tensors; return how many conversions ran."""
    choices = make_choices(network, machine, None, QUICK)
    found = 0
    for _ in range(n):
        modes = random_modes(rng, choices)
        emulation, frames = ran(choices, modes, images)
        stored = {step.output for step in emulation.plan.steps}
        for frame in frames:
            compared, wrong = differences(network, frame, images[frame.number], lambda layer: 0)
            assert wrong == []
            assert compared >= len(stored)
            found += sum(result.mode == "convert" for result in frame.results)
        assert emulation.cycle == sum(r.cycles for frame in frames for r in frame.results)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_every_tensor_of_a_random_network_in_random_modes_equals_the_reference(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(2, 8)))
    check_exact(network, random_machine(rng), random_images(rng, network, 2), rng)


@pytest.mark.parametrize("seed", range(20))
def test_every_tensor_of_an_onnx_file_in_random_modes_equals_the_reference(seed, tmp_path):
    rng = np.random.default_rng(seed)
    network, images = onnx_network(seed, tmp_path)
    check_exact(network, random_machine(rng), images, rng, n=1)


@pytest.mark.parametrize("seed", range(10))
def test_every_tensor_of_a_network_with_streamed_weights_equals_the_reference(seed):
    rng, network = np.random.default_rng(seed), streamed_network(seed)
    check_exact(network, random_machine(rng), streamed_frames(seed, 1), rng)


# --- Costs ---


def same(one, other):
    """Tell whether two results of a layer are equal in every field."""
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))


def pure_results(choices, images):
    """Return (mode, name) -> results by frame, of what either mode's own emulation runs."""
    network, machine = choices.network, choices.machine
    flexnn = FlexEmulation(network, machine.of_flexnn, search=QUICK)
    found, emulations = {}, [("flexnn", flexnn)]
    if not choices.refused:
        emulations.append(("mnf", MnfEmulation(network, machine.of_mnf)))
    for mode, emulation in emulations:
        for frame in emulation.frames(images):
            for result in frame.results:
                found.setdefault((mode, result.name), []).append(result)
    return found


def wanted_conversions(network, modes, pooled_by):
    """Return (tensor, form) of each change of form: one per tensor that a reader wants so."""
    modes = modes | {pool: modes[layer] for pool, layer in pooled_by.items()}
    form = {"mnf": "events", "flexnn": "zvc"}
    root, held, found = {}, {}, []
    for layer in network.layers:
        if isinstance(layer, Reshape):
            root[layer.output] = root.get(layer.inputs[0], layer.inputs[0])
        if layer.name not in modes:
            continue
        for name in (root.get(name, name) for name in layer.inputs):
            pair = name, form[modes[layer.name]]
            if name in held and held[name] != pair[1] and pair not in found:
                found.append(pair)
        held[layer.output] = form[modes[layer.name]]
    return found


def conversion_numbers(codes, zero_point, form, machine):
    """Return cycles, counts and bytes by (memory, op) of a change of form; from its definition."""
    n, size = int(np.count_nonzero(codes != zero_point)), codes.size
    sparsity, width = machine.flexnn.sparsity, machine.flexnn.dram.bytes_per_cycle
    is_short = {"activation", "both"} & set(sparsity.modes) and n / size < sparsity.pays_below
    zvc_bytes = -(-size // 8) + n if is_short else size
    words = -(-zvc_bytes // width)
    memory = Memory.DRAM if machine.mnf.storage.tensors == "dram" else Memory.STORAGE
    events, zvc = (memory, n, 8 * n), (Memory.DRAM, words, zvc_bytes)
    counts, n_bytes = Counter(), Counter()
    sides = (events, zvc) if form == "zvc" else (zvc, events)
    for op, (memory, accesses, moved) in enumerate(sides):
        counts[memory, op] += accesses
        n_bytes[memory, op] += moved
    return n + words, counts, n_bytes


def nonzero(array):
    """Return (memory, op) -> number of storage's accesses; of no other unit there are any."""
    assert not array[1:].any()
    return {tuple(map(int, at)): int(array[0][tuple(at)]) for at in np.argwhere(array[0])}


def cost_case(seed, n_least=2, n_most=7):
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(n_least, n_most + 1)))
    machine = random_machine(rng)
    return rng, make_choices(network, machine, None, QUICK), random_images(rng, network, 2)


@pytest.mark.parametrize("seed", range(100, 150))
def test_a_layer_costs_the_same_in_a_mixed_run_as_in_its_modes_own_whatever_ran_before(seed):
    rng, choices, images = cost_case(seed)
    images = np.concatenate([images, images[:1]])
    pure, pools = pure_results(choices, images), set(choices.pooled_by)
    for _ in range(2):
        modes = random_modes(rng, choices)
        _, frames = ran(choices, modes, images)
        assert all(same(*pair) for pair in zip(frames[0].results, frames[2].results, strict=True))
        for frame in frames:
            layers = [result for result in frame.results if result.mode != "convert"]
            names = [unit.name for unit in choices.units]
            names += [pool for pool in pools if modes[choices.pooled_by[pool]] == "flexnn"]
            assert sorted(result.name for result in layers) == sorted(names)
            for result in layers:
                mode = modes[choices.pooled_by.get(result.name, result.name)]
                if (mode, result.name) in pure:
                    assert same(result, pure[mode, result.name][frame.number])
                else:
                    assert mode == "mnf" and choices.refused


@pytest.mark.parametrize("seed", range(150, 200))
def test_conversions_are_those_that_readers_want_and_count_what_their_definition_says(seed):
    rng, choices, images = cost_case(seed)
    network, machine = choices.network, choices.machine
    for _ in range(3):
        modes = random_modes(rng, choices)
        _, frames = ran(choices, modes, images)
        wanted = wanted_conversions(network, modes, choices.pooled_by)
        for frame in frames:
            tensors = forward(network, images[frame.number][None], 0)
            results = [result for result in frame.results if result.mode == "convert"]
            assert [r.name for r in results] == [f"{name} to {form}" for name, form in wanted]
            for result, (name, form) in zip(results, wanted, strict=True):
                zero = network.tensors[name].zero_point
                numbers = conversion_numbers(tensors[name][0], zero, form, machine)
                assert (result.cycles, nonzero(result.counts), nonzero(result.bytes)) == (
                    numbers[0], +numbers[1], +numbers[2]
                )  # fmt: skip
                assert result.slots.sum() == result.cycles * machine.multipliers
                assert not (result.link_flits.any() or result.sent_flits.any())


def measured(choices, modes, images, schedule=None):
    """Return cycles and pJ of a frame that really runs."""
    emulation = HybridEmulation(make_hybrid_plan(choices, modes, schedule))
    (frame,) = emulation.frames(images)
    machine = choices.machine
    pj = sum(sum(energy(result.activity, machine).values()) for result in frame.results)
    assert emulation.cycle == sum(result.cycles for result in frame.results)
    return emulation.cycle, pj


def same_cost(cost, pair, n_parts):
    """Tell whether a total of fJ, each part rounded, is the sum of a run."""
    return cost.cycles == pair[0] and abs(cost.energy_fj - 1000 * pair[1]) <= n_parts


@pytest.mark.parametrize("seed", range(200, 225))
def test_an_assignments_total_is_what_its_run_takes(seed):
    rng, choices, images = cost_case(seed)
    decision = decide(choices, images[0])
    n_parts = 3 * len(choices.units)
    for modes in [random_modes(rng, choices) for _ in range(4)] + [dict(decision.modes)]:
        run = measured(choices, modes, images[:1], decision.schedule)
        assert same_cost(total(decision.problem, modes), run, n_parts)
    assert same_cost(decision.total, run, n_parts)


# --- The choice ---


def value(objective, pair):
    cycles, pj = pair
    return {"cycles": cycles, "energy": pj, "edp": cycles * pj}[objective]


def objective_of(decision, objective):
    return value(objective, (decision.total.cycles, decision.total.energy_fj))


def assignments(units):
    """Return every assignment of modes."""
    for modes in product(*(sorted(unit.steps) for unit in units)):
        yield dict(zip((unit.name for unit in units), modes, strict=True))


def choice_case(seed, objective, least, most):
    """Return a network of some number of layers that do not all want one mode, and the decision.

    Returns
    -------
    rng : numpy.random.Generator
    choices : Choices
        Searched for the objective.
    images : array
    decision : Decision
    """
    for attempt in range(1000):
        rng = np.random.default_rng([seed, attempt])
        network = random_network(rng, least)
        machine = random_machine(rng)
        choices = make_choices(network, machine, None, Search(objective, keep=0))
        if least <= len(choices.units) <= most:
            images = random_images(rng, network)
            decision = decide(choices, images[0], objective)
            if len(set(wishes(decision, objective))) > 1:
                return rng, choices, images, decision
    raise AssertionError("no such network")


def wishes(decision, objective):
    """Yield the mode that each layer would have alone."""
    for costs in decision.problem.layers.values():
        pairs = {mode: (cost.cycles, cost.energy_fj) for mode, cost in costs.items()}
        yield min(pairs, key=lambda mode: value(objective, pairs[mode]))


def least_or_equal(one, other):
    return one <= other * (1 + 1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(12))
def test_no_assignment_that_is_run_has_a_smaller_objective(seed, objective):
    _, choices, images, decision = choice_case(seed, objective, 3, 6)
    best = value(objective, measured(choices, decision.modes, images, decision.schedule))
    for modes in assignments(choices.units):
        assert least_or_equal(best, value(objective, measured(choices, modes, images))), modes


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(2))
def test_of_4096_totals_none_is_smaller_and_runs_of_30_are_their_totals(seed, objective):
    rng, choices, images, decision = choice_case(100 + seed, objective, 12, 12)
    costs = [total(decision.problem, modes) for modes in assignments(choices.units)]
    pairs = [(cost.cycles, cost.energy_fj) for cost in costs]
    assert objective_of(decision, objective) == min(value(objective, pair) for pair in pairs)
    for _ in range(30):
        modes = random_modes(rng, choices)
        run = measured(choices, modes, images, decision.schedule)
        assert same_cost(total(decision.problem, modes), run, 36)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(200, 206))
def test_layers_whose_mode_is_given_keep_it_and_the_others_are_the_best_beside_them(
    seed, objective
):
    rng, choices, images, free = choice_case(seed, objective, 3, 6)
    drawn = random_modes(rng, choices)
    given = {name: mode for name, mode in drawn.items() if rng.random() < 0.5}
    wanted = modes_of(choices, {**given, "*": "auto"}, "test")
    pinned = {name: mode for name, mode in wanted.items() if mode != "auto"}
    assert pinned == given
    decision = decide(choices, images[0], objective, given)
    assert decision.modes.items() >= given.items()
    assert least_or_equal(objective_of(free, objective), objective_of(decision, objective))
    best = value(objective, measured(choices, decision.modes, images, decision.schedule))
    for modes in assignments(choices.units):
        if modes.items() >= given.items():
            assert least_or_equal(best, value(objective, measured(choices, modes, images)))
