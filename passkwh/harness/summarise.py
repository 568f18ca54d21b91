"""From marks and trace to joules and headlines: the end of a run, which can be redone from what is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from passkwh.benchmarks.base import Benchmark, HasMetrics
from passkwh.harness.checks import check
from passkwh.harness.measure import in_flight, measure, thought_by_marks
from passkwh.harness.meter.energies import add, combined_provenance
from passkwh.harness.meter.trace import Trace
from passkwh.harness.meter.visibility import why_no_energy
from passkwh.harness.run_warnings import KS, run_warnings
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.table import SampleTable, whole_sum
from passkwh.measures import pass_at_k
from passkwh.passk import expected_solved, pass_at_kwh, solved_per_kwh
from passkwh.records import ChannelTotal, Energy, Manifest, Sample, Summary
from passkwh.units import NS_PER_S, joules_to_kwh


def finish(folder: RunFolder, manifest: Manifest, generated: Sequence[Sample], benchmark: Benchmark) -> Summary:
    """Integrate the trace, give every sample made its energy, summarise, and complete the run folder."""
    readings = folder.trace()
    trace = Trace.from_table(readings, manifest.meter.channels)
    table = SampleTable.of(generated)
    samples, totals = measure(manifest, generated, trace, table)
    complete = manifest.model_copy(update={"status": "complete"})
    quality = benchmark.quality if isinstance(benchmark, HasMetrics) else ()
    checks, findings = check(complete, samples, trace)
    summary = summarise(complete, table, totals, benchmark.summarise(samples), quality)
    summary = summary.model_copy(update={"checks": tuple(checks), "warnings": (*summary.warnings, *findings)})
    folder.finish(complete, samples, readings, summary)
    return summary


def summarise(
    manifest: Manifest,
    samples: SampleTable,
    totals: tuple[ChannelTotal, ...],
    metrics: dict[str, float],
    quality: Sequence[str] = (),
) -> Summary:
    """The summary of a run from its measured samples; of its metrics, those in ``quality`` are also given per kWh."""
    counts = samples.counts()
    has_verdicts = bool(samples.judged.any())
    pass_at = _pass_at(counts)
    solved = expected_solved(counts) if has_verdicts and counts else None

    counted = [total for total in totals if total.counted]
    imported = manifest.imported
    reason = imported.why_no_energy if imported else why_no_energy(manifest.meter, manifest.model)
    unmetered = Energy(gross_j=None, net_j=None, reason=reason)
    generation = add(total.generation for total in counted) if counted else unmetered
    evaluation = add(total.evaluation for total in counted) if counted else unmetered
    total = add([generation, evaluation])
    generation_s = None if imported else samples.measured.length_s()
    evaluation_s = samples.evaluation.merged().length_s()
    tokens, prompt_tokens = whole_sum(samples.completion_tokens), whole_sum(samples.prompt_tokens)
    known = [entry.prefill for entry in counted if entry.prefill is not None]
    prefill_j = add(known).gross_j if known and len(known) == len(counted) else None
    decode_j = None if prefill_j is None or generation.gross_j is None else generation.gross_j - prefill_j
    thinking = _thinking(samples, counted, generation)
    mean_exit = float(samples.exit_layers.mean()) if len(samples.exit_layers) else None
    return Summary(
        run_id=manifest.run_id,
        model=manifest.model.name,
        adapter=manifest.model.adapter,
        quant=manifest.model.quant,
        engine=manifest.model.engine,
        concurrency=manifest.spec.concurrency,
        benchmark=manifest.benchmark.name,
        tasks=manifest.benchmark.tasks,
        samples=len(samples),
        solved=solved,
        pass_at_k=pass_at if has_verdicts else {},
        pass_at_k_trusted=_pass_at(samples.counts(trusted=True)) if has_verdicts else {},
        metrics=metrics,
        metrics_per_kwh={
            name: per_kwh for name in quality if (per_kwh := pass_at_kwh(metrics.get(name), total.gross_j)) is not None
        },
        not_evaluated=int((samples.judged & ~samples.evaluated).sum()),
        gross_energy_j=total.gross_j,
        net_energy_j=total.net_j,
        energy_kwh=None if total.gross_j is None else joules_to_kwh(total.gross_j),
        generation_energy_j=generation.gross_j,
        evaluation_energy_j=evaluation.gross_j,
        energy_reason=total.reason,
        pass_at_kwh=pass_at_kwh(pass_at.get("1") if has_verdicts else None, total.gross_j),
        solved_per_kwh=solved_per_kwh(solved, total.gross_j),
        generation_s=generation_s,
        evaluation_s=evaluation_s,
        prompt_tokens=prompt_tokens,
        completion_tokens=tokens,
        **thinking,
        tokens_per_s=tokens / generation_s if tokens is not None and generation_s else None,
        joules_per_token=generation.gross_j / tokens if generation.gross_j is not None and tokens else None,
        joules_per_prompt_token=prefill_j / prompt_tokens if prefill_j is not None and prompt_tokens else None,
        joules_per_decoded_token=decode_j / tokens if decode_j is not None and tokens else None,
        **_steady(manifest, samples, counted),
        **_latencies(samples),
        mean_exit_layer=mean_exit,
        layers_skipped=None if mean_exit is None else 1 - mean_exit / float(manifest.model.early_exit["layers"]),
        **_drafts(samples),
        provenance=combined_provenance(entry.provenance for entry in counted or totals) or "mixed",
        channels=totals,
        warnings=tuple(run_warnings(manifest, samples, totals, (generation_s or 0.0) + evaluation_s, total)),
    )


def _drafts(samples: SampleTable) -> dict[str, float | None]:
    """What a summary says of drafts; nothing of a run without any."""
    checks, drafted, accepted = len(samples.drafted), int(samples.drafted.sum()), int(samples.accepted.sum())
    if not checks:
        return {}
    return {
        "drafted_per_check": drafted / checks,
        "draft_acceptance": accepted / drafted if drafted else None,
        "tokens_per_check": 1 + accepted / checks,
    }


def _thinking(samples: SampleTable, counted: Sequence[ChannelTotal], generation: Energy) -> dict[str, Any]:
    """What a summary says of thinking; nothing of a run in which no sample thought."""
    if not samples.thought.any():
        return {}
    tokens = float(samples.reasoning_tokens.sum())
    known = [entry.reasoning for entry in counted if entry.reasoning is not None]
    spent = add(known).gross_j if known else None
    by_marks = thought_by_marks(samples)[samples.thought]
    alone = bool((samples.batch_size == 1).all() and by_marks.all())
    lengths_s = (samples.reasoning_end_ns - samples.generation.start_ns) / NS_PER_S - samples.ttft_s
    return {
        "reasoning_tokens": None if np.isnan(tokens) else int(tokens),
        "reasoning_energy_j": spent,
        "reasoning_energy_by": None
        if spent is None
        else "marks"
        if by_marks.all()
        else "both"
        if by_marks.any()
        else "tokens",
        "reasoning_share": spent / generation.gross_j if spent is not None and generation.gross_j else None,
        "reasoning_s": float(np.maximum(lengths_s[samples.thought], 0).sum()) if alone else None,
        "cut_while_thinking": int(samples.cut_while_thinking.sum()),
    }


def _steady(manifest: Manifest, samples: SampleTable, counted: Sequence[ChannelTotal]) -> dict[str, Any]:
    """Speed and cost while as many requests were in flight as asked for; nothing of a run that makes batches."""
    flight = in_flight(manifest, samples)
    if flight is None:
        return {}
    most = manifest.spec.concurrency
    steady = flight.steady(most)
    if not steady.any():
        return {"steady_s": 0.0, "steady_reason": f"there were never {most} requests in flight: run more tasks"}
    steady_s, tokens = flight.spans.take(steady).length_s(), float(flight.tokens[steady].sum())
    spent = add(total.steady for total in counted if total.steady is not None) if counted else None
    return {
        "steady_s": steady_s,
        "steady_tokens_per_s": tokens / steady_s if steady_s > 0 else None,
        "steady_joules_per_token": spent.gross_j / tokens if spent and spent.gross_j is not None and tokens else None,
        "steady_reason": "no channel counts" if spent is None else spent.reason if spent.gross_j is None else None,
    }


QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def _latencies(samples: SampleTable) -> dict[str, float | None]:
    """Percentiles over samples of the time to the first token, per further token, and to the end."""
    answered = np.array([not failure for failure in samples.failures], dtype=np.bool_)
    alone = np.bincount(samples.batch)[samples.batch] == 1  # of a batch's rows it is not known when each ended
    alone |= np.array([len(own) > 0 for own in samples.arrivals_ns], dtype=np.bool_)
    further = samples.completion_tokens - 1
    after_first_s = samples.latency_s - samples.ttft_s
    after_first_s[~alone | (further < 1) | (after_first_s < 0)] = np.nan
    columns = {
        "ttft": samples.ttft_s,
        "tpot": after_first_s / np.maximum(further, 1),
        "latency": samples.latency_s,
    }
    percentiles: dict[str, float | None] = {}
    for what, values in columns.items():
        known = values[answered & np.isfinite(values)]
        for name, quantile in QUANTILES.items():
            percentiles[f"{what}_{name}_s"] = float(np.quantile(known, quantile)) if len(known) else None
    return percentiles


def _pass_at(counts: Sequence[tuple[int, int]]) -> dict[str, float]:
    """pass@k for every usual k that all tasks have samples for."""
    values = {str(k): pass_at_k(counts, k)[0] for k in KS}
    return {k: value for k, value in values.items() if value is not None}
