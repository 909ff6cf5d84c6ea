"""Small random quantised ONNX graphs of every operator that networks know."""

import numpy as np
import onnx_writer
from onnx import TensorProto, helper
from onnx_writer import WEIGHT_BITS, Value, has_exact_kernels, session

__all__ = ["OPS", "WEIGHT_BITS", "Value", "Writer", "has_exact_kernels", "random_graph", "session"]

OPS = (
    "conv",
    "depthwise",
    "pool",
    "mean",
    "average",
    "residual",
    "product",
    "scaled",
    "concat",
    "transpose",
    "softmax",
    "axes",
    "clip",
    "activation",
)


class Writer(onnx_writer.Writer):
    """Adds one random operator at a time."""

    def conv(self, x):
        c, h, w = x.shape
        rng = self.rng
        r, s = rng.integers(1, 4, 2)
        strides, dilations = rng.integers(1, 4, 2), rng.integers(1, 3, 2)
        pads = rng.integers(0, 3, 4)
        spans = (dilations * (np.array([r, s]) - 1)) + 1
        sizes = (np.array([h, w]) + pads[:2] + pads[2:] - spans) // strides + 1
        if (np.array([h, w]) + pads[:2] + pads[2:] < spans).any():
            return x
        groups = int(rng.choice([g for g in range(1, c + 1) if c % g == 0]))
        k = groups * int(rng.integers(1, 4))
        return self.weighted(
            "Conv",
            x,
            (k, c // groups, r, s),
            0,
            (k, *sizes),
            c // groups * r * s,
            relu=self.is_qdq and rng.random() < 0.4,
            strides=strides.tolist(),
            dilations=dilations.tolist(),
            pads=pads.tolist(),
            group=groups,
        )

    def windows(self, x):
        """Return output sizes and attributes of a pool, or None where no window fits."""
        _, h, w = x.shape
        kernel = self.rng.integers(1, 4, 2)
        strides = self.rng.integers(1, 3, 2)
        if self.rng.random() < 0.2:
            mode = str(self.rng.choice(["SAME_UPPER", "SAME_LOWER"]))
            sizes = -(-np.array([h, w]) // strides)
            return sizes, dict(
                kernel_shape=kernel.tolist(), strides=strides.tolist(), auto_pad=mode
            )
        pads = np.array([self.rng.integers(0, kernel[i % 2]) for i in range(4)])
        room = np.array([h, w]) + pads[:2] + pads[2:] - kernel
        if (room < 0).any():
            return None
        ceil = int(self.rng.random() < 0.3)
        sizes = -(-room // strides) + 1 if ceil else room // strides + 1
        if ((sizes - 1) * strides >= np.array([h, w]) + pads[:2]).any():
            return None  # ONNX Runtime's shape inference and kernel disagree on such a last window
        return sizes, dict(
            kernel_shape=kernel.tolist(),
            strides=strides.tolist(),
            pads=pads.tolist(),
            ceil_mode=ceil,
        )

    def pool(self, x):
        windows = self.windows(x)
        if windows is None:
            return x
        return self.moved("MaxPool", x, (x.shape[0], *windows[0]), **windows[1])

    def add(self, a, b):
        return self.elementwise("Add", a, b, float(a.scale) + float(b.scale))

    def multiply(self, a, b):
        return self.elementwise("Mul", a, b, 60 * float(a.scale) * float(b.scale))

    def elementwise(self, op, a, b, typical):
        shape = np.broadcast_shapes(a.shape, b.shape)[-3:]  # a constant may have a batch axis of 1
        y = self.value(shape, typical)
        if self.is_qdq:
            real = self.name("real")
            self.node(op, [self.real(a), self.real(b)], [real])
            return self.quantised(self.bounded(real, y), y)
        inputs = [*self.triple(a), *self.triple(b), *self.params(y)]
        return self.qlinear(op, inputs, y)

    def qlinear(self, op, inputs, y, **attributes):
        self.node(f"QLinear{op}", inputs, [y.name], "com.microsoft", **attributes)
        self.codes.append(y)
        return y

    def bounded(self, real, y):
        """Write now and then a Relu or Clip that the code range need not cover, or an Identity."""
        chance = self.rng.random()
        if chance < 0.7:
            return real
        if chance < 0.8:
            return self.relu(real)
        name = self.name("real")
        if chance < 0.9:
            self.node(str(self.rng.choice(["Identity", "Dropout"])), [real], [name])
            return name
        low, high = np.sort(self.rng.normal(0, 60 * float(y.scale), 2)).astype(np.float32)
        self.node("Clip", [real, self.constant(low), self.constant(high)], [name])
        return name

    def residual(self, x):
        branch = self.pointwise(x) if self.rng.random() < 0.7 else self.average(x)
        return self.add(x, branch) if self.rng.random() < 0.5 else self.add(branch, x)

    def product(self, x):
        branch = self.pointwise(x) if self.rng.random() < 0.5 else self.average(x)
        return self.multiply(x, branch) if self.rng.random() < 0.5 else self.multiply(branch, x)

    def codes_of(self, shape, typical):
        """Return constant codes of a shape, as a value."""
        info = np.iinfo(self.kind)
        constant = self.value(shape, typical)
        codes = self.rng.integers(info.min, info.max + 1, shape).astype(self.kind)
        self.constants[constant.name] = codes
        return constant

    def scaled(self, x):
        shapes = [(), x.shape[-1:], (x.shape[0], 1, 1), (1, *x.shape)]
        constant = self.codes_of(shapes[self.rng.integers(4)], 0.01)
        a, b = (x, constant) if self.rng.random() < 0.5 else (constant, x)
        return self.multiply(a, b) if self.rng.random() < 0.6 else self.add(a, b)

    def concat(self, x):
        axis = int(self.rng.integers(3))
        parts = [x, self.pointwise(x), x if self.rng.random() < 0.3 else self.activation(x)]
        parts = [parts[i] for i in self.rng.permutation(3)[: self.rng.integers(1, 4)]]
        shape = list(x.shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        y = self.value(shape, float(x.scale))
        if self.rng.random() < 0.3:
            y = Value(y.name, y.shape, parts[0].scale, parts[0].zero)
        axis = axis + 1 if self.rng.random() < 0.5 else axis - 3
        if self.is_qdq:
            real = self.name("real")
            self.node("Concat", [self.real(part) for part in parts], [real], axis=axis)
            return self.quantised(self.bounded(real, y), y)
        inputs = [name for part in parts for name in self.triple(part)]
        return self.qlinear("Concat", [*self.params(y), *inputs], y, axis=axis)

    def moved(self, op, x, shape, inputs=(), **attributes):
        """Write an operator that moves codes and changes none."""
        y = Value(self.name("t"), tuple(shape), x.scale, x.zero)
        if self.is_qdq:
            real = self.name("real")
            self.node(op, [self.real(x), *inputs], [real], **attributes)
            if self.rng.random() < 0.25:
                return Value(real, y.shape, y.scale, y.zero, is_real=True)
            return self.quantised(real, y)
        self.node(op, [x.name, *inputs], [y.name], **attributes)
        self.codes.append(y)
        return y

    def transpose(self, x):
        order = self.rng.permutation(3)
        perm = [0, *(int(axis) + 1 for axis in order)]
        return self.moved("Transpose", x, [x.shape[axis] for axis in order], perm=perm)

    def axes(self, x):
        """Put an axis in, and take it out again."""
        at = int(self.rng.integers(1, 5))
        axes = [self.constant(np.int64([at]))]
        shape = list(x.shape)
        shape.insert(at - 1, 1)
        return self.moved("Squeeze", self.moved("Unsqueeze", x, shape, axes), x.shape, axes)

    def softmax(self, x):
        """Write a Softmax of more than one term: of one, ONNX Runtime's product can overflow."""
        info = np.iinfo(self.kind)
        sizes = [axis for axis in range(3) if x.shape[axis] > 1]
        if not sizes:
            return x
        axis = int(self.rng.choice(sizes)) + 1
        axis = axis if self.rng.random() < 0.7 else axis - 4
        scale = np.float32(self.rng.choice([1 / 256, 1 / 255, 1 / 128, 0.01, 1 / 64]))
        scale = np.float32(scale * (1 if self.rng.random() < 0.7 else self.rng.uniform(1.01, 2)))
        zero = self.rng.integers(info.min, info.max + 1) if self.rng.random() < 0.5 else info.min
        y = Value(self.name("t"), x.shape, scale, np.dtype(self.kind).type(zero))
        if self.is_qdq:
            real = self.name("real")
            self.node("Softmax", [self.real(x)], [real], axis=axis)
            return self.quantised(real, y)
        inputs = [*self.triple(x), *self.params(y)]
        return self.qlinear("Softmax", inputs, y, axis=axis, opset=17)

    def depthwise(self, x):
        c, h, w = x.shape
        fold, (r, s) = int(self.rng.integers(1, 3)), self.rng.integers(1, 4, 2)
        if r > h or s > w:
            return x
        mode = str(self.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
        stride = int(self.rng.integers(1, 3))
        sizes = [-(-n // stride) for n in ((h, w) if mode != "VALID" else (h - r + 1, w - s + 1))]
        return self.weighted(
            "Conv",
            x,
            (c * fold, 1, r, s),
            0,
            (c * fold, *sizes),
            r * s,
            relu=self.is_qdq and self.rng.random() < 0.4,
            strides=[stride, stride],
            auto_pad=mode,
            group=c,
        )

    def mean(self, x):
        windows = self.windows(x)
        if windows is None:
            return x
        sizes, attributes = windows
        attributes["count_include_pad"] = int(self.rng.random() < 0.5)
        y = self.value((x.shape[0], *sizes), float(x.scale))
        if self.is_qdq:
            real = self.name("real")
            self.node("AveragePool", [self.real(x)], [real], **attributes)
            return self.quantised(real, y)
        inputs = [*self.triple(x), *self.params(y)]
        return self.qlinear("AveragePool", inputs, y, **attributes)

    def pointwise(self, x):
        c, h, w = x.shape
        return self.weighted("Conv", x, (c, c, 1, 1), 0, (c, h, w), c)

    def average(self, x):
        c, h, w = x.shape
        y = self.value((c, 1, 1), float(x.scale))
        if self.is_qdq:
            real = self.name("real")
            self.node("GlobalAveragePool", [self.real(x)], [real])
            return self.quantised(real, y)
        inputs = [*self.triple(x), *self.params(y)]
        attributes = {"domain": "com.microsoft", "channels_last": 0}
        self.node("QLinearGlobalAveragePool", inputs, [y.name], **attributes)
        self.codes.append(y)
        return y

    def clip(self, x):
        real, name = self.real(x), self.name("real")
        low, high = np.sort(self.rng.normal(0, 60 * float(x.scale), 2)).astype(np.float32)
        self.node("Clip", [real, self.constant(low), self.constant(high)], [name])
        return self.quantised(name, self.value(x.shape, float(x.scale)))

    def activation(self, x):
        return self.quantised(self.relu(self.real(x)), self.value(x.shape, float(x.scale)))

    def flatten(self, x):
        size = int(np.prod(x.shape))
        if self.rng.random() < 0.5:
            return self.moved("Flatten", x, (size,), axis=1)
        first = self.batch if isinstance(self.batch, int) else 0
        target = self.constant(np.int64([first, -1]))
        return self.moved("Reshape", x, (size,), [target])

    def dense(self, x):
        n, k = x.shape[0], int(self.rng.integers(1, 7))
        if self.rng.random() < 0.5:
            return self.weighted("MatMul", x, (n, k), 1, (k,), n)
        if self.rng.random() < 0.5:
            return self.weighted("Gemm", x, (k, n), 0, (k,), n, transB=1)
        return self.weighted("Gemm", x, (n, k), 1, (k,), n)

    def bias(self, x):
        """Add constant codes, as an exporter writes a MatMul's bias."""
        constant = self.codes_of(x.shape[-1:], float(x.scale))
        return self.add(x, constant) if self.rng.random() < 0.5 else self.add(constant, x)

    def result(self, x):
        """Return the float output's name: a DequantizeLinear or a Softmax behind one."""
        real = self.real(x)
        if self.rng.random() < 0.8:
            return real
        name = self.name("real")
        self.node("Softmax", [real], [name], axis=-1)
        return name


def random_graph(seed, is_qdq, kind, steps, may_end_in_softmax=False):
    """Return a random model and its input; every code tensor of the QOperator form is an output."""
    rng = np.random.default_rng(seed)
    writer = Writer(rng, is_qdq, kind)
    shape = (int(rng.integers(1, 5)), int(rng.integers(3, 9)), int(rng.integers(3, 9)))
    image = Value("image", shape, np.float32(1), np.float32(0))
    x = writer.quantised(image.name, writer.value(shape, 2.0 / 128))
    writer.batch = "n" if rng.random() < 0.5 else 2
    for op in steps:
        x = getattr(writer, op)(x)
    if rng.random() < 0.6:
        x = writer.dense(writer.flatten(x))
        if rng.random() < 0.4:
            x = writer.bias(x)
    real = writer.result(x) if may_end_in_softmax else writer.real(x)
    outputs = [helper.make_tensor_value_info(real, TensorProto.FLOAT, [None] * (len(x.shape) + 1))]
    if not is_qdq:
        proto = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        outputs += [
            helper.make_tensor_value_info(v.name, proto, [None] * (len(v.shape) + 1))
            for v in writer.codes
        ]
    frames = rng.normal(0, 1, (2, *shape)).astype(np.float32)
    return writer.model(image, outputs), frames
