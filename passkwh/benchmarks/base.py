"""What the runner needs of a benchmark: tasks, how each becomes a request, and how completions are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from passkwh.prompts import Request
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict

if TYPE_CHECKING:
    from passkwh.benchmarks.remembered import Reference


@dataclass(frozen=True)
class Task:
    """One problem."""

    task_id: str
    request: Request


@dataclass(frozen=True)
class Candidate:
    """A completion to be scored."""

    key: str
    task_id: str
    text: str
    continues: bool
    """The text continues the request's ``text`` (base model); otherwise it is an answer to its ``instruction``."""


@dataclass(frozen=True)
class Program:
    """What a completion amounts to."""

    code: str
    remark: str = ""
    """What the verdict on it should say where it does not pass: what extraction left out, for example."""
    not_evaluated: str = ""
    """Why there is no program to judge."""


@dataclass(frozen=True)
class Score:
    """The outcome of scoring one candidate, with when (monotonic ns) and at what cost it was found."""

    key: str
    start_ns: int
    end_ns: int
    cpu_s: float | None = None
    verdict: Verdict | None = None
    scores: dict[str, float] = field(default_factory=dict)


class Benchmark(Protocol):
    """Tasks with a way of scoring. Construction loads and checks the data (see ``passkwh.benchmarks.open``)."""

    @property
    def info(self) -> BenchmarkInfo:
        """Name, version, options and content hash."""
        ...

    @property
    def tasks(self) -> Sequence[Task]:
        """The selected tasks, in order."""
        ...

    @property
    def default_max_new_tokens(self) -> int:
        """Completion length limit, in tokens, when the user gives none."""
        ...

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Score candidates; yields each as it is done, in any order, every key exactly once."""
        ...

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Corpus-level metrics beyond pass@k; empty where there are none."""
        ...


# ---------------------------------------------------------------- what a benchmark may offer besides


@runtime_checkable
class CutByTokens(Protocol):
    """A benchmark whose tasks depend on how the model splits text (``SupportsTokenOffsets`` of its contract)."""

    def cut_by(self, token_ends: Callable[[str], list[int]]) -> Benchmark:
        """The same benchmark with its tasks cut in those tokens."""
        ...


@runtime_checkable
class ChecksRequirements(Protocol):
    """A benchmark that knows before a run what scoring will lack on this machine."""

    def missing(self) -> list[str]:
        """What is missing, in words, each with the command that gets it; empty when every task can be scored."""
        ...


@runtime_checkable
class HasMetrics(Protocol):
    """A benchmark that scores completions by metrics rather than by verdicts."""

    @property
    def quality(self) -> tuple[str, ...]:
        """Those metrics of ``summarise`` of which more is better: each is also reported per kilowatt-hour."""
        ...


@runtime_checkable
class ScoresPrograms(Protocol):
    """A benchmark that judges programs, whoever wrote them (``bench score``)."""

    options_for_files: ClassVar[Mapping[str, Option]]
    """Its options for a file of programs that another harness wrote, unless the user gives others."""

    def program(self, candidate: Candidate) -> Program:
        """The program that a completion amounts to; never raises for what is written in it."""
        ...

    def score_programs(self, programs: Sequence[tuple[str, str, Program]], anew: bool = False) -> Iterator[Score]:
        """Judge programs given as (key, task_id, program); unless ``anew``, the verdict on an equal one may be taken
        from earlier."""
        ...


@runtime_checkable
class HasReferences(Protocol):
    """A benchmark with solutions known to be right (``bench verify``)."""

    def verify(self) -> Iterator[Score]:
        """Run them and remember the outcome; yields each as it is done, its key being the task's id.

        Raises UsageError where the data hold no solution.
        """
        ...

    def known_reference(self, task_id: str) -> Reference | None:
        """What the solution of a task did, if it was run here."""
        ...
