"""Programs that read exported files; a test that needs one that is missing is skipped."""

import importlib.util
import os
import shutil
import subprocess

import pytest

DEBIAN = {
    "babeltrace2": "babeltrace2",
    "vcd2fst": "gtkwave",
    "fst2vcd": "gtkwave",
    "node": "nodejs",
}
"""Program -> the Debian package that has it."""


def need(*tools, modules=()):
    """Skip where a program or a module of Python is missing; fail where CI is set."""
    ways = {
        tool: f"install {DEBIAN.get(tool, tool)}" for tool in tools if shutil.which(tool) is None
    } | {
        module: "install firemesh[test]"
        for module in modules
        if importlib.util.find_spec(module) is None
    }
    if ways:
        said = "; ".join(f"{tool} is missing: {way}" for tool, way in ways.items())
        if os.environ.get("CI"):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)


def output(*command):
    """Run a program that must come to its end and complain of nothing; return its output."""
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr.decode()) == (0, "")
    return ended.stdout.decode()
