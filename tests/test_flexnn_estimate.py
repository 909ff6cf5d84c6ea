"""Estimates of descriptors: the same as a slow walk through rounds, and close to the engine's."""

from dataclasses import replace

import numpy as np
import pytest
from oracle_flexnn import run_layer
from slow_estimate import Twin
from slow_estimate import shared as slow_shared
from slow_estimate import slowest as slow_slowest
from small_descriptors import dimension_sizes, random_descriptor, random_layer, random_machine

from firemesh.emulator.energy import active_cycle_pj, table
from firemesh.emulator.flexnn.choice import array_energy
from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import NAMES, LayerDims
from firemesh.emulator.flexnn.engine import run_layer as run_on_array
from firemesh.emulator.flexnn.estimate import Densities, estimate
from firemesh.emulator.flexnn.expectations import expected_maxima, shared_activations, slowest
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.emulator.flexnn.scheduler import search
from firemesh.emulator.machine import machine as find_machine

KINDS = ("plain", "grouped", "depthwise", "pointwise", "linear")
DENSITIES = (0.0, 0.1, 0.5, 0.9, 1.0)


def machine_of(tree, energy="maestro"):
    """Return a machine of a mapping of `random_machine`, with enough register file."""
    about = {"name": "small", "clock_hz": 10**9, "energy": energy}
    return FlexMachine.parse({**about, **tree, "rf": {"banks": 4096, "bank_bytes": 1024}}, "small")


def layer_of(x, w, shape):
    sizes = dimension_sizes(x, w, shape)
    return LayerDims(
        tuple(sizes[name] for name in NAMES),
        shape["strides"],
        shape["dilations"],
        shape["pads"],
        x.shape[2:],
    )


def energies(machine):
    found = table(machine.energy)
    pj = {name: access.byte_pj for name, access in found.access_pj.items()}
    idle = found.idle_fraction * active_cycle_pj(machine, found)
    return pj | {"mac": found.mac_pj, "hop": 8 * found.hop_bit_pj, "idle": idle}


def random_case(seed):
    """Return layer, machine, descriptor as a mapping, and the layer's arrays."""
    rng = np.random.default_rng(seed)
    x, w, shape = random_layer(rng, KINDS[seed % len(KINDS)], int(rng.integers(1, 3)))
    tree = random_machine(rng)
    if rng.random() < 0.2:
        multicast = str(rng.choice(["tree", "unicast"]))
        tree["noc"] = {"flit_bits": int(rng.choice([8, 16])), "multicast": multicast}
        wide = {"column_bytes": 4, "drain_bytes": 2, "storage_ports": int(rng.integers(1, 4))}
        tree["sdn"] |= {"kind": "mesh", **wide}
    drawn = random_descriptor(rng, dimension_sizes(x, w, shape), tree)
    drawn["banks"] = {"if": 64, "fl": 64, "of": 64}
    densities = Densities(*(float(rng.choice(DENSITIES)) for _ in range(2)))
    if rng.random() < 0.5:
        densities = replace(densities, outputs=float(rng.choice(DENSITIES)))
    return layer_of(x, w, shape), tree, drawn, densities, (x, w, shape)


@pytest.mark.parametrize("seed", range(150))
def test_an_estimate_equals_its_slow_twin(seed):
    layer, tree, drawn, densities, _ = random_case(seed)
    machine = machine_of(tree, ("maestro", "eyeriss", "mnf-table5")[seed % 3])
    descriptor = Descriptor.parse(drawn, "drawn")
    found = estimate(Cut(descriptor, layer), machine, densities)
    twin = Twin(layer, descriptor, machine, densities, energies(machine))
    cycles, energy_pj = twin.cost
    assert found.rounds == len(twin.map.rounds)
    assert found.compute_cycles == pytest.approx(twin.compute * len(twin.map.rounds))
    assert found.sram_read_bytes == pytest.approx(twin.sram_read)
    assert found.sram_written_bytes == pytest.approx(twin.sram_written)
    assert found.dram_read_bytes == pytest.approx(twin.dram_read)
    assert found.dram_written_bytes == pytest.approx(twin.dram_written)
    assert found.cycles == pytest.approx(cycles)
    assert found.energy_pj == pytest.approx(energy_pj)


def oracle_of(layer, tree, drawn, arrays):
    """Return what the oracle says of a layer, and its energy."""
    x, w, shape = arrays
    done = run_layer(x, w, shape, drawn, tree)
    bytes_of = {}
    for (_, memory, op), size in done.bytes.items():
        bytes_of[memory, op] = bytes_of.get((memory, op), 0) + size
    return done, bytes_of


def dense_case(seed):
    """Return a case in which nothing is skipped, on buses; None where tiles are ragged."""
    layer, tree, drawn, _, arrays = random_case(seed)
    tree["sdn"]["kind"], drawn["sparsity"] = "bus", "dense"
    tree.pop("noc", None)
    tiles = (drawn["tile"].get(name, size) for name, size in zip(NAMES, layer.sizes, strict=True))
    is_whole = all(size % tile == 0 for size, tile in zip(layer.sizes, tiles, strict=True))
    return (layer, tree, drawn, arrays) if is_whole else None


WHOLE = [seed for seed in range(200) if dense_case(seed)]


