"""BigCodeBench as the runner sees it: tasks, requests, verdicts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from passkwh.benchmarks import extract
from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.bigcodebench import data, environment, prompts
from passkwh.benchmarks.bigcodebench.data import Problem
from passkwh.benchmarks.bigcodebench.environment import missing
from passkwh.benchmarks.bigcodebench.groundtruth import MIN_TIMEOUT_S, GroundTruth, Reference
from passkwh.benchmarks.bigcodebench.options import Options
from passkwh.benchmarks.bigcodebench.preload_groups import modules, tiers
from passkwh.benchmarks.bigcodebench.verdicts import Verdicts
from passkwh.benchmarks.sandbox import Job, Outcome, Tier, default_limits, default_workers, evaluate
from passkwh.benchmarks.sandbox.suspicion import reasons
from passkwh.errors import UsageError
from passkwh.passk import mean_pass_at_k
from passkwh.records import BenchmarkInfo, Option, Sample, Verdict, content_hash

OFFICIAL_TIMEOUT_S = 241.0


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
            options=self._options.shown(),
            source=source,
            sha256=content_hash(*[vars(problem) for problem in self._problems.values()]),
            tasks=len(self._tasks),
        )
        self._workers = self._options.workers or default_workers()
        self._limits = default_limits(self._workers)
        built = environment.find() if self._options.subset != "sample" else None
        self._environment = built or environment.own()
        self._ground_truth = GroundTruth(self._environment.identity)

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

    def missing(self) -> list[str]:
        """Libraries that tasks need and the environment that judges them does not have."""
        lacking = {task_id: found for task_id in self._problems if (found := self._lacking(task_id))}
        if not lacking:
            return []
        libraries = ", ".join(sorted({library for found in lacking.values() for library in found}))
        return [f"{libraries} to score {len(lacking)} of {len(self._tasks)} tasks: run `bench setup bigcodebench`"]

    def program(self, candidate: Candidate) -> str:
        """The program that a completion amounts to, without calibration."""
        problem = self._problems[candidate.task_id]
        text = extract.cut(candidate.text, prompts.BASE_STOPS if candidate.continues else prompts.STOPS)
        if candidate.continues:
            text = problem.complete_prompt + text
        select = extract.official if self._options.extraction == "official" else extract.fenced
        return select(text, problem.entry_point)

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates, each one anew; yields each as it is done."""
        return self.score_programs([(one.key, one.task_id, self.program(one)) for one in candidates], anew=True)

    def score_again(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Judge candidates, or take their verdicts from earlier ones of equal programs; without meaning for energy."""
        return self.score_programs([(one.key, one.task_id, self.program(one)) for one in candidates])

    def score_programs(self, programs: Sequence[tuple[str, str, str]], anew: bool = False) -> Iterator[Score]:
        """As :meth:`score_again`, for whole programs: (key, task_id, program); ``anew`` looks up no earlier verdict."""
        jobs = []
        for key, task_id, program in programs:
            if lacking := self._lacking(task_id):
                yield _not_evaluated(key, lacking)
            else:
                jobs.append(self._job(key, task_id, program))
        if anew:
            yield from self._judge(jobs, None)
            return
        with Verdicts(self._environment.identity, self._limits) as verdicts:
            yield from self._judge(jobs, verdicts)

    def _judge(self, jobs: Sequence[Job], verdicts: Verdicts | None) -> Iterator[Score]:
        left = {}
        for job in jobs:
            known = verdicts.get(job) if verdicts else None
            if known is not None:
                yield _score(known)
            else:
                left[job.key] = job
        for outcome in self._evaluate(list(left.values())):
            if verdicts:
                verdicts.put(left[outcome.key], outcome)
            yield _score(outcome)

    def verify(self) -> Iterator[tuple[str, Reference | None]]:
        """Run the reference solutions and remember what they did; yields (task_id, outcome) as each is done.

        None stands for a task that cannot be run here.
        """
        jobs = []
        for task_id, problem in self._problems.items():
            if self._lacking(task_id):
                yield task_id, None
                continue
            job = self._job(task_id, task_id, problem.reference)
            jobs.append(replace(job, timeout_s=OFFICIAL_TIMEOUT_S, expected_tests=None, usual=frozenset()))
        for outcome in self._evaluate(jobs):
            reference = Reference.of(outcome)
            self._ground_truth.put(self._problems[outcome.key], reference)
            yield outcome.key, reference

    def problem(self, task_id: str) -> Problem:
        """The task with all its fields."""
        return self._problems[task_id]

    def reference(self, task_id: str) -> Reference | None:
        """What the task's reference solution did here, if ``verify`` has run it."""
        return self._ground_truth.get(self._problems[task_id])

    def _evaluate(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        return evaluate(
            jobs,
            workers=self._workers,
            python=self._environment.python,
            tiers=self._tiers,
            limits=self._limits,
            unsafe=self._options.unsafe_evaluation,
        )

    @cached_property
    def _modules(self) -> dict[str, frozenset[str]]:
        return {task_id: modules(problem) for task_id, problem in self._problems.items()}

    @cached_property
    def _tiers(self) -> tuple[Tier, ...]:
        return tiers(frozenset().union(*self._modules.values()))

    @cached_property
    def _missing(self) -> frozenset[str]:
        return missing(self._environment.python, frozenset().union(*(tier.libraries for tier in self._tiers)))

    def _lacking(self, task_id: str) -> list[str]:
        """Libraries that the task itself needs and the environment does not have."""
        return sorted(self._modules[task_id] & self._missing)

    def _job(self, key: str, task_id: str, program: str) -> Job:
        problem = self._problems[task_id]
        if self._options.calibrated:
            program = problem.code_prompt + "\n    pass\n" + program
        known = self.reference(task_id)
        timeout_s = OFFICIAL_TIMEOUT_S
        if not self._options.official_timeout:
            if known is not None and known.status != "timeout":  # a reference that fails also ran all of its tests
                timeout_s = known.timeout_s
            elif self._options.subset == "sample":
                timeout_s = MIN_TIMEOUT_S
        return Job(
            key=key,
            code=program,
            test=problem.test,
            kind="unittest",
            timeout_s=timeout_s,
            expected_s=known.seconds if known else 0.0,
            sleeps=known.sleeps if known else False,
            expected_tests=known.tests_run if known and known.status == "pass" else None,
            usual=frozenset(known.suspect if known else ()) | frozenset(reasons(problem.reference)),
            network=task_id in self._options.allow_network.split(","),
        )

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """pass@1 over the tasks whose reference solution passes here, where that is known of every task."""
        counts: dict[str, list[bool]] = {}
        for sample in samples:
            if sample.verdict is not None and sample.verdict.status != "not_evaluated":
                counts.setdefault(sample.task_id, []).append(sample.verdict.status == "pass")
        known = {task_id: self.reference(task_id) for task_id in counts}
        sound = [task_id for task_id, reference in known.items() if reference and reference.status == "pass"]
        rate = mean_pass_at_k([(len(counts[task_id]), sum(counts[task_id])) for task_id in sound], 1)
        return {} if rate is None or not all(known.values()) else {"pass_at_1_sound_tasks": rate}


def _score(outcome: Outcome) -> Score:
    verdict = Verdict(status=outcome.status, detail=outcome.detail, suspect=outcome.suspect)
    return Score(outcome.key, outcome.start_ns, outcome.end_ns, outcome.cpu_s, verdict)


def _not_evaluated(key: str, lacking: Sequence[str]) -> Score:
    detail = f"needs {', '.join(lacking)}, not installed here: run `bench setup bigcodebench`"
    now = time.monotonic_ns()
    return Score(key, now, now, None, Verdict(status="not_evaluated", detail=detail))
