"""Benchmarks of whole programs that read an input and print an output, judged by what they print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passkwh.benchmarks import extraction
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before
from passkwh.benchmarks.programs import CHAT_STOPS, ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.benchmarks.sandbox import Case
from passkwh.errors import UsageError
from passkwh.prompts import Request

_INSTRUCTION = (
    "Write a Python program that solves this problem. It reads from standard input and prints to standard output. "
    "Answer with the whole program in one markdown code block."
)
_STOPS = ('\n"""', "\n```")


@dataclass(frozen=True)
class StdioTask(ProgramTask):
    """One task."""

    prompt: str
    """The problem in words: what is read and what is to be printed."""
    cases: tuple[Case, ...]
    reference: str = ""
    """A program that solves it, where the data have one."""


class StdioBenchmark(ProgramBenchmark[StdioTask]):
    """Base of a benchmark whose programs read standard input and print to standard output.

    What is expected of a program is compared outside the sandbox and is nowhere to be found for it; every case runs in
    a fresh process, and output is right by the rule of ``passkwh.benchmarks.sandbox.Case``.

    A subclass needs a ``name`` and, in ``embedded``, the file of its tasks. It is JSON lines, each with ``task_id``,
    ``prompt``, ``cases`` (a list of ``{"input": ..., "expected": ...}``) and perhaps ``reference``, a program that
    solves the task (``bench verify`` runs it). ``data=FILE`` names another file. Other forms need a :meth:`read`.

    Example:
        >>> class Sums(StdioBenchmark):
        ...     name = "sums"
        ...     embedded = Path(__file__).with_name("sums.jsonl")
    """

    kind = "stdio"

    def read(self, where: str, row: dict[str, Any]) -> StdioTask:
        """The task in a row of the form above."""
        fields = text_fields(where, row, ("task_id", "prompt"), f"a task of {self.name}")
        try:
            cases = tuple(Case(**text_fields(where, case, ("input", "expected"), "a case")) for case in row["cases"])
        except (KeyError, TypeError, AttributeError):
            cases = ()
        if not cases:
            raise UsageError(
                f"{where}: not a task of {self.name}: it needs a list of cases, each with input and expected"
            )
        return StdioTask(**fields, cases=cases, reference=row.get("reference") or "")

    def request(self, task: StdioTask) -> Request:
        """The problem as a docstring whose program is to follow, or as an instruction."""
        return Request(
            text=f'"""\n{task.prompt.strip()}\n"""\n',
            instruction=f"{_INSTRUCTION}\n\n{task.prompt.strip()}\n",
            response_prefix="```python\n",
            stop=_STOPS,
            chat_stop=CHAT_STOPS,
        )

    def program_of(self, task: StdioTask, text: str, continues: bool) -> Program:
        """What continues the docstring, or the code block of an answer."""
        return Program(before(text, _STOPS)) if continues else extraction.program("whole", text)

    def cases(self, task: StdioTask) -> tuple[Case, ...]:
        """The task's own."""
        return task.cases

    def reference(self, task: StdioTask) -> str:
        """The task's own."""
        return task.reference
