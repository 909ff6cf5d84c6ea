"""Random int8 weights of synthetic networks, pruned by row."""

import numpy as np
from numpy.typing import NDArray

from .prune import prune_rows
from .recipe import Recipe
from .specs import ConvSpec


def random_weight(recipe: Recipe, index: int, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Return a layer's weights, uniform in -127..127 without 0 in the rows that stay.

    They depend on the names of network and layer, the seed and the layer's pruning alone.

    Parameters
    ----------
    recipe : Recipe
    index : int
        Of the layer among those with weights.
    shape : (k, c/groups, r, s) or (k, n)

    Returns
    -------
    int8, of the shape
    """
    spec = recipe.architecture.weighted[index]
    name = f"{recipe.name} {spec.name}".encode()
    rng = np.random.default_rng([recipe.seed, *name])
    weight = rng.integers(-127, 127, shape, np.int8)
    weight += weight >= 0
    rule, density = recipe.pruning(index)
    if density < 1:
        rows, tile = recipe.rows, recipe.rows.tile(spec.name, spec.tile)
        strides = (spec.stride, spec.stride) if isinstance(spec, ConvSpec) else (1, 1)
        weight *= prune_rows(
            weight,
            density,
            rows.multipliers // (tile[0] * tile[1]),
            tile,
            rows.pes,
            strides,
            groups=spec.groups if isinstance(spec, ConvSpec) else 1,
            seed=int(rng.integers(2**63)),
            rule=rule,
        )
    return weight
