"""The options of BigCodeBench, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from passkwh.benchmarks import extract
from passkwh.benchmarks.bigcodebench import prompts
from passkwh.errors import UsageError
from passkwh.records import Option

_NOT_SHOWN = ("data", "workers", "unsafe_evaluation")


@dataclass(frozen=True)
class Options:
    """The benchmark's options, as ``--benchmark-options`` or a spec names them."""

    style: str = "complete"
    """complete: the task is a docstring; instruct: it is prose."""
    subset: str = "sample"
    """sample (embedded), full or hard (from the hub); ``full`` when ``data`` is given."""
    data: str = ""
    """A .jsonl or .jsonl.gz file of tasks in the official format."""
    extraction: str = "official"
    """official: as bigcodebench's sanitize; fenced: the code blocks as they are."""
    calibrated: bool = True
    """Put ``code_prompt`` and ``pass`` before each program, as the official evaluator does by default."""
    workers: int = 0
    """Programs judged at a time; 0 is one per core."""
    official_timeout: bool = False
    """Give every program the official 241 s instead of five times what the reference solution took."""
    allow_network: str = ""
    """Task ids, separated by commas, whose programs may reach the network."""
    unsafe_evaluation: bool = False
    """Go on where the kernel refuses a layer of the isolation."""

    @classmethod
    def parse(cls, given: dict[str, Option]) -> Options:
        """Check names, types and values; raises UsageError for the first that is wrong."""
        known = cls.__dataclass_fields__
        values: dict[str, Any] = {"subset": "full" if given.get("data") else "sample"}
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"bigcodebench has no option {name!r}; it has {', '.join(known)}")
            values[name] = _typed(name, value, known[name].default)
        options = cls(**values)
        options._check("style", options.style, get_args(prompts.Style))
        options._check("subset", options.subset, ("sample", "full", "hard"))
        options._check("extraction", options.extraction, get_args(extract.Extraction))
        if options.data and options.subset != "full":
            raise UsageError(f"subset={options.subset} and data={options.data} exclude each other: leave out one")
        if options.workers < 0:
            raise UsageError(f"option workers must be 0 (one per core) or more, not {options.workers}")
        return options

    @staticmethod
    def _check(name: str, value: str, choices: Sequence[str]) -> None:
        if value not in choices:
            raise UsageError(f"option {name} of bigcodebench is one of {', '.join(choices)}, not {value!r}")

    def shown(self) -> dict[str, Option]:
        """Those that change prompts or verdicts."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_SHOWN}


def _typed(name: str, value: Option, default: Any) -> Any:
    """``value`` as the type of ``default``; the command line gives every option as text."""
    if type(value) is type(default):
        return value
    if isinstance(default, bool) and value in ("true", "false"):
        return value == "true"
    if isinstance(default, int) and not isinstance(default, bool) and str(value).isdecimal():
        return int(value)
    expected = "true or false" if isinstance(default, bool) else f"a {type(default).__name__}"
    raise UsageError(f"option {name} of bigcodebench takes {expected}, not {value!r}")
