"""Sweeps on workers: only what is missing is computed, and whatever happens is told and kept."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import current_process
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from distributed import Client, LocalCluster

from firemesh.emulator.cli import main
from firemesh.emulator.sweep import cluster, dispatch, sweep
from firemesh.emulator.sweep.cluster import cluster_at, own_cluster, quiet
from firemesh.emulator.sweep.dispatch import run_points
from firemesh.emulator.sweep.points import Point, points
from firemesh.emulator.sweep.store import RESULTS, Store
from firemesh.emulator.sweep.study_file import parse_study

SMALL = {
    "networks": [{"network": "digits", "frames": 1}],
    "machines": [{"machine": "mnf-22nm", "set": {"pe.fire_lanes": [1, 3]}}],
}
MORE = {**SMALL, "networks": [{"network": n, "frames": 1} for n in ("digits", "digits-pruned")]}
BAD = {**SMALL, "networks": [{"network": "digits", "frames": n} for n in (1, 999)]}


def scheduling():
    """Return a cluster in this process; a process of its own would start for seconds."""
    return LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp",
                        host="127.0.0.1", dashboard_address=':0')  # fmt: skip


@pytest.fixture(scope="module")
def scheduler():
    """Yield the address of a scheduler with a worker."""
    with quiet(), scheduling() as found:
        yield found.scheduler_address


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def ended(capsys, *arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["sweep", *arguments])
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr())


def swept(capsys, tree, *arguments, code=0):
    """Sweep a study into folder out; return what the command tells as JSON."""
    Path("s.yaml").write_text(yaml.safe_dump(tree))
    found, out, _ = ended(capsys, "s.yaml", "--out", "out", "--json", *arguments)
    assert found == code
    return json.loads(out)


def made(tree):
    return points(parse_study({"name": "s", **tree}, "s"), Path(), "s")


def refused(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("firemesh: ")
    return err.removeprefix("firemesh: ")


def test_a_second_call_computes_only_what_is_missing(capsys, scheduler):
    on = ("--scheduler", scheduler)
    counts = ("points", "computed", "ok", "failed", "missing")

    def told(tree):
        found = swept(capsys, tree, *on)
        return [found[name] for name in counts]

    assert told(SMALL) == [2, 2, 2, 0, 0]
    assert told(SMALL) == [2, 0, 2, 0, 0]
    before = {path: path.stat().st_mtime_ns for path in Path("out/points").iterdir()}
    assert told(MORE) == [4, 2, 4, 0, 0]
    next(iter(before)).unlink()
    assert told(MORE) == [4, 1, 4, 0, 0]
    kept = list(before)[1]
    assert kept.stat().st_mtime_ns == before[kept]
    assert told(SMALL) == [2, 0, 2, 0, 0]
    rows = pq.read_table(Path("out") / RESULTS).to_pylist()
    assert {row["network"] for row in rows} == {"digits"}


def test_where_nothing_is_missing_no_worker_starts(capsys, monkeypatch, scheduler):
    swept(capsys, SMALL, "--scheduler", scheduler)
    monkeypatch.setattr(sweep, "own_cluster", None)
    assert swept(capsys, SMALL)["computed"] == 0


def test_failed_points_are_rows_are_told_and_are_computed_again_with_retry(capsys, scheduler):
    on = ("--scheduler", scheduler)
    assert swept(capsys, BAD, *on, code=1)["failed"] == 2
    assert swept(capsys, BAD, *on, code=1)["computed"] == 0
    assert swept(capsys, BAD, *on, "--retry", code=1)["computed"] == 2
    code, out, err = ended(capsys, "s.yaml", "--out", "out", *on)
    assert code == 1 and out.startswith("s: 4 points: 2 ok, 2 failed, 0 missing; 0 computed now\n")
    assert re.findall(r"failed: \w{24}: --frames: must be all or 1..360", err) != []
    rows = pq.read_table(Path("out") / RESULTS).to_pylist()
    assert sum(row["status"] == "failed" for row in rows) == 2


def test_a_dry_run_tells_the_points_and_writes_nothing(capsys, scheduler):
    Path("s.yaml").write_text(yaml.safe_dump(MORE))
    code, out, _ = ended(capsys, "s.yaml", "--out", "out", "--dry-run")
    assert code == 0 and out.endswith("4 points: 0 ok, 0 failed, 4 to compute\n")
    assert not Path("out").exists()
    swept(capsys, SMALL, "--scheduler", scheduler)
    Path("s.yaml").write_text(yaml.safe_dump(MORE))
    _, out, _ = ended(capsys, "s.yaml", "--out", "out", "--dry-run", "--json")
    assert [row["status"] for row in json.loads(out)] == ["ok"] * 2 + ["missing"] * 2


def test_ready_studies_are_listed_and_shown(capsys):
    assert ended(capsys, "list")[1].startswith("utilization-vs-sparsity ")
    code, out, _ = ended(capsys, "utilization-vs-sparsity", "--show")
    assert code == 0 and yaml.safe_load(out)["figure"] == "utilization"


def test_a_study_that_names_a_figure_draws_it(capsys, scheduler):
    tree = {**SMALL, "name": "drawn", "figure": "utilization"}
    found = swept(capsys, tree, "--scheduler", scheduler)
    assert found["files"] == [RESULTS, "drawn.png", "drawn.svg"]
    assert all((Path("out") / name).stat().st_size > 1000 for name in found["files"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "nope: no study of this name and no such file; ready studies: utilization-vs"),
        (["s.yaml", "--workers", "0"], "invalid value for '--workers'"),
        (["s.yaml", "--workers", "1", "--scheduler", "x"], "--workers: is of the own cluster; l"),
        (["s.yaml", "--show"], "STUDY: must be one of utilization-vs-sparsity with --show"),
        (["s.yaml", "--out", "s.yaml"], "--out s.yaml: cannot be used (Not a directory); name"),
        (["s.yaml", "--scheduler", "nope"], "--scheduler nope: no scheduler can be reached there"),
        (["s.yaml", "--scheduler", "zz://a:1"], "--scheduler zz://a:1: no scheduler can be reac"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_one_sentence(capsys, arguments, sentence):
    Path("s.yaml").write_text(yaml.safe_dump(SMALL))
    assert refused(capsys, *arguments).startswith(sentence)


def test_a_scheduler_that_is_not_there_is_told_soon(capsys, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    Path("s.yaml").write_text(yaml.safe_dump(SMALL))
    began = time.monotonic()
    told = refused(capsys, "s.yaml", "--scheduler", "tcp://127.0.0.1:9")
    assert told.startswith("--scheduler tcp://127.0.0.1:9: no scheduler can be reached there (")
    assert time.monotonic() - began < 5


def test_workers_with_another_firemesh_are_refused_and_nothing_is_computed(
    capsys, monkeypatch, scheduler
):
    Path("s.yaml").write_text(yaml.safe_dump(SMALL))
    answers = iter([("0.0.1", "x")])
    monkeypatch.setattr(cluster, "about", lambda: next(answers, cluster.__version__))
    told = refused(capsys, "s.yaml", "--out", "out", "--scheduler", scheduler)
    assert "has another firemesh; install firemesh" in told
    assert not list(Path("out/points").iterdir())


@pytest.mark.parametrize("module", ["distributed", "pyarrow"])
def test_a_missing_library_is_told_with_its_extra(capsys, monkeypatch, module):
    Path("s.yaml").write_text(yaml.safe_dump(SMALL))
    monkeypatch.setitem(sys.modules, module, None)
    assert refused(capsys, "s.yaml").endswith("install them with: pip install 'firemesh[sweep]'\n")


def test_dask_and_pyarrow_are_imported_by_no_other_command():
    code = (
        "import sys; from firemesh.emulator.cli import main; main(['machines', 'list']); "
        "main(['sweep', 'list']); print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"dask", "distributed", "pyarrow", "matplotlib"} & set(done.stdout.split())


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(capsys, monkeypatch, scheduler):
    add, calls = Store.add, []

    def interrupted(store, point, outcome):
        calls.append(point)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        add(store, point, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", interrupted)
        Path("s.yaml").write_text(yaml.safe_dump(MORE))
        code, out, err = ended(capsys, "s.yaml", "--out", "out", "--scheduler", scheduler)
    assert code == 130
    assert err == (
        "interrupted: 2 of 4 points are finished and kept in out; the same command goes on with "
        "them\n"
    )
    found = swept(capsys, MORE, "--scheduler", scheduler)
    assert (found["computed"], found["ok"]) == (2, 4)


def test_a_full_disk_is_told_and_what_was_finished_is_kept(capsys, monkeypatch, scheduler):
    add, calls = Store.add, []

    def full(store, point, outcome):
        calls.append(point)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(store.path(point.digest)))
        add(store, point, outcome)

    monkeypatch.setattr(Store, "add", full)
    Path("s.yaml").write_text(yaml.safe_dump(SMALL))
    told = refused(capsys, "s.yaml", "--out", "out", "--scheduler", scheduler)
    assert told.endswith("cannot be used (No space left on device); name another place\n")
    assert len(list(Path("out/points").iterdir())) == 1


def test_a_scheduler_that_ends_is_told_and_what_was_finished_is_kept(capsys, monkeypatch):
    with quiet():
        found = scheduling()
    add = Store.add

    def close(store, point, outcome):
        add(store, point, outcome)
        found.close()

    monkeypatch.setattr(Store, "add", close)
    Path("s.yaml").write_text(yaml.safe_dump(MORE))
    arguments = "s.yaml", "--out", "out", "--scheduler", found.scheduler_address
    assert refused(capsys, *arguments).startswith("the scheduler is gone; finished points are kept")
    assert list(Path("out/points").iterdir())


def test_a_cluster_without_workers_is_told(monkeypatch):
    monkeypatch.setattr(dispatch, "WORKERLESS_SECONDS", 1)
    with quiet(), scheduling() as found, cluster_at(found.scheduler_address) as client:
        found.scale(0)
        client.retire_workers()
        with pytest.raises(cluster.MachineError, match="the cluster has had no worker for 1 sec"):
            list(run_points(client, made(SMALL)))


def test_workers_of_the_own_cluster_have_one_thread_and_one_that_is_killed_is_survived():
    found = made({**MORE, "machines": {"machine": "mnf-22nm", "set": {"noc.buffer_flits": [4, 5]}}})
    outcomes = []
    with own_cluster(1) as client:
        assert list(client.nthreads().values()) == [1]
        (threads,) = client.run(lambda: os.environ["NUMBA_NUM_THREADS"]).values()
        assert threads == "1"
        for point, outcome in run_points(client, found, 1):
            outcomes.append((point.digest, outcome.status))
            if len(outcomes) == 1:
                (pid,) = client.run(os.getpid).values()
                os.kill(pid, signal.SIGKILL)
        (after,) = client.run(os.getpid).values()
        assert after != pid
    assert sorted(outcomes) == sorted((point.digest, "ok") for point in found)


@pytest.mark.slow
def test_a_point_that_kills_its_workers_fails_and_the_others_do_not():
    class Deadly(Point):
        def __setstate__(self, state):
            if "Worker" in current_process().name:
                os._exit(9)
            self.__dict__.update(state)

    good = made(MORE)
    deadly = Deadly(**{**vars(made(BAD)[-1])})
    with own_cluster(2) as client:
        found = {p.digest: o for p, o in run_points(client, [*good, deadly], 2)}
    assert [found[point.digest].status for point in good] == ["ok"] * len(good)
    assert found[deadly.digest].error.startswith("its workers died while they computed it, perh")


START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.setpgrp()
os.execv(sys.executable, [sys.executable, "-c",
    "import sys; from firemesh.emulator.cli import main; main(sys.argv[1:])", *sys.argv[1:]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 1])
def test_ctrl_c_at_a_terminal_ends_all_processes_and_keeps_what_is_finished(after):
    densities = [n / 20 for n in range(1, 20)]
    layer = {"network": "vgg16", "layers": "conv5_1", "activations": densities}
    tree = {"networks": layer, "machines": "hybrid-256", "modes": "flexnn"}
    Path("s.yaml").write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-c", START, "sweep", "s.yaml", "--out", "out", "--workers", "1"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = Path("out/points")
    while not folder.exists() or len(list(folder.glob("*.parquet"))) < after:
        assert running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    n = len(list(folder.glob("*.parquet")))
    assert running.returncode == 130 and n < len(densities)
    told = f"interrupted: {n} of 19 points are finished and kept in out; the same command goes on"
    assert err.startswith(told) or (err == "" and n == 0)  # before anything was begun
    assert err.count("\n") <= 1 and "Traceback" not in err
    if n:
        assert len(pq.read_table(Path("out") / RESULTS)) >= n
    until = time.monotonic() + 20
    while alive(running.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(running.pid)


def alive(group):
    """Return the processes of a group that have not ended; Linux alone tells them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(path.parent.name)
    return found


def test_a_client_of_this_process_is_closed_after_a_sweep(capsys, scheduler):
    swept(capsys, SMALL, "--scheduler", scheduler)
    with Client(scheduler, set_as_default=False) as client:
        clients = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.clients))
    assert clients <= 2
