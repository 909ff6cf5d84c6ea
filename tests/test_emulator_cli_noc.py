"""The command line's ``firemesh noc`` and ``run --router``."""

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import booksim2
import networkx as nx
import numpy as np
import pytest

from firemesh.emulator import cli_noc_sweep
from firemesh.emulator.cli import main
from firemesh.noc.network import NetworkError
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
        (("sweep", "--load", ""), r"--load: must be numbers .*, got ''$"),
        (("sweep", "--load", "1.5"), r"--load: must be from 0 to 1 "),
        (("sweep", "--load", "nan"), r"--load: must be from 0 to 1 "),
        (("sweep", "--size", "0"), r"--size: "),
        (("sweep", "--jobs", "0"), r"'--jobs': "),
        (("sweep", "--warmup", "9" * 30), r"'--warmup': "),
        (("sweep", "--plot", "x.txt"), r"--plot x.txt: must end in .png or .svg"),
        (("sweep", "--out", "/nowhere/x.csv"), r"--out /nowhere/x.csv: there is no folder"),
        (("sweep", "--traffic", "rain"), r"--traffic: must be one of uniform"),
        (("sweep", "--traffic", "shuffle", "--k", "3"), r"shuffle"),
        (("sweep", "--traffic", "hotspot", "--hotspots", "99"), r"hotspot"),
        (("sweep", "--hotspots", "1"), r"are of --traffic hotspot"),
        (("sweep", "--cycles", "0"), r"'--cycles': "),
        (("sweep", "--topology", "SMALL"), r"two nodes|mesh or torus"),
        (("replay", "SMALL", "--k", "2", "--links", "SMALL"), r"is given twice"),
        (("replay", "SMALL", "--k", "2", "--links", "x"), r"--links x: must end in .png or .svg"),
        (("replay", "SMALL", "--k", "2", "--out", "."), r"--out .: is a folder"),
        (("replay", "SMALL", "--k", "2", "--out", ""), r"--out .: is a folder"),
        (("replay", "SMALL", "--cycles", "9"), r"--cycles: is not of --format packets"),
        (("replay", "SMALL", "--router", ""), r"no router of this name"),
        (("replay", "SMALL", "--buffer", "0"), r"--buffer: buffer_flits: must be greater"),
        (("zero-load", "--size", "0"), r"--size: must be from 1 to"),
        (("zero-load", "--size", "2147483648"), r"--size: must be from 1 to"),
        (("zero-load", "--topology", "SMALL", "--out", "SMALL"), r"is given twice"),
        (("check", "--routing", "west-first", "--router", "simple"), r"simple needs a routing"),
        (("export", "SMALL", "--format", "netrace", "--out", "x.tra.bz2"), r"small.txt"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, small, arguments, sentence):
    given = [str(small) if word == "SMALL" else word for word in arguments]
    assert re.search(sentence, refused(capsys, "noc", *given))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("comma.csv", "0,1\n1,2\n", "no line of two names"),
        ("empty.txt", "", "no line of two names"),
        ("loop.txt", "0 0\n0 1\n", "loop.txt: node 0 is linked to itself"),
        ("part.graphml", "<graphml><node", "cannot be read as a graph"),
        ("part.gml", "graph [ node [ id", "cannot be read as a graph"),
        ("cut.gz", gzip.compress(b"0 1\n1 2\n" * 50, mtime=0)[:30], "cannot be read as a graph"),
    ],
)
def test_a_file_that_is_no_network_is_named(capsys, tmp_path, name, text, sentence):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    told = refused(capsys, "noc", "check", "--topology", path)
    assert name in told
    assert sentence in told


def test_a_graph_may_be_gzip(capsys, tmp_path):
    path = tmp_path / "line.graphml.gz"
    nx.write_graphml(nx.path_graph(5), path)
    code, out, err = ended(capsys, "noc", "check", "--topology", path, "--json")
    assert (code, err, json.loads(out)["nodes"]) == (0, "", 5)


