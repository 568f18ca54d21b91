"""BigCodeBench's tasks and options, and how a task is put to a model, word for word as bigcodebench 0.2.5 does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from passkwh.benchmarks.extract import Extraction
from passkwh.benchmarks.options import ProgramOptions
from passkwh.benchmarks.programs import ProgramTask
from passkwh.prompts import Request

HUB_REPOSITORY = "bigcode/bigcodebench"
HUB_VERSION = "v0.1.4"
"""The version that bigcodebench 0.2.5 evaluates."""
SAMPLE = Path(__file__).with_name("sample.jsonl")

_INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
_RESPONSE = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
STOPS = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
"""Every completion, a chat answer too, is cut before the first of these."""
BASE_STOPS = (*STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
"""What ends the continuation of a prompt besides: whatever begins a new top-level statement."""
CHAT_STOPS = (*STOPS, "\n```\n")
"""What ends an answer: also the end of its code block."""

Style = Literal["complete", "instruct"]


class BigCodeBenchOptions(ProgramOptions):
    """The options, as ``--option`` or a spec names them."""

    style: Style = "complete"
    """complete: the task is a docstring; instruct: it is prose."""
    subset: Literal["sample", "full", "hard"] = "sample"
    """sample (embedded), full or hard (from the hub); ``full`` when ``data`` is given."""
    extraction: Extraction = "official"
    """official: as bigcodebench's sanitize; fenced: the code blocks as they are."""
    prefill: bool = True
    """Begin the answer of a chat, as the official tool does with vLLM; not, as its hf backend (0.2.5) does not."""
    calibrated: bool = True
    """Put ``code_prompt`` and ``pass`` before each program, as the official evaluator does by default."""
    official_timeout: bool = False
    """Give every program the official 241 s instead of five times what the reference solution took."""
    allow_network: str = ""
    """Task ids, separated by commas, whose programs may reach the network."""

    @model_validator(mode="before")
    @classmethod
    def _whole_data(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"subset": "full", **given} if given.get("data") else given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.data and self.subset != "full":
            raise ValueError(f"subset={self.subset} and data={self.data} exclude each other: leave out one")
        return self


@dataclass(frozen=True)
class BigCodeBenchTask(ProgramTask):
    """One task, with the official field names."""

    complete_prompt: str
    """Imports, signature and docstring: a base model continues it."""
    instruct_prompt: str
    """The same task in prose."""
    canonical_solution: str
    """Continues ``complete_prompt``."""
    code_prompt: str
    """Imports and signature, without docstring."""
    test: str
    """Source of ``class TestCases``."""
    entry_point: str

    @property
    def reference(self) -> str:
        """The complete reference program, as the official evaluator checks it."""
        return self.complete_prompt + "\n" + self.canonical_solution


def request(task: BigCodeBenchTask, style: Style, prefill: bool = True) -> Request:
    """The task in both forms: to be continued by a base model, and to be answered by an instruct model.

    With ``prefill`` the answer begins inside a code block that the response prefix opens.
    """
    if style == "complete":
        instruction = f"{_INSTRUCTION}\n```\n{task.complete_prompt.strip()}\n```\n"
    else:
        instruction = f"{_INSTRUCTION}\n{task.instruct_prompt.strip()}\n"
    return Request(
        text=task.complete_prompt,
        instruction=instruction,
        response_prefix=f"{_RESPONSE}\n```python\n" if prefill else "",
        stop=BASE_STOPS,
        chat_stop=CHAT_STOPS,
    )
