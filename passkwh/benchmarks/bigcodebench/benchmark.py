"""BigCodeBench as the runner sees it: its data, what each program needs, and the deadlines its references set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

from passkwh.benchmarks import extraction, interpreter, rows
from passkwh.benchmarks.base import Program
from passkwh.benchmarks.bigcodebench import environment, tasks
from passkwh.benchmarks.bigcodebench.preload_groups import modules, preload_groups
from passkwh.benchmarks.bigcodebench.tasks import BigCodeBenchOptions, BigCodeBenchTask
from passkwh.benchmarks.extract import behind
from passkwh.benchmarks.interpreter import Interpreter
from passkwh.benchmarks.programs import REFERENCE_TIMEOUT_S, ProgramBenchmark
from passkwh.benchmarks.remembered import MIN_TIMEOUT_S
from passkwh.benchmarks.sandbox import Job, PreloadGroup
from passkwh.benchmarks.sandbox.suspicion import reasons
from passkwh.errors import UsageError
from passkwh.passk import mean_pass_at_k
from passkwh.prompts import Request
from passkwh.records import Option, Sample, content_hash

_NOT_SHOWN = {"data", "workers", "unsafe_evaluation"}


class BigCodeBench(ProgramBenchmark[BigCodeBenchTask]):
    """BigCodeBench with one choice of options."""

    name = "bigcodebench"
    version = "0.1.0"  # raised where a task or a verdict comes to mean something else, not with each release
    kind = "unittest"
    timeout_s = REFERENCE_TIMEOUT_S
    default_max_new_tokens = 1280
    options_type = BigCodeBenchOptions
    options: BigCodeBenchOptions
    embedded = tasks.SAMPLE
    published_as = "a .jsonl or .jsonl.gz file of BigCodeBench tasks"
    environment = environment
    options_for_files: ClassVar[Mapping[str, Option]] = {"subset": "full"}

    def rows(self) -> tuple[Iterator[rows.Row], str]:
        """The embedded sample, a file, or a part of the hub's data set."""
        if self.options.data or self.options.subset == "sample":
            return super().rows()
        repository = tasks.HUB_REPOSITORY + ("-hard" if self.options.subset == "hard" else "")
        otherwise = "give its tasks as a file with data=FILE, or use the embedded tasks with subset=sample"
        data, source = rows.hub_rows(repository, f"data/{tasks.HUB_VERSION}-*.parquet", otherwise)
        return data, source.replace(repository, f"{repository} {tasks.HUB_VERSION}", 1)

    def read(self, where: str, row: dict[str, Any]) -> BigCodeBenchTask:
        """The task in a row of the official form."""
        names = [field.name for field in fields(BigCodeBenchTask)]
        task = BigCodeBenchTask(**rows.text_fields(where, row, names, "a BigCodeBench task"))
        if "class TestCases" not in task.test:
            raise UsageError(f"{where}: task {task.task_id} has no tests (no class TestCases in its field test)")
        return task

    def request(self, task: BigCodeBenchTask) -> Request:
        """The official prompts."""
        return tasks.request(task, self.options.style, self.options.prefill)

    def program_of(self, task: BigCodeBenchTask, text: str, continues: bool) -> Program:
        """The program that a completion amounts to, without calibration."""
        return extraction.program(
            self.options.extraction,
            text,
            task.entry_point,
            stops=tasks.BASE_STOPS if continues else tasks.STOPS,
            continued=task.complete_prompt if continues else None,
        )

    def test(self, task: BigCodeBenchTask) -> str:
        """The official tests."""
        return task.test

    def reference(self, task: BigCodeBenchTask) -> str:
        """The official solution."""
        return task.reference

    def shown_options(self) -> dict[str, Option]:
        """All but where the data are, how the evaluator works, and what older runs had no choice in."""
        return self.options.model_dump(exclude=_NOT_SHOWN | ({"prefill"} if self.options.prefill else set()))

    def hash_tasks(self, tasks: list[dict[str, Any]]) -> str:
        """As in the first edition, whose runs are compared with these."""
        return content_hash(*tasks)

    def job(self, key: str, task: BigCodeBenchTask, program: str) -> Job:
        """The official test; deadline, order and expected tests come from what the reference solution did here."""
        if self.options.calibrated:
            beginning = task.code_prompt + "\n    pass\n"
            program = beginning + program if self.options.extraction == "official" else behind(beginning, program)
        known = self.known_reference(task.task_id)
        timeout_s = self.timeout_s
        if not self.options.official_timeout:
            if known is not None and known.status != "timeout":  # a reference that fails also ran all of its tests
                timeout_s = known.timeout_s
            elif self.options.subset == "sample":
                timeout_s = MIN_TIMEOUT_S
        return Job(
            key=key,
            code=program,
            test=task.test,
            kind=self.kind,
            timeout_s=timeout_s,
            expected_s=known.seconds if known else 0.0,
            sleeps=known.sleeps if known else False,
            expected_tests=known.tests_run if known and known.status == "pass" else None,
            usual=frozenset(known.suspect if known else ()) | frozenset(reasons(task.reference)),
            network=task.task_id in self.options.allow_network.split(","),
        )

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """pass@1 over the tasks whose reference solution passes here, where that is known of every task."""
        counts: dict[str, list[bool]] = {}
        for sample in samples:
            if sample.verdict is not None and sample.verdict.status != "not_evaluated":
                counts.setdefault(sample.task_id, []).append(sample.verdict.status == "pass")
        known = {task_id: self.known_reference(task_id) for task_id in counts}
        sound = [task_id for task_id, reference in known.items() if reference and reference.status == "pass"]
        rate = mean_pass_at_k([(len(counts[task_id]), sum(counts[task_id])) for task_id in sound], 1)
        return {} if rate is None or not all(known.values()) else {"pass_at_1_sound_tasks": rate}

    # ------------------------------------------------------------ libraries

    @cached_property
    def interpreter(self) -> Interpreter:
        """That of the environment that ``bench setup`` built; the sample needs no other libraries than ours."""
        return (environment.built() if self.options.subset != "sample" else None) or interpreter.own()

    def missing(self) -> list[str]:
        """Libraries that tasks need and the environment that judges them does not have."""
        lacking = [libraries for task in self.by_id.values() if (libraries := self._lacking(task))]
        if not lacking:
            return []
        names = ", ".join(sorted(set().union(*lacking)))
        return [f"{names} to score {len(lacking)} of {len(self.tasks)} tasks: run `bench setup bigcodebench`"]

    def not_evaluated(self, task: BigCodeBenchTask) -> str:
        """Which libraries of its own a task lacks."""
        if not (lacking := self._lacking(task)):
            return ""
        return f"needs {', '.join(lacking)}, not installed here: run `bench setup bigcodebench`"

    def _lacking(self, task: BigCodeBenchTask) -> list[str]:
        return sorted(self._modules[task.task_id] & self._missing)

    @cached_property
    def _modules(self) -> dict[str, frozenset[str]]:
        return {task_id: modules(task) for task_id, task in self.by_id.items()}

    @cached_property
    def preload_groups(self) -> tuple[PreloadGroup, ...]:
        """The libraries of all tasks."""
        return preload_groups(frozenset().union(*self._modules.values()))

    @cached_property
    def _missing(self) -> frozenset[str]:
        libraries = frozenset().union(*(group.libraries for group in self.preload_groups))
        return interpreter.missing(self.interpreter.python, libraries)
