"""A work held against itself, whole: every claim and table with verdicts, and own runs of the same configurations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from passkwh.analysis.experiments import traits
from passkwh.analysis.frames import Run
from passkwh.analysis.replications import green_code, thesis_claims
from passkwh.analysis.replications.printed import PrintedTable, Work, tables
from passkwh.analysis.replications.thesis_tables import table_checks
from passkwh.analysis.replications.verdicts import VERDICTS, Check, Verdict
from passkwh.measures import MEASURES, metric
from passkwh.records import Record
from passkwh.units import joules_to_kwh

SOURCES: dict[Work, str] = {
    "thesis": "M. Buis, Walking the Tightrope: Balancing Energy Efficiency and Accuracy in LLM-Driven Code Generation, "
    "master thesis, Utrecht University, 2024",
    "green-code": "S. Ilager, L. F. Briem, I. Brandic, GREEN-CODE: Optimizing Energy Efficiency in Large Language "
    "Models for Code Generation, arXiv 2501.11006, and its published runs",
}


class OwnRun(Record):
    """A run of one's own beside the printed row of its configuration, both by the work's convention."""

    run: str
    configuration: str
    printed_place: Annotated[
        str, Field(description="where the row is printed; empty where no row is of this configuration")
    ]
    measure: str
    printed: str
    own: float | None
    ratio: Annotated[float | None, Field(description="own / printed")]


class Reproduction(Record):
    """What holding a work against itself gives."""

    work: Work
    source: str
    counts: dict[Verdict, int]
    checks: tuple[Check, ...]
    tables: tuple[PrintedTable, ...]
    own_runs: tuple[OwnRun, ...] = ()


def reproduce(work: Work, runs: Sequence[Run] = ()) -> Reproduction:
    """Recompute every claim and table of a work; ``runs`` are put beside the printed rows they are of."""
    if work == "thesis":
        checks = [*thesis_claims.text_checks(), *thesis_claims.equation_checks(), *table_checks()]
        beside: Callable[[Run], list[OwnRun]] = _beside_thesis
    else:
        checks = [*green_code.text_checks(), *green_code.table_checks()]
        beside = _beside_green_code
    return Reproduction(
        work=work, source=SOURCES[work], checks=tuple(checks), tables=tables(work),
        counts={verdict: sum(c.verdict == verdict for c in checks) for verdict in VERDICTS},
        own_runs=tuple(row for run in runs for row in beside(run)),
    )  # fmt: skip


def _beside_thesis(run: Run) -> list[OwnRun]:
    own = traits(run)
    rows = [
        r for r in thesis_claims.rows()
        if r.quant == own.quant and r.tuning == own.tuning and _plain(r.model) == f"{own.family}-{own.size}"
        and (not r.batch_size or int(r.batch_size) == own.batch_size)
    ]  # fmt: skip
    label = f"{own.family} {own.size} {own.tuning} {own.quant}"
    if not rows:
        return [_unmatched(run, label)]
    row = rows[0]
    return [
        _beside(run, label, f"table {row.table}", MEASURES[name].heading(), text, MEASURES[name].value(run.summary))
        for name, text in (
            ("energy_kwh", row.energy_kwh), ("pass_at_1", row.pass_at_1), ("pass_at_kwh", row.pass_at_kwh),
            ("tokens_per_s", row.throughput_tok_s),
        )
        if text
    ]  # fmt: skip


def _plain(model: str) -> str:
    known = {
        "Qwen-Coder2.5-7B-Instruct": "qwen2.5-coder-7b", "Meta Llama3.1-8B-Instruct": "llama-3.1-8b",
        "DeepSeekCoder-V2-Lite-16B": "deepseek-coder-v2-lite-16b",
    }  # fmt: skip
    return known.get(model, model.lower())


def _beside_green_code(run: Run) -> list[OwnRun]:
    exit_rule, benchmark = run.manifest.spec.exit or "", run.manifest.benchmark.name
    language = {"javacorpus": "java", "py150": "python"}.get(benchmark, "")
    name = run.manifest.model.name.rstrip("/").rsplit("/", 1)[-1].lower()
    rule, _, rest = exit_rule.partition(":")
    threshold = rest.split(",")[0] if rule == "agent" else ""
    method = "green-code" if rule == "agent" else "base" if not exit_rule else "finetuned-all-layers"
    label = f"{name} on {benchmark}{f', {exit_rule}' if exit_rule else ''}"
    rows = [
        r for r in green_code.runs()
        if (r["language"], r["method"], r["threshold"]) == (language, method, threshold) and r["model"].lower() == name
    ]  # fmt: skip
    if not rows:
        return [_unmatched(run, label)]
    row, summary = rows[0], run.summary
    energy = None if summary.energy_kwh is None else summary.energy_kwh / joules_to_kwh(1.0) / max(summary.samples, 1)
    time_s = None if summary.generation_s is None else summary.generation_s / max(summary.samples, 1)
    return [
        _beside(run, label, "published runs", heading, row[column], value)
        for heading, column, value in (
            ("energy a sample (J) ↓", "mean_energy_j", energy),
            ("time a sample (s) ↓", "mean_time_s", time_s),
            ("CodeBLEU ↑", "codebleu", metric("codebleu").value(summary)),
            ("ROUGE-L ↑", "rouge_l", metric("rougeL").value(summary)),
        )
    ]  # fmt: skip


def _beside(run: Run, label: str, place: str, measure: str, text: str, own: float | None) -> OwnRun:
    ratio = None if own is None or float(text) == 0 else own / float(text)
    return OwnRun(
        run=run.manifest.run_id, configuration=label, printed_place=place, measure=measure, printed=text, own=own,
        ratio=ratio,
    )  # fmt: skip


def _unmatched(run: Run, label: str) -> OwnRun:
    return OwnRun(
        run=run.manifest.run_id, configuration=label, printed_place="", measure="", printed="", own=None, ratio=None
    )
