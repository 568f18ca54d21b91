"""LiveCodeBench: problems of programming contests with their dates, judged by hidden tests (Jain et al., 2024).

A problem of one kind is a program that reads standard input and prints; one of the other kind (LeetCode's) is a
method of ``class Solution`` that is called with values. With ``since`` or ``until``, only problems of contests in that
window of dates are asked: those that a model cannot have read in training.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from passkwh.benchmarks import extraction, rows, sandbox
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.extract import before, behind
from passkwh.benchmarks.options import ProgramOptions
from passkwh.benchmarks.programs import CHAT_STOPS, ProgramBenchmark, ProgramTask
from passkwh.benchmarks.rows import text_fields
from passkwh.benchmarks.samples import SAMPLES
from passkwh.benchmarks.sandbox import Case, Job, Outcome
from passkwh.benchmarks.sandbox.worker import values
from passkwh.errors import UsageError
from passkwh.prompts import Request
from passkwh.records import Option

_NAMES = ("question_id", "question_content", "starter_code", "public_test_cases", "private_test_cases", "contest_date")
_INSTRUCTION = (
    "Write a Python program that solves this problem. Answer with the whole program in one markdown code block."
)
_STOPS = ('\n"""', "\n```")
_MOST_BYTES = 512 << 20
"""Of a problem's tests, unpacked."""
_MODULES = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools",
    "functools", "operator", "io", "sys", "json",
)  # fmt: skip
PRELUDE = "".join(
    [
        *(f"from {name} import *\n" for name in (*_MODULES, "builtins", "typing")),
        *(f"import {name}\n" for name in _MODULES),
        "sys.setrecursionlimit(50000)\n",
    ]
)
"""What a program may use without importing it, as in LiveCodeBench."""


def _a_day(text: str) -> str:
    if text:
        date.fromisoformat(text)  # its ValueError says what is wrong
    return text


Day = Annotated[str, AfterValidator(_a_day)]


class LiveCodeBenchOptions(ProgramOptions):
    """Options of LiveCodeBench."""

    since: Day = ""
    """Only problems of contests on this day or later, as 2024-08-01."""
    until: Day = ""
    """Only problems of contests on this day or earlier."""


@dataclass(frozen=True)
class LiveCodeBenchTask(ProgramTask):
    """One problem."""

    prompt: str
    starter_code: str
    """The class with the method to be written; empty for a program that reads and prints."""
    contest_date: str
    function: str
    """``Solution.method`` to be called; empty for a program that reads and prints."""
    cases: tuple[Case, ...]
    """Public and hidden tests; of a function, arguments and result as JSON texts."""
    reference: str = ""


