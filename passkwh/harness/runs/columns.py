"""What integration and summary need of a run's samples, in columns: a run may have a million."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passkwh.harness.meter.energies import Spans
from passkwh.harness.meter.series import Bools, Floats, Ints
from passkwh.records import Sample, Verdict

SCORED = np.array(["pass", "fail", "timeout", "error"])
"""Outcomes that count; a sample that was not evaluated counts neither way."""


@dataclass(frozen=True)
class Columns:
    """Samples in the order of their ``order``; arrays of shape (n,) where nothing else is said."""

    task: Ints
    """Number of the task, from 0."""
    batch: Ints
    """Number of the batch, from 0, in order of appearance."""
    prompt_tokens: Ints
    completion_tokens: Ints
    ttft_s: Floats
    """NaN where not known."""
    generation: Spans
    scored: Ints
    """Positions of the samples that were scored, shape (m,)."""
    evaluation: Spans
    """Of these."""
    evaluation_cpu_s: Floats
    """Of these; 0 where not known."""
    judged: Bools
    """Whether there is a verdict, be it that nothing was evaluated."""
    evaluated: Bools
    passed: Bools
    doubted: Bools
    """Passes under suspicion."""
    exit_layers: Ints
    """Of all tokens of all samples, where known."""
    first_silent: str
    """Why the first sample without an outcome has none."""
    first_doubt: str
    """Why the first pass under suspicion is."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Columns:
        """Those of records."""
        evaluations = [(i, s.evaluation, s.evaluation_cpu_s) for i, s in enumerate(samples) if s.evaluation is not None]
        verdicts = [sample.verdict for sample in samples]
        doubts = [_doubts(verdict) for verdict in verdicts]
        status = np.array([v.status if v is not None else "" for v in verdicts], dtype=np.str_)
        silent = [v.detail for v in verdicts if v is not None and v.status == "not_evaluated"]
        return cls(
            task=numbered([sample.task_id for sample in samples]),
            batch=numbered([sample.batch_id for sample in samples]),
            prompt_tokens=np.array([sample.prompt_tokens for sample in samples], dtype=np.int64),
            completion_tokens=np.array([sample.completion_tokens for sample in samples], dtype=np.int64),
            ttft_s=np.array([sample.ttft_s for sample in samples], dtype=np.float64),
            generation=Spans.of(sample.generation for sample in samples),
            scored=np.array([i for i, _, _ in evaluations], dtype=np.int64),
            evaluation=Spans.of(window for _, window, _ in evaluations),
            evaluation_cpu_s=np.array([cpu_s or 0.0 for _, _, cpu_s in evaluations], dtype=np.float64),
            judged=status != "",
            evaluated=np.isin(status, SCORED),
            passed=status == "pass",
            doubted=np.array([bool(doubt) for doubt in doubts], dtype=np.bool_),
            exit_layers=np.array([n for sample in samples for n in sample.exit_layers or ()], dtype=np.int64),
            first_silent=silent[0] if silent else "",
            first_doubt=next((doubt for doubt in doubts if doubt), ""),
        )

    def __len__(self) -> int:
        return len(self.task)

    @property
    def firsts(self) -> Ints:
        """Position of the first sample of each batch."""
        return np.asarray(np.unique(self.batch, return_index=True)[1], np.int64)

    def counts(self, *, trusted: bool = False) -> list[tuple[int, int]]:
        """(evaluated samples, passes) of each task; what was not evaluated counts neither way."""
        passed = self.passed & ~self.doubted if trusted else self.passed
        evaluated = np.bincount(self.task[self.evaluated])
        found = np.bincount(self.task[passed], minlength=len(evaluated))
        return [(n, c) for n, c in zip(evaluated.tolist(), found.tolist(), strict=True) if n]


def numbered(values: Sequence[object]) -> Ints:
    """Equal values as equal numbers, from 0 in order of appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _doubts(verdict: Verdict | None) -> str:
    return verdict.suspect[0] if verdict is not None and verdict.status == "pass" and verdict.suspect else ""
