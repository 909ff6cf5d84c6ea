"""Perfetto's traces: an overview of a run, and what happens in a window one by one.

The file is JSON, Chrome's trace events; a cycle is a nanosecond of it. The overview has groups of
tracks: layers; how busy multipliers are; bytes and flits a cycle; the phases of each PE; and for
each unit the streams it works on. With a window of cycles, accesses and packets are slices too.
"""

from pathlib import Path

from ..errors import TraceError
from ..reader import Trace
from .activity import activities, pairs
from .exporter import Exporter, Options, Progress, Report
from .folder import new_file
from .packet_events import window
from .perfetto_overview import Overview
from .perfetto_window import MOST_EVENTS, refuse_large, write_accesses, write_packets
from .records import Records
from .trace_events import Events

OVERVIEW_EVENTS = 400_000
"""Of the bins of an overview, at most; bins are made as wide as that takes."""


def write_perfetto(trace: Trace, out: Path, options: Options, progress: Progress) -> Report:
    """Write trace events; see `firemesh.traces.exporters.exporter.Export`."""
    records = Records(trace, options, is_apart=True)
    records.refuse_doors()
    refuse_large(records)
    width = bin_cycles(records)
    with new_file(out, out.suffix == ".gz") as file:
        about = {name: trace.attribute(name) for name in ("network", "mode", "command")}
        events = Events(file, about | {"time": "1 ns is 1 cycle"}, len(trace.units) + 1)
        overview = Overview(records, events)
        for place, found in enumerate(activities(records, width)):
            overview.add(found)
            progress(place + 1, len(records.segments))
        overview.end()
        if options.selection.cycles is not None:
            write_packets(records, overview)
            write_accesses(records, overview)
        events.end()
    facts = records.facts() | {
        "addresses": "of the memory of the unit, from 0",
        "time": "1 ns is 1 cycle",
        "bin_cycles": width,
        "counts_of_events": events.counts | {"events": events.count},
        "consumer_command": "open FILE on ui.perfetto.dev, or vizviewer FILE",
    }
    return Report(_counts(events, records), facts)


def _counts(events: Events, records: Records) -> dict[str, int]:
    names = ("slices", "counters", "flows")
    accesses = {"accesses": records.written.count} if records.selection.cycles else {}
    return {"events": events.count} | {name: events.counts[name] for name in names} | accesses


def bin_cycles(records: Records) -> int:
    """Return the cycles of a bin, a power of two, so that an overview is no larger than told.

    Raises
    ------
    TraceError
        When the segments alone are too many.
    """
    segments, trace = records.segments, records.trace
    n_pairs, n_units = len(pairs(records)), len(trace.units)
    counters = 2 * len(trace.memories)
    per_segment = 2 + 3 * n_units + n_pairs + counters
    if per_segment * len(segments) > MOST_EVENTS - OVERVIEW_EVENTS:
        raise TraceError(
            f"{trace.path}: {len(segments):,} waves on {n_units:,} units are too many for an "
            "overview; choose less with --frame, --layer, --unit or --cycles"
        )
    low, high = window(records)
    begin, end = trace.segments["cycle0"][segments], trace.segments["cycle1"][segments]
    cycles = int((end.clip(max=high) - begin.clip(min=low)).sum())
    per_bin, width = n_units + counters + (n_pairs + 1) // 2, 1
    while cycles // width * per_bin > OVERVIEW_EVENTS:
        width *= 2
    return width


PERFETTO = Exporter(
    write_perfetto,
    "Perfetto: layers, phases, utilisation, bandwidth; accesses and packets of a window",
    consumer="ui.perfetto.dev, trace_processor, vizviewer, chrome://tracing",
    keeps="when layers, waves, phases and streams run; with --cycles accesses and packets",
    loses="without --cycles single accesses and packets; seconds (1 ns is 1 cycle)",
    what="both",
    options=("relative",),
)