def test_what_nobody_measured_is_null_and_not_drawn(capsys, tmp_path):
    plot = tmp_path / "idle.png"
    code, out, err = ended(
        capsys, "noc", "sweep", "--k", 2, "--load", "0,0.5", "--cycles", 50, "--warmup", 0,
        "--jobs", 1, "--plot", plot, "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    idle, busy = json.loads(out, parse_constant=pytest.fail)
    assert (idle["packets"], idle["lat_packet"]) == (0, None)
    assert busy["lat_packet"] > 0
    assert plot.exists()


@pytest.mark.parametrize("sides", [(1, 1), (1, 90), (90, 2)])
def test_links_of_a_network_of_any_size_are_drawn(capsys, tmp_path, sides):
    trace, picture = tmp_path / "one.txt", tmp_path / "links.png"
    trace.write_text("0 0 0 1\n")
    width, height = sides
    code, _, err = ended(
        capsys, "noc", "replay", trace, "--width", width, "--height", height, "--links", picture,
        "--router", "simple",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_pipe_is_written_to_and_not_replaced(capsys, small, tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    code, _, err = ended(capsys, "noc", "replay", small, "--k", 2, "--out", pipe)
    assert (code, err) == (0, "")
    assert pipe.is_fifo()
    reader.join(10)
    assert len(read[0].splitlines()) == 6


def test_what_is_measured_is_kept_when_a_sweep_ends_early(capsys, tmp_path, monkeypatch):
    measured = cli_noc_sweep._measure
    for end, expected in ((KeyboardInterrupt(), 130), (NetworkError("is wedged"), 2)):

        def one(points, jobs, end=end):
            yield next(measured(points, 1))
            raise end

        monkeypatch.setattr(cli_noc_sweep, "_measure", one)
        out = tmp_path / f"{expected}.csv"
        code, told, err = ended(
            capsys, "noc", "sweep", "--k", 2, "--load", "0.2,0.4", "--cycles", 50, "--warmup", 0,
            "--out", out, "--json",
        )  # fmt: skip
        assert code == expected
        assert err in ("interrupted: 1 of 2 loads are measured\n", "firemesh: is wedged\n")
        (row,) = json.loads(told)
        assert [line["offered"] for line in csv.DictReader(out.open())] == [str(row["offered"])]


@pytest.mark.parametrize("router", ["simple", "P4"])
def test_ctrl_c_ends_a_replay_at_once_and_keeps_what_arrived(capsys, tmp_path, router):
    trace, out = tmp_path / "long.txt", tmp_path / "out.csv"
    trace.write_text("0 0 1 1\n")
    assert ended(capsys, "noc", "replay", trace, "--k", 2, "--router", router)[0] == 0  # compiled
    trace.write_text("0 0 1 1\n50 0 1 300000000\n")
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    begin = time.monotonic()
    code, _, err = ended(capsys, "noc", "replay", trace, "--k", 2, "--router", router, "--out", out)
    assert code == 130
    assert err == "interrupted: 1 of 2 packets created have arrived\n"
    assert [row["idx"] for row in csv.DictReader(out.open())] == ["0"]
    assert time.monotonic() - begin < 4


def test_ctrl_c_ends_the_processes_of_a_sweep():
    command = [*COMMAND, "noc", "sweep", "--k", "4", "--jobs", "2", "--load", "0.2,0.3"]
    run = subprocess.Popen(
        [*command, "--cycles", "999999999"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(8)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130
    assert err == "interrupted: 0 of 2 loads are measured\n"


def test_a_run_takes_a_router_and_draws_its_links(capsys, tmp_path):
    picture = tmp_path / "links.svg"
    code, out, err = ended(
        capsys, "run", "digits", "--frames", 1, "--router", "P3", "--links", picture, "--check"
    )
    assert (code, err) == (0, "")
    assert "P3 routers" in out
    assert out.rstrip().endswith("tensors equal the integer reference")
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("router", "sentence"),
    [
        ("p3", "--router p3: no router of this name"),
        ("", "--router '': no router of this name"),
        ("FOLDER", "FOLDER: cannot be read"),
        ("LIST", "LIST: must be a YAML mapping of router fields"),
        ("WORD", "--router WORD, on mnf-22nm: noc.router.st_delay: must be a valid integer"),
    ],
)
def test_a_runs_router_that_is_none_is_named_once(capsys, tmp_path, router, sentence):
    places = {"FOLDER": tmp_path, "LIST": tmp_path / "list.yaml", "WORD": tmp_path / "word.yaml"}
    places["LIST"].write_text("- 1\n")
    places["WORD"].write_text("st_delay: one\n")
    place = str(places.get(router, router))
    told = refused(capsys, "run", "digits", "--frames", 1, "--router", place)
    assert told.startswith("firemesh: " + sentence.replace(router or "''", place or "''", 1))


def test_a_runs_figure_is_refused_before_it_runs(capsys, tmp_path):
    for name, sentence in (("x.txt", "must end in"), ("no/x.png", "there is no folder")):
        assert sentence in refused(capsys, "run", "digits", "--links", tmp_path / name)
    both = tmp_path / "both.png"
    assert "is given twice" in refused(capsys, "run", "digits", "--links", both, "--trace", both)


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
