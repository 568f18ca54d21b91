"""MBPP+ by its inputs: sanitized MBPP's functions, judged on many more inputs (EvalPlus: Liu et al., 2023)."""

from __future__ import annotations

from typing import Any

from passkwh.benchmarks import evalplus_values, extraction
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before
from passkwh.benchmarks.mbpp import STOPS
from passkwh.benchmarks.plus import PlusBenchmark, PlusTask
from passkwh.benchmarks.programs import CHAT_STOPS
from passkwh.benchmarks.samples import SAMPLES
from passkwh.prompts import Request

_INSTRUCTION = "Answer with a self-contained Python program in one markdown code block.\n"


class MbppPlus(PlusBenchmark):
    """MBPP+ as EvalPlus releases it: its prompt is a docstring that holds the problem and an assertion."""

    name = "mbppplus"
    embedded = SAMPLES / "mbppplus.jsonl"
    published_as = "MbppPlus.jsonl or .jsonl.gz (github.com/evalplus/mbppplus_release)"
    is_mbpp = True

    def arguments(self, task_id: str, stored: list[Any]) -> evalplus_values.Arguments:
        """Tuples, sets and complex numbers where the task has them."""
        return evalplus_values.mbpp_input(int(task_id.rpartition("/")[2]), stored)

    def request(self, task: PlusTask) -> Request:
        """The docstring to continue, or its text as an instruction."""
        text = task.prompt.strip().removeprefix('"""').removesuffix('"""').strip()
        return Request(
            text=task.prompt,
            instruction=f"{text}\n\n{_INSTRUCTION}",
            response_prefix="```python\n",
            stop=STOPS,
            chat_stop=CHAT_STOPS,
        )

    def program_of(self, task: PlusTask, text: str, continues: bool) -> Program:
        """What continues the docstring, or the code of an answer."""
        return Program(before(text, STOPS)) if continues else extraction.program("fenced", text, task.entry_point)
