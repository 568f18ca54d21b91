"""MBPP: 500 short functions from a sentence and their assertions (Austin et al., 2021; tasks 11 to 510, zero-shot)."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passkwh.benchmarks import evalplus, extraction
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before
from passkwh.benchmarks.programs import CHAT_STOPS, ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.errors import UsageError
from passkwh.prompts import Request

TEST_SPLIT = range(11, 511)
STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif")
"""What ends a base model's program; another function may belong to it."""

_INSTRUCTION = (
    "Answer with a self-contained Python program in one markdown code block. It must pass these assertions:\n"
)


@dataclass(frozen=True)
class MbppTask(ProgramTask):
    """One task."""

    text: str
    entry_point: str
    """The function that the assertions call."""
    code: str
    """The reference solution."""
    setup: str
    assertions: tuple[str, ...]
    plus: str = ""
    """EvalPlus's test, which the assertions are a part of; empty where the data are MBPP's own."""


class Mbpp(ProgramBenchmark[MbppTask]):
    """MBPP's test split, or MBPP+ (EvalPlus: Liu et al., 2023), named ``mbpp+``, where the data are of that form."""

    name = "mbpp"
    hub_repository = "google-research-datasets/mbpp"
    hub_pattern = "full/test-*.parquet"
    published_as = "mbpp.jsonl (github.com/google-research/google-research/tree/master/mbpp)"
    no_tasks = f"no task of the test split ({TEST_SPLIT[0]} to {TEST_SPLIT[-1]}) in it"

    def read(self, where: str, row: dict[str, Any]) -> MbppTask | None:
        """The task in a row of either published form or EvalPlus's; None for one of MBPP outside the test split."""
        evalplus.refuse_inputs(where, row)
        try:
            name = "text" if "text" in row else "prompt"  # the sanitized part's name for it
            text, code = text_fields(where, row, (name, "code"), "an MBPP task").values()
            setup = row["test_setup_code"] if "test_setup_code" in row else "\n".join(row["test_imports"])
            number, assertions = int(row["task_id"]), tuple(map(str, row["test_list"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{where}: not an MBPP task ({type(error).__name__}: {error})") from None
        plus = row.get("test") or ""
        if number not in TEST_SPLIT and not plus:
            return None
        entry_point = _entry_point(code, assertions)
        if entry_point is None:
            raise UsageError(f"{where}: the assertions of MBPP/{number} call none of its solution's functions")
        return MbppTask(f"MBPP/{number}", text.strip(), entry_point, code, setup, assertions, plus)

    def data_name(self) -> str:
        """``mbpp+`` where all tasks have EvalPlus's tests."""
        return evalplus.name(self.name, {task_id: bool(task.plus) for task_id, task in self.by_id.items()})

    def hash_tasks(self, tasks: list[dict[str, Any]]) -> str:
        """As before there were tests of EvalPlus, where there are none."""
        return super().hash_tasks([{k: v for k, v in task.items() if k != "plus" or v} for task in tasks])

    def request(self, task: MbppTask) -> Request:
        """Sentence and assertions as a docstring to continue, or as an instruction."""
        assertions = "\n".join(task.assertions)
        return Request(
            text=f'"""\n{task.text}\n{assertions}\n"""\n',
            instruction=f"{task.text}\n{_INSTRUCTION}```python\n{assertions}\n```\n",
            response_prefix="```python\n",
            stop=STOPS,
            chat_stop=CHAT_STOPS,
        )

    def program_of(self, task: MbppTask, text: str, continues: bool) -> Program:
        """The continuation, or the code of an answer."""
        return Program(before(text, STOPS)) if continues else extraction.program("fenced", text, task.entry_point)

    def test(self, task: MbppTask) -> str:
        """Setup and assertions, or EvalPlus's test."""
        return "\n".join(("", task.setup, *((task.plus,) if task.plus else task.assertions), ""))

    def reference(self, task: MbppTask) -> str:
        """The task's own solution."""
        return task.code


def _entry_point(code: str, assertions: Sequence[str]) -> str | None:
    """The function of the solution that the first assertion names."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return None
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return next((name for name in names if assertions and re.search(rf"\b{re.escape(name)}\b", assertions[0])), None)
