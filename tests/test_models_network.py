from functools import partial

import numpy as np
import pytest

from firemesh.models.network import (
    Add,
    AddConstant,
    AveragePool,
    Concat,
    Conv,
    Linear,
    MaxPool,
    ModelError,
    Mul,
    MulConstant,
    Network,
    Quantize,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
)


def conv(**changes):
    fields = dict(
        name="conv",
        inputs=("x",),
        output="y",
        weight=np.ones((4, 2, 3, 3), np.int8),
        weight_zero_point=np.zeros(4, np.int32),
        multiplier=np.full(4, 0.5, np.float32),
        bias=np.zeros(4, np.int32),
        low=-128,
        high=127,
        pads=(1, 1, 1, 1),
    )
    return Conv(**{**fields, **changes})


def network(**changes):
    tensors = [
        Tensor("image", (2, 8, 6), "float32"),
        Tensor("x", (2, 8, 6), "int8", 0.1, 3),
        Tensor("y", (4, 8, 6), "int8", 0.1, -128),
        Tensor("p", (4, 4, 3), "int8", 0.1, -128),
        Tensor("f", (48,), "int8", 0.1, -128),
    ]
    fields = dict(
        name="net",
        layers=(
            Quantize("quantize", ("image",), "x"),
            conv(),
            MaxPool("pool", ("y",), "p", (2, 2), (2, 2)),
            Reshape("flatten", ("p",), "f"),
        ),
        tensors={tensor.name: tensor for tensor in tensors},
        inputs=("image",),
        outputs=("f",),
    )
    return Network(**{**fields, **changes})


def test_graph_consumers_and_producer_agree_with_the_layers():
    net = network()
    quantize, layer, pool, flatten = net.layers
    assert list(net.graph.edges) == [(quantize, layer), (layer, pool), (pool, flatten)]
    assert net.graph.edges[quantize, layer]["tensor"] == "x"
    assert net.producer("image") is None and net.producer("y") is layer
    assert net.consumers("y") == (pool,) and net.consumers("f") == ()


def test_macs_count_every_product_of_a_convolution_once():
    net = network()
    assert [net.macs(layer) for layer in net.layers] == [0, 4 * 8 * 6 * 2 * 3 * 3, 0, 0]


def test_relu_is_a_lower_bound_at_or_above_the_zero_point():
    assert network().has_relu(network().layers[1])
    tensors = {**network().tensors, "y": Tensor("y", (4, 8, 6), "int8", 0.1, 5)}
    pooled = {
        **tensors,
        "p": Tensor("p", (4, 4, 3), "int8", 0.1, 5),
        "f": Tensor("f", (48,), "int8", 0.1, 5),
    }
    net = network(tensors=pooled)
    assert not net.has_relu(net.layers[1])
    clipped = network(tensors=pooled, layers=(net.layers[0], conv(low=5), *net.layers[2:]))
    assert clipped.has_relu(clipped.layers[1])


def test_arrays_are_read_only_copies():
    weight = np.ones((4, 2, 3, 3), np.int8)
    layer = conv(weight=weight)
    weight[:] = 7
    assert (layer.weight == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0] = 2


