"""What benchmarks of single functions share: tasks from a file or the hub, completions judged in the sandbox."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from passkwh.benchmarks import rows
from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.sandbox import Job, evaluate
from passkwh.errors import UsageError
from passkwh.prompts import Request
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

TIMEOUT_S = 10.0
"""HumanEval's official 3 s are for a machine that does nothing else; a solution takes milliseconds."""


class Named(Protocol):
    """A problem that has an id."""

    @property
    def task_id(self) -> str:
        """Name of the task."""
        ...


Problem = TypeVar("Problem", bound=Named)


class FunctionBenchmark(ABC, Generic[Problem]):
    """Tasks that ask for one function each and come with a script that tests it.

    Options: ``data``, a file in the official format or ``hub`` (the default), and ``unsafe_evaluation``, to go on where
    the kernel refuses a layer of the isolation.

    Raises:
        UsageError: an unknown option, or data that cannot be read or reached.
    """

    name: ClassVar[str]
    repository: ClassVar[str]
    """On the hub."""
    hub_files: ClassVar[str]
    """Pattern of the repository's parquet files."""
    file: ClassVar[str]
    """What the official file is called and where it is."""

    def __init__(self, options: dict[str, Option], limit: int | None) -> None:
        self._unsafe = self._parse_unsafe(options)
        data = options.get("data", "hub")
        if not isinstance(data, str):
            raise UsageError(f"option data of {self.name} is a file or 'hub', not {data!r}")
        found, source = rows.read(data, self.repository, self.hub_files, self.file)
        problems = self.problems(found, source)[:limit]
        self._problems = {problem.task_id: problem for problem in problems}
        self._tasks = tuple(Task(problem.task_id, self.request(problem)) for problem in problems)
        self._info = BenchmarkInfo(
            name=self.name,
            version="1",
            source=source,
            sha256=content_hash([vars(problem) for problem in problems]),
            tasks=len(problems),
        )

    def _parse_unsafe(self, options: dict[str, Option]) -> bool:
        for key in options:
            if key not in ("data", "unsafe_evaluation"):
                raise UsageError(
                    f"{self.name} has no option {key!r}; it has data (a file, or 'hub') and unsafe_evaluation"
                )
        unsafe = options.get("unsafe_evaluation", False)
        if unsafe not in (True, False, "true", "false"):
            raise UsageError(f"option unsafe_evaluation of {self.name} takes true or false, not {unsafe!r}")
        return unsafe in (True, "true")

    # ------------------------------------------------------------ what differs

    @staticmethod
    @abstractmethod
    def problems(found: Iterable[rows.Row], source: str) -> list[Problem]:
        """The tasks in rows of data; UsageError for a row that is none, named."""

    @staticmethod
    @abstractmethod
    def request(problem: Problem) -> Request:
        """How a model is asked."""

    @staticmethod
    @abstractmethod
    def solution(problem: Problem, text: str, continues: bool) -> str:
        """The program that a completion amounts to."""

    @staticmethod
    @abstractmethod
    def test(problem: Problem) -> str:
        """The script that ends without an exception where the program is right."""

    # ------------------------------------------------------------ the benchmark

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
        return self.solution(self._problems[candidate.task_id], candidate.text, candidate.continues)

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates in the sandbox; yields each as it is done."""
        jobs = [
            Job(one.key, self.program(one), self.test(self._problems[one.task_id]), kind="script", timeout_s=TIMEOUT_S)
            for one in candidates
        ]
        for outcome in evaluate(jobs, unsafe=self._unsafe):
            verdict = Verdict(status=outcome.status, detail=outcome.detail, suspect=outcome.suspect)
            yield Score(outcome.key, outcome.start_ns, outcome.end_ns, outcome.cpu_s, verdict)

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Nothing beyond pass@k."""
        return {}


def cut(text: str, stops: Sequence[str]) -> str:
    """A base model's completion up to the first of ``stops``."""
    ends = [place for place in map(text.find, stops) if place >= 0]
    return text[: min(ends, default=None)]
