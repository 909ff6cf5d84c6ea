"""Maps a network onto a machine: tiles, waves, blocks of weights, storage."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.network import Conv, Linear, MaxPool, Network
from ..activations import volume
from ..description import MachineError
from ..regions import place
from ..shape import Pool, conv_shape, fused_pool, pool_window
from ..steps import HostStep
from .machine import Machine
from .mapping import Mapping, MappingError, candidates, least_pes
from .rows import row_counts
from .steps import Block, MnfStep, Residency, Step, block_rows
from .waves import (
    Cutter,
    Wave,
    bands,
    best_cut,
    chunks,
    group_words,
    held_rows,
    of_band,
    of_groups,
    pool_of_band,
)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """A network on a machine.

    Parameters
    ----------
    network : Network
    machine : Machine
    steps : tuple of MnfStep or HostStep
    regions : dict
        First byte of each stored tensor in the memory that holds them; in DRAM behind the weights.
    storage_bytes : int
        Bytes that the tensors need.
    load_cycles : int
        Cycles in which the weight rows come in before cycle 0, one flit per cycle; they are part
        of no frame, and neither is their energy. 0 where weights come in during the frame.
    dram_bytes : int
        Weights in DRAM.
    """

    network: Network
    machine: Machine
    steps: tuple[Step, ...]
    regions: dict[str, int]
    storage_bytes: int
    load_cycles: int
    dram_bytes: int


@dataclass(frozen=True)
class _Mapped:
    """A weighted layer with its tile, before it is cut."""

    layer: Conv | Linear
    pool: MaxPool | None
    window: Pool
    n_outputs: int
    mapping: Mapping


@dataclass
class _Used:
    """What the layers so far use of each PE's memories, and of DRAM."""

    rows: Ints
    pointers: Ints
    biases: Ints
    dram: int = 0


def _too_large(name: str, options: list[Mapping], machine: Machine) -> MappingError:
    """Return the error of a layer of which not one filter group's psum row fits a bank."""
    pe = machine.pe
    height, width = options[0].shape.window.ofmap
    rows = bands(options[0].shape, Pool(), height, 1)
    needed = min(group_words(option, rows) for option in options)
    return MappingError(
        f"layer {name}: one ofmap row of {width} psums and one filter group need {needed} words "
        f"in a psum bank, which holds {pe.bank_words}; use a machine with pe.psum_bank_bytes of at "
        f"least {needed * 4 * pe.lanes}"
    )


def _map(network: Network, layer: Conv | Linear, machine: Machine) -> _Mapped:
    """Choose a layer's tile: the best one of which one output row of one filter group fits."""
    x, y = network.tensors[layer.inputs[0]], network.tensors[layer.output]
    options = candidates(conv_shape(layer, x, y), machine)
    pools = dict.fromkeys((fused_pool(network, layer), None))
    for pool in pools:
        window = pool_window(pool)
        n_outputs = volume(network.tensors[pool.output if pool else layer.output])[1]
        for option in options:
            rows = bands(option.shape, window, n_outputs, 1)
            if group_words(option, rows) <= machine.pe.bank_words:
                return _Mapped(layer, pool, window, n_outputs, option)
    raise _too_large(layer.name, options, machine)


def _blocks(
    mapped: _Mapped,
    groups: int,
    counts: Ints,
    residency: Residency,
    machine: Machine,
    used: _Used,
) -> tuple[list[Block], list[list[int]]]:
    """Return a layer's blocks of weights, and those of each channel wave."""
    mapping, shape = mapped.mapping, mapped.mapping.shape
    limit = machine.pe.weight_rows if residency is Residency.WAVE else 2**62
    if residency is Residency.LAYER:
        used.rows[:] = 0
    blocks: list[Block] = []
    of_wave: list[list[int]] = []
    for first in range(0, mapping.most_groups, groups):
        part = of_groups(mapping, first, first + groups)
        held = held_rows(mapping, counts, first, first + groups)
        of_wave.append([])
        for channels in chunks(held, limit):
            if residency is Residency.WAVE:
                used.rows[:] = 0
                rows, n_rows = None, held[:, slice(*channels)].sum(axis=1)
            else:
                rows = block_rows(part, mapped.layer, channels, machine)
                n_rows = np.diff(rows.first)
            dram = used.dram + np.cumsum(n_rows) * machine.pe.multipliers
            block = Block(
                mapped.layer, part, channels, machine, used.rows.copy(), n_rows,
                used.pointers.copy(), used.biases.copy(),
                dram - n_rows * machine.pe.multipliers, rows,
            )  # fmt: skip
            of_wave[-1].append(len(blocks))
            blocks.append(block)
            used.rows += n_rows
            used.dram = int(dram[-1])
        held_groups = [len({g.conv_group for g in part.groups_of(p)}) for p in range(machine.n_pes)]
        strides = shape.window.strides
        used.pointers += np.array(held_groups) * shape.group_channels * strides[0] * strides[1]
        used.biases += [len(part.groups_of(pe)) * part.filters for pe in range(machine.n_pes)]
    return blocks, of_wave