def test_digest_moves_with_every_field_that_defines_results_and_with_nothing_else():
    base = network()
    first, _, *rest = base.layers
    changed = [
        network(layers=(first, layer, *rest))
        for layer in (
            conv(bias=np.array([0, 0, 0, 1], np.int32)),
            conv(multiplier=np.full(4, 0.25, np.float32)),
            conv(weight=np.full((4, 2, 3, 3), 2, np.int8)),
            conv(weight=np.ones((4, 2, 3, 3), np.uint8)),
            conv(weight_zero_point=np.ones(4, np.int32)),
            conv(low=-127),
            conv(strides=(1, 1), dilations=(2, 2), pads=(2, 2, 2, 2)),
        )
    ]
    changed.append(
        network(tensors={**base.tensors, "x": Tensor("x", (2, 8, 6), "int8", 0.1, 4)}),
    )
    digests = {net.digest for net in [base, *changed]}
    assert len(digests) == len(changed) + 1
    assert network(name="other", description="text").digest == base.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(weight=np.ones((4, 2, 3, 3))), "Conv.weight: must be int8 or uint8"),
        (dict(weight=np.ones((4, 2, 3), np.int8)), "Conv.weight: must be of shape"),
        (dict(bias=np.zeros(3, np.int32)), "Conv.bias: must be of shape"),
        (dict(multiplier=np.full(4, np.nan, np.float32)), "Conv.multiplier: must be finite"),
        (dict(weight_zero_point=np.full(4, 200, np.int32)), "Conv.weight_zero_point"),
        (dict(strides=(0, 1)), "Conv.strides: must be 2 integers of at least 1"),
        (dict(pads=(0, 0)), "Conv.pads: must be 4 integers of at least 0"),
        (dict(groups=3), "Conv.groups: must be a divisor of the 4 filters"),
        (dict(low=3, high=2), "Conv.low: must be at most high"),
        (dict(inputs=("x", "z")), "Conv.inputs: must be a tuple of 1 tensor names"),
        (dict(name=""), "Conv.name: must be a non-empty string"),
    ],
)
def test_a_wrong_layer_field_is_named_with_its_value(changes, message):
    with pytest.raises(ModelError, match=message):
        conv(**changes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("x", (3,), "int16"), "Tensor.dtype: must be one of int8, uint8, float32"),
        (("x", (0,), "int8"), "Tensor.shape"),
        (("x", (3,), "int8", -1.0), "Tensor.scale"),
        (("x", (3,), "int8", float("inf")), "Tensor.scale"),
        (("x", (3,), "uint8", 1.0, -1), r"Tensor.zero_point: must be 0\.\.255, got -1"),
    ],
)
def test_a_wrong_tensor_field_is_named_with_its_value(fields, message):
    with pytest.raises(ModelError, match=message):
        Tensor(*fields)


def _wrong_networks():
    base = network()
    quantize, layer, pool, flatten = base.layers
    odd = Tensor("p", (4, 4, 3), "int8", 0.2, -128)
    linear = Linear(
        "fc",
        ("p",),
        "f",
        np.ones((48, 5), np.int8),
        np.zeros(48, np.int32),
        np.ones(48, np.float32),
        np.zeros(48, np.int32),
        -128,
        127,
    )
    shape = {**base.tensors, "y": Tensor("y", (4, 8, 8), "int8", 0.1, -128)}
    return [
        (dict(layers=(layer, quantize, pool, flatten)), "topological order"),
        (dict(layers=(quantize, layer, pool, flatten, flatten)), "unique names"),
        (dict(layers=(quantize, layer, pool)), "Network.outputs"),
        (dict(tensors={}), "Network.tensors: must name every tensor in use"),
        (dict(tensors={**base.tensors, "p": odd}), "type, scale and zero point"),
        (dict(tensors=shape), r"Conv.output: must have shape \[4, 8, 6\]"),
        (dict(layers=(quantize, layer, pool, linear)), r"Linear.inputs: must have shape \[5\]"),
        (dict(layers=(quantize, conv(high=200), pool, flatten)), "must be codes of int8"),
        (
            dict(layers=(quantize, conv(groups=2, pads=(1, 1, 1, 1)), pool, flatten)),
            r"Conv.inputs: must have shape \[4, h, w\]",
        ),
        (dict(inputs=("x",), layers=(layer, pool, flatten), outputs=("image",)), "outputs"),
    ]


@pytest.mark.parametrize(("changes", "message"), _wrong_networks())
def test_a_network_that_does_not_hold_together_is_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        network(**changes)


CODES = np.zeros((2, 1, 1), np.int8)


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (AveragePool, dict(kernel=(2, 0)), "AveragePool.kernel: must be 2 integers of at least 1"),
        (AveragePool, dict(kernel=(2, 2), pads=(0, 2, 0, 0)), "AveragePool.pads: must be smaller"),
        (MaxPool, dict(kernel=(2, 2), dilations=(0, 1)), "MaxPool.dilations: must be 2 integers"),
        (Add, dict(low=2.0, high=1.0, inputs=("x", "z")), "Add.low: must be at most high"),
        (Mul, {}, "Mul.inputs: must be a tuple of 2 tensor names"),
        (Concat, dict(axis=-1), "Concat.axis: must be an axis behind the batch axis, from 0"),
        (Concat, dict(axis=0, inputs=()), "Concat.inputs: must be a tuple of 1 or more"),
        (Transpose, dict(permutation=(0, 2)), "Transpose.permutation: must be a tuple of every"),
        (Transpose, dict(permutation=("a", 0)), "Transpose.permutation: must be a tuple of every"),
        (Softmax, dict(axis=None), "Softmax.axis: must be an axis behind the batch axis"),
        (
            MulConstant,
            dict(constant=CODES, scale=1.0, zero_point=128),
            "MulConstant.zero_point: must be a code of int8",
        ),
        (AddConstant, dict(constant=CODES, scale=0.0, zero_point=0), "AddConstant.scale"),
        (MulConstant, dict(constant=1.5, scale=1.0, zero_point=0), "MulConstant.constant"),
    ],
)
def test_a_wrong_field_of_any_layer_is_named_with_its_value(make, fields, message):
    with pytest.raises(ModelError, match=message):
        make(**{"name": "layer", "inputs": ("x",), "output": "y", **fields})


