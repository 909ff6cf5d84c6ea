"""Lines of text by a template: those of str.format, letter by letter."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firemesh.traces.exporters.lines import Template
from firemesh.traces.schema import ACCESS

WORDS = {"op": ("R", "WRITE"), "memory": ("", "weight", "psum")}
MOST = 2**64 - 1
EDGES = sorted({e for p in range(20) for e in (10**p - 1, 10**p)} | {16**p for p in range(16)})
"""Where decimal and hexadecimal numbers gain a digit."""

literals = st.text(st.characters(codec="ascii", exclude_characters="{}"), max_size=6)
fields = st.sampled_from(["{cycle}", "{address:x}", "{size}", "{op}", "{memory}", "{cycle:x}"])
parts = st.lists(literals | fields, max_size=8).map("".join)
templates = st.tuples(parts, fields, parts).map("".join)
numbers = st.integers(0, MOST) | st.sampled_from([*EDGES, MOST])
rows = st.fixed_dictionaries(
    dict(cycle=numbers, address=numbers, size=numbers, op=st.integers(0, 1))
    | dict(memory=st.integers(0, 2))
)


def formatted(template, table):
    """Return the lines that str.format makes."""
    words = [row | {name: WORDS[name][row[name]] for name in WORDS} for row in table]
    return "".join(template.format(**row) for row in words)


def columns(table):
    """Return a dict of columns."""
    names = ("cycle", "address", "size", "op", "memory")
    return {name: np.array([row[name] for row in table], np.uint64) for name in names}


@settings(deadline=None)
@given(templates, st.lists(rows, min_size=1, max_size=20))
@example("{cycle} {address:x}\n", [dict(cycle=MOST, address=MOST, size=0, op=1, memory=0)])
@example("{{{cycle}}}", [dict(cycle=0, address=0, size=0, op=0, memory=0)])
def test_lines_are_those_of_format(template, table):
    made = Template(template, WORDS).lines(columns(table))
    assert bytes(made) == formatted(template, table).encode()


def test_every_length_of_numbers_is_right():
    found = Template("{n} {n:x}\n").lines({"n": np.array([*EDGES, MOST], np.uint64)})
    assert bytes(found).decode() == "".join(f"{n} {n:x}\n" for n in [*EDGES, MOST])


def test_no_rows_make_no_lines():
    assert not len(Template("{cycle}\n").lines(np.zeros(0, ACCESS)))


def test_fields_of_an_access_are_columns():
    row = np.zeros(2, ACCESS)
    row["address"], row["size"], row["op"] = (255, 2**63), (65535, 1), (0, 1)
    found = Template("{op} {address:x} {size}\n", {"op": ("r", "w")}).lines(row)
    assert bytes(found) == b"r ff 65535\nw 8000000000000000 1\n"


def test_letters_outside_ascii_are_refused():
    with pytest.raises(UnicodeEncodeError):
        Template("{cycle} µs\n")
