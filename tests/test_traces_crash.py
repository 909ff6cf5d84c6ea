"""Traces of runs that are killed, interrupted, run out of disk, or find something in their way.

Every run is a process of its own. Most are forked off one that has firemesh imported, so that a
run takes a tenth of a second and can be killed often; some are started from nothing.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import firemesh
from firemesh.traces.schema import TABLES
from firemesh.traces.verify import verify

Ended = namedtuple("Ended", "code out err")

DRIVER = """
import json, os, resource, shutil, signal, sys
from collections import namedtuple

import firemesh.emulator.check, firemesh.emulator.recorder, firemesh.traces.verify
from firemesh.emulator import cli
from firemesh.traces import writer

def watch(kill_at, kill_before, is_counting):
    changes = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree"}
    count = 0
    def hook(event, arguments):
        nonlocal count, is_counting
        if event == "open":
            if ".partial" not in str(arguments[0]):
                return
        elif event not in changes:
            return
        count += is_counting
        is_counting |= event == "os.rename" and "merged.h5" in str(arguments[0])
        if count == kill_at or kill_before and kill_before in f"{event} {arguments}":
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def go(job):
    os.chdir(job["folder"])
    for number, name in (1, "out"), (2, "err"):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.alarm(300)
    if not job["cold"]:
        os.fsync = lambda file: None  # a kill loses nothing that the system was given
    writer.COMMIT_SECONDS = job.get("commit", 0.02)
    if "commit_at" in job:
        def is_due(own):
            done = len(job["commit_at"]) < own._shards
            return not done and own.rows("segments") >= job["commit_at"][own._shards - 1]
        writer.TraceWriter.is_due = property(is_due)
    if "room_told" in job:
        usage = namedtuple("usage", "total used free")
        shutil.disk_usage = lambda path: usage(0, 0, job["room_told"])
    if "largest" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], resource.RLIM_INFINITY))
    if "most_open" in job:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (job["most_open"], hard))
    if "kill_at" in job or "kill_before" in job:
        watch(job.get("kill_at"), job.get("kill_before"), not job.get("is_counted_from_merge"))
    # a Ctrl-C before or after the command's own time ends this process as the command would
    signal.signal(signal.SIGINT, lambda *_: (sys.stdout.flush(), os._exit(130)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    cli.main(job["arguments"])
    sys.exit(0)

if len(sys.argv) > 1:
    go(json.loads(sys.argv[1]))
import contextlib, gc, io, tempfile
with tempfile.TemporaryDirectory() as folder:  # imports modules, loads kernels
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["run", "digits", "--frames", "1", "--trace", folder + "/run.h5"])
        cli.main(["trace", "verify", folder + "/run.h5"])
gc.freeze()
print("ready", flush=True)
while line := sys.stdin.readline():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if not child:
        go(json.loads(line))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def begin(outputs):
    """Give a function that starts a run and returns its id and a function that waits for it."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout.readline() == "ready\n"

    def begin(folder, *arguments, cold=False, **options):
        job = {"folder": str(folder), "arguments": arguments, "cold": cold} | options
        job |= {name: str(outputs / f"{name}{cold}") for name in ("out", "err")}
        if cold:
            process = subprocess.Popen([sys.executable, "-c", DRIVER, json.dumps(job)])
            return process.pid, lambda: read(job, process.wait())
        driver.stdin.write(json.dumps(job) + "\n")
        driver.stdin.flush()
        return int(driver.stdout.readline()), lambda: read(job, int(driver.stdout.readline()))

    def read(job, code):
        paths = [Path(job[name]) for name in ("out", "err")]
        return Ended(code, *(path.read_text("utf-8") if path.exists() else "" for path in paths))

    yield begin
    driver.stdin.close()
    driver.wait()


@pytest.fixture(scope="module")
def ended(begin):
    return lambda folder, *arguments, **options: begin(folder, *arguments, **options)[1]()


@pytest.fixture(scope="module")
def undisturbed(ended, tmp_path_factory):
    """Give a function that returns file, result and tables of a run that nothing happens to."""
    known = {}

    def undisturbed(*arguments):
        if arguments not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            found = ended(folder, *arguments)
            assert (found.code, found.err) == (0, "")
            assert os.listdir(folder) == ["run.h5"]
            with firemesh.open_trace(folder / "run.h5") as trace:
                assert trace.complete
                tables = {name: trace.table(name) for name in TABLES}
            known[arguments] = (folder / "run.h5").read_bytes(), result_of(found), tables
        return known[arguments]

    return undisturbed


def run_of(frames, model="digits", *more):
    return ("run", model, "--frames", str(frames), "--json", "--trace", "run.h5", *more)


def result_of(found):
    """Return what was printed, but for path and size of the trace."""
    return {name: value for name, value in json.loads(found.out).items() if name != "trace"}


def sentence_of(found):
    """Return the one sentence of a run that was refused or stopped."""
    assert found.code == 2, found
    assert found.err.startswith("firemesh: ") and found.err.count("\n") == 1, found.err
    assert "Traceback" not in found.err
    if found.out:  # of the frames that were finished
        result = json.loads(found.out)
        assert not result["is_complete"] and "trace" not in result
    return found.err.removeprefix("firemesh: ").strip()


def assert_undisturbed(folder, found, whole):
    """Demand the undisturbed file and result, and nothing beside them."""
    assert (found.code, found.err) == (0, "")
    assert result_of(found) == whole[1]
    assert (folder / "run.h5").read_bytes() == whole[0]
    assert not (folder / "run.h5.partial").exists()


def segments_left(folder, whole, is_verified=True):
    """Demand that what is there can be read, is sound and a beginning; return its segments."""
    path = folder / "run.h5"
    try:
        trace = firemesh.open_trace(path)
    except firemesh.TraceError as error:
        assert not path.exists()
        assert re.search("no such file|holds no finished segments yet", str(error)), error
        return 0
    with trace:
        assert trace.complete == path.exists()
        if is_verified:
            assert verify(trace).problems == []
        for name, rows in whole[2].items():
            found = trace.table(name)
            assert found.tobytes() == rows[: len(found)].tobytes(), name
        return len(trace.segments)


def unmerged(ended, folder, arguments, **options):
    """Leave a run's folder as it is just before the file is there."""
    found = ended(folder, *arguments, kill_before="merged.h5", **options)
    assert found.code == -signal.SIGKILL
    (folder / "run.h5.partial" / "merged.h5").unlink()


# Kills


def wait_for_shard(folder, number):
    """Wait until a run has committed so often, or is at its end."""
    shard, until = folder / "run.h5.partial" / f"{number:05d}.h5", time.monotonic() + 10
    while not shard.exists() and not (folder / "run.h5").exists() and time.monotonic() < until:
        time.sleep(0.0005)


@pytest.mark.slow
def test_killed_at_50_moments_a_run_leaves_a_sound_beginning_and_resumes_to_the_same_trace(
    begin, ended, undisturbed, tmp_path
):
    arguments, rng = run_of(12), random.Random(20261120)
    whole = undisturbed(*arguments)
    duration = {}
    for is_cold in (False, True):
        (tmp_path / str(is_cold)).mkdir()
        start = time.monotonic()
        assert_undisturbed(
            tmp_path / str(is_cold),
            ended(tmp_path / str(is_cold), *arguments, cold=is_cold),
            whole,
        )
        duration[is_cold] = min(time.monotonic() - start, 4.0 if is_cold else 1.5)
    kills, resumed_kills, lefts, chain = 0, 0, set(), 0
    while kills < 50:
        folder, chain, segments, resume = tmp_path / f"chain{chain}", chain + 1, 0, []
        folder.mkdir()
        for attempt in range(5):
            is_cold = kills % 10 == 9
            child, wait = begin(folder, *arguments, *resume, cold=is_cold, commit=-1.0)
            if kills < 50 and attempt < 4:
                if kills % 2:  # at any moment of the process
                    time.sleep(rng.uniform(0, 1.05 * duration[is_cold]))
                else:  # at any layer of the run
                    wait_for_shard(folder, rng.randint(min(segments + 1, 48), 48))
                    time.sleep(rng.uniform(0, 0.004))
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it has come to its end
            found = wait()
            if found.code != -signal.SIGKILL:
                break
            kills, resumed_kills = kills + 1, resumed_kills + bool(resume)
            left = segments_left(folder, whole)
            assert left >= segments
            lefts.add(left)
            segments, resume = left, ["--resume"]
        if found.code == 2 and (folder / "run.h5").exists():  # killed after the merge
            assert "exists" in sentence_of(found)
            assert (folder / "run.h5").read_bytes() == whole[0]
        else:
            assert_undisturbed(folder, found, whole)
    assert chain >= 5 and resumed_kills >= 10 and len(lefts) >= 10, (chain, resumed_kills, lefts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [[], ["--values", "--router", "P3"]], ids=["accesses", "values-P3"]
)
def test_killed_before_any_change_of_a_file_a_run_resumes_to_the_same_trace(
    ended, undisturbed, tmp_path, more
):
    arguments = run_of(1, "digits", *more)
    whole, segments = undisturbed(*arguments), 0
    for number in range(1, 1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = ended(folder, *arguments, commit=-1, kill_at=number)
        if (folder / "run.h5").exists():
            break
        assert found.code == -signal.SIGKILL
        left = segments_left(folder, whole)
        assert left >= segments
        segments = left
        assert_undisturbed(folder, ended(folder, *arguments, "--resume"), whole)
        shutil.rmtree(folder)
    assert number > 30 and segments == len(whole[2]["segments"])


def killed_after_merge(ended, tmp_path, arguments):
    """Yield folders of runs that were killed while their folders were removed."""
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        options = {"kill_at": at, "is_counted_from_merge": True}
        found = ended(folder, *arguments, commit_at=[1, 2, 3], **options)
        assert (folder / "run.h5").exists()
        if not found.code:
            assert at > 3
            return
        assert found.code == -signal.SIGKILL
        yield folder


def test_killed_while_its_folder_is_removed_a_run_has_its_file_and_resume_tells_the_result(
    ended, undisturbed, tmp_path
):
    arguments, n_resumed = run_of(1), 0
    whole = undisturbed(*arguments)
    for folder in killed_after_merge(ended, tmp_path, arguments):
        assert segments_left(folder, whole) == len(whole[2]["segments"])
        has_state = (folder / "run.h5.partial" / "state.npz").exists()
        found = ended(folder, *arguments, "--resume")
        if has_state:
            assert_undisturbed(folder, found, whole)
        else:  # nobody knows the result any more
            assert "exists" in sentence_of(found)
        n_resumed += has_state
    assert n_resumed


def test_what_is_left_of_a_removed_folder_is_never_made_into_a_wrong_trace(
    ended, undisturbed, tmp_path
):
    """A run is killed while its folder is removed; its file is moved away; it is resumed."""
    arguments = run_of(1)
    whole = undisturbed(*arguments)
    for folder in killed_after_merge(ended, tmp_path, arguments):
        (folder / "run.h5").unlink()
        found = ended(folder, *arguments, "--resume")
        if found.code:
            assert "--force" in sentence_of(found)
            found = ended(folder, *arguments, "--force")
        assert_undisturbed(folder, found, whole)


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--set", "pe.fire_lanes=3"]], ids=["same", "other"])
def test_a_forced_restart_that_is_killed_never_mixes_two_runs(ended, undisturbed, tmp_path, more):
    arguments, old = run_of(1), run_of(1, "digits", *more)
    whole, kills = undisturbed(*arguments), 0
    (tmp_path / "old").mkdir()
    unmerged(ended, tmp_path / "old", old, commit=-1)
    for at in range(1, 22):
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "old", folder)
        found = ended(folder, *arguments, "--force", kill_at=at)
        if found.code == 0:
            break
        kills += 1
        assert found.code == -signal.SIGKILL
        if not (folder / "run.h5").exists():
            found = ended(folder, *arguments, "--resume")
            if found.code:
                assert "--force" in sentence_of(found)
                found = ended(folder, *arguments, "--force")
            assert_undisturbed(folder, found, whole)
        shutil.rmtree(folder)
    assert kills > 10


def test_an_existing_file_is_kept_until_a_forced_run_has_its_own(ended, undisturbed, tmp_path):
    arguments = run_of(1)
    whole, at = undisturbed(*arguments), 0
    for at in range(1, 1000):
        (tmp_path / "run.h5").write_bytes(b"old")
        found = ended(tmp_path, *arguments, "--force", kill_at=at)
        if (tmp_path / "run.h5").read_bytes() != b"old":
            break
        assert found.code == -signal.SIGKILL
    assert (tmp_path / "run.h5").read_bytes() == whole[0]


def test_trace_commands_tell_an_unfinished_trace_from_a_complete_one(ended, tmp_path):
    arguments = run_of(4)
    unmerged(ended, tmp_path, arguments, commit_at=[9])
    found = ended(tmp_path, "trace", "verify", "run.h5")
    assert (found.code, found.err) == (0, "")
    assert "ok: 16 segments" in found.out and "unfinished" in found.out
    assert "--resume goes on" in found.out
    assert not json.loads(ended(tmp_path, "trace", "verify", "run.h5", "--json").out)["complete"]
    assert "unfinished; run again with --resume" in ended(tmp_path, "trace", "info", "run.h5").out
    assert "conv2" in ended(tmp_path, "trace", "stats", "run.h5").out
    assert ended(tmp_path, *arguments, "--resume").code == 0
    found = ended(tmp_path, "trace", "verify", "run.h5")
    assert (found.code, found.err) == (0, "")
    assert "ok: 16 segments" in found.out and "unfinished" not in found.out


# Disks


@pytest.fixture
def disk(tmp_path):
    """Give a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small disk can be made: {error}")
    if made.returncode:
        pytest.skip(f"no small disk can be made: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk, room):
    """Fill a disk but for some room."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [0, 4, 8, 16, 28, 32, 48, 80, 100, 128, 192, 256, 400])
def test_a_full_disk_stops_a_run_with_a_sentence_and_with_room_it_resumes(
    ended, undisturbed, disk, kilobytes
):
    arguments = run_of(8)
    whole = undisturbed(*arguments)
    filler = fill(disk, kilobytes << 10)
    found = ended(disk, *arguments, commit=-1)
    sentence = sentence_of(found)
    assert "run.h5" in sentence and "No space left on device" in sentence
    assert "--resume" in sentence or "name another place" in sentence
    assert not (disk / "run.h5").exists()
    filler.unlink()
    left = segments_left(disk, whole)
    assert left or kilobytes < 256
    assert ("--resume" in sentence) == (disk / "run.h5.partial").exists()
    assert_undisturbed(disk, ended(disk, *arguments, "--resume"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("is_seen", [True, False], ids=["before", "during"])
@pytest.mark.parametrize("kilobytes", [0, 72, 80, 88, 96, 104])
def test_a_disk_too_full_to_merge_keeps_the_shards_and_with_room_the_run_resumes(
    ended, undisturbed, disk, kilobytes, is_seen
):
    arguments = run_of(24)
    whole = undisturbed(*arguments)
    unmerged(ended, disk, arguments, commit=0.1)
    filler = fill(disk, kilobytes << 10)
    lie = {} if is_seen else {"room_told": 1 << 40}
    found = ended(disk, *arguments, "--resume", **lie)
    if found.code or is_seen:
        sentence = sentence_of(found)
        assert "make room and go on with --resume" in sentence
        assert not (disk / "run.h5").exists()
        assert result_of(found)["frames"] == 24
        assert segments_left(disk, whole, is_verified=False) == len(whole[2]["segments"])
        filler.unlink()
        found = ended(disk, *arguments, "--resume")
    assert_undisturbed(disk, found, whole)


@pytest.mark.slow
@pytest.mark.parametrize("largest", [1000, 4000, 16000, 24000, 40000, 58000])
def test_a_file_that_may_not_grow_stops_a_run_with_a_sentence(
    ended, undisturbed, tmp_path, largest
):
    arguments = run_of(8)
    whole = undisturbed(*arguments)
    found = ended(tmp_path, *arguments, commit=-1, largest=largest)
    assert "run.h5" in sentence_of(found)
    assert "File too large" in sentence_of(found)
    assert not (tmp_path / "run.h5").exists()
    segments_left(tmp_path, whole)
    assert_undisturbed(tmp_path, ended(tmp_path, *arguments, "--resume"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("less", [1, 1000, 5000, 10000, 20000, 30000, 35000])
def test_a_file_that_may_not_grow_stops_the_merge_with_a_sentence(
    ended, undisturbed, tmp_path, less
):
    arguments = run_of(48)  # so many that the trace is larger than the state
    whole = undisturbed(*arguments)
    unmerged(ended, tmp_path, arguments, commit=0.1)
    largest = len(whole[0]) - less
    assert largest > (tmp_path / "run.h5.partial" / "state.npz").stat().st_size
    found = ended(tmp_path, *arguments, "--resume", largest=largest)
    assert "make room and go on with --resume" in sentence_of(found)
    assert not (tmp_path / "run.h5").exists()
    assert segments_left(tmp_path, whole, is_verified=False) == len(whole[2]["segments"])
    assert_undisturbed(tmp_path, ended(tmp_path, *arguments, "--resume"), whole)


@pytest.mark.slow
def test_a_run_may_have_more_commits_than_a_process_may_have_files(ended, undisturbed, tmp_path):
    """At one commit in 2 s and 1024 files, as is usual, after 34 minutes."""
    arguments = run_of(20)
    whole = undisturbed(*arguments)
    unmerged(ended, tmp_path, arguments, commit=-1)
    found = ended(tmp_path, "trace", "info", "run.h5", most_open=64)
    assert (found.code, found.err) == (0, "")
    found = ended(tmp_path, *arguments, "--resume", most_open=64)
    assert_undisturbed(tmp_path, found, whole)


# Paths and states


def a_folder(folder):
    (folder / "run.h5").mkdir()


def a_file(folder):
    (folder / "run.h5").write_bytes(b"old")


def a_file_for_a_folder(folder):
    (folder / "run.h5.partial").write_bytes(b"old")


def nothing(folder):
    pass


@pytest.mark.parametrize("more", [[], ["--resume"], ["--force"], ["--resume", "--force"]])
@pytest.mark.parametrize(
    ("prepare", "path", "sentence", "is_forced"),
    [
        (a_folder, "run.h5", "^run.h5: is a folder; name a file for the trace$", False),
        (nothing, ".", "^.: is a folder; name a file for the trace$", False),
        (nothing, "", "^.: is a folder; name a file for the trace$", False),
        (a_file, "run.h5", "^run.h5: exists; name another file, or .* with --force$", True),
        (a_file, "run.h5/", "^run.h5: exists; name another file, or .* with --force$", True),
        (nothing, "no/run.h5", "^no/run.h5: folder no does not exist; make it first$", False),
        (a_file, "run.h5/x.h5", "^run.h5/x.h5: folder run.h5 does not exist; make it", False),
        (a_file_for_a_folder, "run.h5", "^run.h5.partial: .*(File exists|is a file).*; ", False),
        (nothing, "/proc/run.h5", "^/proc/run.h5.*: cannot be used .*; name another", False),
        (nothing, "x" * 300, "^xxx.*: cannot be used .File name too long.; name another", False),
        (nothing, "x" * 250, "^xxx.*: cannot be used .File name too long.; name another", False),
        (nothing, "/dev/full/run.h5", "^/dev/full/run.h5: folder /dev/full ", False),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_a_path_that_cannot_be_used_is_refused_with_a_sentence(
    ended, tmp_path, prepare, path, sentence, is_forced, more
):
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = ended(tmp_path, "run", "digits", "--frames", "1", "--trace", path, *more)
    if is_forced and "--force" in more:
        assert (found.code, found.err) == (0, "")
        return
    assert found.out == ""
    assert re.search(sentence, sentence_of(found)), found.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_may_not_be_written_is_refused_with_a_sentence(ended, disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    found = ended(disk, *run_of(1))
    assert found.out == ""
    sentence = sentence_of(found)
    assert sentence == "run.h5.partial: cannot be used (Read-only file system); name another place"


def test_a_folder_that_may_not_be_written_is_refused_with_a_sentence(ended, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    found = ended(tmp_path, *run_of(1))
    tmp_path.chmod(0o700)
    assert "run.h5.partial: cannot be used (Permission denied)" in sentence_of(found)


def test_a_device_is_not_replaced_by_a_trace(ended, tmp_path):
    os.mkfifo(tmp_path / "run.h5")
    for more in ([], ["--force"]):
        assert "run.h5: " in sentence_of(ended(tmp_path, *run_of(1), *more))
        assert (tmp_path / "run.h5").is_fifo()


def test_a_folder_with_files_of_others_is_not_removed(ended, tmp_path):
    (tmp_path / "run.h5.partial").mkdir()
    (tmp_path / "run.h5.partial" / "notes.txt").write_text("mine")
    ended(tmp_path, *run_of(1))
    assert (tmp_path / "run.h5.partial" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["--resume", "--force", "--values"])
def test_an_option_of_traces_without_a_trace_is_refused(ended, tmp_path, option):
    found = ended(tmp_path, "run", "digits", option)
    assert found.out == ""
    assert sentence_of(found) == f"{option}: is of a trace; add --trace FILE.h5"


def test_resume_with_nothing_there_starts(ended, undisturbed, tmp_path):
    found = ended(tmp_path, *run_of(2), "--resume")
    assert_undisturbed(tmp_path, found, undisturbed(*run_of(2)))


def test_an_unfinished_trace_is_not_begun_anew_without_a_word(ended, undisturbed, tmp_path):
    whole = undisturbed(*run_of(2))
    unmerged(ended, tmp_path, run_of(2))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*5")}
    found = ended(tmp_path, *run_of(2))
    assert found.out == ""
    assert sentence_of(found) == (
        "run.h5.partial: holds the unfinished trace of an earlier run; go on from it with "
        "--resume, or begin anew with --force"
    )
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*5")}
    assert_undisturbed(tmp_path, ended(tmp_path, *run_of(2), "--force"), whole)


def other_images(folder):
    np.save(folder / "other.npy", firemesh.images("digits", 4)[0][2:])


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (run_of(3), "frames"),
        (run_of(2, "digits-pruned"), "network_digest"),
        (run_of(2, "digits", "--set", "pe.fire_lanes=3"), "machine"),
        (run_of(2, "digits", "--input", "other.npy"), "input_digest"),
        (run_of(2, "digits", "--values"), "values"),
    ],
    ids=["frames", "network", "machine", "input", "values"],
)
def test_another_run_is_not_resumed(ended, undisturbed, tmp_path, other, names):
    other_images(tmp_path)
    whole = undisturbed(*run_of(2))
    unmerged(ended, tmp_path, run_of(2))
    found = ended(tmp_path, *other, "--resume")
    assert found.out == ""
    sentence = sentence_of(found)
    assert sentence.startswith("run.h5.partial: is the unfinished trace of another run, with")
    assert names in sentence and sentence.endswith("or begin anew with --force")
    assert_undisturbed(tmp_path, ended(tmp_path, *run_of(2), "--resume"), whole)


# Two at once, Ctrl-C


def wait_for(path, wait=60):
    end = time.monotonic() + wait
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.01)


@pytest.mark.parametrize("more", [[], ["--resume"], ["--force"], ["--resume", "--force"]])
def test_a_second_run_is_refused_at_once_and_the_first_is_undisturbed(
    begin, ended, undisturbed, tmp_path, more
):
    whole = undisturbed(*run_of(100))
    _, wait = begin(tmp_path, *run_of(100), cold=True)
    wait_for(tmp_path / "run.h5.partial" / "00002.h5")
    found = ended(tmp_path, *run_of(100), *more)
    assert found.out == ""
    assert not (tmp_path / "run.h5").exists(), "the first run was too short for this test"
    assert sentence_of(found) == (
        "run.h5: another run is writing this trace; wait for it, or name another file"
    )
    found = wait()
    assert_undisturbed(tmp_path, found, whole)


@pytest.mark.slow
def test_a_trace_can_be_read_at_any_time_while_it_is_written(begin, undisturbed, tmp_path):
    whole = undisturbed(*run_of(20))
    before, reads = 0, 0
    _, wait = begin(tmp_path, *run_of(20), commit=-1)
    path, folder = tmp_path / "run.h5", tmp_path / "run.h5.partial"
    wait_for(folder / "00001.h5")
    failures = []
    while not path.exists():
        try:
            with firemesh.open_trace(path) as trace:
                assert len(trace.segments) >= before
                before, reads = len(trace.segments), reads + 1
        except firemesh.TraceError as error:
            failures.append(str(error))
    assert_undisturbed(tmp_path, wait(), whole)
    assert reads and not failures


@pytest.mark.parametrize("is_json", [True, False], ids=["json", "text"])
def test_ctrl_c_tells_the_finished_frames_and_how_to_go_on(
    begin, ended, undisturbed, tmp_path, is_json
):
    whole = undisturbed(*run_of(100))
    arguments = [word for word in run_of(100) if is_json or word != "--json"]
    child, wait = begin(tmp_path, *arguments)
    wait_for(tmp_path / "run.h5.partial" / "00010.h5")
    os.kill(child, signal.SIGINT)
    found = wait()
    told = re.fullmatch(
        r"interrupted: the result is of the (\d+) frames that were finished; "
        r"--resume goes on with its trace\n",
        found.err,
    )
    assert found.code == 130 and told and 0 < int(told[1]) < 100
    if is_json:
        result = json.loads(found.out)
        assert result["frames"] == int(told[1]) and not result["is_complete"]
        assert "trace" not in result
    else:
        assert f"{told[1]} frames" in found.out and "trace:" not in found.out
    assert 0 < segments_left(tmp_path, whole, is_verified=False) <= 4 * (int(told[1]) + 1)
    assert_undisturbed(tmp_path, ended(tmp_path, *run_of(100), "--resume"), whole)


def test_ctrl_c_at_any_moment_leaves_a_trace_that_resumes(begin, ended, undisturbed, tmp_path):
    whole, rng = undisturbed(*run_of(20)), random.Random(7)
    resume, interrupts = [], 0
    for _ in range(20):
        child, wait = begin(tmp_path, *run_of(20), *resume)
        time.sleep(rng.uniform(0, 0.4))
        try:
            os.kill(child, signal.SIGINT)
        except ProcessLookupError:
            pass
        found = wait()
        # where Python cannot raise, in a callback of the collector, it prints what it ignores
        assert "Traceback" not in found.err or found.err.startswith("Exception ignored in")
        is_over = found.code in (130, -signal.SIGINT) and '"is_complete": true' in found.out
        if found.code == 0 or is_over:  # Python's last moments are its own
            assert_undisturbed(tmp_path, found._replace(code=0, err=""), whole)
            (tmp_path / "run.h5").unlink()
            resume = []
            continue
        assert found.code == 130, found
        interrupts += 1
        if (tmp_path / "run.h5").exists():  # it came while the result was printed
            assert (tmp_path / "run.h5").read_bytes() == whole[0]
            (tmp_path / "run.h5").unlink()
            resume = []
            continue
        segments_left(tmp_path, whole, is_verified=False)
        resume = ["--resume"]
    assert interrupts > 3


# Damage


def written(path, data):
    path.write_bytes(data)


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def rewritten(path, **changes):
    with np.load(path) as arrays:
        state = {name: arrays[name] for name in arrays.files} | changes
    np.savez(path, **{name: part for name, part in state.items() if part is not None})


def told(path, **changes):
    attributes = json.loads(path.read_text("utf-8")) | changes
    attributes = {name: value for name, value in attributes.items() if value is not None}
    path.write_text(json.dumps(attributes), "utf-8")


def an_archive_of_nothing(path):
    with zipfile.ZipFile(path, "w"):
        pass


DAMAGES = {
    "state-missing": ("state.npz", Path.unlink),
    "state-empty": ("state.npz", lambda path: written(path, b"")),
    "state-half": ("state.npz", halved),
    "state-flipped": ("state.npz", flipped),
    "state-text": ("state.npz", lambda path: written(path, b"not an archive")),
    "state-of-nothing": ("state.npz", an_archive_of_nothing),
    "state-array": ("state.npz", lambda path: np.save(path.open("wb"), np.zeros(3))),
    "state-objects": ("state.npz", lambda path: np.savez(path, shards=np.array([{}, None]))),
    "state-without-shards": ("state.npz", lambda path: rewritten(path, shards=None)),
    "state-without-rows": ("state.npz", lambda path: rewritten(path, rows=None)),
    "state-without-position": ("state.npz", lambda path: rewritten(path, position=None)),
    "state-without-tally": ("state.npz", lambda path: rewritten(path, **{"tally/results": None})),
    "state-more-shards": ("state.npz", lambda path: rewritten(path, shards=np.array(99))),
    "run-missing": ("run.json", Path.unlink),
    "run-empty": ("run.json", lambda path: written(path, b"")),
    "run-half": ("run.json", halved),
    "run-binary": ("run.json", lambda path: written(path, b"\xff\xfe\x00")),
    "run-list": ("run.json", lambda path: written(path, b"[]")),
    "run-of-nothing": ("run.json", lambda path: written(path, b"{}")),
    "run-without-machine": ("run.json", lambda path: told(path, machine=None)),
    "run-of-another-type": ("run.json", lambda path: told(path, frames="2")),
    "run-of-another-version": ("run.json", lambda path: told(path, program_version="0")),
    "first-shard-missing": ("00000.h5", Path.unlink),
    "middle-shard-missing": ("00003.h5", Path.unlink),
    "last-shard-missing": ("00006.h5", Path.unlink),
    "shard-empty": ("00003.h5", lambda path: written(path, b"")),
    "shard-half": ("00003.h5", halved),
    "shard-flipped": ("00003.h5", flipped),
    "shard-text": ("00003.h5", lambda path: written(path, b"not HDF5")),
    "shard-of-another": ("00003.h5", lambda path: shutil.copy(path.with_name("00002.h5"), path)),
}


@pytest.fixture(scope="module")
def unfinished(ended, tmp_path_factory):
    """Give a folder with the unfinished trace of a run in seven shards."""
    folder = tmp_path_factory.mktemp("unfinished")
    found = ended(folder, *run_of(4), commit_at=[3, 5, 7, 8, 10, 12], kill_before="00007.h5")
    assert found.code == -signal.SIGKILL
    assert len(list(folder.glob("run.h5.partial/0*.h5"))) == 7
    return folder


@pytest.mark.parametrize("more", [["--resume"], [], ["--force"]], ids=["resume", "bare", "force"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_folder_is_told_or_begun_anew_and_never_becomes_a_wrong_trace(
    ended, undisturbed, unfinished, tmp_path, kind, more
):
    whole, folder = undisturbed(*run_of(4)), tmp_path / "run"
    shutil.copytree(unfinished, folder)
    name, damage = DAMAGES[kind]
    damage(folder / "run.h5.partial" / name)
    found = ended(folder, *run_of(4), *more)
    if found.code:
        sentence = sentence_of(found)
        assert not (folder / "run.h5").exists() and "--force" in sentence, sentence
        assert more != ["--force"]
        found = ended(folder, *run_of(4), "--force")
    assert_undisturbed(folder, found, whole)


@pytest.mark.parametrize("kind", DAMAGES)
def test_reading_a_damaged_folder_is_one_sentence_or_a_sound_beginning(
    ended, undisturbed, unfinished, tmp_path, kind
):
    whole, folder = undisturbed(*run_of(4)), tmp_path / "run"
    shutil.copytree(unfinished, folder)
    name, damage = DAMAGES[kind]
    damage(folder / "run.h5.partial" / name)
    for command in ("info", "verify", "stats"):
        found = ended(folder, "trace", command, "run.h5")
        assert found.code in (0, 1, 2) and "Traceback" not in found.err, found.err
        if found.code == 2:
            sentence_of(found)
        if command == "verify" and found.code == 0:
            assert segments_left(folder, whole) <= 12


# Sameness


@pytest.mark.slow
@pytest.mark.parametrize("model", ["digits", "digits-pruned"])
def test_a_trace_does_not_show_when_it_was_committed(ended, tmp_path, model):
    arguments, files, results = run_of(40, model), {}, []
    ways = {
        "once": {"commit": 1000},
        "once again": {"commit": 1000},
        "from nothing": {"commit": 1000, "cold": True},
        "after each layer": {"commit": 0},
        "often": {"commit": 0.02},
        "in the middle": {"commit_at": [80]},
        "at some times": {"commit_at": [11, 37, 80, 130]},
    }
    for way, options in ways.items():
        folder = tmp_path / way
        folder.mkdir()
        found = ended(folder, *arguments, **options)
        assert (found.code, found.err) == (0, "")
        files[way] = (folder / "run.h5").read_bytes()
        results.append(result_of(found))
    assert all(result == results[0] for result in results)
    differing = [way for way, data in files.items() if data != files["once"]]
    assert not differing
