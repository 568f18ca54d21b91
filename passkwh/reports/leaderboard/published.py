"""Rows that others measured and printed: on the board with their source, and never ranked among ours unless asked."""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import cache

from passkwh.analysis.published import check_published, parse_published
from passkwh.analysis.replications.printed import results_file
from passkwh.records import content_hash
from passkwh.reports.leaderboard.rows import Cell, Row, family, size, with_savings
from passkwh.units import joules_to_kwh

THESIS = "M. Buis, Walking the Tightrope: Balancing Energy Efficiency and Accuracy in LLM-Driven Code Generation, 2024"
GREEN_CODE = "S. Ilager, L. F. Briem, I. Brandic, GREEN-CODE: Optimizing Energy Efficiency in LLMs for Code Generation"
ROUNDED = "what the printed digits allow; no interval is published"
FINE_TUNED = "the fine-tuned model at full depth, as its authors compare"
FROM_ZERO = ("Llama-3.2-3B",)
"""Models whose published exit layers count from 0 (27.0 is all 28 layers); OPT's count from 1 (32.0 is all 32)."""
NEW_TOKENS = 15
RATIO = "at most 15 tokens a file / mean time; the paper prints {:.2f}, the mean of each file's own rate"
DATASETS = {"java": "JavaCorpus", "python": "PY150"}


@cache
def published_rows() -> tuple[Row, ...]:
    """The thesis's 49 rows and GREEN-CODE's 32 runs, in the order in which they are printed."""
    return (*with_savings(_thesis()), *with_savings(_green_code(), FINE_TUNED))


def _thesis() -> list[Row]:
    """Energy is that of one GPU above idle over one run of BigCodeBench; pass@kWh is as printed, where printed."""
    printed = parse_published(results_file("thesis"), "results.csv")
    rows = []
    for number, (entry, ratio) in enumerate(zip(printed, check_published(printed).ratios, strict=True)):
        rate = float(ratio.printed) if ratio.printed else float(entry.pass_at_1) / float(entry.energy_kwh)
        rows.append(
            Row(
                id=content_hash("thesis", number)[:16],
                model=entry.model,
                family=family(entry.model),
                parameters=size(entry.model),
                tuning=entry.tuning,
                quant=entry.quant,
                batch_size=int(entry.batch_size) if entry.batch_size else None,
                hardware="NVIDIA L40S (350 W); metered: GPU above idle",
                benchmark="BigCodeBench: 1,140 tasks, as in the thesis",
                provenance="published",
                source=THESIS,
                place=f"table {entry.table}",
                tasks=1140,
                runs=0,
                measures={
                    "pass_at_1": _rounded(entry.pass_at_1),
                    "energy_kwh": _rounded(entry.energy_kwh),
                    "pass_at_kwh": Cell(value=rate, low=min(ratio.low, rate), high=max(ratio.high, rate), note=ROUNDED),
                    "solved_per_kwh": Cell(
                        value=1140 * float(entry.pass_at_1) / float(entry.energy_kwh),
                        low=1140 * ratio.low,
                        high=1140 * ratio.high,
                        note=ROUNDED,
                    ),
                    "tokens_per_s": _rounded(entry.throughput_tok_s),
                },
                tasks_key="thesis",
                hardware_key="thesis",
                page=False,
            )
        )
    return rows


def _green_code() -> list[Row]:
    """Energy is that of one GPU over a run; savings are against the fine-tuned model at full depth, as in the paper.

    Throughput is put into our own terms, all tokens / all time. Exit layers count from 1.
    """
    printed = list(csv.DictReader(results_file("green-code").splitlines()))
    rows = []
    for number, entry in enumerate(printed):
        dataset, exits = DATASETS[entry["language"]], entry["method"] == "green-code"
        energy_j, tasks = (
            float(entry["total_energy_j"]),
            round(float(entry["total_energy_j"]) / float(entry["mean_energy_j"])),
        )
        rows.append(
            Row(
                id=content_hash("green-code", number)[:16],
                model=entry["model"],
                family=family(entry["model"]),
                parameters=size(entry["model"]),
                tuning="base" if entry["method"] == "base" else "fine-tuned",
                quant="none",
                exit=f"agent:{entry['threshold']}" if exits else "",
                full_depth=not exits,
                batch_size=1,
                hardware="NVIDIA Quadro RTX 8000; metered: GPU",
                benchmark=f"{dataset}: {tasks:,} line completions of at most 15 tokens, as in GREEN-CODE",
                provenance="published",
                source=f"{GREEN_CODE}, published runs on {dataset}",
                place=_exit_layer(entry["model"], float(entry["mean_exit_layer"])) if exits else "every layer",
                tasks=tasks,
                runs=0,
                measures={
                    "codebleu": Cell(value=float(entry["codebleu"])),
                    "exact_match": Cell(value=float(entry["exact_match"])),
                    "energy_kwh": Cell(value=joules_to_kwh(energy_j)),
                    "tokens_per_s": Cell(
                        value=NEW_TOKENS / float(entry["mean_time_s"]),
                        note=RATIO.format(float(entry["mean_throughput_tok_s"])),
                    ),
                },
                tasks_key=f"green-code-{entry['language']}",
                hardware_key="green-code",
                page=False,
            )
        )
    return rows


def _exit_layer(model: str, printed: float) -> str:
    """The mean exit layer, counted from 1 as everywhere here."""
    if model in FROM_ZERO:
        return f"mean exit layer {printed + 1:.1f} (printed as {printed:.1f}, counted from 0)"
    return f"mean exit layer {printed:.1f}"


def _rounded(text: str) -> Cell:
    """A printed figure with the span that rounds to it; thesis figures have two decimals, of which zeros were lost."""
    value = Decimal(text)
    half = Decimal("0.005")
    return Cell(value=float(value), low=float(max(value - half, Decimal(0))), high=float(value + half), note=ROUNDED)
