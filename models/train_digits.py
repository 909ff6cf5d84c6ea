"""Train, prune, quantise and write the zoo's digit networks.

Run it as ``python -m firemesh.models.train_digits OUTDIR``; it needs the extra ``train``. The
same library versions give the same files.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from . import reference
from .onnx_reader import read_onnx
from .prune import prune_rows

Array = NDArray[Any]
Params = dict[str, Array]

SEED = 0
HELD_BACK = 360
GREYS = 16  # training sees 0..1; the factor moves into conv1, exactly
BATCH = 32
DENSE_EPOCHS = 30
PRUNED_EPOCHS = 30
DENSITY = 0.5
PES, MODULES, LANES = 11, 9, 3
TILES = {"conv2": (3, 3), "fc1": (1, 1), "fc2": (1, 1)}


def split(labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return shuffled indices for training and for holding back, the same share of each class."""
    order = rng.permutation(labels.size)
    by_class = order[np.argsort(labels[order], kind="stable")]
    is_held = np.zeros(labels.size, np.bool_)
    is_held[by_class[(np.arange(HELD_BACK) * labels.size) // HELD_BACK]] = True
    return order[~is_held[order]], order[is_held[order]]


def initial(rng: np.random.Generator) -> Params:
    """Return weights of the network, He-initialised, and zero biases."""
    shapes = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "fc1": (64, 128), "fc2": (10, 64)}
    params: Params = {}
    for name, shape in shapes.items():
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        params[name] = rng.normal(0.0, scale, shape).astype(np.float32)
        params[f"{name}_bias"] = np.zeros(shape[0], np.float32)
    return params


def columns(x: Array) -> Array:
    """Return the 3 x 3 neighbourhoods of x [n, c, h, w], padded by 1, as [n, h, w, c * 9]."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return view.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def scatter(grad: Array, c: int) -> Array:
    """Return the gradient of x from the gradient of ``columns(x)``."""
    n, h, w, _ = grad.shape
    taps = grad.reshape(n, h, w, c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for ky in range(3):
        for kx in range(3):
            padded[:, :, ky : ky + h, kx : kx + w] += taps[..., ky, kx].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def pooled(x: Array) -> tuple[Array, Array]:
    """Return the 2 x 2 maxima of x [n, c, h, w] and the share of the gradient of each x."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
    top = blocks.max(axis=(3, 5), keepdims=True)
    is_top = blocks == top
    share = is_top / is_top.sum(axis=(3, 5), keepdims=True)
    return top[:, :, :, 0, :, 0], share.astype(np.float32)


def forward(params: Params, x: Array) -> tuple[Array, dict[str, Array]]:
    """Return the logits of images x [n, 1, 8, 8] and what the backward pass needs."""
    kept: dict[str, Array] = {}
    for name in ("conv1", "conv2"):
        kept[name] = columns(x)
        weight = params[name].reshape(params[name].shape[0], -1)
        sums = (kept[name] @ weight.T + params[f"{name}_bias"]).transpose(0, 3, 1, 2)
        kept[f"{name}_on"] = sums > 0
        x, kept[f"{name}_share"] = pooled(np.maximum(sums, 0))
    kept["fc1"] = x.reshape(x.shape[0], -1)
    hidden = kept["fc1"] @ params["fc1"].T + params["fc1_bias"]
    kept["fc2"] = np.maximum(hidden, 0)
    return kept["fc2"] @ params["fc2"].T + params["fc2_bias"], kept


def gradients(params: Params, x: Array, labels: Array) -> Params:
    """Return the gradient of the mean cross entropy."""
    logits, kept = forward(params, x)
    grad = np.exp(logits - logits.max(axis=1, keepdims=True))
    grad /= grad.sum(axis=1, keepdims=True)
    grad[np.arange(labels.size), labels] -= 1
    grad = (grad / labels.size).astype(np.float32)
    result: Params = {}
    for name in ("fc2", "fc1"):
        result[name], result[f"{name}_bias"] = grad.T @ kept[name], grad.sum(axis=0)
        grad = (grad @ params[name]) * (kept[name] > 0)
    for name in ("conv2", "conv1"):
        share, is_on = kept[f"{name}_share"], kept[f"{name}_on"]
        n, k, h, w = is_on.shape
        spread = share * grad.reshape(n, k, h // 2, 1, w // 2, 1)
        flat = (spread.reshape(n, k, h, w) * is_on).transpose(0, 2, 3, 1)
        patches = kept[name].reshape(n * h * w, -1)
        result[name] = (flat.reshape(-1, k).T @ patches).reshape(params[name].shape)
        result[f"{name}_bias"] = flat.sum(axis=(0, 1, 2))
        grad = scatter(flat @ params[name].reshape(k, -1), params[name].shape[1])
    return result


def train(
    params: Params,
    x: Array,
    labels: Array,
    epochs: int,
    rng: np.random.Generator,
    masks: dict[str, NDArray[np.bool_]] | None = None,
) -> Params:
    """Return weights after Adam with a cosine learning rate; masked weights stay zero."""
    params = {name: value.copy() for name, value in params.items()}
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    step, steps = 0, epochs * (labels.size // BATCH)
    for _ in range(epochs):
        order = rng.permutation(labels.size)
        for start in range(0, labels.size - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            rate = 2e-3 * (0.5 + 0.5 * np.cos(np.pi * step / steps))
            step += 1
            for name, grad in gradients(params, x[chosen], labels[chosen]).items():
                first[name] += 0.1 * (grad - first[name])
                second[name] += 0.001 * (grad * grad - second[name])
                scale = np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
                update = rate * first[name] / (1 - 0.9**step) / scale
                params[name] -= update.astype(np.float32)
                if masks and name in masks:
                    params[name] *= masks[name]
    return params


def accuracy(params: Params, x: Array, labels: Array) -> float:
    """Return the share of images whose largest logit is their label's."""
    return float((forward(params, x)[0].argmax(axis=1) == labels).mean())


def row_masks(params: Params) -> dict[str, NDArray[np.bool_]]:
    """Return the masks that keep the rows of largest L1 norm in every layer but conv1."""
    masks = {}
    for name, tile in TILES.items():
        filters = LANES * MODULES // (tile[0] * tile[1])
        score = np.abs(params[name])
        masks[name] = prune_rows(params[name], DENSITY, filters, tile, PES, score=score)
    return masks


def float_model(params: Params) -> onnx.ModelProto:
    """Return the network as a float ONNX model for images of grey values 0..16."""
    nodes = []
    x = "image"
    for name in ("conv1", "conv2"):
        inputs = [x, name, f"{name}_bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}_sum"], name, pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"{name}_sum"], [f"{name}_out"], f"{name}_relu"))
        x = f"{name}_pooled"
        nodes.append(
            helper.make_node(
                "MaxPool",
                [f"{name}_out"],
                [x],
                f"{name}_pool",
                kernel_shape=[2, 2],
                strides=[2, 2],
            )
        )
    nodes.append(helper.make_node("Flatten", [x], ["flat"], "flatten", axis=1))
    inputs = ["flat", "fc1", "fc1_bias"]
    nodes.append(helper.make_node("Gemm", inputs, ["fc1_sum"], "fc1", transB=1))
    nodes.append(helper.make_node("Relu", ["fc1_sum"], ["fc1_out"], "fc1_relu"))
    inputs = ["fc1_out", "fc2", "fc2_bias"]
    nodes.append(helper.make_node("Gemm", inputs, ["logits"], "fc2", transB=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in params.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


class Images:
    """Calibration images in eight batches, as onnxruntime.quantization asks for them."""

    def __init__(self, images: Array) -> None:
        self.batches = iter(np.array_split(images, 8))

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch by input name; None behind the last."""
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def quantise(params: Params, calibration: Array, path: Path) -> None:
    """Write the network as int8 QDQ ONNX: activations per tensor, weights per filter."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(float_model(params), source)
        quantize_static(
            source,
            path,
            Images(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def main(folder: Path) -> None:
    """Write digits.onnx, digits-pruned.onnx and digits.npz into a folder."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = pixels.reshape(-1, 1, 8, 8).astype(np.float32)
    x = grey / GREYS
    rng = np.random.default_rng(SEED)
    training, held = split(labels, rng)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "digits.npz",
        images=grey[held].astype(np.uint8).reshape(-1, 8, 8),
        labels=labels[held].astype(np.uint8),
    )
    dense = train(initial(rng), x[training], labels[training], DENSE_EPOCHS, rng)
    masks = row_masks(dense)
    start = {name: dense[name] * masks.get(name, np.True_) for name in dense}
    pruned = train(start, x[training], labels[training], PRUNED_EPOCHS, rng, masks)
    for name, params in (("digits", dense), ("digits-pruned", pruned)):
        share = accuracy(params, x[held], labels[held])
        folded = params | {"conv1": params["conv1"] / np.float32(GREYS)}
        path = folder / f"{name}.onnx"
        quantise(folded, grey[training], path)
        network = read_onnx(path)
        logits = reference.forward(network, grey[held])[network.outputs[0]]
        integer = float((logits.argmax(axis=1) == labels[held]).mean())
        print(f"{name}: {held.size} held-back images, float {share:.4f}, int8 {integer:.4f}")


def command_line() -> None:
    """Run ``main`` on the folder named on the command line."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m firemesh.models.train_digits OUTDIR")
    try:
        main(Path(sys.argv[1]))
    except ImportError as error:
        raise SystemExit(
            f"train_digits needs {error.name}: install the extra, pip install 'firemesh[train]'"
        ) from error


if __name__ == "__main__":
    command_line()