def one_layer(make, output, shapes=((2, 4, 6),), dtype="int8", scale=0.1, **fields):
    names = tuple(f"x{i}" for i in range(len(shapes)))
    tensors = [
        Tensor(name, shape, "int8", 0.1, 3) for name, shape in zip(names, shapes, strict=True)
    ]
    tensors.append(Tensor("y", output, dtype, *(() if dtype == "float32" else (scale, 3))))
    layer = make("layer", names, "y", **fields)
    return Network("n", (layer,), {tensor.name: tensor for tensor in tensors}, names, ("y",))


@pytest.mark.parametrize(
    ("make", "output", "fields"),
    [
        (AveragePool, (2, 2, 6), dict(kernel=(2, 3), pads=(1, 1, 0, 1), strides=(2, 1))),
        (Add, (2, 4, 6), dict(shapes=((2, 1, 6), (1, 4, 1)))),
        (Mul, (2, 4, 6), dict(shapes=((2, 4, 6), (2, 1, 1)))),
        (MulConstant, (2, 4, 6), dict(constant=CODES, scale_of=0.5, zero_point=0)),
        (Concat, (7, 4, 6), dict(shapes=((2, 4, 6), (5, 4, 6)), axis=0)),
        (Concat, (2, 4, 6), dict(axis=2)),
        (Transpose, (6, 2, 4), dict(permutation=(2, 0, 1))),
        (Softmax, (2, 4, 6), dict(axis=2)),
        (Softmax, (2, 4, 6), dict(axis=0, dtype="float32")),
    ],
)
def test_a_layer_s_output_shape_follows_from_its_inputs_and_no_other_is_taken(make, output, fields):
    if "scale_of" in fields:
        fields = dict(fields)
        constant = {"scale": fields.pop("scale_of")}
        make = partial(make, **constant)
    assert one_layer(make, output, **fields).tensors["y"].shape == output
    with pytest.raises(ModelError, match="output: must have shape"):
        one_layer(make, (*output[:-1], output[-1] + 1), **fields)


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (Concat, dict(shapes=((2, 4, 6), (2, 4, 5)), axis=0), "Concat.inputs: must agree"),
        (Concat, dict(axis=3), "Concat.inputs: must agree"),
        (Transpose, dict(permutation=(1, 0)), "Transpose.permutation: must have 3 axes"),
        (Transpose, dict(permutation=(0, 1, 2), scale=0.2), "its input's type, scale and zero"),
        (Softmax, dict(axis=3), "Softmax.output: must have shape another"),
        (AveragePool, dict(kernel=(5, 1)), "kernel: must fit"),
        (Mul, dict(shapes=((2, 4, 6), (3, 1, 1))), "shapes of one rank that broadcast"),
        (Concat, dict(axis=0, dtype="float32"), "must be int8 or uint8 except"),
    ],
)
def test_a_layer_that_does_not_fit_its_tensors_is_refused(make, fields, message):
    with pytest.raises(ModelError, match=message):
        one_layer(make, (2, 4, 6), **fields)


def test_a_product_s_scales_stay_in_range():
    tensors = {
        name: Tensor(name, (1,), "int8", scale)
        for name, scale in (("a", 2.0**50), ("b", 2.0**40), ("y", 2.0**-50))
    }
    with pytest.raises(ModelError, match="Mul.inputs: must have scales whose product is at most"):
        Network("n", (Mul("m", ("a", "b"), "y"),), tensors, ("a", "b"), ("y",))
