"""gem5's packet traces, read back with protobuf by its own description of the messages."""

import gzip
import json
import struct

import numpy as np
import pytest
from exported_traces import ended, written
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import example, given, settings
from hypothesis import strategies as st

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import gem5
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.folder import Folder, file_names, new_file, sorted_by
from firemesh.traces.exporters.gem5 import COMMANDS, header, packets
from firemesh.traces.exporters.varints import MOST_BYTES, put_packets
from firemesh.traces.schema import ACCESS

FIELD = descriptor_pb2.FieldDescriptorProto
SECOND = 10**12


def messages():
    """Return the classes PacketHeader and Packet."""
    file = descriptor_pb2.FileDescriptorProto(name="packet.proto", package="p", syntax="proto2")

    def add(parent, name, **fields):
        message = parent.add(name=name)
        for field, (number, label, kind) in fields.items():
            one = message.field.add(name=field, number=number)
            one.label = getattr(FIELD, f"LABEL_{label}")
            if kind.startswith("."):
                one.type, one.type_name = FIELD.TYPE_MESSAGE, kind
            else:
                one.type = getattr(FIELD, f"TYPE_{kind}")
        return message

    must, may = "REQUIRED", "OPTIONAL"
    head = add(
        file.message_type, "PacketHeader", obj_id=(1, must, "STRING"), ver=(2, may, "UINT32"),
        tick_freq=(3, must, "UINT64"), id_strings=(4, "REPEATED", ".p.PacketHeader.IdStringEntry"),
    )  # fmt: skip
    add(head.nested_type, "IdStringEntry", key=(1, may, "UINT32"), value=(2, may, "STRING"))
    add(
        file.message_type, "Packet", tick=(1, must, "UINT64"), cmd=(2, must, "UINT32"),
        addr=(3, must, "UINT64"), size=(4, must, "UINT32"), flags=(5, may, "UINT32"),
        pkt_id=(6, may, "UINT64"), pc=(7, may, "UINT64"),
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kinds = (pool.FindMessageTypeByName(f"p.{name}") for name in ("PacketHeader", "Packet"))
    return tuple(message_factory.GetMessageClass(kind) for kind in kinds)


HEADER, PACKET = messages()


def pieces(data):
    """Yield messages that each stand behind their length."""
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte, at = data[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert at + length <= len(data)
        yield data[at : at + length]
        at += length


def read_gem5(data):
    """Return the header and (tick, cmd, addr, size, pkt_id) of each packet."""
    assert struct.unpack("<I", data[:4]) == (0x356D6567,)
    first, *rest = pieces(data[4:])
    head, packet, found = HEADER.FromString(first), PACKET(), []
    for piece in rest:
        packet.ParseFromString(piece)  # refuses what lacks a required field
        assert not packet.HasField("flags") and not packet.HasField("pc")
        found.append((packet.tick, packet.cmd, packet.addr, packet.size, packet.pkt_id))
    assert head.tick_freq == SECOND and head.ver == 0
    return head, found


def bases(side):
    """Return (memory, unit) -> base address."""
    return {(one["memory"], one["unit"]): one["base"] for one in side["addresses"]}


def wanted(trace, side, **selection):
    """Return the packets that accesses should make."""
    base, clock = bases(side), trace.attribute("clock_hz")
    found = []
    for block in trace.accesses(**selection):
        for cycle, address, unit, _, size, memory, op in block.tolist():
            at = address + base[trace.memories[memory], trace.units[unit]]
            found.append((cycle * SECOND // clock, (1, 4)[op], at, size, unit))
    return found


@pytest.fixture(scope="module")
def trace():
    with firemesh.open_trace(firemesh.sample_trace()) as opened:
        yield opened


# ---- messages

edges = st.sampled_from([2**k - d for k in range(0, 64, 7) for d in (0, 1)] + [2**64 - 1])
words = st.tuples(
    st.integers(0, 2**64 - 1) | edges, st.integers(0, 2**64 - 1) | edges, st.integers(0, 2**16 - 1),
    st.integers(0, 2**16 - 1), st.integers(0, 1),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=20))
@example([(2**64 - 1, 2**64 - 1, 2**16 - 1, 2**16 - 1, 1)])
def test_messages_are_those_of_protobuf_byte_by_byte(rows):
    block = np.zeros(len(rows), ACCESS)
    for name, column in zip(
        ("cycle", "address", "unit", "size", "op"), zip(*rows, strict=True), strict=True
    ):
        block[name] = np.array(column, np.uint64)
    block["layer"], block["memory"] = 65535, 255  # have no place in a message
    wanted = b""
    for tick, addr, unit, size, op in rows:
        one = PACKET(tick=tick, cmd=(1, 4)[op], addr=addr, size=size, pkt_id=unit)
        data = one.SerializeToString()
        wanted += bytes([len(data)]) + data
    assert bytes(packets(block)) == wanted
    room = np.full(MOST_BYTES * len(rows), 7, np.uint8)
    assert put_packets(block.view(np.uint64).reshape(-1, 3), COMMANDS, room) == len(wanted)


def test_the_longest_message_fills_its_room():
    block = np.zeros(1, ACCESS)
    block["cycle"] = block["address"] = 2**64 - 1
    block["unit"] = block["size"] = 2**16 - 1
    assert len(packets(block)) == MOST_BYTES


@given(st.lists(st.tuples(st.integers(0, 65535), st.text(max_size=300)), max_size=9))
def test_the_header_is_that_of_protobuf(units):
    (data,) = pieces(header(units))
    head = HEADER.FromString(data)
    assert head.obj_id == "firemesh" and head.tick_freq == SECOND and head.HasField("ver")
    assert [(entry.key, entry.value) for entry in head.id_strings] == units


# ---- files


def test_packets_are_the_accesses_in_their_order(trace, tmp_path):
    report, data, side = written(trace.path, "gem5", tmp_path / "a")
    head, found = read_gem5(data)
    assert found == wanted(trace, side) and len(found) == side["selected"]["accesses"]
    assert report.counts == {"records": len(found)} and side["written"]["records"] == len(found)
    assert side["ticks"] == found[-1][0] + 1 and str(side["ticks"]) in side["consumer_command"]
    names = {entry.key: entry.value for entry in head.id_strings}
    assert {unit: names[unit] for *_, unit in found} == dict(enumerate(trace.units)) == names


def test_a_name_ending_in_gz_is_compressed_with_the_same_bytes_each_time(tmp_path):
    path = firemesh.sample_trace()
    plain = written(path, "gem5", tmp_path / "a")[1]
    packed = [written(path, "gem5", tmp_path / name)[1] for name in ("a.gz", "b.gz")]
    assert packed[0] == packed[1] and gzip.decompress(packed[0]) == plain


@pytest.mark.parametrize("name", ["units", "units.gz"])
def test_files_of_units_hold_what_each_does(trace, tmp_path, name):
    with firemesh.open_trace(trace.path) as opened:
        report = export(opened, "gem5", tmp_path / name, Options(form="units"))
    side = json.loads((tmp_path / f"{name}.meta.json").read_text())
    made = {path.name for path in (tmp_path / name).iterdir()}
    assert made == {one["file"] for one in side["files"]} and len(made) == report.counts["files"]
    for one in side["files"]:
        data = (tmp_path / name / one["file"]).read_bytes()
        head, found = read_gem5(gzip.decompress(data) if name.endswith(".gz") else data)
        assert [entry.value for entry in head.id_strings] == [one["unit"]]
        assert found == wanted(trace, side, unit=one["unit"])
        assert len(found) == one["records"] > 0
    assert sum(one["records"] for one in side["files"]) == side["written"]["records"]


def test_folders_of_units_are_the_same_each_time_and_replaced_only_if_exported(tmp_path, capsys):
    path, out = firemesh.sample_trace(), tmp_path / "u.gz"
    command = (path, "--to", "gem5", "--form", "units", "--out", out)
    assert ended(capsys, *command)[0] == 0
    first = {one.name: one.read_bytes() for one in out.iterdir()}
    code, _, error = ended(capsys, *command)
    assert code == 2 and "exists" in error
    assert ended(capsys, *command, "--force")[0] == 0
    assert {one.name: one.read_bytes() for one in out.iterdir()} == first
    other = tmp_path / "mine"
    other.mkdir()
    (other / "kept").write_text("x")
    code, _, error = ended(capsys, *command[:-1], other, "--force")
    assert code == 2 and "is no folder that --to gem5 made" in error and (other / "kept").exists()
    file = tmp_path / "file"
    file.write_text("x")
    code, _, error = ended(capsys, *command[:-1], file, "--force")
    assert code == 2 and "is a file, and a folder is to be made" in error
    code, _, error = ended(capsys, path, "--to", "gem5", "--out", out, "--force")
    assert code == 2 and "is a folder; name a file" in error
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "file",
        "mine",
        "u.gz",
        "u.gz.meta.json",
    ]


def test_a_selection_and_merged_bursts_are_told(trace, tmp_path):
    options = dict(memory="storage", op="read", cycles=(100, 500), relative=True)
    _, data, side = written(
        trace.path, "gem5", tmp_path / "a", **options, merge=True, burst_bytes=64
    )
    _, found = read_gem5(data)
    assert sum(size for *_, size, _ in found) == side["selected"]["bytes"]
    assert {cmd for _, cmd, *_ in found} == {1} and len(found) < side["selected"]["accesses"]
    assert all(at // 64 == (at + size - 1) // 64 for _, _, at, size, _ in found)
    assert max(tick for tick, *_ in found) < 400 * SECOND // trace.attribute("clock_hz")


def test_ticks_beyond_62_bits_are_refused(trace, tmp_path, monkeypatch):
    inner = trace.attribute
    slow = lambda name: 1 if name == "clock_hz" else inner(name)  # noqa: E731
    monkeypatch.setattr(trace, "attribute", slow)
    monkeypatch.setattr(gem5, "TICKS_HZ", 2**62 // 100)
    with pytest.raises(TraceError, match="export a part with --cycles and --relative$"):
        export(trace, "gem5", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_the_clock_is_gem5s_own(tmp_path, capsys):
    command = (firemesh.sample_trace(), "--to", "gem5", "--out", tmp_path / "a", "--clock", 10)
    code, _, error = ended(capsys, *command)
    assert code == 2 and "--clock: is of" in error


# ---- folders


def test_names_of_files_are_safe_and_differ():
    names = ["pe1", "../up", "PE1", "", "pe2", ".hidden", "a b", "x" * 200, "r\xe9", "5"]
    found = file_names(names, ".x")
    assert found == ["0.x", "1.x", "2.x", "3.x", "pe2.x", "5.x", "6.x", "7.x", "8.x", "9.x"]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_rows_of_a_key_keep_their_order(keys):
    rows, keys = np.zeros(len(keys), ACCESS), np.array(keys, np.uint16)
    rows["cycle"], rows["op"] = np.arange(len(keys)), keys
    found = dict(sorted_by(rows, keys))
    assert list(found) == sorted(set(keys.tolist()))
    for key, mine in found.items():
        assert mine.tolist() == rows[keys == key].tolist()


def test_a_folder_that_fails_leaves_no_ends_behind(tmp_path):
    with pytest.raises(KeyError), Folder(tmp_path / "a", is_packed=True) as folder:
        folder.append("x", b"one")
        raise KeyError
    with pytest.raises(EOFError):
        gzip.decompress((tmp_path / "a" / "x").read_bytes())
    with new_file(tmp_path / "b", is_packed=True) as file:
        file.write(b"one")
    assert gzip.decompress((tmp_path / "b").read_bytes()) == b"one"
