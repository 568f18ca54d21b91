"""HumanEval: 164 functions to be completed from signature and docstring, judged by their tests (Chen et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from passkwh.benchmarks.extract import before, fenced
from passkwh.benchmarks.programs import ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.errors import UsageError
from passkwh.prompts import Request

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What ends a base model's function (section 2.1 of the paper)."""

_INSTRUCTION = "Complete this Python function. Answer with the whole function in one markdown code block.\n"


@dataclass(frozen=True)
class HumanEvalTask(ProgramTask):
    """One task, with the official field names."""

    prompt: str
    """Imports, perhaps helpers, signature and docstring."""
    entry_point: str
    canonical_solution: str
    """Continues ``prompt``."""
    test: str
    """Defines ``check(candidate)``."""


class HumanEval(ProgramBenchmark[HumanEvalTask]):
    """HumanEval's tasks."""

    name = "humaneval"
    hub_repository = "openai/openai_humaneval"
    hub_pattern = "openai_humaneval/test-*.parquet"
    published_as = "HumanEval.jsonl.gz (github.com/openai/human-eval)"

    def read(self, where: str, row: dict[str, Any]) -> HumanEvalTask:
        """The task in a row of the official form."""
        names = [field.name for field in fields(HumanEvalTask)]
        task = HumanEvalTask(**text_fields(where, row, names, "a HumanEval task"))
        if f"def {task.entry_point}(" not in task.prompt:
            raise UsageError(f"{where}: the prompt does not define {task.entry_point}")
        return task

    def request(self, task: HumanEvalTask) -> Request:
        """The prompt to continue, or to be answered with the whole function."""
        return Request(
            text=task.prompt,
            instruction=f"{_INSTRUCTION}```python\n{task.prompt.strip()}\n```\n",
            response_prefix="```python\n",
            stop=STOPS,
        )

    def program_of(self, task: HumanEvalTask, text: str, continues: bool) -> str:
        """The prompt continued, or its imports and helpers before an answer that defines the function itself."""
        if continues:
            return task.prompt + before(text, STOPS)
        code = fenced(text, task.entry_point)
        signature = f"def {task.entry_point}("
        if signature not in code:
            return task.prompt + code
        return task.prompt[: task.prompt.index(signature)] + code

    def test(self, task: HumanEvalTask) -> str:
        """The official test, called."""
        return f"{task.test}\n\ncheck({task.entry_point})\n"

    def reference(self, task: HumanEvalTask) -> str:
        """The prompt with its canonical solution."""
        return task.prompt + task.canonical_solution
