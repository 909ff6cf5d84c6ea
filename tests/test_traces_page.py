"""docs/trace-format.md: its code reads a trace, and it names all that a trace holds."""

import ast
import hashlib
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from small_layers import cases
from test_emulator_oracle import run_frames
from test_traces_oracle import record

import firemesh
from firemesh.emulator.machine import machine
from firemesh.emulator.streams import Stream
from firemesh.traces.schema import ATTRIBUTES, TABLES, TEXT

PAGE = (Path(__file__).parents[1] / "docs" / "trace-format.md").read_text("utf-8")
CODE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
FIELDS = ("cycle", "unit", "memory", "op", "address", "size")
often = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def by_the_page(path):
    """Return (segment, cycle, unit, memory, op, address, size) of each access, sorted."""
    scope = {}
    exec(CODE, scope)
    found = []
    for unit, segment, cycle, *columns in scope["accesses"](path):
        n = len(cycle)
        where = [[int(segment)] * n, cycle.tolist(), [int(unit)] * n]
        found += zip(*where, *(column.tolist() for column in columns), strict=True)
    return sorted(found)


def by_the_reader(path):
    """Return the same, as firemesh reads it."""
    found = []
    with firemesh.open_trace(path) as trace:
        firsts = trace.segments["cycle0"]
        for frame, layer in {(int(s["frame"]), int(s["layer"])) for s in trace.segments}:
            for block in trace.accesses(memory=trace.memories, frame=frame, layer=layer):
                numbers = np.searchsorted(firsts, block["cycle"], side="right") - 1
                columns = (block[name].tolist() for name in FIELDS)
                found += zip(numbers.tolist(), *columns, strict=True)
        assert len(found) == trace.counters()["count"].sum()
    return sorted(found)


def rows_of_tables():
    """Return {heading or table: names in the first cells of the table below it}."""
    found, name = {}, ""
    for line in PAGE.splitlines():
        if match := re.match(r"`([\w/]+)`:", line):
            name = match[1]
        elif line.startswith("#"):
            name = line.lstrip("# ")
        elif line.startswith("| `"):
            first, kind = line.split("|")[1:3]
            for field in re.findall(r"`([\w/]+)`", first):
                found.setdefault(name, {})[field] = kind.strip()
    return found


def named_kind(kind):
    return "S" if kind == TEXT else kind.removeprefix("<")


def test_the_code_is_three_short_functions_and_imports_h5py_and_numpy_only():
    lines = CODE.splitlines()
    assert max(map(len, lines)) <= 100
    functions = [node for node in ast.parse(CODE).body if isinstance(node, ast.FunctionDef)]
    n_lines = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert list(n_lines) == ["walked", "masked", "accesses"]
    assert n_lines["walked"] + n_lines["masked"] <= 40 and n_lines["accesses"] <= 50
    assert len(lines) <= sum(n_lines.values()) + 15
    imports = [node for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Import)]
    assert {alias.name for node in imports for alias in node.names} == {"h5py", "numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(CODE)))
    assert "__import__" not in CODE and ";" not in CODE


@pytest.mark.parametrize("multicast", ["tree", "chain", "unicast"])
def test_the_code_tells_every_access_of_digits(multicast, tmp_path):
    path = tmp_path / "digits.h5"
    images = firemesh.images("digits", 2)[0]
    described = machine("mnf-22nm").replace(noc__multicast=multicast)
    firemesh.run("digits", images, machine=described, trace=path)
    assert by_the_page(path) == by_the_reader(path)


@often
@given(case=cases())
def test_the_code_tells_every_access_of_random_layers(case):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        record(case.plan, [(frame, run) for frame, run, _ in run_frames(case, 1)], path)
        assert by_the_page(path) == by_the_reader(path)


@pytest.mark.parametrize("name", [name for name in TABLES if TABLES[name][0][0]])
def test_the_page_names_every_field_of_a_table_with_its_type_and_in_order(name):
    wanted = {field: named_kind(kind) for field, kind in TABLES[name]}
    assert list(rows_of_tables()[name].items()) == list(wanted.items())


@pytest.mark.parametrize("name", [name for name in TABLES if not TABLES[name][0][0]])
def test_the_page_names_every_plain_table_with_its_type(name):
    kind = named_kind(TABLES[name][0][1])
    rows = [kinds[name] for kinds in rows_of_tables().values() if name in kinds]
    assert rows == [kind] or f"`{name}` ({kind})" in PAGE


def test_the_page_names_every_attribute_with_its_type():
    kinds = {str: "text", int: "int", float: "float", bool: "bool"}
    wanted = {name: kinds[kind] for name, kind in ATTRIBUTES.items()}
    wanted |= {"rows": "u8 array", "digest": "text"}
    assert rows_of_tables()["Attributes"] == wanted


def test_the_digest_is_as_the_page_says():
    with h5py.File(firemesh.sample_trace()) as file:
        text = hashlib.sha256()
        for name in sorted(set(file.attrs) - {"digest"}):
            value = np.asarray(file.attrs[name])
            text.update(f"{name} {value.dtype.kind} {value.tolist()}\n".encode())
        for name in TABLES:
            table = file[name]
            text.update(f"{name} {table.dtype} {len(table)}\n".encode())
            for chunk in range(table.id.get_num_chunks()):
                place = table.id.get_chunk_info(chunk)
                raw = Path(file.filename).read_bytes()
                text.update(raw[place.byte_offset : place.byte_offset + place.size])
        digest = file.attrs["digest"]
        assert (digest.decode() if isinstance(digest, bytes) else digest) == text.hexdigest()


def test_the_page_names_every_stream():
    assert list(rows_of_tables()["Streams"]) == [stream.name.lower() for stream in Stream]


def test_lines_of_the_page_are_at_most_110_characters():
    assert max(map(len, PAGE.splitlines())) <= 110
