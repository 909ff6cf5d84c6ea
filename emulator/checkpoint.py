"""What a run needs to go on after a layer, as arrays."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Network
from .activations import Activations
from .layer_result import LayerResult

State = dict[str, NDArray[Any]]
ARRAYS = ("slots", "counts", "bytes", "link_flits", "sent_flits", "stalls", "latency")


@dataclass
class Position:
    """How far a run has come.

    Parameters
    ----------
    frame : int
        The frame under way.
    step : int
        The plan's next step.
    cycle : int
        The next cycle.
    taken : int64[n_pes]
        Messages that each PE has taken since the run began.
    tensors : dict
        Stored tensors that steps to come read.
    real : dict
        Tensors of real numbers, float32.
    results : list of LayerResult
        Of the frame's steps so far.
    """

    frame: int
    step: int
    cycle: int
    taken: NDArray[np.int64]
    tensors: dict[str, Activations] = field(default_factory=dict)
    real: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    results: list[LayerResult] = field(default_factory=list)

    def save(self) -> State:
        """Return the position as arrays."""
        numbers = [self.frame, self.step, self.cycle]
        state: State = {"position": np.array(numbers, np.int64), "taken": self.taken.copy()}
        for name, part in self.tensors.items():
            for column in ("flat", "code", "address"):
                state[f"tensor/{name}/{column}"] = getattr(part, column)
        state |= {f"real/{name}": values for name, values in self.real.items()}
        return state | save_results("frame", self.results)


def position(state: State, network: Network) -> Position:
    """Return the position that arrays tell."""
    frame, step, cycle = (int(number) for number in state["position"])
    found = Position(frame, step, cycle, state["taken"].copy())
    for key in state:
        what, _, name = key.partition("/")
        if what == "tensor" and key.endswith("/flat"):
            name = name.removesuffix("/flat")
            columns = (state[f"tensor/{name}/{c}"] for c in ("flat", "code", "address"))
            found.tensors[name] = Activations(network.tensors[name], *columns)
        elif what == "real":
            found.real[name] = state[key]
    found.results = load_results("frame", state)
    return found


def save_results(prefix: str, results: list[LayerResult]) -> State:
    """Return results of layers as arrays."""
    state: State = {}
    plain = []
    for number, result in enumerate(results):
        values = asdict(result)
        for name in ARRAYS:
            state[f"{prefix}/{number}/{name}"] = values.pop(name)
        plain.append(values)
    state[f"{prefix}/results"] = np.array(json.dumps(plain))
    return state


def load_results(prefix: str, state: State) -> list[LayerResult]:
    """Return results of layers from arrays."""
    known = {part.name for part in fields(LayerResult)}
    found = []
    for number, values in enumerate(json.loads(str(state[f"{prefix}/results"]))):
        arrays = {name: state[f"{prefix}/{number}/{name}"] for name in ARRAYS}
        found.append(LayerResult(**{k: v for k, v in (values | arrays).items() if k in known}))
    return found
