"""Readers of memory simulators' traces, as these simulators parse them, strict where they guess.

They are written from the formats' descriptions, and know nothing of the exporters. What a simulator
would misread without a word (a header, a comment, a blank, a missing last newline) raises here.
"""

import re
import struct
from collections import namedtuple

Access = namedtuple("Access", "cycle op address size unit", defaults=(None,))
"""What a reader gets; None for what the format does not tell."""

SENTINEL = "0x0 READ 18446744073709551615"
GEM5_MAGIC = b"gem5"
PROSPERO_RECORD = struct.Struct("<QcQI")


class MisreadError(Exception):
    """A file that its reader would misunderstand."""


def check(is_right, what):
    """Raise unless something is right."""
    if not is_right:
        raise MisreadError(what)


def lines_of(data):
    """Return the lines of a file without header, comment, blank, or a last line without end."""
    text = data.decode("ascii")
    check(text.endswith("\n"), "the last line does not end")
    lines = text[:-1].split("\n")
    for number, line in enumerate(lines):
        check(line and line == line.strip() and "  " not in line, f"blank in line {number}")
        check(line[0] not in "#%;/" and "\t" not in line and "\r" not in line, f"line {number}")
    return lines


def matched(pattern, lines):
    """Return the groups of each line; all lines must have one form."""
    found = []
    for number, line in enumerate(lines):
        match = re.fullmatch(pattern, line)
        check(match, f"line {number}: {line}")
        found.append(match.groups())
    return found


def in_order(accesses):
    """Return accesses after a look at their cycles, which readers take as they come."""
    for before, after in zip(accesses, accesses[1:], strict=False):
        check(before.cycle <= after.cycle, f"cycle {after.cycle} after {before.cycle}")
    return accesses


# ---- DRAM simulators: a line is a burst


def read_dramsim3(data):
    """Return DRAMsim3's transactions; the last line must be one that never comes to its turn."""
    lines = lines_of(data)
    check(lines[-1] == SENTINEL, "the last line is read again and again, or never")
    check(SENTINEL not in lines[:-1], "the sentinel comes twice")
    rows = matched(r"0x([0-9a-f]+) (READ|WRITE) (\d+)", lines[:-1])
    found = [Access(int(cycle), word[0], int(address, 16), None) for address, word, cycle in rows]
    return in_order(found)


def issue_dramsim3(data, cycles):
    """Return (cycle, word, address) of what DRAMsim3 issues in so many cycles.

    The loop of its trace player, with a memory that takes everything at once: whenever a
    transaction is sent the next three words are read; past the end of the file the old one stays,
    and the stream is at its end only then.
    """
    words, sent, at, clock = data.decode("ascii").split(), [], 0, 0
    wants_next, is_at_end, current = True, False, None
    while clock < cycles and not is_at_end:
        if wants_next and at < len(words):
            address, word, cycle = words[at : at + 3]
            current, at = (int(cycle), word, int(address, 16)), at + 3
            is_at_end = at == len(words) and not data.endswith(b"\n")
        elif wants_next:
            is_at_end = True
        wants_next = current[0] <= clock
        if wants_next:
            sent.append((clock, *current[1:]))
        clock = clock + 1 if wants_next else current[0]  # nothing happens before that
    return sent


def read_dramsys(data):
    """Return a DRAMSys player's requests; cycles of 32 bits, none of them a comment."""
    rows = matched(r"(\d+): \((\d+)\) (read|write) 0x([0-9a-f]+)", lines_of(data))
    found = []
    for cycle, size, word, address in rows:
        check(int(cycle) < 1 << 32, f"cycle {cycle} wraps")
        check(int(size) > 0, "a request of no bytes")
        found.append(Access(int(cycle), word[0].upper(), int(address, 16), int(size)))
    return in_order(found)


def read_ramulator1(data):
    """Return the requests of Ramulator 1's DRAM traces; a last line without end would be lost."""
    rows = matched(r"0x([0-9a-f]+) ([RW])", lines_of(data))
    return [Access(None, letter, int(address, 16), None) for address, letter in rows]


