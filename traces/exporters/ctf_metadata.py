"""The text of a CTF trace's ``metadata``, in its language TSDL: types, streams, events."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..reader import Trace

MAGIC = 0xC1FC1FC1
HEADER = np.dtype(
    [
        ("magic", "<u4"),
        ("stream_id", "<u4"),
        ("timestamp_begin", "<u8"),
        ("timestamp_end", "<u8"),
        ("content_size", "<u8"),
        ("packet_size", "<u8"),
    ]
)
"""What a packet of a stream begins with; sizes in bits, the header's own included."""

STREAMS: dict[str, dict[str, tuple[str, str]]] = {
    "access": {
        "address": ("<u8", "address_t"),
        "unit": ("<u2", "enum unit"),
        "layer": ("<u2", "enum layer"),
        "size": ("<u2", ""),
        "memory": ("u1", "enum memory"),
        "op": ("u1", "enum op"),
    },
    "packet_sent": {
        "number": ("<u4", ""),
        "source": ("<u2", "enum unit"),
        "layer": ("<u2", "enum layer"),
        "flits": ("<u2", ""),
        "kind": ("u1", "enum kind"),
        "value": ("<i4", ""),
    },
    "packet_arrived": {
        "number": ("<u4", ""),
        "source": ("<u2", "enum unit"),
        "unit": ("<u2", "enum unit"),
        "layer": ("<u2", "enum layer"),
        "flits": ("<u2", ""),
    },
    "segment": {
        "end": ("<u8", ""),
        "frame": ("<u4", ""),
        "layer": ("<u2", "enum layer"),
        "wave": ("<u2", ""),
    },
}
"""Name of an event, and of the stream that holds no others -> its fields: dtype, and type in TSDL
where that is none of `INTEGERS`. An event begins with its cycle."""

INTEGERS = {"u1": "uint8_t", "<u2": "uint16_t", "<u4": "uint32_t", "<u8": "uint64_t"}
INTEGERS |= {"<i4": "int32_t"}

TYPES = """\
typealias integer { size = 8; align = 8; signed = false; byte_order = le; } := uint8_t;
typealias integer { size = 16; align = 8; signed = false; byte_order = le; } := uint16_t;
typealias integer { size = 32; align = 8; signed = false; byte_order = le; } := uint32_t;
typealias integer { size = 64; align = 8; signed = false; byte_order = le; } := uint64_t;
typealias integer { size = 32; align = 8; signed = true; byte_order = le; } := int32_t;
typealias integer {
  size = 64; align = 8; signed = false; byte_order = le; base = 16;
} := address_t;

trace {
  major = 1;
  minor = 8;
  byte_order = le;
  packet.header := struct {
    uint32_t magic;
    uint32_t stream_id;
  };
};
"""
CYCLE = """\
typealias integer {
  size = 64; align = 8; signed = false; byte_order = le; map = clock.cycles.value;
} := cycle_t;
"""
STREAM = """\
stream {{
  id = {number};
  packet.context := struct {{
    cycle_t timestamp_begin;
    cycle_t timestamp_end;
    uint64_t content_size;
    uint64_t packet_size;
  }};
  event.header := struct {{
    cycle_t timestamp;
  }};
}};

event {{
  id = 0;
  name = "{name}";
  stream_id = {number};
  fields := struct {{
{fields}  }};
}};
"""


def event_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of an event of `STREAMS`, its ``cycle`` first; nothing is padded."""
    fields = [(field, kind) for field, (kind, _) in STREAMS[name].items()]
    return np.dtype([("cycle", "<u8"), *fields])


def metadata(trace: Trace, about: Mapping[str, str | int]) -> str:
    """Return the metadata of a trace.

    Parameters
    ----------
    trace : Trace
        Units, layers, memories and kinds of packets become enumerations.
    about : dict
        What the environment tells of the run.
    """
    names = {
        "unit": ("uint16_t", trace.units),
        "layer": ("uint16_t", trace.layers),
        "memory": ("uint8_t", trace.memories),
        "op": ("uint8_t", trace.ops),
        "kind": ("uint8_t", trace._names("kinds")),
    }
    parts = ["/* CTF 1.8 */\n", TYPES, _block("env", about.items())]
    frequency = int(trace.attribute("clock_hz"))
    clock: dict[str, str | int] = {
        "description": "cycles since the start of the run",
        "freq": frequency,
        "offset": 0,
    }
    parts += [_block("clock", [("name", "cycles"), *clock.items()]), CYCLE]
    parts += [_enumeration(name, *told) for name, told in names.items()]
    for number, (name, fields) in enumerate(STREAMS.items()):
        lines = (f"    {kind or INTEGERS[dtype]} {one};\n" for one, (dtype, kind) in fields.items())
        parts.append(STREAM.format(number=number, name=name, fields="".join(lines)))
    return "\n".join(parts)


def _block(what: str, told: Iterable[tuple[str, str | int]]) -> str:
    lines = (f"  {name} = {_value(value)};\n" for name, value in told)
    return f"{what} {{\n{''.join(lines)}}};\n"


def _value(value: str | int) -> str:
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    r"""Return text as TSDL has it: in ASCII, as its readers do not agree on ``\u`` and the like."""
    plain = "".join(c if " " <= c <= "~" else "_" for c in text)
    return json.dumps(plain)


def _enumeration(name: str, kind: str, names: Sequence[str]) -> str:
    lines = "".join(f"  {_quoted(one)} = {number},\n" for number, one in enumerate(names))
    return f"enum {name} : {kind} {{\n{lines}}};\n"
