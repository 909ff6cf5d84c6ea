"""Reuse distances against LRU stacks that are lists."""

import shutil
from collections import Counter, defaultdict
from statistics import median

import h5py
import numpy as np
import pytest
from analysed_runs import ended, runs

import firemesh
from firemesh.traces.analyses import lru, reuse
from firemesh.traces.analyses.window import Bins
from firemesh.traces.schema import ACCESS
from firemesh.traces.selection import Selection

full = pytest.fixture(scope="module")(runs)


class Memory:
    """The LRU stacks of a memory in all units, the block touched last at the end of each."""

    def __init__(self):
        self.stacks, self.distances, self.cold = defaultdict(list), [], 0
        self.sets = defaultdict(set)

    def touch(self, unit, block, bin_number):
        stack = self.stacks[unit]
        self.sets[bin_number].add((unit, block))
        if block in stack:
            at = len(stack) - 1 - stack[::-1].index(block)
            self.distances.append(len(stack) - 1 - at)
            del stack[at]
        else:
            self.cold += 1
        stack.append(block)


def stacked(trace, selection, block, low, width):
    """Return memory name -> its stacks after all accesses."""
    record, found = trace.table("memories"), defaultdict(Memory)
    for part in trace.accesses(**selection.arguments, order="cycle"):
        for cycle, address, unit, _, size, memory, _ in part.tolist():
            if not record["bytes"][memory]:
                continue
            length = block or int(record["word_bytes"][memory])
            for one in range(address // length, (address + size - 1) // length + 1):
                found[trace.memories[memory]].touch(unit, one, (cycle - low) // width)
    return found


CASES = [
    ("mnf", Selection(), {}),
    ("mnf", Selection(op="read", cycles=(40, 700)), {"bins": 7}),
    ("mnf", Selection(layer="conv2", unit=("pe1", "pe2")), {"block": 8}),
    ("mnf", Selection(memory=("psum", "weight"), unit="pe3"), {"block": 1, "bins": 1}),
    ("frames", Selection(frame=1), {"block": 64}),
    ("flexnn", Selection(cycles=(0, 400)), {"bins": 3}),
    ("auto", Selection(unit=("pe1", "pe2", "storage"), cycles=(100, 2000)), {"block": 5}),
]


@pytest.mark.parametrize("name, selection, options", CASES)
def test_distances_are_those_of_lists_in_order_of_touch(full, name, selection, options):
    with firemesh.open_trace(full(name)) as trace:
        found = firemesh.analyse(trace, "reuse", selection, **options)
        low = found.facts["layers"][0]["first_cycle"]
        width = found.facts["bin_cycles"]
        wanted = stacked(trace, selection, options.get("block"), low, width)
        own = {
            name: options.get("block") or int(size)
            for name, size in zip(
                trace.memories, trace.table("memories")["word_bytes"], strict=True
            )
        }
    assert {str(name) for name in found.rows["memory"]} == set(wanted)
    assert len(wanted) > 1
    n_bins = -(-found.facts["cycles"] // width)
    for row in found.rows:
        name = str(row["memory"])
        check_row(row, wanted[name], own[name])
        sets = [own[name] * len(wanted[name].sets[k]) for k in range(n_bins)]
        assert found.facts["working_sets"][name] == sets
        assert row["peak_set"] == max(sets)
        assert row["mean_set"] == pytest.approx(sum(sets) / n_bins, rel=1e-12)
        check_curve(found.series[found.series["memory"] == name], wanted[name], own[name], row)


def check_row(row, memory, block):
    distances = memory.distances
    assert row["block_bytes"] == block
    assert (row["touches"], row["cold"]) == (len(distances) + memory.cold, memory.cold)
    assert row["footprint"] == block * sum(map(len, memory.stacks.values()))
    assert memory.cold == sum(map(len, memory.stacks.values()))
    if distances:
        assert row["mean"] == pytest.approx(sum(distances) / len(distances), rel=1e-12)
        assert row["median"] == median(distances)
    else:
        assert np.isnan(row["mean"]) and np.isnan(row["median"])


def check_curve(curve, memory, block, row):
    bins = Counter(distance.bit_length() for distance in memory.distances)
    assert curve["count"].tolist() == [bins[k] for k in range(len(curve))]
    assert sum(bins.values()) == curve["count"].sum()
    enough = []
    for k, one in enumerate(curve):
        blocks = 2**k
        hits = sum(distance < blocks for distance in memory.distances)
        assert (one["blocks"], one["bytes"]) == (blocks, blocks * block)
        assert one["hit_share"] == pytest.approx(hits / row["touches"], rel=1e-12)
        if hits >= 0.9 * len(memory.distances):
            enough.append(blocks * block)
    assert row["bytes_90"] == (enough[0] if memory.distances else 0)


class Table:
    """A trace of one unit and one memory of bytes."""

    def __init__(self, n_bytes):
        self.units, self.memories, self.path = ["u"], ["m"], "t"
        self._memories = np.array([(n_bytes,)], [("bytes", "<u8")])

    def table(self, name):
        return {"memories": self._memories}[name]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [1, 40, 700, 4000])
def test_stacks_are_exact_through_growth_renumbering_and_bins(seed, reach, monkeypatch):
    monkeypatch.setattr(reuse, "LEAST_STAMPS", 64)
    monkeypatch.setattr(reuse, "LEAST_BLOCKS", 2)
    rng = np.random.default_rng([seed, reach])
    n, most = 8000, 5000
    access = np.zeros(n, ACCESS)
    access["cycle"] = np.sort(rng.integers(0, 900, n))
    near = np.cumsum(rng.integers(-3, 4, n)) % most
    access["address"] = np.where(rng.random(n) < 0.5, near, rng.integers(0, reach, n)) % most
    access["size"] = rng.integers(1, 4, n)
    stacks = reuse.Stacks(Table(most + 10), np.ones(1, np.int64), Bins(0, 100, 9))
    for part in np.split(access, np.sort(rng.integers(0, n, 5))):
        stacks.follow(part)
    memory = Memory()
    for cycle, address, _, _, size, _, _ in access.tolist():
        for block in range(address, address + size):
            memory.touch(0, block, cycle // 100)
    assert stacks.stack[0, lru.LIVE] == memory.cold
    assert stacks.total[0] == sum(memory.distances)
    wanted = Counter(lru.bin_of(distance) for distance in memory.distances)
    assert {int(k): int(stacks.histogram[0, k]) for k in np.flatnonzero(stacks.histogram[0])} == (
        wanted
    )
    assert stacks.touched[0].tolist() == [len(memory.sets[k]) for k in range(9)]


def test_bins_of_distances_begin_where_the_table_of_starts_says():
    starts = reuse._starts(lru.bin_of(1 << 31) + 1)
    assert starts[:4096].tolist() == list(range(4096))
    assert (np.diff(starts) > 0).all()
    for k in range(31):
        for distance in (2**k - 1, 2**k, 2**k + 1):
            number = lru.bin_of(distance)
            assert starts[number] <= distance < starts[number + 1]
        assert starts[lru.bin_of(2**k)] == 2**k


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("mnf", ["--block", "0"], "block: must be 1 to 65,536 bytes, got 0"),
        ("flexnn", ["--memory", "bus"], "memory: has no addresses in bytes"),
        ("mnf", ["--memory", "nothing"], "memory: must be one of storage"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_sentence(full, capsys, name, options, words):
    code, out, err = ended(capsys, "reuse", full(name), *options)
    assert (code, out) == (2, "")
    assert words in err and err.count("\n") == 1


def test_distances_of_one_block_are_zero(full):
    with firemesh.open_trace(full("mnf")) as trace:
        rows = firemesh.analyse(trace, "reuse", Selection(memory="event_fifo"), block=65536).rows
    assert rows["mean"].tolist() == [0.0] and rows["footprint"] == 11 * 65536


@pytest.mark.parametrize("address", [-(10**6), 10**9])
def test_addresses_outside_a_memory_are_refused(full, capsys, tmp_path, address):
    path = shutil.copy(full("mnf"), tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        items = file["patterns/items"][...]
        psum = file["memories"]["name"].tolist().index(b"psum")
        items["address"][items["memory"] == psum] = address
        file["patterns/items"][...] = items
    code, out, err = ended(capsys, "reuse", path, "--memory", "psum")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is damaged: psum has no" in err
