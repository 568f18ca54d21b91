"""MBPP: 500 short functions from a sentence and their assertions (Austin et al., 2021; tasks 11 to 510, zero-shot)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from passkwh.adapters.base import Request
from passkwh.benchmarks import rows
from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.bigcodebench.extract import fenced
from passkwh.benchmarks.sandbox import Job, evaluate
from passkwh.errors import UsageError
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

HUB_REPOSITORY = "google-research-datasets/mbpp"
HUB_FILES = "full/test-*.parquet"
FILE = "mbpp.jsonl (github.com/google-research/google-research/tree/master/mbpp)"
TEST_SPLIT = range(11, 511)
STOPS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif")
"""What ends a base model's program; another function may belong to it."""
TIMEOUT_S = 10.0

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


class Mbpp:
    """MBPP's test split from a file in the official format or from the hub.

    Raises:
        UsageError: an unknown option, or data that cannot be read or reached.
    """

    def __init__(self, options: dict[str, Option], limit: int | None) -> None:
        for name, value in options.items():
            if name != "data" or not isinstance(value, str):
                raise UsageError(f"mbpp has one option, data: a file, or 'hub' (the default); not {name}={value!r}")
        found, source = rows.read(str(options.get("data", "hub")), HUB_REPOSITORY, HUB_FILES, FILE)
        problems = _problems(found, source)[:limit]
        self._problems = {problem.task_id: problem for problem in problems}
        self._tasks = tuple(Task(problem.task_id, _request(problem)) for problem in problems)
        self._info = BenchmarkInfo(
            name="mbpp",
            version="1",
            source=source,
            sha256=content_hash([vars(problem) for problem in problems]),
            tasks=len(problems),
        )

    @property
    def info(self) -> BenchmarkInfo:
        """Name, source and content hash."""
        return self._info

    @property
    def tasks(self) -> Sequence[Task]:
        """The selected tasks, in the order of the data."""
        return self._tasks

    @property
    def default_max_new_tokens(self) -> int:
        """Room for the longest solutions and for a chat's words around them."""
        return 512

    def program(self, candidate: Candidate) -> str:
        """The program that a completion amounts to."""
        if candidate.continues:
            ends = [place for place in map(candidate.text.find, STOPS) if place >= 0]
            return candidate.text[: min(ends, default=None)]
        return fenced(candidate.text, self._problems[candidate.task_id].entry_point)

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates in the sandbox; yields each as it is done."""
        for outcome in evaluate([self._job(candidate) for candidate in candidates]):
            verdict = Verdict(status=outcome.status, detail=outcome.detail, suspect=outcome.suspect)
            yield Score(outcome.key, outcome.start_ns, outcome.end_ns, outcome.cpu_s, verdict)

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Nothing beyond pass@k."""
        return {}

    def _job(self, candidate: Candidate) -> Job:
        problem = self._problems[candidate.task_id]
        test = "\n".join(("", problem.setup, *problem.assertions, ""))
        return Job(candidate.key, self.program(candidate), test, kind="script", timeout_s=TIMEOUT_S)


def _request(problem: Problem) -> Request:
    assertions = "\n".join(problem.assertions)
    return Request(
        text=f'"""\n{problem.text}\n{assertions}\n"""\n',
        instruction=f"{problem.text}\n{_INSTRUCTION}```python\n{assertions}\n```\n",
        response_prefix="```python\n",
        stop=STOPS,
    )


def _problems(found: Iterable[rows.Row], source: str) -> list[Problem]:
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


def _entry_point(code: str, assertions: Sequence[str]) -> str | None:
    """The function of the solution that the first assertion names."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return None
    names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return next((name for name in names if assertions and re.search(rf"\b{re.escape(name)}\b", assertions[0])), None)
