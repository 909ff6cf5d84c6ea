"""Machine descriptions: frozen, validated, and the same in YAML.

Every modelling choice is a field here. `docs/mnf-cycles.md` says what each field does to a cycle.
"""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from ..noc.profiles import ROUTERS, Profile
from ..noc.topology import MAX_NODES

MAX_BYTES = 2**40
"""Of a memory: addresses of all modules fit int64."""


class MachineError(ValueError):
    """A machine description that cannot be used; one sentence with the way out."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Mesh(_Part):
    """The mesh; node 0, at corner (0, 0), is the storage PE, every other node a PE."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.width * self.height


NAMED, DESCRIBED = "a name", "a description"


def _form(router: Any) -> str:
    return NAMED if isinstance(router, str) else DESCRIBED


class Noc(_Part):
    """The network between the nodes."""

    router: Annotated[
        Annotated[str, Tag(NAMED)] | Annotated[Profile, Tag(DESCRIBED)], Discriminator(_form)
    ] = "simple"
    """A router by name, or the description of one with virtual channels."""
    routing: Literal["xy", "yx", "west-first"] = "xy"
    vcs: int = Field(4, ge=1, le=12)
    """Virtual channels of each input; the simple router has none."""
    buffer_flits: int = Field(4, ge=1, le=4096)
    """Depth of each input FIFO of the simple router, of each VC of the others."""
    flit_bits: int = Field(64, ge=8, le=4096)
    multicast: Literal["tree", "chain", "unicast"] = "tree"
    event_format: Literal["full", "compact"] = "full"

    @property
    def router_name(self) -> str:
        """The router's name; of a description "own"."""
        return self.router if isinstance(self.router, str) else "own"

    @model_validator(mode="after")
    def _check(self) -> "Noc":
        if isinstance(self.router, str) and self.router not in ROUTERS:
            known = ", ".join(ROUTERS)
            raise ValueError(
                f"router: must be one of {known} or the description of one, got {self.router!r}"
            )
        if self.router == "simple" and self.routing == "west-first":
            raise ValueError(
                "routing: west-first needs a router with virtual channels, such as P4, got simple"
            )
        return self


class Pe(_Part):
    """A processing element."""

    modules: int = Field(ge=1, le=256)
    """M: MAC modules, each with a psum bank."""
    lanes: int = Field(ge=1, le=64)
    """L: multipliers of a module."""
    weight_bytes: int = Field(ge=1, le=MAX_BYTES)
    psum_bank_bytes: int = Field(ge=1, le=MAX_BYTES)
    """Accumulate SRAM of one module."""
    weights: Literal["rows", "dense", "ideal"] = "rows"
    """``rows``: weight rows that are all zero are neither stored nor read; ``ideal``: non-zero
    weights are packed and banks do not matter."""
    row_layout: Literal["tile", "linear"] = "tile"
    """Which kernel positions a weight row holds: a tile, or a run in raster order."""
    tile: Literal["auto", "3x3", "3x1", "1x3", "1x1"] = "auto"
    event_fifo: int = Field(16, ge=1, le=65536)
    forward_fifo: int = Field(2, ge=1, le=65536)
    row_fifo: int = Field(4, ge=1, le=65536)
    mac_fifo: int = Field(2, ge=1, le=65536)
    weight_latency_cycles: int = Field(1, ge=1, le=64)
    forwarding: bool = True
    fire_lanes: int = Field(1, ge=1)
    """Psums that the fire phase reads per cycle: 1, L or M*L."""
    fire_fifo: int = Field(2, ge=1, le=65536)

    @property
    def multipliers(self) -> int:
        """M*L: multipliers, and weights in a row."""
        return self.modules * self.lanes

    @property
    def weight_rows(self) -> int:
        """Rows that the weight SRAM holds."""
        return self.weight_bytes // self.multipliers

    @property
    def bank_words(self) -> int:
        """Words of L psums that a bank holds."""
        return self.psum_bank_bytes // (4 * self.lanes)

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """Tiles A x B that the modules can be split into."""
        return tuple(
            t for t in ((3, 3), (3, 1), (1, 3), (1, 1)) if self.modules % (t[0] * t[1]) == 0
        )

    @model_validator(mode="after")
    def _check(self) -> "Pe":
        lanes = (1, self.lanes, self.multipliers)
        if self.fire_lanes not in lanes:
            known = ", ".join(str(n) for n in sorted(set(lanes)))
            raise ValueError(
                f"fire_lanes: must be one of {known} (1, L or M*L), got {self.fire_lanes}"
            )
        if self.tile != "auto" and self.tile not in {f"{a}x{b}" for a, b in self.tiles}:
            known = ", ".join(f"{a}x{b}" for a, b in self.tiles)
            raise ValueError(
                f"tile: must be auto or one of {known}, so that A*B divides the "
                f"{self.modules} modules, got {self.tile}"
            )
        if self.row_layout == "linear" and self.tile != "auto":
            raise ValueError(f"tile: must be auto with row_layout linear, got {self.tile}")
        if self.weights == "ideal" and self.row_layout != "tile":
            raise ValueError(
                f"weights: ideal needs row_layout tile, got row_layout {self.row_layout}"
            )
        for name, size, unit in (
            ("weight_bytes", self.weight_bytes, self.multipliers),
            ("psum_bank_bytes", self.psum_bank_bytes, 4 * self.lanes),
        ):
            if size < unit:
                raise ValueError(
                    f"{name}: must hold at least one access of {unit} bytes, got {size}"
                )
        return self