def read_ramulator2(data):
    """Return the requests of Ramulator 2's load-store traces: two words, a signed address."""
    found = []
    for word, address in matched(r"(LD|ST) 0x([0-9a-f]+)", lines_of(data)):
        check(int(address, 16) < 1 << 63, "an address above 63 bits")
        found.append(Access(None, "R" if word == "LD" else "W", int(address, 16), None))
    return found


# ---- caches and cores: records with a size


def read_dinero(data):
    """Return the references of Dinero's extended input: all hexadecimal, without a prefix."""
    rows = matched(r"([rw]) ([0-9a-f]+) ([0-9a-f]+)", lines_of(data))
    found = [
        Access(None, op.upper(), int(address, 16), int(size, 16)) for op, address, size in rows
    ]
    for one in found:
        check(0 < one.size < 1 << 16 and one.address < 1 << 64, f"{one}")
    return found


def read_prospero_text(data):
    """Return Prospero's entries; a number that is not decimal stops its reader for ever."""
    found = []
    for cycle, op, address, size in matched(r"(\d+) ([RW]) (\d+) (\d+)", lines_of(data)):
        check(int(address) < 1 << 64 and 0 < int(size) < 1 << 32, "a number too large")
        found.append(Access(int(cycle), op, int(address), int(size)))
    return in_order(found)


def read_prospero_binary(data):
    """Return Prospero's packed entries of 21 bytes; part of one at the end would be dropped."""
    check(len(data) % PROSPERO_RECORD.size == 0, "part of a record at the end")
    found = []
    for cycle, op, address, size in PROSPERO_RECORD.iter_unpack(data):
        check(op in (b"R", b"W") and size > 0, f"record {len(found)}")
        found.append(Access(cycle, op.decode(), address, size))
    return in_order(found)


# ---- gem5: protobuf messages, each after its length


def varint(data, at):
    """Return a number of 7-bit groups, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        check(shift <= 70 and value < 1 << 64, "a number too long")
        if byte < 128:
            check(byte or shift == 7, "a number with empty groups")
            return value, at


def fields_of(message):
    """Return field number -> values of a protobuf message: numbers, or bytes."""
    found, at = {}, 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        check(wire in (0, 2), f"wire type {wire}")
        value, at = varint(message, at)
        if wire == 2:
            check(at + value <= len(message), "a field beyond its message")
            value, at = message[at : at + value], at + value
        found.setdefault(number, []).append(value)
    return found


def messages_of(data):
    """Yield the fields of each message of a gem5 file."""
    check(data[:4] == GEM5_MAGIC, "no gem5 file")
    at = 4
    while at < len(data):
        size, at = varint(data, at)
        check(at + size <= len(data), "a message beyond the end")
        yield fields_of(data[at : at + size])
        at += size


def read_gem5(data):
    """Return the object's name, key -> name of those that pkt_id means, and the packets."""
    messages = messages_of(data)
    header = next(messages)
    check(set(header) <= {1, 2, 3, 4} and {1, 3} <= set(header), "header")
    check(header[3] == [10**12], "the ticks are not gem5's picoseconds")
    names = {}
    for entry in header.get(4, []):
        one = fields_of(entry)
        names[one.get(1, [0])[0]] = one[2][0].decode()
    found = []
    for packet in messages:
        check(set(packet) <= {1, 2, 3, 4, 5, 6, 7} and {1, 2, 3, 4} <= set(packet), "packet")
        check(all(len(values) == 1 for values in packet.values()), "a field twice")
        tick, command, address, size = (packet[number][0] for number in (1, 2, 3, 4))
        check(command in (1, 4), f"command {command}, neither ReadReq nor WriteReq")
        check(0 < size < 1 << 32, "a packet of no bytes")
        unit = packet.get(6, [None])[0]
        found.append(Access(tick, "R" if command == 1 else "W", address, size, unit))
    return header[1][0].decode(), names, in_order(found)
