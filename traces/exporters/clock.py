"""The clock of a file: a cycle of the machine in cycles of its consumer."""

from math import gcd
from typing import NamedTuple

from ..errors import TraceError
from ..reader import Trace
from .cut import MOST_PER

MOST_TICKS = 1 << 62
MOST_HZ = 1 << 40


class Clock(NamedTuple):
    """A clock; a cycle is ``times / per`` of its cycles, rounded down.

    Parameters
    ----------
    hz : int
    times, per : int
        Without a common divisor.
    """

    hz: int
    times: int
    per: int


def clock_of(trace: Trace, wanted: int | None, own: int, cycles: int) -> Clock:
    """Return the clock of a file.

    Parameters
    ----------
    trace : Trace
    wanted : int, optional
        Hz of the consumer; None for the machine's.
    own : int
        Hz of a format whose time is not the consumer's; 0 for none.
    cycles : int
        Of the machine, which the file reaches to.

    Raises
    ------
    TraceError
        When the clock is no possible one, or the file's cycles go beyond 62 bits.
    """
    machine = int(trace.attribute("clock_hz"))
    if wanted is not None and not 1 <= wanted <= MOST_HZ:
        raise TraceError(f"--clock: must be 1 to {MOST_HZ} Hz, got {wanted}")
    hz = own or wanted or machine
    common = gcd(hz, machine)
    times, per = hz // common, machine // common
    if per > MOST_PER:
        raise TraceError(
            f"--clock: {hz} Hz is no simple part of the machine's {machine} Hz; choose another"
        )
    if cycles * times // per >= MOST_TICKS:
        slower = "" if own else ", or choose a slower --clock"
        raise TraceError(
            f"{trace.path}: its cycles go beyond 2**62 at {hz} Hz; export a part with --cycles and "
            f"--relative{slower}"
        )
    return Clock(hz, times, per)
