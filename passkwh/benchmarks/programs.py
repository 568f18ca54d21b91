"""What benchmarks share whose completions are programs: tasks from rows of data, programs judged in the sandbox."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from passkwh.benchmarks import interpreter, rows, selection
from passkwh.benchmarks.base import Candidate, Program, Score, Task
from passkwh.benchmarks.interpreter import Interpreter
from passkwh.benchmarks.limited_worker import Failed
from passkwh.benchmarks.options import ProgramOptions
from passkwh.benchmarks.remembered import Reference, Remembered, Verdicts
from passkwh.benchmarks.sandbox import (
    STANDARD_LIBRARY,
    VERSION,
    Case,
    Job,
    Limits,
    Outcome,
    PreloadGroup,
    default_limits,
    default_workers,
    evaluate,
)  # fmt: skip
from passkwh.benchmarks.sandbox.jobs import Kind
from passkwh.errors import UsageError
from passkwh.prompts import Request
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

CHAT_STOPS = ("\n```\n",)
"""What ends an answer whose program is one code block: nothing after it would be run."""
REFERENCE_TIMEOUT_S = 241.0
"""Deadline of a reference solution: BigCodeBench's official one, which no sound one reaches."""


@dataclass(frozen=True)
class ProgramTask:
    """One task as its data give it; a benchmark adds fields of its own."""

    task_id: str


TaskT = TypeVar("TaskT", bound=ProgramTask)


