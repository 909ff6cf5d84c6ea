"""Readers of the simulators' formats, written from the formats' descriptions alone, for tests."""

import bz2
import struct
from collections import namedtuple

BYTES_OF_TYPE = {
    1: 8, 2: 72, 3: 72, 4: 72, 5: 8, 6: 72, 13: 8, 14: 8, 15: 8, 16: 72, 25: 8, 27: 8, 28: 8,
    29: 8, 30: 72,
}  # fmt: skip
"""netrace's types and sizes; any other number is an invalid command."""

Netrace = namedtuple("Netrace", "benchmark nodes cycles packets notes regions")
Region = namedtuple("Region", "seek cycles count packets")
Record = namedtuple("Record", "cycle id addr type src dst src_type dst_type deps")


def netrace_record(data, at):
    """Return the record at a place, and the place behind it."""
    cycle, id_, addr, kind, src, dst, levels, n = struct.unpack_from("<QIIBBBBB", data, at)
    deps = struct.unpack_from(f"<{n}I", data, at + 21)
    record = Record(cycle, id_, addr, kind, src, dst, levels >> 4, levels & 15, deps)
    return record, at + 21 + 4 * n


def read_netrace(packed):
    """Return what a netrace file holds: all packets in their order, and those of each region."""
    data = bz2.decompress(packed)
    magic, version, name, nodes, _, cycles, count, n_notes, n_regions, padding = struct.unpack_from(
        "<If30sBBQQII8s", data
    )
    assert (magic, version, padding) == (0x484A5455, 1.0, bytes(8))
    assert name[-1] == 0 and 1 <= n_notes <= 8191 and 1 <= n_regions <= 100
    notes = data[72 : 72 + n_notes]
    assert notes.index(0) == n_notes - 1
    at = 72 + n_notes
    heads = [struct.unpack_from("<QQQ", data, at + 24 * i) for i in range(n_regions)]
    begin = at = at + 24 * n_regions
    packets = []
    while at < len(data):
        record, at = netrace_record(data, at)
        packets.append(record)
    assert at == len(data) and len(packets) == count
    regions = []
    for seek, in_cycles, in_count in heads:
        mine, at = [], begin + seek
        for _ in range(in_count):
            record, at = netrace_record(data, at)
            mine.append(record)
        regions.append(Region(seek, in_cycles, in_count, mine))
    text = notes[:-1].decode()
    return Netrace(name[: name.index(0)].decode(), nodes, cycles, packets, text, regions)


Flow = namedtuple("Flow", "src dst pir por t_on t_off t_period")


def read_noxim_table(text):
    """Return the flows of Noxim's traffic table, those left out with their defaults as None."""
    flows = []
    for line in text.splitlines():
        assert len(line) <= 511
        if not line or line.startswith("%"):
            continue
        words = line.split()
        kinds = (int, int, float, float, int, int, int)
        values = [kind(word) for kind, word in zip(kinds, words, strict=False)]
        flow = Flow(*values, *[None] * (7 - len(values)))
        assert len(words) >= 2
        assert flow.t_off is None or flow.t_off > flow.t_on >= 0
        assert flow.t_period is None or 2**31 > flow.t_period > flow.t_off
        flows.append(flow)
    return flows


def is_active(flow, now):
    """Tell whether a flow sends in a cycle, counted with the 1000 of the reset."""
    return flow.t_on < now % flow.t_period < flow.t_off


def read_noxim_hardcoded(text):
    """Return the (source, destination) pairs of each cycle that is ended, from 0 on."""
    cycles, pairs = [], []
    for line in text.splitlines():
        assert len(line) <= 511
        if line.startswith(("#", "%")):
            continue
        words = [int(word) for word in line.split()]
        if words == [-1]:
            cycles.append(pairs)
            pairs = []
        else:
            src, dst = words
            pairs.append((src, dst))
    assert not pairs
    return cycles


def read_packet_lines(text):
    """Return (cycle, source, destinations, flits) of each line."""
    assert text.endswith("\n")
    found = []
    for line in text[:-1].split("\n"):
        cycle, src, to, flits = line.split(" ")
        found.append((int(cycle), int(src), tuple(int(n) for n in to.split(",")), int(flits)))
    return found
