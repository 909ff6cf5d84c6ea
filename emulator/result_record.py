"""Results that `firemesh run --json` printed, read again and checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .description import MachineError

RESULT, RESULT_VERSION = "firemesh-result", 1
RUN = "firemesh run MODEL --json > FILE.json"
MAKE = f"make it with {RUN}"
DAMAGED = "the file is damaged: make it anew"
RULES = {
    "missing": "is missing",
    "too_short": "is without energies (keys that end in _pj)",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "less_than": "must be a number that a run can have",
}
"""What pydantic tells in its own words, by its type of an error."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0, lt=1e30, allow_inf_nan=False)]


class ComparisonError(MachineError):
    """Results that cannot be set side by side; one sentence with the way out."""


class Record(BaseModel):
    """A part of a result, as JSON holds it."""

    model_config = ConfigDict(frozen=True, strict=True)


class LayerRecord(Record):
    """A layer; its energies by component under ``own_pj``."""

    name: str
    mode: str
    cycles: Count
    own_pj: dict[str, Amount] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, record: Any) -> Any:
        """Gather energies, of which each component has a key of its own."""
        if not isinstance(record, Mapping):
            return record
        energies = {key: value for key, value in record.items() if str(key).endswith("_pj")}
        return {**record, "own_pj": energies}


class MachineRecord(Record):
    """A machine, with all its fields."""

    model_config = ConfigDict(extra="allow")
    name: str
    clock_hz: Annotated[int, Field(ge=1, lt=2**63)]
    energy: str


class ResultRecord(Record):
    """A run; fields as of `firemesh.emulator.result.Result.to_dict`."""

    network: str
    network_digest: str
    mode: str
    frames: Count
    cycles: Count
    load_cycles: Count
    dram_bytes: Count
    fps: Amount
    utilization: Amount
    power_mw: Amount
    slots: dict[str, Count]
    energy_pj: dict[str, Amount]
    layers: list[LayerRecord]
    outputs: list[Any]
    machine: MachineRecord


def read_result(path: Path) -> Any:
    """Read what ``firemesh run --json`` printed; what it holds, `compare` checks.

    Raises
    ------
    ComparisonError
        When the file cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        why = error.strerror or error
        raise ComparisonError(f"{path}: cannot be read ({why}); {MAKE}") from None
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ComparisonError(f"{path}{line}: is not JSON; {MAKE}") from None


def _check_schema(record: Any, place: str) -> None:
    schema = record.get("schema") if isinstance(record, Mapping) else None
    if schema != RESULT:
        what = f"of schema {schema:.40}" if isinstance(schema, str) else "without a schema"
        raise ComparisonError(f"{place}: is no result of a run but JSON {what}; {MAKE}")
    version = record.get("schema_version")
    if version != RESULT_VERSION or isinstance(version, bool):
        raise ComparisonError(
            f"{place}: schema_version: must be {RESULT_VERSION}, got {version!r:.40}; "
            "make it anew with this firemesh"
        )


def checked(record: Mapping[str, Any], place: str) -> ResultRecord:
    """Return what a result holds, once all of it is there and of its type."""
    _check_schema(record, place)
    try:
        result = ResultRecord.model_validate(dict(record))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(key) for key in first["loc"] if key != "own_pj")
        value = first["input"]
        told = type(value).__name__ if isinstance(value, list | dict) else f"{value!r:.40}"
        rule = RULES.get(first["type"], first["msg"].replace("Input should be", "must be"))
        what = rule if rule.startswith("is ") else f"{rule}, got {told}"
        raise ComparisonError(f"{place}: {path}: {what}; {DAMAGED}") from None
    if not result.frames:
        raise ComparisonError(f"{place}: frames: must be 1 or more, got 0; run it with --frames 1")
    names = [layer.name for layer in result.layers]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ComparisonError(f"{place}: layers: two are named {twice[0]}; {DAMAGED}")
    return result
