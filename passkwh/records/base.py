"""What every record stands on: its version, its bounds and its texts. Imports nothing of ours."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCHEMA_VERSION = 2
"""1: the first edition. 2: engines (``Spec.engine``, ``ModelInfo.engine``), thinking (``Spec.thinking``)."""

SchemaVersion = Annotated[int, Field(ge=1, le=SCHEMA_VERSION, description="version of the records it was written as")]

Provenance = Literal["measured", "estimated", "simulated"]
"""measured: read from a counter or sensor. estimated: computed from a model such as TDP x load. simulated: invented."""

RunProvenance = Literal["measured", "estimated", "simulated", "mixed"]
"""The provenance of a total: that of its channels, or ``mixed`` where they differ."""

MOST_J = 1e12
"""No run takes more: a power plant gives it in a quarter of an hour."""
ROUNDING_J = 1e-6
"""Shares of an energy may be off by so much, since they are made to add up."""
Joules = Annotated[float, Field(ge=-MOST_J, le=MOST_J)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Count = Annotated[int, Field(ge=0, le=2**31)]
"""Of samples, tokens, places: all that one run can have."""
Nanoseconds = Annotated[int, Field(ge=-(2**62), le=2**62)]
"""Within 146 years of where the clock begins."""
Share = Annotated[float, Field(ge=0, le=1)]

Option = str | int | float | bool
"""A value of a benchmark's own options."""


def well_formed(text: str) -> str:
    """Text that every encoding takes: halves of a character that stand alone (lone surrogates) become U+FFFD.

    JSON can spell them and Python's strings hold them; UTF-8, and with it every file, does not. Two halves that belong
    together become their character.

    Example:
        >>> well_formed("a\\ud83d\\ude00b\\ud83d")
        'a😀b�'
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _well_formed(value: Any) -> Any:
    """Of a text or of several; what is neither is for the validation to refuse."""
    if isinstance(value, str):
        return well_formed(value)
    return tuple(map(_well_formed, value)) if isinstance(value, (list, tuple)) else value


WellFormed = BeforeValidator(_well_formed)
"""Of what a model or its program wrote: the one door where it becomes well-formed, so that no file refuses it."""


class Record(BaseModel):
    """Base of every record: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


class Document(Record):
    """A record that is a file of its own."""

    schema_version: SchemaVersion = SCHEMA_VERSION

    @model_validator(mode="before")
    @classmethod
    def _of_a_version_that_can_be_read(cls, content: Any) -> Any:
        if isinstance(content, dict):
            version = content.get("schema_version", 1)
            if isinstance(version, int) and version > SCHEMA_VERSION:
                writers = content.get("versions")
                writer = writers.get("passkwh") if isinstance(writers, dict) else None
                needed = f"passkwh {writer}" if writer else "a newer passkwh"
                raise ValueError(
                    f"it is of schema {version} and this program reads up to {SCHEMA_VERSION}: install {needed}"
                )
        return content


def storable(record: RecordT) -> RecordT:
    """The record as a file can hold it: half of a surrogate pair, which is no character, is written out as ``\\udXXX``.

    Such halves come from names of files; those in texts of models and their programs are replaced before (WellFormed).
    """
    try:
        record.model_dump_json()
    except ValueError:
        return type(record).model_validate(_escaped(record.model_dump()))
    return record


def _escaped(content: Any) -> Any:
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {_escaped(name): _escaped(value) for name, value in content.items()}
    return [_escaped(value) for value in content] if isinstance(content, (list, tuple)) else content


def content_hash(*parts: object) -> str:
    """SHA-256 over the canonical JSON of ``parts`` (sorted keys, no spaces): equal content, equal hash."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
