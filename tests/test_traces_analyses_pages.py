"""The pages of analyses show what the commands print, and define every column."""

import re
import shutil
from pathlib import Path

import pytest
from analysed_traces import ended, trace_of

import firemesh
from firemesh.traces.analyses.catalogue import ANALYSES, analyse

PAGES = Path(__file__).parents[1] / "docs" / "trace"
SHOWN = ("bandwidth", "utilization", "balance", "energy", "links", "stats")


@pytest.fixture
def sample(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return shutil.copy(trace_of("mnf"), "digits.h5")


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_what_the_command_prints_for_digits(capsys, sample, name):
    text = (PAGES / f"{name}.md").read_text("utf-8")
    options = ("--by", "memory,op", "--cycles", "100:200") if name == "stats" else ()
    code, out, _ = ended(capsys, name, sample, *options)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    (shown,) = [block for kind, block in blocks if not kind]
    at = 0
    for line in shown.splitlines():
        if line != "...":
            found = f"\n{out}".find(f"\n{line}\n", at)
            assert found >= at, line
            at = found + len(line)
    assert code == 0 and at


@pytest.mark.parametrize("name", [name for name in SHOWN if name in ANALYSES])
def test_a_page_names_every_column_and_its_figure_is_small(name):
    text = (PAGES / f"{name}.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", text))
    with firemesh.open_trace(trace_of("mnf")) as trace:
        found = analyse(trace, name)
        known = {*trace.causes, *trace.memories}
    assert found.series is not None
    for column in {*found.rows.dtype.names, *found.series.dtype.names} - known:
        assert column in named, column
    (figure,) = re.findall(r"!\[.+\]\((.+)\)", text)
    assert (PAGES / figure).resolve().stat().st_size < 150_000
