"""Small random networks whose weights do not all fit, for tests."""

import numpy as np

from firemesh.models.network import Conv, Linear, MaxPool, Network, Reshape, Tensor


def _weights(rng, *shape):
    weight = rng.integers(-128, 128, shape)
    weight[rng.random(shape) < 0.6] = 0
    weight[:, rng.integers(0, shape[1])] = 0
    return dict(
        weight=weight.astype(np.int8),
        weight_zero_point=np.zeros(shape[0], np.int32),
        multiplier=rng.uniform(0.001, 0.01, shape[0]).astype(np.float32),
        bias=rng.integers(-3000, 3000, shape[0]).astype(np.int32),
        low=-5,
        high=127,
    )


def streamed_network(seed):
    """Return two convolutions, a max-pool and two fully connected layers, all with ReLU."""
    rng = np.random.default_rng(seed)
    layers = (
        Conv("conv1", ("x",), "a", **_weights(rng, 10, 2, 3, 3), pads=(1, 1, 1, 1)),
        MaxPool("pool", ("a",), "b", (2, 2), (2, 2), (0, 0, 0, 0)),
        Conv("conv2", ("b",), "c", **_weights(rng, 12, 5, 3, 3), pads=(1, 1, 1, 1), groups=2),
        Reshape("flat", ("c",), "d"),
        Linear("fc1", ("d",), "e", **_weights(rng, 40, 192)),
        Linear("fc2", ("e",), "f", **_weights(rng, 10, 40)),
    )
    shapes = {
        "x": (2, 8, 8), "a": (10, 8, 8), "b": (10, 4, 4), "c": (12, 4, 4), "d": (192,), "e": (40,),
        "f": (10,),
    }  # fmt: skip
    tensors = {name: Tensor(name, shape, "int8", 1.0, -5) for name, shape in shapes.items()}
    return Network("streamed", layers, tensors, ("x",), ("f",))


def frames(seed, n):
    """Return random input codes, some of whose channels are silent."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, (n, 2, 8, 8))
    codes[rng.random(codes.shape) < 0.4] = -5
    codes[0, rng.integers(0, 2)] = -5
    return codes.astype(np.int8)
