"""HumanEval+ and MBPP+ as EvalPlus releases them (Liu et al., 2023): inputs, and a solution that says what is right.

Their tests are no code: each function is called with the inputs that the original had (``base_input``) and with those
that EvalPlus added (``plus_input``), and its results are compared with the reference solution's. Both run in the
sandbox, one before the other; results are compared here, by EvalPlus's rules (``evalplus_values``). A program passes
when it is right on all inputs; whether it is on each of the two groups stands beside the verdict (``base``, ``plus``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from passkwh.benchmarks import evalplus_values, sandbox
from passkwh.benchmarks.programs import REFERENCE_TIMEOUT_S, ProgramBenchmark, ProgramTask
from passkwh.benchmarks.remembered import FACTOR, MIN_TIMEOUT_S, Remembered
from passkwh.benchmarks.rows import text_fields
from passkwh.benchmarks.sandbox import Case, Job, Outcome
from passkwh.benchmarks.sandbox.worker import values
from passkwh.errors import UsageError
from passkwh.passk import mean_pass_at_k
from passkwh.records import Sample, content_hash

_NAMES = ("task_id", "prompt", "entry_point", "canonical_solution")
GROUPS = ("base", "plus")


@dataclass(frozen=True)
class PlusTask(ProgramTask):
    """One task."""

    prompt: str
    entry_point: str
    canonical_solution: str
    """Continues ``prompt``."""
    inputs: tuple[str, ...]
    """Arguments of each call (``values.dump`` of their list), the base inputs first."""
    base_inputs: int
    """How many of them are base inputs."""
    tolerance: float


@dataclass(frozen=True)
class _Expected:
    """What the reference solution of a task returned here."""

    returned: tuple[str, ...]
    seconds: float
    problem: str
    """Why nothing can be compared with it; empty where it can."""


class PlusBenchmark(ProgramBenchmark[PlusTask]):
    """Base of the two; a subclass names the data and says how prompts become programs."""

    kind = "calls"
    keeps_constants = True
    is_mbpp: ClassVar[bool]

    def read(self, where: str, row: dict[str, Any]) -> PlusTask:
        """The task in a row of EvalPlus's releases."""
        if "base_input" not in row and isinstance(row.get("test"), str):
            base = "mbpp" if self.is_mbpp else "humaneval"
            raise UsageError(f"{where}: a task whose test is code, not inputs: run it as --benchmark {base}")
        texts = text_fields(where, row, _NAMES, f"a task of {self.name}")
        try:
            groups = [
                [values.dump(list(self.arguments(texts["task_id"], list(one)))) for one in row[f"{group}_input"]]
                for group in GROUPS
            ]
            tolerance = float(row["atol"])
        except (KeyError, TypeError, ValueError, LookupError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"{where}: not a task of {self.name}: base_input, plus_input and atol are lists of inputs and a "
                f"number ({why})"
            ) from None
        if not groups[0]:
            raise UsageError(f"{where}: not a task of {self.name}: base_input is empty")
        return PlusTask(**texts, inputs=(*groups[0], *groups[1]), base_inputs=len(groups[0]), tolerance=tolerance)

    def arguments(self, task_id: str, stored: list[Any]) -> evalplus_values.Arguments:
        """The arguments that a stored input means."""
        return list(stored)

    def reference(self, task: PlusTask) -> str:
        """The prompt with its canonical solution."""
        return task.prompt + task.canonical_solution

    def cases(self, task: PlusTask) -> tuple[Case, ...]:
        """All calls; what is expected of them is not known before the reference solution ran."""
        return (sandbox.calls(task.entry_point, task.inputs),)

    def job(self, key: str, task: PlusTask, program: str) -> Job:
        """All calls, with the time for them that the reference solution sets."""
        expected = self._known[task.task_id]
        case = replace(self.cases(task)[0], expected="\n".join(expected.returned))
        timeout_s = max(MIN_TIMEOUT_S, FACTOR * expected.seconds)
        return Job(key, program, "", self.kind, timeout_s, expected_s=expected.seconds, cases=(case,))

    # ------------------------------------------------------------ what is right

    @cached_property
    def _remembered(self) -> Remembered:
        return Remembered(self.name, "expected", self.interpreter.identity)

    @cached_property
    def _known(self) -> dict[str, _Expected]:
        return {}

    def prepare(self, task_ids: Sequence[str]) -> None:
        """Run the reference solutions of these tasks, unless it is known what they return here."""
        left: list[Job] = []
        for task_id in task_ids:
            if task_id in self._known:
                continue
            task = self.by_id[task_id]
            row = self._remembered.get(self._expected_key(task))
            if row is not None:
                self._known[task_id] = _Expected(tuple(row["returned"]), row["seconds"], row["problem"])
            else:
                program = self.reference(task)
                left.append(Job(task_id, program, "", self.kind, REFERENCE_TIMEOUT_S, cases=self.cases(task)))
        for outcome in self._evaluate(left):  # of its own: what is expected is nowhere when programs run
            expected = _Expected(outcome.returned, (outcome.end_ns - outcome.start_ns) / 1e9, _problem(outcome))
            self._known[outcome.key] = expected
            if outcome.status != "error":
                row = {"returned": expected.returned, "seconds": expected.seconds, "problem": expected.problem}
                self._remembered.put(self._expected_key(self.by_id[outcome.key]), {"task_id": outcome.key, **row})

    def _expected_key(self, task: PlusTask) -> str:
        return content_hash(sandbox.VERSION, values.FORM, self.reference(task), task.entry_point, task.inputs)[:32]

    def not_evaluated(self, task: PlusTask) -> str:
        """Why it is not known what the task's function should return."""
        problem = self._known[task.task_id].problem
        return f"its reference solution does not say what is right: {problem}" if problem else ""

    def judged(self, task: PlusTask, outcome: Outcome) -> tuple[Outcome, dict[str, float]]:
        """Whether the program is right on all inputs, and whether it is on each of the two groups."""
        if outcome.status not in ("pass", "fail", "timeout"):
            return outcome, {}
        split = task.base_inputs
        wrong = {"base": self._first_wrong(task, outcome, 0, split), "plus": self._first_wrong(task, outcome, split)}
        scores = {group: float(not words) for group, words in wrong.items()}
        if outcome.status == "pass":
            words = wrong["base"] or wrong["plus"]
            detail = words if not words or not outcome.detail else f"{words}; {outcome.detail}"
            outcome = replace(outcome, status="fail" if words else "pass", detail=detail)
        return outcome, scores

    def _first_wrong(self, task: PlusTask, outcome: Outcome, start: int, end: int | None = None) -> str:
        """What is wrong in a group of inputs, in words; empty where nothing is."""
        group, tolerance = "plus" if start else "base", task.tolerance
        triples = zip(task.inputs, self._known[task.task_id].returned, strict=True)
        of_group = list(triples)[start:end]
        for number, (given, right) in enumerate(of_group, start=1):
            where = f"{group} input {number} of {len(of_group)}"
            place = start + number - 1
            if place >= len(outcome.returned) or not outcome.returned[place]:
                return f"{where}: nothing is returned"
            try:
                result = values.load(outcome.returned[place])
            except ValueError:
                return f"{where}: what is returned is no value"
            wanted = evalplus_values.wanted_of(task.entry_point, values.load(right), self.is_mbpp)
            tolerance = evalplus_values.tolerance_from(tolerance, wanted)
            arguments = values.load(given)
            if not evalplus_values.is_right(task.entry_point, arguments, wanted, result, tolerance, self.is_mbpp):
                return f"{where}: {values.shown(result)} is returned, not {values.shown(wanted)}"
        return ""

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """pass@1 on the base inputs alone, which is the original benchmark's."""
        counts: dict[str, list[bool]] = {}
        for sample in samples:
            if "base" in sample.scores:
                counts.setdefault(sample.task_id, []).append(sample.scores["base"] == 1.0)
        rate = mean_pass_at_k([(len(right), sum(right)) for right in counts.values()], 1)
        return {} if rate is None else {"pass_at_1_base": rate}


def _problem(outcome: Outcome) -> str:
    if outcome.status != "pass":
        return outcome.detail or outcome.status
    return "" if all(outcome.returned) else outcome.detail
