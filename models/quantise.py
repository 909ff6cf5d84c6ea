"""Quantise a float ONNX file with calibration frames, through onnxruntime.quantization."""

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layer import ModelError
from .onnx_graph import Graph, load_graph
from .onnx_reader import is_quantised

# Names of this module and of onnxruntime.quantization.
FORMS = {"qdq": "QDQ", "qoperator": "QOperator"}
ACTIVATIONS = {"int8": "QInt8", "uint8": "QUInt8"}
METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
BATCH = 32  # frames at a time, at most, where the file's batch axis is symbolic


def quantise(
    path: str | os.PathLike[str],
    calibration: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    form: str = "qdq",
    per_channel: bool = True,
    activation: str = "int8",
    method: str = "minmax",
) -> Path:
    """Write a float ONNX file as an int8 one and return its path.

    BatchNormalization is folded into the convolutions before it. The same file, frames and
    options give the same network.

    Parameters
    ----------
    path : str or path
        A float ONNX file with one input.
    calibration : float32[n, ...]
        Frames that are typical of those the network will see; a few hundred.
    out : str or path, optional
        The file to write; by default the input's name with ``-int8``, beside it.
    form : {"qdq", "qoperator"}
    per_channel : bool
        One weight scale for each filter; else one for each layer.
    activation : {"int8", "uint8"}
    method : {"minmax", "entropy", "percentile"}
        How the range of an activation follows from the calibration.

    Raises
    ------
    ModelError
        If onnxruntime is not installed, or the file, the frames or an option cannot be used.
    """
    options = _options(form, activation, method)
    graph = load_graph(path)
    if is_quantised(graph):
        raise ModelError(f"{path}: must be a float model, got a quantised one; read it as it is")
    frames = _frames(graph, calibration)
    source = Path(path)
    target = Path(out) if out is not None else source.with_name(f"{source.stem}-int8.onnx")
    _run(source, target, _Frames(graph, frames), options, per_channel)
    return target


def _options(form: str, activation: str, method: str) -> dict[str, tuple[str, str]]:
    """Return arguments of quantize_static as enumeration and member, by name."""
    for field, value, known in (
        ("form", form, FORMS),
        ("activation", activation, ACTIVATIONS),
        ("method", method, METHODS),
    ):
        if value not in known:
            raise ModelError(f"quantise.{field}: must be one of {', '.join(known)}, got {value!r}")
    return {
        "quant_format": ("QuantFormat", FORMS[form]),
        "activation_type": ("QuantType", ACTIVATIONS[activation]),
        "weight_type": ("QuantType", "QInt8"),
        "calibrate_method": ("CalibrationMethod", METHODS[method]),
    }


class _Frames:
    """Calibration frames in batches, as onnxruntime.quantization asks for them."""

    def __init__(self, graph: Graph, frames: NDArray[np.float32]) -> None:
        # histograms need batches of one size
        whole = next(n for n in range(BATCH, 0, -1) if len(frames) % n == 0)
        size = graph.inputs[0].batch or whole
        self._name = graph.inputs[0].name
        self._batches: Iterator[NDArray[np.float32]] = (
            frames[start : start + size] for start in range(0, len(frames), size)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch by input name; None behind the last."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's progress and its advice on speed off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def _frames(graph: Graph, calibration: Any) -> NDArray[np.float32]:
    """Return calibration frames as float32[n, ...]."""
    if len(graph.inputs) != 1 or graph.inputs[0].dtype != "float32":
        raise ModelError(f"{graph.file}: must have one float32 input to be quantised")
    shape = graph.inputs[0].shape
    wanted = " x ".join(str(size) for size in shape)
    try:
        frames = np.asarray(calibration, dtype=np.float32)
    except (TypeError, ValueError):
        raise ModelError(
            f"calibration: must be one array of numbers, frames x {wanted}, got something else; "
            f"pass the frames alone, without labels"
        ) from None
    if frames.shape[1:] != shape or not len(frames):
        got = " x ".join(str(size) for size in frames.shape) or "a single value"
        raise ModelError(f"calibration: must have shape frames x {wanted}, got {got}")
    if not np.isfinite(frames).all():
        raise ModelError("calibration: must be finite, got NaN or infinity; replace those values")
    if len(frames) % graph.batch:
        raise ModelError(
            f"calibration: must hold a multiple of {graph.batch} frames, the file's batch size, "
            f"got {len(frames)}; leave the last {len(frames) % graph.batch} out"
        )
    return frames


def _run(
    source: Path,
    target: Path,
    frames: _Frames,
    options: Mapping[str, tuple[str, str]],
    per_channel: bool,
) -> None:
    """Fold what can be folded, calibrate and quantise."""
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ModelError(
            f"quantise: needs {error.name}, which is not installed; "
            f"pip install 'firemesh[quantise]'"
        ) from error
    named = {
        key: getattr(getattr(quantization, kind), name) for key, (kind, name) in options.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "quantised.onnx"
        try:
            with _quiet():
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
                quantization.quantize_static(
                    prepared, written, frames, per_channel=per_channel, **named
                )
        except Exception as error:  # onnxruntime's errors have no base of their own
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(
                f"{source}: must be a float model that onnxruntime.quantization accepts, got "
                f"its error: {lines[0]}; export it again, or quantise it by hand"
            ) from error
        try:
            target.write_bytes(written.read_bytes())
        except OSError as error:
            raise ModelError(f"{target}: must be writable, got: {error.strerror}") from error
