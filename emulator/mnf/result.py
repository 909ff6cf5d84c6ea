"""What a wave on PEs came to, and a layer of waves."""

from collections.abc import Sequence
from dataclasses import replace

from ..layer_result import LayerResult
from .latency import latency
from .run import WaveRun


def of_wave(run: WaveRun) -> LayerResult:
    """Return the result of a wave of a layer on PEs, of one frame."""
    columns = run.columns
    a, b = run.wave.mapping.tile
    return LayerResult(
        name=run.step.name,
        op=run.step.layer.op,
        mode="mnf",
        frames=1,
        cycles=run.cycle1 - run.cycle0,
        waves=1,
        events=len(run.messages.event),
        halo=0,
        repeated=0,
        active=len(run.inputs.flat),
        inputs=run.inputs.tensor.size,
        fired=len(run.output.flat),
        tile="linear" if run.wave.mapping.is_linear else f"{a}x{b}",
        slots=columns.slots,
        counts=columns.counts,
        bytes=columns.bytes,
        link_flits=run.link_flits,
        sent_flits=run.sent_flits,
        stalls=run.stalls,
        latency=latency(run),
    )


def of_layer(waves: Sequence[LayerResult], halo: int, repeated: int) -> LayerResult:
    """Return the result of a layer of one frame from those of its waves."""
    whole = waves[0]
    for wave in waves[1:]:
        whole = whole + wave
    first = waves[0]
    return replace(
        whole,
        frames=1,
        waves=len(waves),
        active=first.active,
        inputs=first.inputs,
        halo=halo,
        repeated=repeated,
    )
