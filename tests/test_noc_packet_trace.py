"""Laws of packet traces: files come back as written, both ways of reading agree, every bad line
is told by its number; and of Noxim's files."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.noc import text_file
from firemesh.noc.noxim import (
    MOST_CHARACTERS,
    NEVER,
    NoximTable,
    read_noxim_hardcoded,
    read_noxim_table,
)
from firemesh.noc.packet_lines import LineReader, plain_lines
from firemesh.noc.packet_trace import PacketTrace, read_trace, single_sets, write_trace
from firemesh.noc.text_file import TrafficFileError


def written(folder, text, name="trace.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(read, *arguments):
    """Return the sentence that a reader refuses a file with."""
    with pytest.raises(TrafficFileError) as caught:
        read(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__cause__ is None
    return text


def members(trace):
    """Return who sends what to which nodes, without the numbers of sets."""
    columns = (trace.cycle, trace.source, trace.flits)
    sets = [trace.sets[i] for i in trace.destinations]
    return list(zip(*(column.tolist() for column in columns), sets, strict=True))


def trace_of(packets, n_nodes):
    """Return a trace whose multicast sets are numbered by first use."""
    sets = {members: i for i, members in enumerate(single_sets(n_nodes))}
    for *_, nodes in packets:
        sets.setdefault(nodes, len(sets))
    cycle, source, flits, nodes = zip(*packets, strict=True)
    return PacketTrace(
        np.array(cycle, np.int64),
        np.array(source, np.int32),
        np.array(flits, np.int32),
        np.array([sets[members] for members in nodes], np.int32),
        tuple(sets),
    )


@st.composite
def traces(draw, least_nodes=1):
    n = draw(st.integers(least_nodes, 20))
    node = st.integers(0, n - 1)
    packet = st.tuples(
        st.integers(0, 30) | st.integers(0, (1 << 62) - 1),
        node,
        st.integers(1, 9) | st.integers(1, (1 << 31) - 1),
        node.map(lambda to: (to,)) | st.sets(node, min_size=1).map(lambda to: tuple(sorted(to))),
    )
    packets = draw(st.lists(packet, min_size=1, max_size=30))
    return trace_of(sorted(packets, key=lambda packet: packet[0]), n)


@given(trace=traces(), suffix=st.sampled_from(("txt", "txt.gz")))
@settings(deadline=None, max_examples=60)
def test_reading_what_was_written_gives_the_same_trace(trace, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / f"t.{suffix}"
    write_trace(path, trace)
    again = read_trace(path, trace.n_nodes)
    assert again == trace
    assert path.read_bytes().startswith(b"\x1f\x8b") == suffix.endswith("gz")
    for name in ("cycle", "source", "flits", "destinations"):
        assert getattr(again, name).dtype == getattr(trace, name).dtype


@given(trace=traces(2), data=st.data())
@settings(deadline=None, max_examples=30)
def test_how_sets_are_numbered_does_not_change_what_is_written(trace, data, tmp_path_factory):
    n = trace.n_nodes
    order = data.draw(st.permutations(range(n, len(trace.sets))))
    to = np.array([*range(n), *order], np.int32)
    sets = [trace.sets[0]] * len(to)
    for old, new in enumerate(to):
        sets[new] = trace.sets[old]
    other = PacketTrace(trace.cycle, trace.source, trace.flits, to[trace.destinations], tuple(sets))
    path = tmp_path_factory.mktemp("trace") / "t"
    write_trace(path, other)
    assert read_trace(path, n) == trace


def test_equal_traces_are_those_with_equal_columns_and_sets():
    packets = [(0, 1, 2, (3,)), (5, 1, 2, (0, 3))]
    assert trace_of(packets, 4) == trace_of(packets, 4)
    for i, other in enumerate([6, 2, 3, (1, 3)]):
        changed = list(packets[1])
        changed[i] = other
        assert trace_of([packets[0], tuple(changed)], 4) != trace_of(packets, 4)


PLAIN_TEXT = st.lists(
    st.lists(
        st.sampled_from(("0", "1", "2", "3", "04", "17", "3000000000", "9" * 19)),
        min_size=3,
        max_size=5,
    ).map(" ".join)
    | st.sampled_from(("0 1 2 1", "1 0 3 2\r", "\t2 1\t1 4 ", "", "1 2 3 4 # 5", "1 -2 3 4")),
    max_size=6,
).map(lambda lines: "".join(f"{line}\n" for line in lines))


def outcome(read):
    try:
        return read().tolist()
    except TrafficFileError as error:
        return str(error)


@given(text=PLAIN_TEXT)
@settings(deadline=None, max_examples=400)
def test_the_fast_way_and_the_slow_way_of_reading_agree(text):
    fast, slow = LineReader("t", 5), LineReader("t", 5)
    expected = outcome(lambda: slow._any_lines(1, text.encode())[:, (0, 1, 3, 2)])
    assert outcome(lambda: fast.read(1, text.encode())) == expected


def test_plain_lines_take_the_fast_way_and_no_others():
    assert plain_lines(b"0 1 2 3\n 10\t11  12 130 \r\n").tolist() == [
        [0, 1, 2, 3],
        [10, 11, 12, 130],
    ]
    assert plain_lines(b"1" * 18 + b" 1 2 3\n").tolist() == [[int("1" * 18), 1, 2, 3]]
    for text in (
        "\n",
        "0 1 2 3\n\n",
        "0 1 2\n3\n",
        "0 1 2 3 4\n0 1 2\n",
        "0 1 2\n3 0 1 2 3\n",
        "0 1 2 -3\n",
        "0 1 2,3 4\n",
        "0 1 2 3#\n",
        "0 1 2 3.\n",
        "1" * 19 + " 1 2 3\n",
    ):
        assert plain_lines(text.encode()) is None, text


def test_packets_keep_the_order_of_the_lines(tmp_path):
    path = written(tmp_path, "3 1 0 1\n3 0 2 1\n3 1 2 4\n3 1 0 2\n")
    assert members(read_trace(path, 3)) == [
        (3, 1, 1, (0,)), (3, 0, 1, (2,)), (3, 1, 4, (2,)), (3, 1, 2, (0,)),
    ]  # fmt: skip


def test_comments_blank_lines_other_line_ends_and_a_byte_order_mark_do_not_count(tmp_path):
    text = "# cycle src dst size\r\n\r\n0 1 2 3 # first\r\n   \n# ü\n4 0 1 1"
    expected = [(0, 1, 3, (2,)), (4, 0, 1, (1,))]
    assert members(read_trace(written(tmp_path, text), 3)) == expected
    marked = b"\xef\xbb\xbf" + text.encode()
    assert members(read_trace(written(tmp_path, marked), 3)) == expected
    plain = b"\xef\xbb\xbf0 1 2 3\n4 0 1 1"
    assert members(read_trace(written(tmp_path, plain), 3)) == expected


def test_sets_are_numbered_after_the_nodes_by_first_use_and_merge_duplicates(tmp_path):
    path = written(tmp_path, "0 0 2,1 1\n0 0 3 1\n1 0 2,2 1\n1 0 0,3 1\n2 0 1,2,1 1\n")
    trace = read_trace(path, 4)
    assert trace.sets == ((0,), (1,), (2,), (3,), (1, 2), (0, 3))
    assert trace.destinations.tolist() == [4, 3, 2, 5, 4]
    assert trace.n_nodes == 4


def test_gzip_is_known_by_its_content_whatever_the_name(tmp_path):
    text = b"0 1 2 3\n"
    zipped = written(tmp_path, gzip.compress(text), "a.txt")
    plain = written(tmp_path, text, "b.gz")
    assert read_trace(zipped, 3) == read_trace(plain, 3)


def test_the_same_trace_makes_the_same_gzip_bytes(tmp_path):
    trace = trace_of([(0, 1, 2, (0,))], 2)
    for name in ("a.gz", "b.gz"):
        write_trace(tmp_path / name, trace)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_how_a_file_falls_into_blocks_does_not_matter(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    ends = (" 1\n", ",0 2\n", " 3 # x\n", " 1\r\n", " 2\n\n")
    kinds = rng.choice(len(ends), 300, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    nodes = rng.integers(9, size=(300, 2))
    text = "".join(
        f"{cycle} {src} {dst}{ends[kind]}"
        for cycle, (kind, (src, dst)) in enumerate(zip(kinds, nodes, strict=True))
    )
    path = written(tmp_path, text)
    whole = read_trace(path, 9)
    assert len(whole) == 300
    bad = written(tmp_path, text + "299 0 9 1\n", "bad.txt")
    line = text.count("\n") + 1
    for size in (24, 37, 1000):
        monkeypatch.setattr(text_file, "BLOCK_BYTES", size)
        assert read_trace(path, 9) == whole
        assert refusal(read_trace, bad, 9).startswith(f"{bad}, line {line}: dst must be a node")


def test_a_cycle_that_goes_back_is_found_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 16)
    path = written(tmp_path, "5 0 1 1\n" * 20 + "4 0 1 1\n")
    assert f"{path}, line 21: cycle must not go back, got 4 after 5" in refusal(read_trace, path, 2)


BAD_LINES = {
    "9 0 1": "must have the four fields 'cycle src dst size', got '9 0 1'",
    "9 0 1 2 3": "must have the four fields",
    "9 0 1, 2 3": "must have the four fields",
    "x 0 1 1": "cycle must be a whole number, got 'x'",
    "9 0.5 1 1": "src must be a whole number, got '0.5'",
    "9 +1 1 1": "src must be a whole number, got '+1'",
    "9 0 1_0 1": "dst must be a whole number, got '1_0'",
    "9 0 1 1e3": "size must be a whole number, got '1e3'",
    "9 0 1 --1": "size must be a whole number, got '--1'",
    "9 0 ٣ 1": "dst must be a whole number",
    "-1 0 1 1": "cycle must not be negative, got -1",
    "8 0 1 1": "cycle must not go back, got 8 after 9",
    f"{1 << 62} 0 1 1": f"cycle must be at most {(1 << 62) - 1}, got",
    "9 16 1 1": "src must be a node from 0 to 15, got 16",
    "9 0 16 1": "dst must be a node from 0 to 15, got 16",
    "9 0 -1 1": "dst must not be negative, got -1",
    "9 0 1,16 1": "dst must be a node from 0 to 15, got 16",
    "9 0 1,,2 1": "dst must be nodes with single commas between them, got '1,,2'",
    "9 0 1,2, 1": "dst must be nodes with single commas between them, got '1,2,'",
    "9 0 1,x 1": "dst must be a whole number, got 'x'",
    f"9 {1 << 31} 1 1": f"src must be at most {(1 << 31) - 1}",
    f"9 0 {'9' * 5000} 1": f"dst must be at most {(1 << 31) - 1}, got",
    "9 0 1 0": "size must be at least 1 flit, got 0",
    "9 0 1 -3": "size must not be negative, got -3",
    f"9 0 1 {1 << 31}": f"size must be at most {(1 << 31) - 1}, got '{1 << 31}'",
}


@pytest.mark.parametrize("begin, end", [("# a comment\n\n", "worse\n"), ("0 0 1 1\n" * 2, "")])
@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:20])
def test_a_bad_line_is_told_by_its_number_and_what_to_do(line, begin, end, tmp_path):
    path = written(tmp_path, f"{begin}0 0 1 1\n9 1 0 2\n{line}\n9 1 0 2\n{end}")
    text = refusal(read_trace, path, 16)
    assert text.startswith(f"{path}, line 5: {BAD_LINES[line]}")
    assert "; " in text and len(text) < len(str(path)) + 250


def test_limits_themselves_are_allowed(tmp_path):
    path = written(tmp_path, f"0 15 0 1\n{(1 << 62) - 1} 0 0015 {(1 << 31) - 1}\n")
    assert members(read_trace(path, 16))[1] == ((1 << 62) - 1, 0, (1 << 31) - 1, (15,))


BAD_FILES = {
    "empty": (b"", "holds no packets"),
    "comments alone": (b"# nothing\n\n", "holds no packets"),
    "zero bytes": (b"\x7fELF\0\0\0 0 1 2\n", "is not text"),
    "UTF-16": ("0 1 2 3\n".encode("utf-16"), "is not text"),
    "bytes that are no numbers": (b"\xff\xfe\x80 1 2 3\n", "line 1: cycle must be a whole number"),
    "cut gzip": (gzip.compress(b"0 1 2 3\n" * 99)[:-9], "cannot be read"),
    "gzip of nothing": (gzip.compress(b""), "holds no packets"),
    "damaged gzip": (gzip.compress(b"0 1 2 3\n")[:10] + b"\xff" * 20, "cannot be read"),
    "two bytes of gzip": (b"\x1f\x8b", "cannot be read"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize(
    "read", [read_trace, read_noxim_table, lambda *a: read_noxim_hardcoded(*a, 2)]
)
def test_a_file_that_is_no_traffic_is_refused_in_one_sentence(name, read, tmp_path):
    content, why = BAD_FILES[name]
    path = written(tmp_path, content)
    text = refusal(read, path, 4)
    assert text.startswith(str(path))
    if read is read_trace:
        assert why in text


def test_a_missing_file_and_a_folder_are_refused_in_one_sentence(tmp_path):
    assert f"{tmp_path / 'x'}: no such file" in refusal(read_trace, tmp_path / "x", 4)
    assert f"{tmp_path}: cannot be read (Is a directory)" in refusal(read_trace, tmp_path, 4)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "BLOCK_BYTES", 64)
    path = written(tmp_path, "0 1 2 3\n" + "7" * 200)
    assert f"{path}, line 2: is longer than 64 characters" in refusal(read_trace, path, 4)


def test_a_network_without_nodes_is_refused(tmp_path):
    path = written(tmp_path, "0 0 0 1\n")
    for read in (read_trace, read_noxim_table, lambda *a: read_noxim_hardcoded(*a, 2)):
        with pytest.raises(ValueError, match="^n_nodes: must be at least 1, got 0"):
            read(path, 0)


def test_what_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    trace = trace_of([(0, 1, 2, (0,))], 2)
    path = tmp_path / "no" / "t.txt"
    assert f"{path}: cannot be written" in refusal(write_trace, path, trace)
    none = PacketTrace(*(column[:0] for column in columns(trace)), trace.sets)
    assert "the trace holds no packets" in refusal(write_trace, tmp_path / "t", none)
    assert not (tmp_path / "t").exists()


def columns(trace):
    return [trace.cycle, trace.source, trace.flits, trace.destinations]


GOOD = trace_of([(0, 1, 2, (0,)), (5, 0, 1, (0, 1))], 3)


@pytest.mark.parametrize(
    "field, value, why",
    [
        ("cycle", [5, 0], "must ascend"),
        ("cycle", [-1, 0], "must be from 0"),
        ("cycle", np.array([0.0, 1.0]), "must be int64"),
        ("source", [0, 3], "must be from 0 to 2, got 0 to 3"),
        ("source", [0, -1], "must be from 0 to 2"),
        ("source", [0], "must be int32"),
        ("flits", [0, 1], "must be from 1 to"),
        ("destinations", [0, 4], "must be from 0 to 3"),
        ("sets", ((0,), (1,), (2,), (1, 0)), "set 3 must be two or more"),
        ("sets", ((0,), (1,), (2,), (0, 0)), "set 3 must be two or more"),
        ("sets", ((0,), (1,), (2,), (0, 3)), "set 3 must be two or more"),
        ("sets", ((0,), (1,), (2,), ()), "set 3 must be two or more"),
        ("sets", ((0,), (2,), (1,), (0, 1)), "set 1 must be"),
        ("sets", ((0,), (0, 1), (1,), (2,)), "set 1 must be"),
        ("sets", ((0,), (1,), (0, 1), (0, 1)), "every set once"),
        ("sets", (), "must hold"),
    ],
)
def test_a_trace_that_breaks_a_rule_cannot_be_made(field, value, why):
    fields = {name: getattr(GOOD, name) for name in (*NAMES, "sets")}
    if isinstance(value, list):
        value = np.array(value, fields[field].dtype)
    with pytest.raises(ValueError, match=rf"^PacketTrace\.{field}: .*{re.escape(why)}.*; "):
        PacketTrace(**fields | {field: value})


NAMES = ("cycle", "source", "flits", "destinations")


def test_a_noxim_table_has_its_defaults_and_its_comments(tmp_path):
    path = written(
        tmp_path,
        "% src dst pir por t_on t_off t_period\n0 3\n1 2 0.25\n\n1 3 .5 0.125 7\n"
        "2 0 1 0 10 20\n3 3 1e-2 1 10 20 30\n",
    )
    table = read_noxim_table(path, 4, pir=0.0625)
    assert table.src.tolist() == [0, 1, 1, 2, 3]
    assert table.dst.tolist() == [3, 2, 3, 0, 3]
    assert table.pir.tolist() == [0.0625, 0.25, 0.5, 1, 0.01]
    assert table.por.tolist() == [0.0625, 0.25, 0.125, 0, 1]
    assert table.t_on.tolist() == [0, 0, 7, 10, 10]
    assert table.t_off.tolist() == [NEVER, NEVER, NEVER, 20, 20]
    assert table.t_period.tolist() == [NEVER, NEVER, NEVER, NEVER, 30]
    assert table.n_nodes == 4


BAD_FLOWS = {
    "1": "must have 2 to 7 fields",
    "0 1 0 0 0 1 2 3": "must have 2 to 7 fields",
    " % indented": "src must be a whole number, got '%'",
    "x 1": "src must be a whole number, got 'x'",
    "4 1": "src must be a node from 0 to 3, got 4",
    "0 4": "dst must be a node from 0 to 3, got 4",
    "0 -1": "dst must not be negative",
    "0 1 1.5": "pir must be a number from 0 to 1, got '1.5'",
    "0 1 -0.5": "pir must be a number from 0 to 1",
    "0 1 nan": "pir must be a number from 0 to 1",
    "0 1 a": "pir must be a number from 0 to 1",
    "0 1 0_1": "pir must be a number from 0 to 1",
    "0 1 0.1 2": "por must be a number from 0 to 1",
    "0 1 0.1 0.1 -5": "t_on must not be negative",
    "0 1 0.1 0.1 5.5": "t_on must be a whole number",
    "0 1 0.1 0.1 5 5": "t_off must come after t_on 5, got 5",
    "0 1 0.1 0.1 5 6 6": "t_period must exceed t_off 6, got 6",
    "0 1 0.6": "the pir of source 0 add up to 1.1 here",
    "0 1 0.1 % " + "x" * 501: "must have at most 511 characters with its line feed, got 512",
}


@pytest.mark.parametrize("line", BAD_FLOWS, ids=lambda line: line[:20])
def test_a_bad_flow_is_told_by_its_number(line, tmp_path):
    path = written(tmp_path, f"% comment\n0 2 0.5\n1 3 0.9\n\n{line}\n9 9\n")
    assert refusal(read_noxim_table, path, 4).startswith(f"{path}, line 5: {BAD_FLOWS[line]}")


def test_the_longest_line_of_noxim_is_read_and_one_more_character_refused(tmp_path):
    longest = ("0 1 0.1" + " " * MOST_CHARACTERS)[: MOST_CHARACTERS - 1] + "\n"
    assert len(longest) == 511
    assert len(read_noxim_table(written(tmp_path, longest), 2).src) == 1
    assert len(
        read_noxim_hardcoded(written(tmp_path, "0 1" + longest[3:].replace("0.1", "   ")), 2, 2)
    )
    for line in (" " + longest, "%" + "c" * 510 + "\n"):
        path = written(tmp_path, line)
        assert f"{path}, line 1: must have at most 511" in refusal(read_noxim_table, path, 2)


def test_rates_that_add_up_to_one_but_for_rounding_are_read(tmp_path):
    path = written(tmp_path, "0 1 0.1\n" * 3 + "0 1 0.7\n" + "1 0 0.1\n" * 10)
    assert len(read_noxim_table(path, 2).src) == 14


def test_a_default_rate_outside_0_to_1_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^pir: must be from 0 to 1"):
        read_noxim_table(written(tmp_path, "0 1\n"), 2, pir=1.5)


@pytest.mark.parametrize(
    "field, value",
    [("src", 4), ("dst", -1), ("pir", 1.5), ("por", -1.0), ("t_on", -1), ("t_off", 0),
     ("t_period", 20), ("pir", 0.75)],
)  # fmt: skip
def test_a_table_that_breaks_a_rule_cannot_be_made(field, value):
    good = {
        "src": np.array([1, 1], np.int32), "dst": np.array([0, 2], np.int32),
        "pir": np.array([0.5, 0.5]), "por": np.array([0.5, 0.5]), "t_on": np.array([0, 0]),
        "t_off": np.array([20, NEVER]), "t_period": np.array([40, NEVER]),
    }  # fmt: skip
    NoximTable(4, **good)
    changed = good[field].copy()
    changed[0] = value
    with pytest.raises(ValueError, match=rf"^NoximTable\.{field}: "):
        NoximTable(4, **good | {field: changed})
    with pytest.raises(ValueError, match=r"^NoximTable: must have columns of one length"):
        NoximTable(4, **good | {field: changed[:1]})


def test_hardcoded_packets_lie_in_the_cycles_that_minus_one_ends(tmp_path):
    path = written(tmp_path, "% cycle 0\n0 3\n2 1\n-1\n# nothing\n-1\n3 3\n-1\n0 1")
    trace = read_noxim_hardcoded(path, 4, 5)
    assert members(trace) == [
        (0, 0, 5, (3,)), (0, 2, 5, (1,)), (2, 3, 5, (3,)), (3, 0, 5, (1,)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line, why",
    [("1", "must be 'src dst', or -1"), ("0 1 2", "must be 'src dst', or -1"),
     ("-1 1", "src must not be negative"), ("0 4", "dst must be a node from 0 to 3, got 4"),
     ("a 1", "src must be a whole number"), ("0" * 520, "must have at most 511 characters")],
)  # fmt: skip
def test_a_bad_hardcoded_line_is_told_by_its_number(line, why, tmp_path):
    path = written(tmp_path, f"0 1\n-1\n# c\n{line}\n")
    assert refusal(read_noxim_hardcoded, path, 4, 2).startswith(f"{path}, line 4: {why}")


def test_hardcoded_packets_have_at_least_one_flit(tmp_path):
    path = written(tmp_path, "0 1\n")
    with pytest.raises(ValueError, match="^flits: must be from 1 to"):
        read_noxim_hardcoded(path, 4, 0)