def test_most_cases_have_whole_tiles():
    assert len(WHOLE) > 80


@pytest.mark.parametrize("seed", WHOLE[:60])
def test_dense_estimates_count_bytes_and_energy_as_the_oracle_does(seed):
    layer, tree, drawn, arrays = dense_case(seed)
    machine = machine_of(tree)
    found = estimate(Cut(Descriptor.parse(drawn, ""), layer), machine, Densities())
    done, bytes_of = oracle_of(layer, tree, drawn, arrays)
    assert found.dram_read_bytes == bytes_of["dram", "read"]
    assert found.dram_written_bytes == bytes_of["dram", "write"]
    read, written = (bytes_of["storage", op] for op in ("read", "write"))
    assert found.sram_read_bytes + found.dram_written_bytes == pytest.approx(read)
    assert found.sram_written_bytes + found.dram_read_bytes == pytest.approx(written)
    assert found.rounds == len(done.rounds)
    pj = energies(machine)
    wanted = sum(size * pj[memory] for (memory, _), size in bytes_of.items())
    wanted += layer.macs * pj["mac"] + (done.hops + 4 * done.reduced) * pj["hop"]
    assert found.energy_pj == pytest.approx(wanted)


def test_dense_cycles_are_those_of_the_oracle_within_a_few_per_cent():
    ratios = []
    for seed in WHOLE[:60]:
        layer, tree, drawn, arrays = dense_case(seed)
        descriptor = Descriptor.parse(drawn, "")
        found = estimate(Cut(descriptor, layer), machine_of(tree), Densities())
        ratios.append(found.cycles / oracle_of(layer, tree, drawn, arrays)[0].cycles)
    # of a few rounds only the beginning and the end count, and these are the least alike
    assert abs(np.median(ratios) - 1) < 0.01
    assert np.mean(np.abs(np.log(ratios))) < 0.06
    assert np.percentile(np.abs(np.log(ratios)), 90) < 0.15


MIDDLE = {
    "conv 3x3": LayerDims((1, 1, 28, 28, 64, 64, 3, 3), pads=(1, 1), ifmap=(28, 28)),
    "conv 1x1": LayerDims((1, 1, 14, 14, 256, 128, 1, 1), ifmap=(14, 14)),
    "depthwise": LayerDims((1, 96, 28, 28, 1, 1, 3, 3), pads=(1, 1), ifmap=(28, 28)),
    "linear": LayerDims((1, 1, 1, 1, 1000, 512, 1, 1)),
}


@pytest.mark.parametrize(
    ("shares", "cycles_rel", "energy_rel"), [((1.0, 1.0), 0.06, 1e-3), ((0.5, 0.5), 0.2, 0.08)]
)
@pytest.mark.parametrize("name", MIDDLE)
def test_best_estimates_are_close_to_the_engines_counts(name, shares, cycles_rel, energy_rel):
    machine, layer, rng = find_machine("flexnn-edge"), MIDDLE[name], np.random.default_rng(3)
    n, g, _, _, oc, ic, fy, fx = layer.sizes
    x = rng.integers(1, 100, (n, g * ic, *layer.ifmap))
    w = rng.integers(1, 100, (g * oc, ic, fy, fx))
    x = (x * (rng.random(x.shape) < shares[0])).astype(np.int16)
    w = (w * (rng.random(w.shape) < shares[1])).astype(np.int16)
    densities = Densities(*shares, outputs=1.0)
    for objective, flow in (("cycles", None), ("energy", None), ("edp", "row")):
        best = search(layer, machine, densities, objective, flow, keep=1).candidates[0]
        done = run_on_array(Cut(best.descriptor, layer), machine, x, w)
        assert best.estimate.cycles == pytest.approx(done.cycles, rel=cycles_rel)
        energy_pj = array_energy(done, machine)
        assert best.estimate.energy_pj == pytest.approx(energy_pj, rel=energy_rel)


@pytest.mark.parametrize("lanes", [1, 3, 8])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("empty", [0, 1])
def test_expected_windows_are_sums_over_all_numbers_of_pairs(share, lanes, empty):
    found = slowest(share, lanes, 20, empty)
    both = shared_activations((0.7, share), lanes, 20, empty)
    for w in range(1, 21):
        assert found[:, w] == pytest.approx(slow_slowest(share, lanes, w, empty), abs=1e-9)
        assert both[:, w] == pytest.approx(slow_shared(0.7, share, lanes, w, empty), abs=1e-9)


@pytest.mark.parametrize(
    ("lanes", "positions", "speedup"), [(4, 8, 2.44), (4, 64, 3.27), (8, 8, 2.10), (8, 64, 3.04)]
)
def test_a_quarter_of_the_pairs_speeds_a_vpe_up_as_the_closed_form_says(lanes, positions, speedup):
    mean = slowest(0.25, lanes, positions, 0)[0, positions]
    assert positions / mean == pytest.approx(speedup, abs=0.005)


def test_expected_maxima_grow_slowly():
    found = expected_maxima(256)
    assert found[:2].tolist() == [0, 0]
    drawn = np.random.default_rng(5).standard_normal((20_000, 256)).max(axis=1).mean()
    assert found[256] == pytest.approx(drawn, rel=0.01)
    assert (np.diff(found[1:]) > 0).all()
