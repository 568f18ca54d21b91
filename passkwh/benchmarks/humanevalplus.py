"""HumanEval+ by its inputs: HumanEval's functions, judged on many more inputs (EvalPlus: Liu et al., 2023)."""

from __future__ import annotations

from typing import Any

from passkwh.benchmarks.base import Program
from passkwh.benchmarks.humaneval import function_program, function_request
from passkwh.benchmarks.plus import PlusBenchmark, PlusTask
from passkwh.benchmarks.samples import SAMPLES
from passkwh.errors import UsageError
from passkwh.prompts import Request


class HumanEvalPlus(PlusBenchmark):
    """HumanEval+ as EvalPlus releases it."""

    name = "humanevalplus"
    embedded = SAMPLES / "humanevalplus.jsonl"
    published_as = "HumanEvalPlus.jsonl or .jsonl.gz (github.com/evalplus/humanevalplus_release)"
    is_mbpp = False

    def read(self, where: str, row: dict[str, Any]) -> PlusTask:
        """The task in a row; its prompt defines the function."""
        task = super().read(where, row)
        if f"def {task.entry_point}(" not in task.prompt:
            raise UsageError(f"{where}: the prompt does not define {task.entry_point}")
        return task

    def request(self, task: PlusTask) -> Request:
        """As HumanEval's."""
        return function_request(task.prompt)

    def program_of(self, task: PlusTask, text: str, continues: bool) -> Program:
        """As HumanEval's."""
        return function_program(task.prompt, task.entry_point, text, continues)
