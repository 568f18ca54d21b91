"""HumanEval: 164 functions to be completed from signature and docstring, judged by their tests (Chen et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from passkwh.benchmarks import evalplus, extraction
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before, behind
from passkwh.benchmarks.programs import CHAT_STOPS, ProgramBenchmark, ProgramTask
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
    """HumanEval's tasks, or HumanEval+ (EvalPlus: Liu et al., 2023), named ``humaneval+``, where the tests are its."""

    name = "humaneval"
    hub_repository = "openai/openai_humaneval"
    hub_pattern = "openai_humaneval/test-*.parquet"
    published_as = "HumanEval.jsonl.gz (github.com/openai/human-eval)"

    def read(self, where: str, row: dict[str, Any]) -> HumanEvalTask:
        """The task in a row of the official form."""
        evalplus.refuse_inputs(where, row)
        names = [field.name for field in fields(HumanEvalTask)]
        task = HumanEvalTask(**text_fields(where, row, names, "a HumanEval task"))
        if f"def {task.entry_point}(" not in task.prompt:
            raise UsageError(f"{where}: the prompt does not define {task.entry_point}")
        return task

    def data_name(self) -> str:
        """``humaneval+`` where all tests are EvalPlus's."""
        return evalplus.name(self.name, {task_id: evalplus.is_test(task.test) for task_id, task in self.by_id.items()})

    def request(self, task: HumanEvalTask) -> Request:
        """The prompt to continue, or to be answered with the whole function."""
        return function_request(task.prompt)

    def program_of(self, task: HumanEvalTask, text: str, continues: bool) -> Program:
        """The prompt continued, or its imports and helpers before an answer that defines the function itself."""
        return function_program(task.prompt, task.entry_point, text, continues)

    def test(self, task: HumanEvalTask) -> str:
        """The official test, called."""
        return f"{task.test}\n\ncheck({task.entry_point})\n"

    def reference(self, task: HumanEvalTask) -> str:
        """The prompt with its canonical solution."""
        return task.prompt + task.canonical_solution


def function_request(prompt: str) -> Request:
    """Of a function's signature and docstring: to be continued, or to be answered with the whole function."""
    return Request(
        text=prompt,
        instruction=f"{_INSTRUCTION}```python\n{prompt.strip()}\n```\n",
        response_prefix="```python\n",
        stop=STOPS,
        chat_stop=CHAT_STOPS,
    )


def function_program(prompt: str, entry_point: str, text: str, continues: bool) -> Program:
    """The prompt continued, or its imports and helpers before an answer that defines the function itself."""
    if continues:
        return Program(prompt + before(text, STOPS))
    program = extraction.program("fenced", text, entry_point)
    signature = f"def {entry_point}("
    if signature not in program.code:
        is_body = program.code[:1] in (" ", "\t") and bool(program.code)
        return Program(behind(prompt, program.code), "" if is_body else program.remark)
    return Program(behind(prompt[: prompt.index(signature)], program.code), program.remark)
