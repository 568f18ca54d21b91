"""HumanEval: 164 functions to be completed from signature and docstring, judged by their tests (Chen et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from passkwh.adapters.base import Request
from passkwh.benchmarks import rows
from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.bigcodebench.extract import fenced
from passkwh.benchmarks.sandbox import Job, evaluate
from passkwh.errors import UsageError
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

HUB_REPOSITORY = "openai/openai_humaneval"
HUB_FILES = "openai_humaneval/test-*.parquet"
FILE = "HumanEval.jsonl.gz (github.com/openai/human-eval)"
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What ends a base model's function (section 2.1 of the paper)."""
TIMEOUT_S = 10.0
"""The official 3 s are for a machine that does nothing else; a solution takes milliseconds."""

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


class HumanEval:
    """HumanEval from a file in the official format or from the hub.

    Raises:
        UsageError: an unknown option, or data that cannot be read or reached.
    """

    def __init__(self, options: dict[str, Option], limit: int | None) -> None:
        for name, value in options.items():
            if name != "data" or not isinstance(value, str):
                raise UsageError(
                    f"humaneval has one option, data: a file, or 'hub' (the default); not {name}={value!r}"
                )
        found, source = rows.read(str(options.get("data", "hub")), HUB_REPOSITORY, HUB_FILES, FILE)
        problems = _problems(found, source)[:limit]
        self._problems = {problem.task_id: problem for problem in problems}
        self._tasks = tuple(Task(problem.task_id, _request(problem)) for problem in problems)
        self._info = BenchmarkInfo(
            name="humaneval",
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
        """Room for the longest functions and for a chat's words around them."""
        return 512

    def program(self, candidate: Candidate) -> str:
        """The program that a completion amounts to: the prompt continued, or its imports and helpers before an answer
        that defines the function itself.
        """
        problem = self._problems[candidate.task_id]
        if candidate.continues:
            ends = [place for place in map(candidate.text.find, STOPS) if place >= 0]
            return problem.prompt + candidate.text[: min(ends, default=None)]
        code = fenced(candidate.text, problem.entry_point)
        signature = f"def {problem.entry_point}("
        if signature not in code:
            return problem.prompt + code
        return problem.prompt[: problem.prompt.index(signature)] + code

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
        test = f"{problem.test}\n\ncheck({problem.entry_point})\n"
        return Job(candidate.key, self.program(candidate), test, kind="script", timeout_s=TIMEOUT_S)


def _request(problem: Problem) -> Request:
    return Request(
        text=problem.prompt,
        instruction=f"{_INSTRUCTION}```python\n{problem.prompt.strip()}\n```\n",
        response_prefix="```python\n",
        stop=STOPS,
    )


def _problems(found: Iterable[rows.Row], source: str) -> list[Problem]:
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
