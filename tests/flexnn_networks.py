"""Networks of one random layer, for tests of mode flexnn from end to end."""

import numpy as np
from small_descriptors import dimension_sizes, random_descriptor, random_layer, random_machine

from firemesh.emulator.flexnn.descriptor import Descriptor
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.models.network import Conv, Linear, Network, Tensor

KINDS = ("plain", "grouped", "depthwise", "pointwise", "linear")
POINT = 128
BANKS = {"if": 1024, "fl": 1024, "of": 1024}


def described(tree, **changes):
    """Return the machine of a mapping, with register files that hold any small layer."""
    whole = {"name": "small", "clock_hz": 1, "rf": {"banks": 4096, "bank_bytes": 4096}, **tree}
    return FlexMachine.parse(whole, "small").replace(**changes)


def one_layer(rng, x, w, shape):
    """Return a network of one layer, and its frame of codes."""
    k = len(w)
    fields = {
        "name": "layer",
        "inputs": ("x",),
        "output": "y",
        "weight": w.astype(np.int8),
        "weight_zero_point": np.zeros(k, np.int32),
        "multiplier": np.full(k, np.float32(rng.choice([0.001, 0.01, 1.0])), np.float32),
        "bias": rng.integers(-300, 300, k).astype(np.int32),
        "low": 0,
        "high": 255,
    }
    height, width = shape["ofmap"]
    codes = (x + POINT).astype(np.uint8)
    if shape["is_linear"]:
        codes = codes.reshape(1, -1)
        layer, out = Linear(**fields | {"weight": fields["weight"].reshape(k, -1)}), (k,)
    else:
        reach = [d * (n - 1) + 1 for d, n in zip(shape["dilations"], w.shape[2:], strict=True)]
        sides = zip(
            (height, width), shape["strides"], reach, x.shape[2:], shape["pads"], strict=True
        )
        behind = [max(0, (o - 1) * s + r - n - p) for o, s, r, n, p in sides]
        layer = Conv(
            **fields,
            strides=tuple(shape["strides"]),
            dilations=tuple(shape["dilations"]),
            pads=(*shape["pads"], *behind),
            groups=shape["groups"],
        )
        out = (k, height, width)
    tensors = {
        "x": Tensor("x", codes.shape[1:], "uint8", 1.0, POINT),
        "y": Tensor("y", out, "uint8", 1.0, 3),
    }
    return Network("one", (layer,), tensors, ("x",), ("y",)), codes


def random_case(seed):
    """Return network, frame, oracle's operands, descriptor and machine, each a mapping."""
    rng = np.random.default_rng(seed)
    tree = random_machine(rng)
    kind = str(rng.choice(KINDS))
    x, w, shape = random_layer(rng, kind)
    x, w = np.clip(x, -POINT, 127), np.clip(w, -128, 127)
    descriptor = random_descriptor(rng, dimension_sizes(x, w, shape), tree)
    shape["is_linear"] = kind == "linear"
    network, frame = one_layer(rng, x, w, shape)
    return network, frame, (x, w, shape), descriptor, tree


def parsed(tree):
    """Return a descriptor of a mapping without banks."""
    return Descriptor.parse({"banks": BANKS, **tree}, "small")
