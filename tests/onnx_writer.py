"""Writes quantised ONNX graphs node by node, in both forms, and asks ONNX Runtime about them."""

import platform
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


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
    is_real: bool = False  # behind DequantizeLinear, with no QuantizeLinear since


@dataclass
class Writer:
    """Writes one graph, node by node, in the QDQ or the QOperator form."""

    rng: np.random.Generator
    is_qdq: bool
    kind: str
    nodes: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    count: int = 0
    batch: str | int = "n"
    codes: list = field(default_factory=list)

    def name(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, value, stem="k"):
        name = self.name(stem)
        self.constants[name] = np.asarray(value)
        return name

    def scale(self, typical):
        chance = self.rng.random()
        if chance < 0.3:
            return np.float32(2.0 ** np.round(np.log2(typical)))
        if chance < 0.6:
            return np.float32(f"{typical:.1e}")  # two digits: ties of rounding are common
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
        if value.is_real:
            return value.name
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
        if self.rng.random() < 0.5 and k is not None and axis == 1:
            zero = (middle + self.rng.integers(-9, 10, k)).astype(dtype)
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

    def model(self, x, outputs):
        shape = [self.batch, *x.shape]
        opset = int(self.rng.choice([13, 17, 21]))
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(x.name, TensorProto.FLOAT, shape)],
            outputs,
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 10
        return model
