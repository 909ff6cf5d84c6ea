"""Energy: tables with sources, a sum over components, linear in what was counted."""

from importlib.resources import files

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.emulator.energy import (
    COMPONENTS,
    Activity,
    active_cycle_pj,
    energy,
    table,
    tables,
)
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import Machine, MachineError, machine
from firemesh.emulator.slots import BUSY, IDLE, Cause

every_table = pytest.mark.parametrize("name", tables())
every_machine = st.sampled_from(
    [machine("mnf-22nm"), machine("mnf-tiny").replace(noc__flit_bits=32, energy="timeloop-45nm")]
)
BASE = {"name", "summary", "sources"}


def read(name):
    """Return a table as its file says it."""
    text = (files("firemesh.emulator") / "energies" / f"{name}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


@st.composite
def activities(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Activity(
        rng.integers(0, 10**6, (len(Memory), 2)),
        rng.integers(0, 10**6, len(Cause)),
        int(rng.integers(0, 10**6)),
    )


def nothing():
    return Activity(np.zeros((len(Memory), 2), np.int64), np.zeros(len(Cause), np.int64), 0)


@every_table
def test_every_field_of_a_table_has_a_source_and_every_source_a_field(name):
    whole = read(name)
    assert whole["name"] == name
    paths = set(whole) - BASE - {"access_pj"} | {f"access_pj.{key}" for key in whole["access_pj"]}
    assert set(whole["sources"]) == paths
    assert all(text.strip() for text in whole["sources"].values())


@every_table
def test_a_table_prices_every_memory_that_is_counted(name):
    priced = {memory.name.lower() for memory in Memory if memory != Memory.BUS}
    assert priced <= set(table(name).access_pj)


def test_an_unknown_table_names_the_known_ones():
    known = ", ".join(tables())
    with pytest.raises(MachineError, match=f"^Machine.energy: must be one of {known}, got 'coal'$"):
        energy(nothing(), machine("mnf-tiny").replace(energy="coal"))


@pytest.mark.paper
def test_table_5_gives_8_25_pj_per_multiplication_at_full_rate():
    """MNF, Table 5: a 27th of a 216-bit row, a psum read and written, registers; exact."""
    one = machine("mnf-22nm")
    per_mac = active_cycle_pj(one, table("mnf-table5")) / one.pe.multipliers
    assert per_mac == pytest.approx(12.35 / 27 + 2 * 3.87 + 3 * 0.018, rel=1e-12)
    assert per_mac == pytest.approx(8.25, abs=0.005)


@pytest.mark.paper
@pytest.mark.parametrize(
    ("name", "memory", "bits", "pj"),
    [
        ("mnf-table5", "dram", 32, 256),
        ("mnf-table5", "storage", 32, 3.87),
        ("mnf-table5", "weight", 216, 12.35),
        ("mnf-table5", "psum", 32, 3.87),
        ("timeloop-45nm", "dram", 64, 512),
        ("timeloop-45nm", "storage", 64, 74),
        ("timeloop-45nm", "weight", 16, 1.59),
        ("timeloop-45nm", "psum", 16, 1.59),
    ],
)
def test_an_access_costs_what_table_5_says(name, memory, bits, pj):
    """MNF, Table 5, both columns; exact."""
    assert table(name).access_pj[memory].byte_pj * bits / 8 == pytest.approx(pj, rel=1e-12)


@pytest.mark.paper
def test_registers_of_a_multiplication_cost_what_table_5_says():
    """MNF, Table 5, both columns; exact."""
    assert table("mnf-table5").mac_pj == pytest.approx(0.018 * 3)
    assert table("timeloop-45nm").mac_pj == pytest.approx(0.97 * 3)


def test_each_memory_is_in_exactly_one_component():
    named = [memory for memories in COMPONENTS.values() for memory in memories]
    assert sorted([*named, Memory.BUS]) == sorted(Memory)  # buses are priced as hops


@given(
    memory=st.sampled_from([m for m in Memory if m != Memory.BUS]),
    op=st.integers(0, 1),
    n=st.integers(0, 10**9),
    on=every_machine,
)
def test_bytes_of_a_memory_cost_their_share_of_an_access_in_its_component_only(memory, op, n, on):
    activity = nothing()
    activity.bytes[memory, op] = n
    access = read(on.energy)["access_pj"][memory.name.lower()]
    got = energy(activity, on)
    (component,) = [name for name, memories in COMPONENTS.items() if memory in memories]
    assert got.pop(component) == pytest.approx(n * 8 / access["bits"] * access["pj"])
    assert not any(got.values())


@given(n=st.integers(0, 10**9), on=every_machine)
def test_a_byte_on_a_bus_costs_eight_bits_of_a_hop(n, on):
    activity = nothing()
    activity.bytes[Memory.BUS, 0] = n
    got = energy(activity, on)
    assert got.pop("NoC") == pytest.approx(8 * n * read(on.energy)["hop_bit_pj"])
    assert not any(got.values())


@given(cause=st.sampled_from(Cause), cycles=st.integers(0, 10**6), on=every_machine)
def test_slots_cost_a_multiplication_a_share_of_an_active_cycle_or_nothing(cause, cycles, on):
    # an idle PE cycle, by hand: the idle share of a row, M*L products, M*L psums read and written;
    # in mode flexnn of an activation, a weight and an accumulator for each lane
    whole = read(on.energy)
    access = whole["access_pj"]
    per_byte = {name: 8 * part["pj"] / part["bits"] for name, part in access.items()}
    if isinstance(on, Machine):
        width = on.pe.modules * on.pe.lanes
        each = per_byte["weight"] + 2 * 4 * per_byte["psum"]
    else:
        width = on.array.lanes
        each = per_byte["rf_if"] + per_byte["rf_fl"] + 4 * per_byte["acc"]
    active = width * (each + whole["mac_pj"])
    activity = nothing()
    activity.slots[cause] = cycles * width
    got = energy(activity, on)
    assert got.pop("MAC") == pytest.approx(cycles * width * whole["mac_pj"] * (cause in BUSY))
    expected = cycles * whole["idle_fraction"] * active * (cause in IDLE)
    assert got.pop("idle") == pytest.approx(expected)
    assert not any(got.values())


def test_no_slot_is_both_busy_and_idle_and_slots_of_an_issued_row_or_a_scan_are_not_idle():
    assert not set(BUSY) & set(IDLE)
    scanning = {Cause.BORDER, Cause.TILE, Cause.CHANNEL, Cause.FIRE}
    assert not scanning & (set(BUSY) | set(IDLE))


@given(flits=st.integers(0, 10**9), on=every_machine)
def test_a_flit_costs_all_its_bits_on_each_link(flits, on):
    got = energy(Activity(nothing().bytes, nothing().slots, flits), on)
    hop_pj = read(on.energy)["hop_bit_pj"]
    assert got.pop("NoC") == pytest.approx(flits * on.flit_bits * hop_pj)
    assert not any(got.values())


@settings(deadline=None)
@given(a=activities(), b=activities(), times=st.integers(0, 1000), on=every_machine)
def test_energy_is_linear_in_the_activity(a, b, times, on):
    mixed = Activity(
        a.bytes + times * b.bytes, a.slots + times * b.slots, a.flits + times * b.flits
    )
    one, other, both = energy(a, on), energy(b, on), energy(mixed, on)
    assert one.keys() == other.keys() == both.keys()
    for name, pj in both.items():
        assert pj == pytest.approx(one[name] + times * other[name])


def test_a_machine_at_rest_for_no_cycle_costs_nothing():
    assert set(energy(nothing(), machine("mnf-22nm")).values()) == {0.0}
