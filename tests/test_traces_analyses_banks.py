"""Bank conflicts against a brute force that sorts accesses into cycles."""

import shutil
from collections import Counter, defaultdict

import h5py
import pytest
from analysed_runs import ended, runs

import firemesh
from firemesh.traces.selection import Selection

full = pytest.fixture(scope="module")(runs)


def touched(access, record, banks, interleave):
    """Return the banks that an access uses, each as often as it uses it."""
    size, n = int(record["bytes"]), int(record["banks"])
    first, last = int(access["address"]), int(access["address"]) + int(access["size"]) - 1
    if size == 0 or (banks or n) == 1:
        return [0]
    if banks is None and interleave is None:
        return [first // int(record["bank_bytes"])]
    if interleave is None:
        word = int(record["word_bytes"])
        words = -(-size // word)
        interleave = -(-words // banks) * word
    return [k % (banks or n) for k in range(first // interleave, last // interleave + 1)]


def counted(trace, selection, banks=None, ports=None, interleave=None):
    """Return (memory, op) -> the numbers of its row, and (memory, unit, op, bank) -> accesses."""
    memories, in_cycle = trace.table("memories"), defaultdict(Counter)
    total, of_bank = Counter(), Counter()
    for block in trace.accesses(**selection.arguments, order="storage"):
        for access in block:
            record = memories[access["memory"]]
            key = trace.memories[access["memory"]], trace.ops[access["op"]]
            unit = trace.units[access["unit"]]
            if selection.cycles:
                assert selection.cycles[0] <= access["cycle"] < selection.cycles[1]
            total[key] += 1
            for bank in touched(access, record, banks, interleave):
                in_cycle[(*key, unit, int(access["cycle"]))][bank] += 1
                of_bank[key[0], unit, key[1], bank] += 1
    rows = {}
    for key, n in total.items():
        record = memories[trace.memories.index(key[0])]
        lanes = ports or int(record[f"{key[1]}_ports"])
        mine = {where[2:]: found for where, found in in_cycle.items() if where[:2] == key}
        counts = [count for found in mine.values() for count in found.values()]
        extra = Counter()
        for (unit, _), found in mine.items():
            extra[unit] += max(-(-count // lanes) for count in found.values()) - 1
        busiest = Counter()
        for (memory, unit, op, _), count in of_bank.items():
            if (memory, op) == key:
                busiest[unit] = max(busiest[unit], count)
        rows[key] = dict(
            ports=lanes, accesses=n, busiest=sum(busiest.values()) / sum(counts),
            mean=sum(counts) / len(counts), most=max(counts),
            conflicts=sum(max(0, count - lanes) for count in counts),
            extra=sum(extra.values()), extra_worst=max(extra.values()),
        )  # fmt: skip
    return rows, of_bank


CASES = [
    {},
    {"banks": 4},
    {"banks": 5, "ports": 2},
    {"interleave": 4},
    {"banks": 3, "interleave": 12},
    {"ports": 3, "interleave": 64, "banks": 16},
]
SELECTIONS = [Selection(), Selection(cycles=(50, 333)), Selection(layer="conv2", op="read")]


RUNS = [("mnf", selection, options) for selection in SELECTIONS for options in CASES]
RUNS += [(name, SELECTIONS[1], CASES[k]) for name in ("flexnn", "auto") for k in (0, 1, 3, 5)]


@pytest.mark.parametrize("name, selection, options", RUNS)
def test_conflicts_are_those_of_accesses_sorted_into_cycles(full, name, selection, options):
    with firemesh.open_trace(full(name)) as trace:
        found = firemesh.analyse(trace, "banks", selection, **options)
        rows, of_bank = counted(trace, selection, **options)
    assert {(str(row["memory"]), str(row["op"])) for row in found.rows} == set(rows)
    for row in found.rows:
        for column, value in rows[str(row["memory"]), str(row["op"])].items():
            assert row[column] == pytest.approx(value, rel=1e-12), column
    series = {row[:-1]: row[-1] for row in found.series.tolist()}
    assert {key: n for key, n in series.items() if n} == of_bank


@pytest.mark.parametrize("name", ["mnf", "chain", "lanes", "flexnn", "auto"])
def test_a_sound_trace_has_no_conflicts_with_its_own_banks_and_ports(full, name):
    with firemesh.open_trace(full(name)) as trace:
        rows = firemesh.analyse(trace, "banks").rows
    assert len(rows) > 5
    assert not rows["conflicts"].any() and not rows["extra"].any()


@pytest.mark.parametrize("option", ["--banks", "--ports", "--interleave"])
@pytest.mark.parametrize("number", [0, -1, 1 << 63, (1 << 63) - 1, 10**40])
def test_numbers_below_1_or_too_large_are_refused(full, capsys, option, number):
    code, out, err = ended(capsys, "banks", full("mnf"), option, number)
    assert (code, out) == (2, "")
    assert f"{option[2:]}: must be 1 to " in err and f"got {number}" in err
    assert err.count("\n") == 1


def test_more_banks_than_can_be_held_are_refused(full, capsys):
    code, _, err = ended(capsys, "banks", full("mnf"), "--banks", 10**6)
    assert code == 2 and "choose fewer" in err and err.count("\n") == 1


@pytest.mark.parametrize("address", [-(10**6), 10**9])
def test_addresses_outside_a_memory_are_refused(full, capsys, tmp_path, address):
    path = shutil.copy(full("mnf"), tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        items = file["patterns/items"][...]
        psum = file["memories"]["name"].tolist().index(b"psum")
        items["address"][items["memory"] == psum] = address
        file["patterns/items"][...] = items
    code, out, err = ended(capsys, "banks", path, "--memory", "psum")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is damaged: psum has no" in err
