"""HumanEval infilling: a line, lines or a span of HumanEval's solutions to be filled in (Bavarian et al., 2022).

The model is given what stands before and after the gap, in the tokens that its tokenizer has for that; which those are
is the adapter's to know (``passkwh.adapters.infill``). What it writes goes between the two as it is, as in OpenAI's
evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from passkwh.benchmarks.base import Program
from passkwh.benchmarks.programs import ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.benchmarks.samples import SAMPLES
from passkwh.prompts import Request


@dataclass(frozen=True)
class InfillingTask(ProgramTask):
    """One gap, with the official field names."""

    prompt: str
    """What stands before the gap."""
    suffix: str
    """What stands after it."""
    canonical_solution: str
    """What was there."""
    test: str
    """Defines ``check(candidate)``."""
    entry_point: str


class HumanEvalInfilling(ProgramBenchmark[InfillingTask]):
    """OpenAI's human-eval-infilling: single-line, multi-line or random-span, whichever the data are."""

    name = "humaneval-infilling"
    embedded = SAMPLES / "humaneval-infilling.jsonl"
    published_as: ClassVar[str] = (
        "HumanEval-SingleLineInfilling.jsonl.gz, HumanEval-MultiLineInfilling.jsonl.gz or another of "
        "github.com/openai/human-eval-infilling"
    )
    default_max_new_tokens = 256

    def read(self, where: str, row: dict[str, Any]) -> InfillingTask:
        """The task in a row of the official form."""
        names = [field.name for field in fields(InfillingTask)]
        return InfillingTask(**text_fields(where, row, names, "a task of HumanEval infilling"))

    def request(self, task: InfillingTask) -> Request:
        """The two texts around the gap, for chat models too."""
        return Request(text=task.prompt, instruction="", suffix=task.suffix, raw=True)

    def program_of(self, task: InfillingTask, text: str, continues: bool) -> Program:
        """What was written, between the two."""
        return Program(task.prompt + text + task.suffix)

    def test(self, task: InfillingTask) -> str:
        """The official test, called."""
        return f"\n{task.test}\n\ncheck({task.entry_point})\n"

    def reference(self, task: InfillingTask) -> str:
        """What was there, between the two."""
        return task.prompt + task.canonical_solution + task.suffix
