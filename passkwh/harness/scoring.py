"""Scores of completions, each with the time in which it was worked out."""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.benchmarks.base import Candidate
from passkwh.harness.items import Item
from passkwh.harness.sessions import RunSession
from passkwh.records import Sample, Verdict, Window


def score(session: RunSession, samples: dict[str, Sample], items: Sequence[Item]) -> None:
    """Score what has no evaluation yet: each sample in ``samples``, by key, is replaced by the scored one."""
    chat = session.model.info.chat
    todo = [item for item in items if samples[item.key].evaluation is None]
    candidates = [
        Candidate(item.key, item.task.task_id, samples[item.key].text, continues=not chat or item.task.request.raw)
        for item in todo
    ]
    verdicts = [samples[item.key].verdict for item in items]
    passes = sum(verdict is not None and verdict.status == "pass" for verdict in verdicts)
    done = len(items) - len(todo)
    session.report_progress("scoring", done, len(items), passes)
    session.mark()
    for count, score in enumerate(session.benchmark.score(candidates), start=done + 1):
        session.mark()
        window = Window(kind="score", session=session.index, start_ns=score.start_ns, end_ns=score.end_ns)
        sample, verdict = samples[score.key], score.verdict
        if sample.failure and verdict is not None and verdict.status != "not_evaluated":
            verdict = Verdict(status="fail", detail=f"{sample.finish_reason}: {sample.failure}")
        scored = sample.model_copy(
            update={
                "evaluation": window,
                "evaluation_cpu_s": score.cpu_s,
                "verdict": verdict,
                "scores": score.scores,
            }
        )
        session.recorder.flush()
        (samples[score.key],) = session.folder.append([scored])
        passes += verdict is not None and verdict.status == "pass"
        session.report_progress("scoring", count, len(items), passes)