class Storage(_Part):
    """The storage PE, which keeps activations between layers."""

    event_order: Literal["row", "channel", "raster"] = "row"
    bytes: int | None = Field(None, ge=8, le=MAX_BYTES)
    """Capacity; unlimited (the peak is reported) when null."""
    ports: int = Field(1, ge=1, le=4)
    """Flits that storage takes per cycle. It offers one packet at a time, because a PE takes one
    flit per cycle. The mesh brings as many flits as its node has links."""
    weight_packet_rows: int = Field(8, ge=1, le=64)
    """Weight rows of a packet, where weights come in during the frame."""


class Machine(_Part):
    """A machine.

    Attributes
    ----------
    sources : dict
        Field path -> where its value comes from.
    """

    name: str
    summary: str = ""
    clock_hz: int = Field(ge=1, le=10**12)
    threshold: int = Field(0, ge=0, le=255)
    """Outputs of ReLU layers with ``q - zero_point <= threshold`` do not fire."""
    layer_thresholds: dict[str, Annotated[int, Field(ge=0, le=255)]] = {}
    """Thresholds of layers that have another one, by name."""
    energy: str = "mnf-table5"
    """Name of an energy table."""
    mesh: Mesh
    noc: Noc = Field(default_factory=lambda: Noc.model_validate({}))
    pe: Pe
    storage: Storage = Field(default_factory=lambda: Storage.model_validate({}))
    sources: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> "Machine":
        n = self.mesh.n_nodes
        if not 2 <= n <= MAX_NODES:
            raise ValueError(
                f"mesh: must have 2 to {MAX_NODES} nodes (one storage PE and at least one PE), "
                f"got {self.mesh.width} x {self.mesh.height}"
            )
        return self

    def threshold_of(self, layer: str) -> int:
        """Return a layer's threshold."""
        return self.layer_thresholds.get(layer, self.threshold)

    @property
    def n_pes(self) -> int:
        """Number of PEs."""
        return self.mesh.n_nodes - 1

    @property
    def multipliers(self) -> int:
        """Multipliers of all PEs."""
        return self.n_pes * self.pe.multipliers

    def to_yaml(self) -> str:
        """Return the description as YAML; `parse` reads it back."""
        return str(yaml.safe_dump(self.model_dump(), sort_keys=False, width=100))

    def replace(self, /, **changes: Any) -> "Machine":
        """Return a machine with fields changed, given as ``part__field=value`` or ``field=value``.

        Raises
        ------
        MachineError
            When a field is unknown or a value is not allowed.
        """
        tree = self.model_dump()
        for path, value in changes.items():
            *parents, leaf = path.split("__")
            at = tree
            for part in parents:
                at = at.setdefault(part, {})
                if not isinstance(at, dict):
                    field = path.replace("__", ".")
                    raise MachineError(f"{self.name}: {field}: {part} is a value, not a part")
            at[leaf] = value
        return parse(tree, self.name)