class LiveCodeBench(ProgramBenchmark[LiveCodeBenchTask]):
    """LiveCodeBench's code generation, release by release (``code_generation_lite``)."""

    name = "livecodebench"
    kind = "stdio"
    default_max_new_tokens = 2000
    options_type = LiveCodeBenchOptions
    options: LiveCodeBenchOptions
    embedded = SAMPLES / "livecodebench.jsonl"
    hub_repository = "livecodebench/code_generation_lite"
    hub_pattern = "test*.jsonl"
    published_as: ClassVar[str] = "test.jsonl, test2.jsonl, ... (livecodebench/code_generation_lite on the hub)"

    def rows(self) -> tuple[Iterator[rows.Row], str]:
        """The embedded sample, a file, or the hub's files, which are JSON lines."""
        if self.options.data != "hub":
            return super().rows()
        otherwise = f"give {self.published_as} with data=FILE"
        return rows.hub_lines(self.hub_repository, self.hub_pattern, otherwise)

    def read(self, where: str, row: dict[str, Any]) -> LiveCodeBenchTask | None:
        """The problem in a row; None for one outside the window of dates."""
        texts = text_fields(where, {"starter_code": "", **row}, _NAMES, "a LiveCodeBench problem")
        try:
            day = datetime.fromisoformat(texts["contest_date"]).date().isoformat()
        except ValueError:
            raise UsageError(f"{where}: contest_date is no date: {texts['contest_date'][:40]!r}") from None
        if day < self.options.since or (self.options.until and day > self.options.until):
            return None
        try:
            metadata = json.loads(row.get("metadata") or "{}")
            public, private = json.loads(texts["public_test_cases"]), _private_tests(texts["private_test_cases"])
            cases = tuple(Case(str(test["input"]), str(test["output"])) for test in [*public, *private])
            name = str(metadata.get("func_name") or "")
            if name:
                cases = tuple(_call(case) for case in cases)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"[:200]
            raise UsageError(f"{where}: the tests of {texts['question_id']} cannot be read ({why})") from None
        if not cases:
            raise UsageError(f"{where}: problem {texts['question_id']} has no tests")
        is_class = "class Solution" in texts["starter_code"]
        function = f"Solution.{name}" if name and is_class else name
        reference = row.get("reference") or ""
        content, starter = texts["question_content"], texts["starter_code"]
        return LiveCodeBenchTask(texts["question_id"], content, starter, day, function, cases, reference)

    def shown_options(self) -> dict[str, Option]:
        """The window of dates."""
        window = {"since": self.options.since, "until": self.options.until}
        return {name: day for name, day in window.items() if day}

    def request(self, task: LiveCodeBenchTask) -> Request:
        """The problem and what form its solution has."""
        if task.starter_code:
            form = f"Complete this class.\n```python\n{task.starter_code.rstrip()}\n```"
        else:
            form = "The program reads standard input and prints to standard output."
        question = task.prompt.strip()
        return Request(
            text=f'"""\n{question}\n"""\n' + (task.starter_code.rstrip() + "\n" if task.starter_code else ""),
            instruction=f"{_INSTRUCTION}\n\n{question}\n\n{form}\n",
            response_prefix="```python\n",
            stop=_STOPS,
            chat_stop=CHAT_STOPS,
        )

    def program_of(self, task: LiveCodeBenchTask, text: str, continues: bool) -> Program:
        """What continues the prompt, or the code block of an answer."""
        if continues:
            return Program((task.starter_code.rstrip() + "\n" if task.starter_code else "") + before(text, _STOPS))
        if task.function:
            return extraction.program("fenced", text, task.function.partition(".")[0])
        return extraction.program("whole", text)

    def cases(self, task: LiveCodeBenchTask) -> tuple[Case, ...]:
        """The task's own; all calls of a function are one."""
        if not task.function:
            return task.cases
        expected = json.dumps([case.expected for case in task.cases])
        return (sandbox.calls(task.function, [case.input for case in task.cases], expected),)

    def job(self, key: str, task: LiveCodeBenchTask, program: str) -> Job:
        """Inputs and outputs, or calls and results; programs may use what LiveCodeBench imports for them."""
        code = behind(PRELUDE, program)
        if task.function:
            return Job(key, code, "", "calls", self.timeout_s, cases=self.cases(task))
        return Job(key, code, "", "stdio", self.timeout_s, cases=task.cases, comparison="decimals")

    def reference(self, task: LiveCodeBenchTask) -> str:
        """The task's own; LiveCodeBench's data have none."""
        return task.reference

    def judged(self, task: LiveCodeBenchTask, outcome: Outcome) -> tuple[Outcome, dict[str, float]]:
        """Of a function: whether it returned what the tests say; a tuple counts as a list."""
        if task.function and outcome.status == "pass":
            wrong = _first_wrong(task.cases, outcome.returned)
            detail = f"{wrong}; {outcome.detail}" if wrong and outcome.detail else wrong
            return replace(outcome, status="fail" if wrong else "pass", detail=detail), {}
        return outcome, {}


def _private_tests(text: str) -> list[Any]:
    """Hidden tests: a JSON list, or one that was pickled as text, compressed and written in base64."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    try:
        packed = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed, _MOST_BYTES)
        if unpacker.unconsumed_tail:
            raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
        content = _TextUnpickler(io.BytesIO(data)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"neither JSON nor a packed text ({error})") from None
    if not isinstance(content, str):
        raise ValueError("what is packed is no text")
    return list(json.loads(content))


class _TextUnpickler(pickle.Unpickler):
    """Makes plain values and nothing else: a class or function that a pickle names is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuses."""
        raise pickle.UnpicklingError(f"it names {module}.{name}"[:80])

    def persistent_load(self, pid: Any) -> Any:
        """Refuses."""
        raise pickle.UnpicklingError("it refers to an object elsewhere")


def _call(case: Case) -> Case:
    """A functional test: arguments are JSON values, one a line, and so is the result."""
    arguments = [json.loads(line) for line in case.input.split("\n")]
    return Case(values.dump(arguments), values.dump(json.loads(case.expected)))


def _first_wrong(cases: tuple[Case, ...], returned: tuple[str, ...]) -> str:
    """The first call that did not return what it should, in words; empty where all did."""
    for number, (case, text) in enumerate(zip(cases, returned, strict=True), start=1):
        where, right = f"case {number} of {len(cases)}", values.load(case.expected)
        if not text:
            return f"{where}: nothing is returned"
        try:
            result = values.load(text)
            if isinstance(result, tuple):
                result = list(result)
            if bool(result == right):
                continue
        except Exception:  # of an array, equality is no yes or no
            result = values.Opaque("value that cannot be compared")
        return f"{where}: {values.shown(result)} is returned, not {values.shown(right)}"
    return ""
