"""What exporters for DRAM, cache and system simulators refuse, promise and tell beside the file."""

import gzip
import json

import numpy as np
import pytest
from exported_traces import ended, written
from given_trace import GivenTrace, rows
from hypothesis import given
from hypothesis import strategies as st

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import dramsys
from firemesh.traces.exporters.dinero import cache_bytes
from firemesh.traces.exporters.dramsim3 import DRAIN_CYCLES, finished
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.selection import Selection

SAMPLE = firemesh.sample_trace()
DRAM, STORAGE = 0, 1


def side_of(out):
    """Return what the file beside an exported one tells."""
    return json.loads(out.with_name(f"{out.name}.meta.json").read_text())


# ---- dramsim3


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=40), st.integers(1, 200), st.data())
def test_bursts_served_one_after_another_end_when_a_server_is_done(cycles, each, data):
    cycles = np.array(sorted(cycles), np.uint64)
    done = 0
    for cycle in cycles.tolist():
        done = max(done, cycle) + each
    assert finished(cycles, each, 0) == done
    cut = data.draw(st.integers(1, len(cycles)))
    first = finished(cycles[:cut], each, 0)
    assert (finished(cycles[cut:], each, first) if cut < len(cycles) else first) == done


@pytest.mark.parametrize("hz, each", [(None, 128), (800_000_000, 128), (3_200_000_000, 256)])
def test_the_run_of_dramsim3_is_long_enough_for_all_bursts(tmp_path, hz, each):
    _, data, side = written(SAMPLE, "dramsim3", tmp_path / "a", clock_hz=hz)
    cycles = [int(line.split()[2]) for line in data.decode().splitlines()[:-1]]
    done = 0
    for cycle in cycles:
        done = max(done, cycle) + each
    assert side["cycles"] == done + DRAIN_CYCLES
    assert f"-c {side['cycles']} " in side["consumer_command"]
    assert ("--clock" in side["note"]) == (hz is None)


def test_the_last_line_never_comes_and_is_not_counted(tmp_path):
    report, data, side = written(SAMPLE, "dramsim3", tmp_path / "a")
    lines = data.decode().split("\n")
    assert lines[-2:] == ["0x0 READ 18446744073709551615", ""]
    assert len(lines) - 2 == report.counts["records"] == side["written"]["records"]


# ---- dramsys


def test_cycles_that_dramsys_cannot_count_are_refused_and_others_not(tmp_path):
    given = rows((0, 0, 0, 64, DRAM, 0), (2**32 - 1, 0, 0, 64, DRAM, 1))
    export(GivenTrace(given, 10**6), "dramsys", tmp_path / "a.stl")
    assert (tmp_path / "a.stl").read_text() == "0: (64) read 0x0\n4294967295: (64) write 0x0\n"
    given["cycle"][1] += 1
    with pytest.raises(TraceError, match="--cycles FROM:TO --relative, or choose a slower"):
        export(GivenTrace(given, 10**6), "dramsys", tmp_path / "b.stl")
    slower = Options(clock_hz=10**6)
    export(GivenTrace(given, 2 * 10**6), "dramsys", tmp_path / "c.stl", slower)
    window = Options(Selection(cycles=(10, 2**32 + 1)), relative=True)
    export(GivenTrace(given, 10**6), "dramsys", tmp_path / "d.stl", window)
    assert (tmp_path / "d.stl").read_text() == "4294967286: (64) write 0x0\n"
    assert not (tmp_path / "b.stl").exists()


def test_dramsys_takes_whole_megahertz(tmp_path, capsys):
    command = (SAMPLE, "--to", "dramsys", "--out", tmp_path / "a.stl", "--clock")
    code, _, error = ended(capsys, *command, 1_499_999)
    assert code == 2 and error.strip().endswith("give --clock 1000000")
    code, _, error = ended(capsys, *command, 3)
    assert code == 2 and error.strip().endswith("give --clock 1000000")
    assert ended(capsys, *command, 800_000_000)[0] == 0
    assert side_of(tmp_path / "a.stl")["trace_setup"]["clkMhz"] == 800
    assert dramsys.MOST_CYCLES == 2**32


