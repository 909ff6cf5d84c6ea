"""A part of a network: from one of its layers to another, as a network of its own."""

from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from .frames import check_inputs
from .layers import Conv, Layer, MaxPool, ModelError
from .network import Network
from .reference import forward


def cut(network: Network, layers: str) -> Network:
    """Return the part of a network that runs from the first named layer to the last.

    Parameters
    ----------
    network : Network
    layers : str
        ``all``; ``conv``: all up to the last convolution, or to the first layer that all
        convolutions lead to where branches end behind it; or layer names with commas between: the
        part reaches from the first to the last of them in the network's order and holds all
        between. A max-pool that alone reads the last layer, a convolution, belongs to the part.

    Returns
    -------
    Network
        Its input is the tensor that the first layer reads, its output the last layer's.

    Raises
    ------
    ModelError
        If a layer is unknown, or the part needs more than the one tensor.
    """
    if layers == "all":
        return network
    if layers == "conv":
        return _part(network, network.inputs, _with_pool(network, _behind_convolutions(network)))
    first, last = _ends(network, layers)
    return _part(network, tuple(dict.fromkeys(first.inputs)), _with_pool(network, last), first)


def chosen(layers: str, known: list[str], network: str) -> list[str]:
    """Return the names in a list of layers, in the network's order.

    Raises
    ------
    ModelError
        If one is unknown.
    """
    names = [name.strip() for name in str(layers).split(",")]
    for name in names:
        if name not in known:
            raise ModelError(
                f"layers: must be all, conv or layers of {network} with commas between "
                f"({', '.join(known)}), got {name!r}"
            )
    return [name for name in known if name in names]


def frames_at(network: Network, tensor: str, frames: NDArray[Any]) -> NDArray[Any]:
    """Return a tensor's values for frames of a network, one frame after the other.

    Parameters
    ----------
    network : Network
    tensor : str
        A tensor of the network.
    frames : array [n, ...]

    Returns
    -------
    array [n, ...] of the tensor's dtype
    """
    values = check_inputs(network, frames)
    producer = network.producer(tensor)
    if producer is None:
        return values
    prefix = _part(network, network.inputs, producer)
    return np.concatenate([forward(prefix, frame[None])[tensor] for frame in values])


def _ends(network: Network, layers: str) -> tuple[Layer, Layer]:
    names = chosen(layers, [layer.name for layer in network.layers], f"network {network.name}")
    by_name = {layer.name: layer for layer in network.layers}
    return by_name[names[0]], by_name[names[-1]]


def _behind_convolutions(network: Network) -> Layer:
    """Return the first layer that depends on every convolution, or is the last of them."""
    convolutions = {layer for layer in network.layers if isinstance(layer, Conv)}
    if not convolutions:
        raise ModelError(f"layers: network {network.name} has no convolution; use all")
    last = max(n for n, layer in enumerate(network.layers) if layer in convolutions)
    for layer in network.layers[last:]:
        if convolutions <= {layer, *nx.ancestors(network.graph, layer)}:
            return layer
    return network.layers[last]


def _with_pool(network: Network, last: Layer) -> Layer:
    readers = network.consumers(last.output)
    is_alone = len(readers) == 1 and last.output not in network.outputs
    if isinstance(last, Conv) and is_alone and isinstance(readers[0], MaxPool):
        return readers[0]
    return last


def _part(
    network: Network, inputs: tuple[str, ...], last: Layer, first: Layer | None = None
) -> Network:
    """Return the layers that the last one's output needs, given the inputs."""
    needed, layers = {last.output}, []
    for layer in reversed(network.layers):
        if layer.output in needed and layer.output not in inputs:
            layers.append(layer)
            needed.update(layer.inputs)
    lost = sorted((needed & set(network.inputs)) - set(inputs))
    if len(inputs) != 1 or lost or (first is not None and first not in layers):
        where = f"{first.name} to {last.name}" if first else f"the input to {last.name}"
        raise ModelError(
            f"layers: the part of {network.name} from {where} must depend on one tensor, the "
            f"first layer's input; name a layer that all paths go through"
        )
    tensors = {name: network.tensors[name] for name in network.tensors if name in needed}
    return Network(
        network.name, tuple(reversed(layers)), tensors, inputs, (last.output,), network.description
    )
