"""Networks of real size, as a user runs them: exact, in little memory, with a small trace."""

import json
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
CALL = "from firemesh.emulator.cli import main; main()"


def firemesh(*arguments):
    """Run the command line in a process of its own; return what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", CALL, *map(str, arguments)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_vgg16_is_exact_and_its_trace_small_and_true(tmp_path):
    path = tmp_path / "run.h5"
    result = json.loads(firemesh("run", "vgg16", "--trace", path, "--check", "--json"))
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert result["differences"] == [] and result["tensors_compared"] == 19
    names = ("storage", "event_fifo", "pointer", "index", "weight", "psum", "bias", "dram")
    accesses = sum(
        layer[f"{name}_{op}s"]
        for layer in result["layers"]
        for name in names
        for op in ("read", "write")
    )
    assert accesses > 1_000_000_000
    assert path.stat().st_size < 0.01 * accesses
    assert peak_bytes < 2_000_000_000
    assert firemesh("trace", "verify", path).startswith("ok: 19 segments, ")


def test_vgg16_with_its_fully_connected_layers_is_exact_and_reads_them_from_dram():
    result = json.loads(firemesh("run", "vgg16", "--layers", "all", "--check", "--json"))
    assert result["differences"] == []
    by_name = {layer["name"]: layer for layer in result["layers"]}
    assert by_name["fc6"]["waves"] > 1
    assert all(layer["dram_reads"] > 0 for layer in result["layers"])
    read = sum(layer["dram_reads"] for layer in result["layers"])
    assert result["dram_bytes"] == 27 * read


def test_alexnet_with_its_fully_connected_layers_is_exact_and_its_trace_true(tmp_path):
    path = tmp_path / "run.h5"
    run = ("run", "alexnet", "--layers", "all", "--frames", 2, "--check", "--json", "--trace", path)
    result = json.loads(firemesh(*run))
    assert result["differences"] == []
    assert firemesh("trace", "verify", path).startswith("ok: ")
