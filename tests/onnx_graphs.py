"""Small random quantised ONNX graphs in both forms, and ONNX Runtime as the judge of them."""

import platform
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPS = ("conv", "conv", "pool", "residual", "clip", "relu", "average")


def has_exact_kernels():
    """On x86 without VNNI, ONNX Runtime's u8 x s8 kernels may saturate sums of two products."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    info = Path("/proc/cpuinfo")
    return info.exists() and "_vnni" in info.read_text()


WEIGHT_BITS = 8 if has_exact_kernels() else 7


def session(model, optimised=None):
    """Return an ONNX Runtime session under the options of the bit-equality claim."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if optimised:
        options.optimized_model_filepath = str(optimised)
    source = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@dataclass
class Value:
    name: str
    shape: tuple
    scale: np.float32
    zero: np.generic


@dataclass
class Writer:
    """Writes one graph, node by node, in the QDQ or the QOperator form."""

    rng: np.random.Generator
    is_qdq: bool
    kind: str
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    count: int = 0
    codes: list = field(default_factory=list)

    def name(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, value, stem="k"):
        name = self.name(stem)
        self.constants[name] = np.asarray(value)
        return name

    def scale(self, typical):
        if self.rng.random() < 0.3:
            return np.float32(2.0 ** np.round(np.log2(typical)))
        return np.float32(typical * self.rng.uniform(0.6, 1.6))

    def zero(self, is_low=False):
        info = np.iinfo(self.kind)
        if is_low or self.rng.random() < 0.25:
            return np.dtype(self.kind).type(info.min)
        return np.dtype(self.kind).type(self.rng.integers(info.min, info.max + 1))

    def value(self, shape, typical, is_low=False):
        return Value(self.name("t"), tuple(shape), self.scale(typical), self.zero(is_low))

    def node(self, op, inputs, outputs, domain=None, **attributes):
        made = helper.make_node(op, inputs, outputs, self.name(op), domain=domain, **attributes)
        self.nodes.append(made)

    def params(self, value):
        return [self.constant(value.scale, "s"), self.constant(value.zero, "z")]

    def real(self, value):
        name = self.name("real")
        self.node("DequantizeLinear", [value.name, *self.params(value)], [name])
        return name

    def quantised(self, real, value):
        self.node("QuantizeLinear", [real, *self.params(value)], [value.name])
        self.codes.append(value)
        return value

    def triple(self, value):
        return [value.name, *self.params(value)]

    def weights(self, shape, axis):
        """Return codes, scale, zero point (per channel or not) and their filter axis length."""
        kinds = ["int8"] if self.kind == "int8" else ["int8", "uint8"]
        dtype = np.dtype(self.rng.choice(kinds))
        info = np.iinfo(dtype)
        shrink = 8 - WEIGHT_BITS
        codes = self.rng.integers(info.min >> shrink, (info.max >> shrink) + 1, shape)
        k = shape[axis] if self.rng.random() < 0.5 else None
        scale = np.float32(2.0 ** self.rng.uniform(-9, -5, k)).astype(np.float32)
        middle = (info.min + info.max + 1) // 2
        zero = np.zeros(() if k is None else k, dtype) + dtype.type(middle)
        if self.rng.random() < 0.5 and k is None:
            zero = np.asarray(dtype.type(middle + self.rng.integers(-9, 10)))
        return codes.astype(dtype), scale, zero

    def weighted(self, op, x, shape, axis, out, fan, relu=False, **attributes):
        """Write Conv, Gemm or MatMul with weights of a shape; the filters lie on an axis."""
        codes, scale, zero = self.weights(shape, axis)
        k = shape[axis]
        std = 74.0 * 74.0 * np.sqrt(fan)
        typical = float(x.scale) * float(np.mean(scale)) * std / 60.0
        y = self.value(out, typical, relu)
        has_bias = op != "MatMul" and self.rng.random() < 0.7
        bias = self.rng.normal(0, std, k).astype(np.int32) if has_bias else None
        w = [self.constant(codes, "w"), self.constant(scale, "ws"), self.constant(zero, "wz")]
        if self.is_qdq:
            weight, result = self.name("real"), self.name("real")
            self.node("DequantizeLinear", w, [weight], axis=axis)
            inputs = [self.real(x), weight]
            if has_bias:
                factor = np.broadcast_to(np.float32(x.scale) * scale, scale.shape or ())
                b = [self.constant(bias, "b"), self.constant(np.float32(factor), "bs")]
                b.append(self.constant(np.zeros(factor.shape, np.int32), "bz"))
                inputs.append(self.name("real"))
                self.node("DequantizeLinear", b, [inputs[-1]], axis=0)
            self.node(op, inputs, [result], **attributes)
            return self.quantised(self.relu(result) if relu else result, y)
        head = [*self.triple(x), *w]
        tail = [self.constant(bias, "b")] if has_bias else []
        if op == "Gemm":
            inputs = [*head, *(tail or [""]), *self.params(y)]
            self.node("QGemm", inputs, [y.name], "com.microsoft", **attributes)
        else:
            self.node(f"QLinear{op}", [*head, *self.params(y), *tail], [y.name], **attributes)
        self.codes.append(y)
        return y

    def relu(self, real):
        name = self.name("real")
        self.node("Relu", [real], [name])
        return name

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

    def pool(self, x):
        c, h, w = x.shape
        kernel = self.rng.integers(1, 4, 2)
        strides = self.rng.integers(1, 3, 2)
        pads = np.array([self.rng.integers(0, kernel[i % 2]) for i in range(4)])
        room = np.array([h, w]) + pads[:2] + pads[2:] - kernel
        if (room < 0).any():
            return x
        ceil = int(self.rng.random() < 0.3)
        sizes = -(-room // strides) + 1 if ceil else room // strides + 1
        if ((sizes - 1) * strides >= np.array([h, w]) + pads[:2]).any():
            return x  # ONNX Runtime's shape inference and kernel disagree on such a last window
        y = Value(self.name("t"), (c, *sizes), x.scale, x.zero)
        attributes = dict(
            kernel_shape=kernel.tolist(), strides=strides.tolist(), pads=pads.tolist()
        )
        if self.is_qdq:
            real = self.name("real")
            self.node("MaxPool", [self.real(x)], [real], ceil_mode=ceil, **attributes)
            return self.quantised(real, y)
        self.node("MaxPool", [x.name], [y.name], ceil_mode=ceil, **attributes)
        self.codes.append(y)
        return y

    def add(self, a, b):
        shape = np.broadcast_shapes(a.shape, b.shape)
        y = self.value(shape, float(a.scale) + float(b.scale))
        if self.is_qdq:
            real = self.name("real")
            self.node("Add", [self.real(a), self.real(b)], [real])
            return self.quantised(real, y)
        inputs = [*self.triple(a), *self.triple(b), *self.params(y)]
        self.node("QLinearAdd", inputs, [y.name], "com.microsoft")
        self.codes.append(y)
        return y

    def residual(self, x):
        branch = self.pointwise(x) if self.rng.random() < 0.7 else self.average(x)
        return self.add(x, branch) if self.rng.random() < 0.5 else self.add(branch, x)

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
        y = Value(self.name("t"), (size,), x.scale, x.zero)
        source = self.real(x) if self.is_qdq else x.name
        target = self.name("real") if self.is_qdq else y.name
        if self.rng.random() < 0.5:
            self.node("Flatten", [source], [target], axis=1)
        else:
            self.node("Reshape", [source, self.constant(np.int64([0, -1]))], [target])
        if self.is_qdq:
            return self.quantised(target, y)
        self.codes.append(y)
        return y

    def dense(self, x):
        n, k = x.shape[0], int(self.rng.integers(1, 7))
        if self.rng.random() < 0.5:
            return self.weighted("MatMul", x, (n, k), 1, (k,), n)
        if self.rng.random() < 0.5:
            return self.weighted("Gemm", x, (k, n), 0, (k,), n, transB=1)
        return self.weighted("Gemm", x, (n, k), 1, (k,), n)

    def bias(self, x):
        """Add constant codes, as an exporter writes a MatMul's bias."""
        info = np.iinfo(self.kind)
        constant = self.value(x.shape[-1:], float(x.scale))
        codes = self.rng.integers(info.min, info.max + 1, constant.shape).astype(self.kind)
        self.constants[constant.name] = codes
        return self.add(x, constant) if self.rng.random() < 0.5 else self.add(constant, x)

    def model(self, x, outputs):
        shape = ["n", *x.shape]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, shape)],
            outputs,
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 8
        return model


