"""Small random float ONNX graphs, as exporters write them, for quantisation."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPS = ("conv", "depthwise", "residual", "product", "scaled", "concat", "transpose", "mean", "pool")
SHAPE = (3, 8, 8)


class Floats:
    """Writes a graph node by node; each operator takes and returns (name, shape)."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], {}

    def constant(self, value):
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def node(self, op, inputs, shape, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], f"{op}_{name}", **attributes))
        return name, tuple(int(size) for size in shape)

    def normal(self, *shape):
        return self.rng.normal(0, 0.4, shape).astype(np.float32)

    def behind(self, value):
        """Put a Relu, a Clip, a Dropout or nothing behind a value."""
        op = self.rng.choice(["Relu", "Clip", "Dropout", ""])
        if not op:
            return value
        bounds = [self.constant(np.float32(v)) for v in (0, 6)] if op == "Clip" else []
        return self.node(op, [value[0], *bounds], value[1])

    def conv(self, x, k=None, group=1):
        name, (c, h, w) = x
        k = k or int(self.rng.integers(2, 6))
        inputs = [name, self.constant(self.normal(k, c // group, 3, 3))]
        if self.rng.random() < 0.7:
            inputs.append(self.constant(self.normal(k)))
        dilation = int(self.rng.integers(1, 3))
        attributes = dict(pads=[dilation] * 4, dilations=[dilation] * 2, group=group)
        y = self.node("Conv", inputs, (k, h, w), **attributes)
        if self.rng.random() < 0.5:
            scale, bias, mean = (self.constant(self.normal(k)) for _ in range(3))
            var = self.constant(self.rng.uniform(0.5, 2, k).astype(np.float32))
            y = self.node("BatchNormalization", [y[0], scale, bias, mean, var], y[1])
        return self.behind(y)

    def depthwise(self, x):
        return self.conv(x, k=x[1][0], group=x[1][0])

    def join(self, op, x):
        y = self.conv(x, k=x[1][0])
        pair = [x[0], y[0]] if self.rng.random() < 0.5 else [y[0], x[0]]
        return self.behind(self.node(op, pair, x[1]))

    def residual(self, x):
        return self.join("Add", x)

    def product(self, x):
        return self.join("Mul", x)

    def scaled(self, x):
        constant = self.constant(self.normal(x[1][0], 1, 1))
        return self.behind(self.node("Mul", [x[0], constant], x[1]))

    def concat(self, x):
        y = self.conv(x)
        return self.node("Concat", [x[0], y[0]], (x[1][0] + y[1][0], *x[1][1:]), axis=1)

    def transpose(self, x):
        c, h, w = x[1]
        return self.node("Transpose", [x[0]], (c, w, h), perm=[0, 1, 3, 2])

    def mean(self, x):
        if min(x[1][1:]) < 3:
            return self.node("GlobalAveragePool", [x[0]], (x[1][0], 1, 1))
        return self.pool(x, "AveragePool", count_include_pad=int(self.rng.integers(2)))

    def pool(self, x, op="MaxPool", **attributes):
        c, h, w = x[1]
        attributes.update(kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, h % 2, w % 2])
        return self.node(op, [x[0]], (c, (h + 1) // 2, (w + 1) // 2), **attributes)

    def dense(self, x):
        n = int(np.prod(x[1]))
        flat = self.node("Flatten", [x[0]], (n,))
        weight = self.constant(self.normal(n, 4) / np.float32(np.sqrt(n)))
        if self.rng.random() < 0.5:
            return self.node("Gemm", [flat[0], weight, self.constant(self.normal(4))], (4,))
        y = self.node("MatMul", [flat[0], weight], (4,))
        return self.node("Add", [y[0], self.constant(self.normal(4))], (4,))


def float_graph(seed, steps, batch="n"):
    """Return a random float model of these operators, ended by a fully connected layer."""
    writer = Floats(seed)
    x = writer.behind(writer.conv(("image", SHAPE)))
    for op in steps:
        x = getattr(writer, op)(x)
    x = writer.dense(x)
    if writer.rng.random() < 0.3:
        x = writer.node("Softmax", [x[0]], x[1], axis=-1)
    graph = helper.make_graph(
        writer.nodes,
        "floats",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *SHAPE])],
        [helper.make_tensor_value_info(x[0], TensorProto.FLOAT, [batch, *x[1]])],
        [numpy_helper.from_array(value, name) for name, value in writer.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
