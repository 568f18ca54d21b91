"""BigCodeBench as the runner sees it: tasks, requests, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.bigcodebench import data, extract, prompts
from passkwh.benchmarks.bigcodebench.data import Problem
from passkwh.benchmarks.sandbox import Job, evaluate
from passkwh.errors import UsageError
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

OFFICIAL_TIMEOUT_S = 241.0
SAMPLE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Options:
    """The benchmark's options, as ``--benchmark-options`` or a spec names them."""

    style: str = "complete"
    """complete: the task is a docstring; instruct: it is prose."""
    subset: str = "sample"
    """sample (embedded), full or hard (from the hub); ``full`` when ``data`` is given."""
    data: str = ""
    """A .jsonl or .jsonl.gz file of tasks in the official format."""
    extraction: str = "official"
    """official: as bigcodebench's sanitize; fenced: the code blocks as they are."""
    calibrated: bool = True
    """Put ``code_prompt`` and ``pass`` before each program, as the official evaluator does by default."""
    workers: int = 0
    """Programs judged at a time; 0 is one per core."""

    @classmethod
    def parse(cls, given: dict[str, Option]) -> Options:
        """Check names, types and values; raises UsageError for the first that is wrong."""
        known = cls.__dataclass_fields__
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"bigcodebench has no option {name!r}; it has {', '.join(known)}")
            default: Any = known[name].default
            if type(value) is not type(default):
                raise UsageError(f"option {name} of bigcodebench takes a {type(default).__name__}, not {value!r}")
        options = cls(**{"subset": "full" if given.get("data") else "sample", **given})  # type: ignore[arg-type]
        options._check("style", options.style, get_args(prompts.Style))
        options._check("subset", options.subset, ("sample", "full", "hard"))
        options._check("extraction", options.extraction, get_args(extract.Extraction))
        if options.data and options.subset != "full":
            raise UsageError(f"subset={options.subset} and data={options.data} exclude each other: leave out one")
        if options.workers < 0:
            raise UsageError(f"option workers must be 0 (one per core) or more, not {options.workers}")
        return options

    @staticmethod
    def _check(name: str, value: str, choices: Sequence[str]) -> None:
        if value not in choices:
            raise UsageError(f"option {name} of bigcodebench is one of {', '.join(choices)}, not {value!r}")


class BigCodeBench:
    """BigCodeBench with one choice of options."""

    def __init__(self, options: dict[str, Option], limit: int | None = None) -> None:
        self._options = Options.parse(options)
        if limit is not None and limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        problems, source = self._load()
        self._problems = {problem.task_id: problem for problem in problems[:limit]}
        style: Any = self._options.style
        self._tasks = [Task(task_id, prompts.request(problem, style)) for task_id, problem in self._problems.items()]
        self._info = BenchmarkInfo(
            name="bigcodebench",
            version=version("passkwh"),
            options={name: value for name, value in vars(self._options).items() if name not in ("data", "workers")},
            source=source,
            sha256=content_hash(*[vars(problem) for problem in self._problems.values()]),
            tasks=len(self._tasks),
        )

    def _load(self) -> tuple[list[Problem], str]:
        if self._options.data:
            return data.load_file(Path(self._options.data).expanduser())
        if self._options.subset == "sample":
            return data.load_sample()
        return data.load_hub(self._options.subset)

    @property
    def info(self) -> BenchmarkInfo:
        """Name, version, the options that change prompts or verdicts, and a hash of the selected tasks."""
        return self._info

    @property
    def tasks(self) -> Sequence[Task]:
        """The selected tasks, in the order of the data."""
        return self._tasks

    @property
    def default_max_new_tokens(self) -> int:
        """The official tool's limit."""
        return 1280

    def program(self, candidate: Candidate) -> str:
        """The program that a completion amounts to, without calibration."""
        problem = self._problems[candidate.task_id]
        text = extract.cut(candidate.text, prompts.BASE_STOPS if candidate.continues else prompts.STOPS)
        if candidate.continues:
            text = problem.complete_prompt + text
        select = extract.official if self._options.extraction == "official" else extract.fenced
        return select(text, problem.entry_point)

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates; yields each as it is done."""
        jobs = [self._job(candidate.key, candidate.task_id, self.program(candidate)) for candidate in candidates]
        for outcome in evaluate(jobs, workers=self._options.workers or None):
            yield Score(
                key=outcome.key,
                start_ns=outcome.start_ns,
                end_ns=outcome.end_ns,
                cpu_s=outcome.cpu_s,
                verdict=Verdict(status=outcome.status, detail=outcome.detail, suspect=outcome.suspect),
            )

    def _job(self, key: str, task_id: str, program: str) -> Job:
        problem = self._problems[task_id]
        if self._options.calibrated:
            program = problem.code_prompt + "\n    pass\n" + program
        timeout_s = SAMPLE_TIMEOUT_S if self._options.subset == "sample" else OFFICIAL_TIMEOUT_S
        return Job(key=key, code=program, test=problem.test, kind="unittest", timeout_s=timeout_s)

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Nothing beyond pass@k."""
        return {}
