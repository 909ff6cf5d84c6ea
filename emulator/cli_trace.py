"""The command line's ``firemesh trace``: its commands, in the order of its help."""

from .cli_trace_analyses import add_analyses
from .cli_trace_diff import diff
from .cli_trace_export import export, formats
from .cli_trace_info import info, verify
from .cli_trace_stats import stats
from .console import group

traces = group("Traces: what they hold, whether they are sound, what they tell, other formats.")
traces.command("info")(info)
traces.command("verify")(verify)
traces.command("stats")(stats)
add_analyses(traces)
traces.command("diff")(diff)
traces.command("export")(export)
traces.command("formats")(formats)
