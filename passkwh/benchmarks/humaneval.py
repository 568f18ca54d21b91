"""HumanEval: 164 functions to be completed from signature and docstring, judged by their tests (Chen et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from passkwh.benchmarks import rows
from passkwh.benchmarks.extract import fenced
from passkwh.benchmarks.functions import FunctionBenchmark, cut
from passkwh.errors import UsageError
from passkwh.prompts import Request

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What ends a base model's function (section 2.1 of the paper)."""

_INSTRUCTION = "Complete this Python function. Answer with the whole function in one markdown code block.\n"


@dataclass(frozen=True)
class Problem:
    """One task, with the official field names."""

    task_id: str
    prompt: str
    """Imports, perhaps helpers, signature and docstring."""
    entry_point: str
    canonical_solution: str
    """Continues ``prompt``."""
    test: str
    """Defines ``check(candidate)``."""


class HumanEval(FunctionBenchmark[Problem]):
    """HumanEval's tasks."""

    name = "humaneval"
    repository = "openai/openai_humaneval"
    hub_files = "openai_humaneval/test-*.parquet"
    file = "HumanEval.jsonl.gz (github.com/openai/human-eval)"

    @staticmethod
    def problems(found: Iterable[rows.Row], source: str) -> list[Problem]:
        """The tasks in rows of data; UsageError for a row that is none, named."""
        problems: dict[str, Problem] = {}
        for where, row in found:
            values: dict[str, str] = {}
            for field in fields(Problem):
                value = row.get(field.name) if isinstance(row, dict) else None
                if not isinstance(value, str):
                    raise UsageError(f"{where}: not a HumanEval task: the text {field.name!r} is missing")
                values[field.name] = value
            if values["task_id"] in problems:
                raise UsageError(f"{where}: task {values['task_id']} stands twice in the data")
            if f"def {values['entry_point']}(" not in values["prompt"]:
                raise UsageError(f"{where}: the prompt does not define {values['entry_point']}")
            problems[values["task_id"]] = Problem(**values)
        if not problems:
            raise UsageError(f"{source}: no tasks in it")
        return list(problems.values())

    @staticmethod
    def request(problem: Problem) -> Request:
        """The prompt to continue, or to be answered with the whole function."""
        return Request(
            text=problem.prompt,
            instruction=f"{_INSTRUCTION}```python\n{problem.prompt.strip()}\n```\n",
            response_prefix="```python\n",
            stop=STOPS,
        )

    @staticmethod
    def solution(problem: Problem, text: str, continues: bool) -> str:
        """The prompt continued, or its imports and helpers before an answer that defines the function itself."""
        if continues:
            return problem.prompt + cut(text, STOPS)
        code = fenced(text, problem.entry_point)
        signature = f"def {problem.entry_point}("
        if signature not in code:
            return problem.prompt + code
        return problem.prompt[: problem.prompt.index(signature)] + code

    @staticmethod
    def test(problem: Problem) -> str:
        """The official test, called."""
        return f"{problem.test}\n\ncheck({problem.entry_point})\n"