def _known_fields(location: tuple[Any, ...], part: Any) -> list[str]:
    for key in location[:-1]:
        part = Profile if key == "router" else part.model_fields[key].annotation
    return list(part.model_fields)


def sentence(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return what to tell of the first thing that is wrong with a description.

    Parameters
    ----------
    error : ValidationError
    where : str
        File, preset or option.
    model : type
        Of the description.
    """
    first = error.errors()[0]
    location = tuple(key for key in first["loc"] if key not in (NAMED, DESCRIBED))
    path = ".".join(str(key) for key in location)
    place = f"{where}: {path}" if path else where
    if first["type"] in ("extra_forbidden", "invalid_key"):
        return f"{place}: unknown key; known here: {', '.join(_known_fields(location, model))}"
    if first["type"] == "missing":
        return f"{place}: missing; add this key"
    if first["type"] == "value_error":
        return f"{place}{'.' if path else ': '}{first['ctx']['error']}"
    if first["type"] in ("model_type", "dict_type"):
        return f"{place}: must be a mapping of fields, got {first['input']!r:.80}"
    rule = first["msg"].replace("Input should be", "must be")
    return f"{place}: {rule}, got {first['input']!r:.80}"


def parse(tree: Any, where: str) -> Machine:
    """Return the machine that a mapping describes.

    Parameters
    ----------
    tree : mapping
        As YAML gives it.
    where : str
        File or preset, for messages.

    Raises
    ------
    MachineError
        With file, key and remedy.
    """
    if not isinstance(tree, Mapping):
        raise MachineError(
            f"{where}: must be a YAML mapping of machine fields, got {type(tree).__name__}; "
            "`firemesh machines show mnf-22nm` prints one to start from"
        )
    try:
        return Machine.model_validate(dict(tree))
    except ValidationError as error:
        raise MachineError(sentence(error, where, Machine)) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML readers keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, where: str) -> Machine:
    """Return the machine that a YAML text describes."""
    return parse(load_yaml(text, where), where)


def load_yaml(text: str, where: str) -> Any:
    """Return what a YAML text holds."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise MachineError(
            f"{where}{line}: is not valid YAML; correct it there ({reason})"
        ) from None


def read_yaml(name: str) -> Any:
    """Return what a YAML file holds."""
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise MachineError(f"{name}: cannot be read ({reason}); give a YAML file") from None
    return load_yaml(text, name)


def presets() -> list[str]:
    """Return the names of the shipped machines."""
    folder = files(__package__) / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """Return a preset's YAML text, comments included."""
    return (files(__package__) / "presets" / f"{name}.yaml").read_text("utf-8")


def machine(source: "str | Path | Machine") -> Machine:
    """Return a machine by preset name, YAML path or as it is.

    Raises
    ------
    MachineError
        When the name is unknown, or the file is missing or wrong.
    """
    if isinstance(source, Machine):
        return source
    name = str(source)
    if name in presets():
        return parse_yaml(preset_text(name), name)
    if not os.path.exists(name):
        raise MachineError(
            f"{name}: no machine of this name and no such file; "
            f"known machines: {', '.join(presets())}; or give the path of a YAML file"
        )
    return parse(read_yaml(name), name)
