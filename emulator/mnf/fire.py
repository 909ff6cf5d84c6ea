"""The order in which the fire phase reads psums, and when each output is complete."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..shape import Pool
from .mapping import Mapping


class FireOrder(NamedTuple):
    """Chunks of filters and scan steps; arrays as in `firemesh.emulator.mnf.state.LayerArrays`."""

    chunk_first: NDArray[np.int64]
    chunk: NDArray[np.int64]
    step_first: NDArray[np.int64]
    step: NDArray[np.int32]
    done_first: NDArray[np.int64]
    done: NDArray[np.int32]

    @property
    def most_outputs(self) -> int:
        """Outputs that one scan step can complete."""
        return int(np.diff(self.done_first).max() * self.chunk[:, 1].max(initial=1))


def _chunks(mapping: Mapping, fire_lanes: int) -> tuple[list[int], list[tuple[int, int]]]:
    width = min(fire_lanes, mapping.filters)
    first, chunks = [0], []
    for pe in range(mapping.n_pes):
        for group in mapping.groups_of(pe):
            for at in range(0, group.size, width):
                slot = group.number * mapping.filters + at
                chunks.append((slot, min(width, group.size - at)))
        first.append(len(chunks))
    return first, chunks


def _step_of(mapping: Mapping, fire_lanes: int) -> NDArray[np.int64]:
    """Return int64[oh, ow]: the scan step that reads each position."""
    height, width = mapping.shape.window.ofmap
    if fire_lanes < mapping.modules * mapping.lanes or mapping.modules == 1:
        return np.arange(height * width).reshape(height, width)
    y, x = np.indices((height, width))
    block = mapping.place(y, x)[1]
    return np.unique(block, return_inverse=True)[1].reshape(height, width)


def _lists(step: NDArray[np.int64], n_steps: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the positions of each step, in raster order."""
    order = np.argsort(step, axis=None, kind="stable")
    first = np.searchsorted(step.ravel()[order], np.arange(n_steps + 1))
    places = np.stack(np.unravel_index(order, step.shape), axis=1)
    return first, places.astype(np.int32)


def fire_order(
    mapping: Mapping, fire_lanes: int, pool: Pool, pooled: tuple[int, int], fires: bool = True
) -> FireOrder:
    """Return the fire phase's order of work.

    Parameters
    ----------
    mapping : Mapping
    fire_lanes : int
        1, L or M*L.
    pool : Pool
    pooled : (int, int)
        Height and width of the outputs.
    fires : bool
        False for a wave after which psums are not complete: there are no chunks.
    """
    step_of = _step_of(mapping, fire_lanes)
    n_steps = int(step_of.max()) + 1
    last = np.empty(pooled, np.int64)
    rows = [pool.covered(0, y, step_of.shape[0]) for y in range(pooled[0])]
    columns = [pool.covered(1, x, step_of.shape[1]) for x in range(pooled[1])]
    for y, covered in enumerate(rows):
        above = step_of[covered].max(axis=0)
        last[y] = [above[places].max() for places in columns]
    chunk_first, chunks = _chunks(mapping, fire_lanes) if fires else ([0] * (mapping.n_pes + 1), [])
    return FireOrder(
        np.array(chunk_first),
        np.array(chunks, np.int64).reshape(-1, 2),
        *_lists(step_of, n_steps),
        *_lists(last, n_steps),
    )