# ---- ramulator


@pytest.mark.parametrize("format", ["ramulator1", "ramulator2"])
def test_ramulators_traces_have_no_time_and_say_so(tmp_path, capsys, format):
    code, out, _ = ended(capsys, SAMPLE, "--to", format, "--out", tmp_path / "a")
    assert code == 0 and "a bandwidth experiment, not a replay" in out
    for option in (("--clock", 5), ("--relative",), ("--form", "x")):
        code, _, error = ended(capsys, SAMPLE, "--to", format, "--out", tmp_path / "b", *option)
        assert code == 2 and option[0] in error
    data = (tmp_path / "a").read_bytes()
    assert data.endswith(b"\n") and b" \n" not in data and b"\n\n" not in data
    written = side_of(tmp_path / "a")["written"]
    assert data.count(b"\n") == written["records"] == written["reads"] + written["writes"]


# ---- prospero


def test_prosperos_accesses_fit_the_line_of_its_cache(tmp_path):
    given = rows((5, 60, 0, 200, DRAM, 0), (6, 0, 0, 3, STORAGE, 1))
    wanted = {None: (64, 64), 128: (128, 128), 16: (16, 64), 0: (200, 256)}
    for burst, (longest, line) in wanted.items():
        out = tmp_path / f"{burst}"
        export(GivenTrace(given), "prospero", out, Options(burst_bytes=burst))
        sizes = [int(one.split()[3]) for one in out.read_text().splitlines()]
        assert sum(sizes) == 203 and max(sizes) <= longest
        assert side_of(out)["cache_line_bytes"] == line


def test_prosperos_compressed_files_are_binary_and_the_same_each_time(tmp_path, capsys):
    code, _, error = ended(capsys, SAMPLE, "--to", "prospero", "--out", tmp_path / "a.gz")
    assert code == 2 and "--form binary" in error and not list(tmp_path.iterdir())
    packed = [written(SAMPLE, "prospero", tmp_path / n, form="binary")[1] for n in ("a.gz", "b.gz")]
    plain = written(SAMPLE, "prospero", tmp_path / "c", form="binary")[1]
    assert packed[0] == packed[1] and gzip.decompress(packed[0]) == plain
    assert "CompressedBinary" in side_of(tmp_path / "a.gz")["reader"]


# ---- dinero


def test_a_file_of_dinero_is_a_memory_of_a_unit(tmp_path):
    out = tmp_path / "d"
    with firemesh.open_trace(SAMPLE) as trace:
        export(trace, "dinero", out)
        side = side_of(out)
        assert {one.name for one in out.iterdir()} == {one["file"] for one in side["files"]}
        for one in side["files"]:
            blocks = trace.accesses(unit=one["unit"], memory=one["memory"])
            wanted = [
                f"{'rw'[access['op']]} {access['address']:x} {access['size']:x}"
                for block in blocks
                for access in block
            ]
            lines = (out / one["file"]).read_text().splitlines()
            assert lines == wanted and one["reads"] + one["writes"] == len(lines)
            assert one["writes"] == sum(line.startswith("w") for line in lines)
            assert one["file"] == f"{one['unit']}_{one['memory']}.din"


def test_files_of_dinero_without_accesses_are_not_told(tmp_path):
    given = rows((5, 0, 0, 4, DRAM, 0), (60, 8, 0, 4, STORAGE, 1))
    export(GivenTrace(given), "dinero", tmp_path / "d", Options(Selection(cycles=(0, 9))))
    assert [one.name for one in (tmp_path / "d").iterdir()] == ["storage_dram.din"]
    assert [one["memory"] for one in side_of(tmp_path / "d")["files"]] == ["dram"]


def test_a_cache_is_no_larger_than_its_memory_or_a_line():
    assert [cache_bytes(n) for n in (0, 1, 64, 127, 128, 5000, 2**20, 2**20 - 1)] == [
        None, 64, 64, 64, 128, 4096, 2**20, 2**19,
    ]  # fmt: skip
