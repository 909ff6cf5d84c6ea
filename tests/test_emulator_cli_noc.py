"""The command line's ``firemesh noc`` and ``run --router``."""

import csv
import json
import re
import signal
import subprocess
import sys
import time

import booksim2
import numpy as np
import pytest

from firemesh.emulator.cli import main
from firemesh.noc.packet_trace import write_trace

COMMAND = [sys.executable, "-c", "from firemesh.emulator.cli import main; main()"]


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code or 0
    told = capsys.readouterr()
    return code, told.out, told.err


def refused(capsys, *arguments):
    """Run what must be refused; return its sentence."""
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("firemesh: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.txt"
    path.write_text("0 0 3 1\n0 1 0,2,3 2\n5 3 0 4\n")
    return path


def test_a_replay_writes_booksims_columns(capsys, tmp_path):
    case = booksim2.golden(booksim2.rows("cases")[3])
    path, out = tmp_path / "trace.txt", tmp_path / "result.csv"
    write_trace(path, case.trace)
    code, told, err = ended(
        capsys, "noc", "replay", path, "--k", case.k, "--router", case.profile,
        "--vcs", case.vcs, "--buffer", case.buffer, "--out", out, "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    with out.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == [
        "idx", "src", "dst", "size", "t_create", "t_inj_head", "t_inj_tail", "t_ej_head",
        "t_ej_tail", "routers",
    ]  # fmt: skip
    rows = np.array(lines, np.int64)
    assert (rows[:, 0] == np.arange(len(case.trace))).all()
    assert (rows[:, 1] == case.trace.source).all()
    assert (rows[:, 4] == case.trace.cycle).all()
    for column, name in enumerate(booksim2.TIMES, start=5):
        assert (rows[:, column] == case.expected[name]).all()
    summary = json.loads(told)
    assert summary["packets"] == summary["deliveries"] == len(case.trace)
    latency = case.expected["t_ej_tail"] - case.trace.cycle
    assert summary["mean_latency"] == pytest.approx(latency.mean(), abs=1e-3)


def test_a_multicast_has_a_row_for_each_destination(capsys, small, tmp_path):
    out = tmp_path / "out.csv"
    for router in ("simple", "P4", "P2"):
        code, _, err = ended(
            capsys, "noc", "replay", small, "--k", 2, "--router", router, "--out", out
        )
        assert (code, err) == (0, "")
        rows = list(csv.DictReader(out.open()))
        places = [(row["idx"], row["dst"]) for row in rows]
        assert places == [("0", "3"), ("1", "0"), ("1", "2"), ("1", "3"), ("2", "0")]


def test_a_replay_draws_the_load_of_links(capsys, small, tmp_path):
    picture = tmp_path / "links.png"
    code, out, err = ended(capsys, "noc", "replay", small, "--k", 2, "--links", picture)
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "busiest link" in out


def test_noxims_files_are_replayed(capsys, tmp_path):
    table, hard = tmp_path / "table.txt", tmp_path / "hard.txt"
    table.write_text("% src dst pir\n0 5 0.05\n3 1 0.1 0.1\n")
    hard.write_text("0 3\n1 2\n-1\n-1\n3 0\n-1\n")
    code, out, err = ended(
        capsys, "noc", "replay", table, "--k", 4, "--format", "noxim-table", "--cycles", 2000,
        "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert 200 < json.loads(out)["packets"] < 400
    code, out, err = ended(
        capsys,
        "noc",
        "replay",
        hard,
        "--k",
        2,
        "--format",
        "noxim-hardcoded",
        "--size",
        4,
        "--json",
    )
    assert (code, err, json.loads(out)["flits"]) == (0, "", 12)


def test_a_sweep_is_a_table_and_a_figure_whatever_the_number_of_processes(capsys, tmp_path):
    tables = []
    for jobs in (1, 2):
        out, plot = tmp_path / f"{jobs}.csv", tmp_path / f"{jobs}.png"
        code, told, err = ended(
            capsys, "noc", "sweep", "--k", 4, "--load", "0.1,0.3", "--cycles", 500, "--warmup",
            100, "--jobs", jobs, "--out", out, "--plot", plot,
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert len(told.splitlines()) == 3
        tables.append((out.read_bytes(), plot.read_bytes()))
    assert tables[0] == tables[1]
    rows = list(csv.DictReader((tmp_path / "1.csv").open()))
    assert [float(row["offered"]) for row in rows] == [0.1, 0.3]
    assert {row["profile"] for row in rows} == {"P4"}


def test_every_pattern_can_be_swept(capsys):
    for pattern in ("transpose", "bit-complement", "tornado", "shuffle", "neighbour", "hotspot"):
        code, out, err = ended(
            capsys, "noc", "sweep", "--k", 4, "--traffic", pattern, "--load", "0.05", "--cycles",
            300, "--warmup", 50, "--json",
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert json.loads(out)[0]["saturated"] == 0


def test_zero_load_tells_measure_and_closed_form(capsys, tmp_path):
    out = tmp_path / "zero.csv"
    code, _, err = ended(
        capsys, "noc", "zero-load", "--k", 4, "--router", "P3", "--size", 3, "--out", out
    )
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.open()))
    assert [row["t_head_net"] for row in rows] == [str(6 + 4 * h) for h in range(7)]
    assert all(row["t_tail_net"] == row["tail_formula"] for row in rows)


def test_check_tells_channels_of_a_safe_routing_and_the_cycle_of_an_unsafe_one(capsys, tmp_path):
    code, out, err = ended(capsys, "noc", "check", "--k", 3, "--topology", "torus")
    assert (code, err) == (0, "")
    assert out.startswith("ok: xy on torus: ")
    ring = tmp_path / "ring.txt"
    ring.write_text("".join(f"{i} {(i + 1) % 6}\n" for i in range(6)))
    told = refused(capsys, "noc", "check", "--topology", ring)
    assert "may deadlock: " in told
    assert "->" in told


def test_own_routers_come_from_yaml(capsys, small, tmp_path):
    router = tmp_path / "router.yaml"
    router.write_text("routing_delay: 0\nst_delay: 2\nvcs: 2\nbuffer_flits: 3\n")
    code, out, err = ended(capsys, "noc", "zero-load", "--k", 2, "--router", router, "--json")
    assert (code, err) == (0, "")
    (first, *_) = json.loads(out)
    assert (first["num_vcs"], first["vc_buf_size"], first["t_head_net"]) == (2, 3, 7)
    assert first["profile"] == "own"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("replay", "SMALL", "--k", "1"), r"small.txt, line 1: "),
        (("replay", "nowhere.txt"), r"nowhere.txt"),
        (("replay", "SMALL", "--k", "0"), r"mesh.width: must be at least 1, got 0"),
        (("replay", "SMALL", "--k", "65"), r"mesh: must have at most 4096 nodes"),
        (("replay", "SMALL", "--router", "P7"), r"no router of this name and no such file"),
        (("replay", "SMALL", "--vcs", "0"), r"vcs: must be greater than or equal to 1, got 0"),
        (("replay", "SMALL", "--vcs", "13"), r"vcs: must be less than or equal to 12, got 13"),
        (("replay", "SMALL", "--buffer", "1", "--k", "2"), r"more flits than a VC holds"),
        (("replay", "SMALL", "--routing", "zigzag"), r"routing: must be one of xy, yx"),
        (("replay", "SMALL", "--topology", "cube"), r"--topology cube: must be mesh or torus"),
        (("replay", "SMALL", "--topology", "torus", "--vcs", "1"), r"vcs: must be at least 2"),
        (("replay", "SMALL", "--topology", "torus", "--router", "simple"), "may deadlock: "),
        (("replay", "SMALL", "--format", "popnet"), r"--format: must be one of packets, "),
        (("replay", "SMALL", "--k", "2", "--out", "SMALL"), r"is given twice"),
        (("replay", "SMALL", "--k", "2", "--out", "/nowhere/x.csv"), r"/nowhere/"),
        (("replay", "SMALL", "--k", "two"), r"--k"),
        (("sweep", "--load", "much"), r"--load: must be numbers"),
        (("sweep", "--load", "1.5"), r"rate: must be from 0 to 1 "),
        (("sweep", "--load", "nan"), r"rate: must be from 0 to 1 "),
        (("sweep", "--size", "0"), r"flits"),
        (("sweep", "--traffic", "rain"), r"pattern: must be one of uniform"),
        (("sweep", "--traffic", "shuffle", "--k", "3"), r"shuffle"),
        (("sweep", "--traffic", "hotspot", "--hotspots", "99"), r"hotspot"),
        (("sweep", "--hotspots", "1"), r"are of --traffic hotspot"),
        (("sweep", "--cycles", "0"), r"measured_cycles: must be at least 1, got 0"),
        (("sweep", "--topology", "SMALL"), r"two nodes|mesh or torus"),
        (("zero-load", "--size", "0"), r"flits"),
        (("check", "--routing", "west-first", "--router", "simple"), r"simple needs a routing"),
        (("export", "SMALL", "--format", "netrace", "--out", "x.tra.bz2"), r"small.txt"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, small, arguments, sentence):
    given = [str(small) if word == "SMALL" else word for word in arguments]
    assert re.search(sentence, refused(capsys, "noc", *given))


def test_ctrl_c_keeps_the_loads_that_are_measured(tmp_path):
    out = tmp_path / "sweep.csv"
    command = [
        *COMMAND, "noc", "sweep", "--k", "16", "--jobs", "1", "--load", "0.01,0.9", "--cycles",
        "400000", "--warmup", "10", "--out", str(out),
    ]  # fmt: skip
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(12)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in err


def test_a_run_takes_a_router_and_draws_its_links(capsys, tmp_path):
    picture = tmp_path / "links.svg"
    code, out, err = ended(
        capsys, "run", "digits", "--frames", 1, "--router", "P3", "--links", picture, "--check"
    )
    assert (code, err) == (0, "")
    assert "P3 routers" in out
    assert out.rstrip().endswith("tensors equal the integer reference")
    assert "<svg" in picture.read_text()


def test_a_runs_json_tells_of_the_network(capsys):
    code, out, _ = ended(capsys, "run", "digits", "--frames", 1, "--router", "P4", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["machine"]["noc"]["router"] == "P4"
    assert told["noc"]["deliveries"] > 0
    assert sum(told["noc"]["stalls"].values()) > 0
    assert told["noc"]["storage_sends"] <= 1
    layers = told["layers"]
    assert sum(row["deliveries"] for row in layers) == told["noc"]["deliveries"]