def _step(
    mapped: _Mapped, counts: Ints, residency: Residency, machine: Machine, used: _Used
) -> MnfStep:
    mapping, layer = mapped.mapping, mapped.layer
    is_streamed = residency is Residency.WAVE
    cut = best_cut(Cutter(mapping, mapped.window, mapped.n_outputs, machine, counts, is_streamed))
    if cut is None:
        most = int(counts.max())
        raise MappingError(
            f"layer {layer.name}: one input channel of one filter group needs {most} weight rows, "
            f"a PE holds {machine.pe.weight_rows} (by capacity alone the layer needs "
            f"{least_pes(mapping.shape, machine.pe)} PEs, Eq. 1 and 2); use a machine with "
            f"pe.weight_bytes of at least {most * machine.pe.multipliers}"
        )
    blocks, of_wave = _blocks(mapped, cut.groups, counts, residency, machine, used)
    waves: list[Wave] = []
    for of_channels in of_wave:
        for band in bands(mapping.shape, mapped.window, mapped.n_outputs, cut.height):
            for number in of_channels:
                block = blocks[number]
                waves.append(
                    Wave(
                        number=len(waves),
                        block=number,
                        band=band,
                        channels=block.channels,
                        mapping=block.mapping.on(of_band(mapping.shape, band)),
                        pool=pool_of_band(mapped.window, band),
                        begins=number == of_channels[0],
                        fires=number == of_channels[-1],
                    )
                )
    output = mapped.pool.output if mapped.pool else layer.output
    return MnfStep(layer, mapped.pool, output, mapping, residency, tuple(blocks), tuple(waves))


def _mnf_steps(
    mapped: list[_Mapped], machine: Machine, refused: dict[str, MappingError] | None
) -> tuple[list[MnfStep], _Used]:
    """Cut the weighted layers into waves, and place their weights."""
    counts = [row_counts(m.mapping, m.layer, machine.pe.weights == "dense") for m in mapped]
    per_pe = np.zeros((len(mapped), machine.n_pes), np.int64)
    for i, (m, rows) in enumerate(zip(mapped, counts, strict=True)):
        per_pe[i] = held_rows(m.mapping, rows, 0, m.mapping.most_groups).sum(axis=1)
    limit = machine.pe.weight_rows
    fits = machine.storage.keeps_weights and bool((per_pe.sum(axis=0) <= limit).all())
    rows_used, pointers, biases = np.zeros((3, machine.n_pes), np.int64)
    used = _Used(rows_used, pointers, biases)
    steps = []
    for m, rows, held in zip(mapped, counts, per_pe, strict=True):
        residency = Residency.LAYER if (held <= limit).all() else Residency.WAVE
        residency = Residency.NETWORK if fits else residency
        try:
            steps.append(_step(m, rows, residency, machine, used))
        except MappingError as error:
            if refused is None:
                raise
            refused[m.layer.name] = error
    return steps, used


def _mapped_layers(
    network: Network, machine: Machine, refused: dict[str, MappingError] | None
) -> list[_Mapped]:
    """Choose the tiles of all weighted layers."""
    mapped = []
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            try:
                mapped.append(_map(network, layer, machine))
            except MappingError as error:
                if refused is None:
                    raise
                refused[layer.name] = error
    return mapped


def _check_thresholds(network: Network, machine: Machine) -> None:
    known = [layer.name for layer in network.layers if network.has_relu(layer)]
    for name in machine.layer_thresholds:
        if name not in known:
            raise MachineError(
                f"{machine.name}: layer_thresholds: {name} is no layer with ReLU of network "
                f"{network.name}; those are {', '.join(known) or 'none'}"
            )


def check_storage(network: Network, machine: Machine, needed: int) -> None:
    """Raise unless storage holds so many bytes of event lists, or they lie in DRAM."""
    limit = machine.storage.bytes
    if limit is not None and needed > limit and machine.storage.tensors == "sram":
        raise MappingError(
            f"network {network.name}: its activations need {needed} bytes of storage, "
            f"{machine.name} has {limit}; set storage.bytes to at least {needed} or to null"
        )


def make_plan(
    network: Network, machine: Machine, refused: dict[str, MappingError] | None = None
) -> Plan:
    """Map a network onto a machine.

    Parameters
    ----------
    network : Network
    machine : Machine
    refused : dict, optional
        Takes the weighted layers that do not fit, with the reason; the plan leaves them out, and
        does not look whether storage holds the activations.

    Raises
    ------
    MappingError
        When one ofmap row of a filter group, one channel's weights or the activations do not fit.
    """
    mnf_steps, used = _mnf_steps(_mapped_layers(network, machine, refused), machine, refused)
    of_layer: dict[str, Step] = {step.name: step for step in mnf_steps}
    left_out = {step.pool.name for step in mnf_steps if step.pool} | set(refused or {})
    steps = [
        of_layer.get(layer.name, HostStep(layer, not network.tensors[layer.output].is_code))
        for layer in network.layers
        if layer.name not in left_out
    ]
    regions, top = place(network, steps)
    if refused is None:
        check_storage(network, machine, top)
    if machine.storage.tensors == "dram":
        regions = {name: used.dram + at for name, at in regions.items()}
    _check_thresholds(network, machine)
    loads = 0
    if all(step.residency is Residency.NETWORK for step in mnf_steps):
        row_bits: Any = used.rows * machine.pe.multipliers * 8
        loads = int((-(-row_bits // machine.noc.flit_bits)).sum())
    return Plan(network, machine, tuple(steps), regions, top, loads, used.dram)