class ProgramBenchmark(ABC, Generic[TaskT]):
    """A benchmark whose completions become programs, which the sandbox judges.

    A subclass says what its data are (``name``, and ``embedded`` or the hub's names), how a row becomes a task
    (:meth:`read`), what a model is given (:meth:`request`), what program a completion amounts to (:meth:`program_of`),
    and how that is judged (``kind`` with :meth:`test` or :meth:`cases`). ``bench run``, ``score`` and ``verify`` then
    work. ``humaneval.py`` is an example of a script, ``stdio.py`` the base of those judged by their output.

    Raises:
        UsageError: an unknown option, or data that cannot be read or reached.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    kind: ClassVar[Kind] = "script"
    timeout_s: ClassVar[float] = 10.0
    """HumanEval's official 3 s are for a machine that does nothing else; a solution takes milliseconds."""
    default_max_new_tokens: int = 512
    """Room for the longest solutions and for a chat's words around them."""
    options_type: ClassVar[type[ProgramOptions]] = ProgramOptions
    embedded: ClassVar[Path | None] = None
    """A file of tasks that comes with the package: the data when no other are named."""
    published_as: ClassVar[str] = "a .jsonl or .jsonl.gz file of tasks"
    """What the official file is called and where it is."""
    hub_repository: ClassVar[str] = ""
    """Data set on the hub, for ``data=hub``: the default where nothing is embedded."""
    hub_pattern: ClassVar[str] = ""
    """Of the repository's parquet files."""
    keeps_constants: ClassVar[bool] = False
    """NaN and Infinity in the data are numbers, not what pandas writes for a missing value."""
    no_tasks: ClassVar[str] = "no tasks in it"
    options_for_files: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, options: Mapping[str, Option], limit: int | None = None, task_ids: Sequence[str] = ()) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        self.options = self.options_type.parse(self.name, options)
        data, source = self.rows()
        self.by_id: dict[str, TaskT] = {}
        for where, row in data:
            task = self.read(where, row)
            if task is not None and task.task_id in self.by_id:
                raise UsageError(f"{where}: task {task.task_id} stands twice in the data")
            if task is not None:
                self.by_id[task.task_id] = task
        if not self.by_id:
            raise UsageError(f"{source}: {self.no_tasks}")
        self.by_id = selection.chosen(self.name, self.by_id.items(), task_ids, limit)
        self.tasks: Sequence[Task] = tuple(Task(task_id, self.request(task)) for task_id, task in self.by_id.items())
        self.info = BenchmarkInfo(
            name=self.data_name(),
            version=self.version,
            options=self.shown_options(),
            source=source,
            sha256=self.hash_tasks([asdict(task) for task in self.by_id.values()]),
            tasks=len(self.tasks),
        )
        self._workers = self.options.workers or default_workers()
        self._limits: Limits = default_limits(self._workers)

    # ------------------------------------------------------------ what a benchmark says

    def rows(self) -> tuple[Iterator[rows.Row], str]:
        """The rows of its data and what to call their source."""
        data = self.options.data or ("" if self.embedded else "hub")
        if not data and self.embedded:
            return rows.objects(self.embedded, self.published_as, self.keeps_constants)[0], "embedded"
        if data == "hub" and self.hub_repository:
            return rows.hub_rows(self.hub_repository, self.hub_pattern, f"give {self.published_as} with data=FILE")
        return rows.objects(Path(data).expanduser(), self.published_as, self.keeps_constants)

    @abstractmethod
    def read(self, where: str, row: dict[str, Any]) -> TaskT | None:
        """The task in a row, None for one that is not of the benchmark; UsageError for one that is no task, named."""

    @abstractmethod
    def request(self, task: TaskT) -> Request:
        """What a model is given."""

    @abstractmethod
    def program_of(self, task: TaskT, text: str, continues: bool) -> Program:
        """The program that a completion amounts to.

        What searches a text for code does so through :func:`passkwh.benchmarks.extraction.program`, which has a limit.
        """

    def test(self, task: TaskT) -> str:
        """Of a script or unittest job: source to run after the program, in the same module."""
        return ""

    def cases(self, task: TaskT) -> tuple[Case, ...]:
        """Of a stdio benchmark: inputs, and what a right program prints."""
        return ()

    def reference(self, task: TaskT) -> str:
        """A program known to be right; empty where the data have none."""
        return ""

    def data_name(self) -> str:
        """What the benchmark of these tasks is called: another name where the data are another edition of it."""
        return self.name

    def shown_options(self) -> dict[str, Option]:
        """The options that change prompts or verdicts: they stand in the manifest."""
        return {}

    def hash_tasks(self, tasks: list[dict[str, Any]]) -> str:
        """What the manifest tells equal tasks by."""
        return content_hash(tasks)

    def not_evaluated(self, task: TaskT) -> str:
        """Why a task cannot be judged on this machine; empty where it can."""
        return ""

    def prepare(self, task_ids: Sequence[str]) -> None:
        """What has to be found out before programs of these tasks are judged; nothing, as a rule."""

    def judged(self, task: TaskT, outcome: Outcome) -> tuple[Outcome, dict[str, float]]:
        """What an outcome of the sandbox comes to, and scores beside the verdict: where values are to be compared."""
        return outcome, {}

    @cached_property
    def interpreter(self) -> Interpreter:
        """The Python that programs run in."""
        return interpreter.own()

    @cached_property
    def preload_groups(self) -> tuple[PreloadGroup, ...]:
        """Libraries to import ahead."""
        return (STANDARD_LIBRARY,)

    def job(self, key: str, task: TaskT, program: str) -> Job:
        """How a program is judged."""
        return Job(key, program, self.test(task), self.kind, self.timeout_s, cases=self.cases(task))

    # ------------------------------------------------------------ the benchmark

    def program(self, candidate: Candidate) -> Program:
        """The program that a completion amounts to; of one that none can be taken from, why."""
        try:
            return self.program_of(self.by_id[candidate.task_id], candidate.text, candidate.continues)
        except Exception as error:  # whatever one completion does to it, the others are scored
            why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            return Program("", not_evaluated=why)

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates, each one anew; yields each as it is done."""
        yield from self._judge([(one.key, one.task_id, self.program(one)) for one in candidates], None)

    def score_programs(self, programs: Sequence[tuple[str, str, Program]], anew: bool = False) -> Iterator[Score]:
        """Judge whole programs: (key, task_id, program). Verdicts of equal programs are taken from earlier calls.

        Their times then mean nothing for energy; ``anew`` runs every program.
        """
        verdicts = None if anew else Verdicts(self.name, self.interpreter.identity, self._limits)
        yield from self._judge(programs, verdicts)

    def verify(self) -> Iterator[Score]:
        """Run the reference solutions and remember what they did; yields each as it is done, its key the task's id."""
        solutions = {task_id: reference for task_id, task in self.by_id.items() if (reference := self.reference(task))}
        if not solutions:
            raise UsageError(f"{self.name} has no reference solutions: {self.info.source} holds none")
        self.prepare(list(solutions))
        jobs = []
        for task_id, solution in solutions.items():
            if why := self.not_evaluated(self.by_id[task_id]):
                yield _without_verdict(task_id, why)
                continue
            job = self.job(task_id, self.by_id[task_id], solution)
            jobs.append(replace(job, timeout_s=REFERENCE_TIMEOUT_S, expected_tests=None, usual=frozenset()))
        for raw in self._evaluate(jobs):
            outcome, scores = self.judged(self.by_id[raw.key], raw)
            row = {"task_id": outcome.key, **asdict(Reference.of(outcome))}
            self._references.put(self._reference_key(outcome.key), row)
            yield _score(outcome, scores)

    def known_reference(self, task_id: str) -> Reference | None:
        """What the task's reference solution did here, if ``verify`` has run it."""
        row = self._references.get(self._reference_key(task_id))
        return None if row is None else Reference.read(row)

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Nothing beyond pass@k."""
        return {}

    @cached_property
    def _references(self) -> Remembered:
        return Remembered(self.name, "groundtruth", self.interpreter.identity)

    def _reference_key(self, task_id: str) -> str:
        task = self.by_id[task_id]
        cases = [asdict(case) for case in self.cases(task)]
        return content_hash(VERSION, self.reference(task), self.test(task), *([cases] if cases else []))[:32]

    def _judge(self, programs: Sequence[tuple[str, str, Program]], verdicts: Verdicts | None) -> Iterator[Score]:
        left: dict[str, tuple[TaskT, Job]] = {}
        self.prepare(list(dict.fromkeys(task_id for _, task_id, _ in programs)))
        remarks = {key: program.remark for key, _, program in programs}
        for key, task_id, program in programs:
            task = self.by_id[task_id]
            if why := self.not_evaluated(task) or program.not_evaluated:
                yield _without_verdict(key, why)
                continue
            job = self.job(key, task, program.code)
            known = verdicts.get(job) if verdicts else None
            if known is not None:
                yield _score(*known, remarks[key])
            else:
                left[key] = task, job
        for raw in self._evaluate([job for _, job in left.values()]):
            task, job = left[raw.key]
            outcome, scores = self.judged(task, raw)
            if verdicts:
                verdicts.put(job, outcome, scores)
            yield _score(outcome, scores, remarks[outcome.key])

    def _evaluate(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        return evaluate(
            jobs,
            workers=self._workers,
            python=self.interpreter.python,
            preload_groups=self.preload_groups,
            limits=self._limits,
            unsafe=self.options.unsafe_evaluation,
        )


def _score(outcome: Outcome, scores: dict[str, float], remark: str = "") -> Score:
    detail = outcome.detail
    if remark and outcome.status != "pass":
        detail = f"{remark}; {detail}" if detail else remark
    verdict = Verdict(status=outcome.status, detail=detail, suspect=outcome.suspect)
    return Score(outcome.key, outcome.start_ns, outcome.end_ns, outcome.cpu_s, verdict, scores)


def _without_verdict(key: str, why: str) -> Score:
    now = time.monotonic_ns()
    return Score(key, now, now, None, Verdict(status="not_evaluated", detail=why))
