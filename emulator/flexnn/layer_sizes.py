"""A layer told by its sizes, such as ``OC=64,IC=3,OY=112,OX=112,FY=7,FX=7,stride=2,pad=3``."""

import re

from ..description import MachineError
from .dims import NAMES, Dim, LayerDims, sizes

GEOMETRY = {"stride": 1, "dilation": 1, "pad": 0}
"""Further sizes, of rows and columns alike, with their defaults."""
MOST = 1 << 20


def parse_layer(text: str) -> LayerDims:
    """Return the layer of a text; dimensions that it does not name are 1.

    Its ifmap is as large as the ofmap needs, without the padding, which lies on both sides.

    Raises
    ------
    MachineError
        Tells what is wrong and what is known.
    """
    given = dict(GEOMETRY)
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in NAMES and name not in GEOMETRY:
            known = ", ".join((*NAMES, *GEOMETRY))
            raise MachineError(f"{text}: sizes must name {known}, got {name!r}")
        least = 0 if name == "pad" else 1
        if not re.fullmatch("[0-9]{1,9}", value) or not least <= int(value) <= MOST:
            raise MachineError(f"{text}: {name} must be {least}..{MOST}, got {value!r}")
        given[name] = int(value)
    found = sizes(given)
    stride, dilation, pad = (given[name] for name in GEOMETRY)
    ifmap = []
    for out, taps in ((Dim.OY, Dim.FY), (Dim.OX, Dim.FX)):
        side = (found[out] - 1) * stride + (found[taps] - 1) * dilation + 1 - 2 * pad
        if side < 1:
            raise MachineError(f"{text}: pad {pad} leaves no ifmap; make it smaller")
        ifmap.append(side)
    return LayerDims(found, (stride,) * 2, (dilation,) * 2, (pad,) * 2, (ifmap[0], ifmap[1]))
