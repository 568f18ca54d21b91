"""MBPP: 500 short functions from a sentence and their assertions (Austin et al., 2021; tasks 11 to 510, zero-shot)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from passkwh.benchmarks import rows
from passkwh.benchmarks.extract import fenced
from passkwh.benchmarks.functions import FunctionBenchmark, cut
from passkwh.errors import UsageError
from passkwh.prompts import Request

TEST_SPLIT = range(11, 511)
STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif")
"""What ends a base model's program; another function may belong to it."""

_INSTRUCTION = (
    "Answer with a self-contained Python program in one markdown code block. It must pass these assertions:\n"
)


@dataclass(frozen=True)
class Problem:
    """One task."""

    task_id: str
    text: str
    entry_point: str
    """The function that the assertions call."""
    code: str
    """The reference solution."""
    setup: str
    assertions: tuple[str, ...]


class Mbpp(FunctionBenchmark[Problem]):
    """MBPP's test split."""

    name = "mbpp"
    repository = "google-research-datasets/mbpp"
    hub_files = "full/test-*.parquet"
    file = "mbpp.jsonl (github.com/google-research/google-research/tree/master/mbpp)"

    @staticmethod
    def problems(found: Iterable[rows.Row], source: str) -> list[Problem]:
        """The tasks of the test split in rows of data; UsageError for a row that is none, named."""
        problems: dict[str, Problem] = {}
        for where, row in found:
            try:
                text = row["text"] if "text" in row else row["prompt"]  # the sanitized part's name for it
                setup = row["test_setup_code"] if "test_setup_code" in row else "\n".join(row["test_imports"])
                number, code, assertions = int(row["task_id"]), row["code"], tuple(map(str, row["test_list"]))
            except (KeyError, TypeError, ValueError) as error:
                raise UsageError(f"{where}: not an MBPP task ({type(error).__name__}: {error})") from None
            if number not in TEST_SPLIT:
                continue
            task_id = f"MBPP/{number}"
            if task_id in problems:
                raise UsageError(f"{where}: task {task_id} stands twice in the data")
            entry_point = _entry_point(code, assertions)
            if entry_point is None:
                raise UsageError(f"{where}: the assertions of {task_id} call none of its solution's functions")
            problems[task_id] = Problem(task_id, text.strip(), entry_point, code, setup, assertions)
        if not problems:
            raise UsageError(f"{source}: no task of the test split ({TEST_SPLIT[0]} to {TEST_SPLIT[-1]}) in it")
        return list(problems.values())

    @staticmethod
    def request(problem: Problem) -> Request:
        """Sentence and assertions as a docstring to continue, or as an instruction."""
        assertions = "\n".join(problem.assertions)
        return Request(
            text=f'"""\n{problem.text}\n{assertions}\n"""\n',
            instruction=f"{problem.text}\n{_INSTRUCTION}```python\n{assertions}\n```\n",
            response_prefix="```python\n",
            stop=STOPS,
        )

    @staticmethod
    def solution(problem: Problem, text: str, continues: bool) -> str:
        """The program that a completion amounts to."""
        return cut(text, STOPS) if continues else fenced(text, problem.entry_point)

    @staticmethod
    def test(problem: Problem) -> str:
        """Setup and assertions."""
        return "\n".join(("", problem.setup, *problem.assertions, ""))


def _entry_point(code: str, assertions: Sequence[str]) -> str | None:
    """The function of the solution that the first assertion names."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return None
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return next((name for name in names if assertions and re.search(rf"\b{re.escape(name)}\b", assertions[0])), None)
