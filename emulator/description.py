"""What machine descriptions share: frozen, validated, and the same in YAML.

Every modelling choice is a field of a description. An unknown key is an error that names the
known ones.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

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

MAX_BYTES = 2**40
"""Of a memory: addresses of all modules fit int64."""


class MachineError(ValueError):
    """A machine description that cannot be used; one sentence with the way out."""


class Part(BaseModel):
    """A part of a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


BUS = "bus"
"""What machines without routers call theirs."""

NAMED, DESCRIBED = "a name", "a description"


def _form(router: Any) -> str:
    return NAMED if isinstance(router, str) else DESCRIBED


class Noc(Part):
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
    starts_afresh: bool = False
    """Whether the routers' arbiters begin each layer as if nothing had been sent before. Those of
    mode flexnn always do."""

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


class Description(Part, ABC):
    """What every machine has, whichever mode it runs.

    Attributes
    ----------
    sources : dict
        Field path -> where its value comes from.
    """

    name: str
    summary: str = ""
    clock_hz: int = Field(ge=1, le=10**12)
    energy: str = "mnf-table5"
    """Name of an energy table."""
    noc: Noc = Field(default_factory=lambda: Noc.model_validate({}))
    sources: dict[str, str] = {}

    @property
    @abstractmethod
    def sides(self) -> tuple[int, int]:
        """Width and height of the mesh."""

    @property
    @abstractmethod
    def has_storage_row(self) -> bool:
        """Whether row 0 of the mesh holds storage, and else routers without a PE."""

    @property
    @abstractmethod
    def storage_ports(self) -> int:
        """Flits that storage takes from the mesh per cycle."""

    @property
    @abstractmethod
    def n_units(self) -> int:
        """Units of a result and of a trace; unit 0 is storage."""

    @property
    def n_nodes(self) -> int:
        """Nodes of the network between them, by which flits are counted."""
        return self.n_units

    @property
    def n_pes(self) -> int:
        """Number of PEs; PE ``p`` is unit ``p + 1``."""
        return self.n_units - 1

    @property
    @abstractmethod
    def pe_multipliers(self) -> int:
        """Multipliers of a PE."""

    @property
    def multipliers(self) -> int:
        """Multipliers of all PEs."""
        return self.n_pes * self.pe_multipliers

    @property
    @abstractmethod
    def router_name(self) -> str:
        """The router's name; "bus" without routers."""

    @property
    @abstractmethod
    def flit_bits(self) -> int:
        """Bits of what is counted as a flit."""

    def threshold_of(self, layer: str) -> int:
        """Return a layer's threshold: outputs of ReLU layers up to it do not fire."""
        return 0

    def to_yaml(self) -> str:
        """Return the description as YAML; `parse` reads it back."""
        tree = self.model_dump()
        tree["sources"] = tree.pop("sources")
        return str(yaml.safe_dump(tree, sort_keys=False, width=100))

    def replace(self, /, **changes: Any) -> Self:
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
        return self.parse(tree, self.name)

    @classmethod
    def parse(cls, tree: Any, where: str) -> Self:
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
            return cls.model_validate(dict(tree))
        except ValidationError as error:
            raise MachineError(sentence(error, where, cls)) from None


def _known_fields(location: tuple[Any, ...], part: Any) -> list[str]:
    for key in location[:-1]:
        part = Profile if key == "router" else part.model_fields[key].annotation
    return [field.alias or name for name, field in part.model_fields.items()]


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