def random_graph(seed, is_qdq, kind, steps):
    """Return a random model and its input; every code tensor of the QOperator form is an output."""
    rng = np.random.default_rng(seed)
    writer = Writer(rng, is_qdq, kind)
    shape = (int(rng.integers(1, 5)), int(rng.integers(3, 9)), int(rng.integers(3, 9)))
    image = Value("image", shape, np.float32(1), np.float32(0))
    x = writer.quantised(image.name, writer.value(shape, 2.0 / 128))
    ops = {
        "conv": writer.conv,
        "pool": writer.pool,
        "residual": writer.residual,
        "average": writer.average,
        "clip": writer.clip,
        "relu": writer.activation,
    }
    for op in steps:
        x = ops[op](x)
    if rng.random() < 0.6:
        x = writer.dense(writer.flatten(x))
        if rng.random() < 0.4:
            x = writer.bias(x)
    real = writer.real(x)
    outputs = [helper.make_tensor_value_info(real, TensorProto.FLOAT, [None] * (len(x.shape) + 1))]
    if not is_qdq:
        proto = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        outputs += [
            helper.make_tensor_value_info(v.name, proto, [None] * (len(v.shape) + 1))
            for v in writer.codes
        ]
    frames = rng.normal(0, 1, (2, *shape)).astype(np.float32)
    return writer.model(image, outputs), frames
