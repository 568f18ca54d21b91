"""The options of a benchmark, checked: what ``--option KEY=VALUE`` or a spec's ``benchmark_options`` may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from passkwh.errors import UsageError
from passkwh.records import Option


class Options(BaseModel):
    """Base of a benchmark's options: each a field with a type, a default and, in its docstring, its meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, benchmark: str, given: Mapping[str, Option]) -> Self:
        """Options from what a user gave.

        Values count as text, since a command line gives nothing else: ``true`` and ``"true"`` are the same.

        Raises:
            UsageError: an unknown option, or a value of another kind or out of range, named.
        """
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
        try:
            return cls.model_validate_strings(texts)
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be", 1)
            if not first["loc"]:
                raise UsageError(f"{benchmark}: {message}") from None
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise UsageError(f"{benchmark} has no option {name!r}; it has {known}") from None
            raise UsageError(f"option {name} of {benchmark} is {given[name]!r}: {message}") from None


class ProgramOptions(Options):
    """What all benchmarks have whose programs are run."""

    data: str = ""
    """A file of tasks in the benchmark's form (JSON lines or an array, gzipped or not), or ``hub`` where the benchmark
    has data there."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Programs judged at a time; 0 is one per core."""
    unsafe_evaluation: bool = False
    """Go on where the kernel refuses a layer of the isolation."""
