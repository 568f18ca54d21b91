"""What early exit loses and saves against the *unmodified* model: several bundles, rules and languages, the same files.

    python perf/exits_compare.py --bundle frozen=DIR [--bundle held=DIR --bundle lite=DIR] \\
        [--rule fixed:26 --rule agent:0.9 --rule confidence:0.9,candidates=1024] \\
        [--data python=DIR --data java=DIR] [--limit 200] [--repeats 1] [--meter estimate] [--out runs/exits-compare]

Every configuration is a run of `bench run` in --out (one prompt at a time, 15 new tokens), gone on with when this is
called again: the unmodified model without --exit, and for each bundle full depth (what its training itself lost) and
the rules. Of each, per language: the share of ROUGE-L and of CodeBLEU lost, the share of net energy of generating
saved, the mean exit layer, and the share of completions that are the unmodified model's. Shares are paired by file;
their 95 % intervals draw repeats and, within them, batches with replacement. On the frontier are the configurations
that no other beats in energy and in both losses. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import passkwh
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.harness.plan import plan
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Sample, Spec

BENCHMARKS = {"python": "py150", "java": "javacorpus"}
RULES = (
    "agent:0.95", "agent:0.9", "agent:0.8", "agent:0.6", "confidence:0.9,candidates=1024",
    "confidence:0.7,candidates=1024", "entropy:0.1,candidates=1024",
)  # fmt: skip
LOSSES = {"rougeL_lost": "rougeL", "codebleu_lost": "codebleu"}
SAVED = "net_saved"
RESAMPLES = 2000


@dataclass(frozen=True)
class Files:
    """One repeat of a configuration: of every file its scores, net joules, batch, layers and text."""

    tasks: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    batches: NDArray[np.int64]
    texts: tuple[str, ...]
    layers: NDArray[np.float64]
    provenance: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--bundle", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument(
        "--rule", action="append", help="of every bundle; some agents, confidence and entropy by default"
    )
    parser.add_argument("--data", action="append", metavar="LANGUAGE=DIR", help="python=embedded by default")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--meter", default="auto")
    parser.add_argument("--out", type=Path, default=Path("runs/exits-compare"))
    options = parser.parse_args()

    bundles = dict(pair.split("=", 1) for pair in options.bundle)
    data = dict(pair.split("=", 1) for pair in options.data or ["python=embedded"])
    report: dict[str, Any] = {"model": options.model, "limit": options.limit, "repeats": options.repeats}
    for language, source in data.items():
        exits: dict[str, str | None] = {"unmodified": None}
        for name, folder in bundles.items():
            depth = Bundle.read(Path(folder)).card.base.layers
            for rule in [f"fixed:{depth}", *(options.rule or RULES)]:
                exits[f"{name} {rule}"] = f"{rule},bundle={folder}"
        made: dict[str, list[Files]] = defaultdict(list)
        for repeat in range(options.repeats):
            for name, exit in exits.items():
                made[name].append(one_run(options, BENCHMARKS[language], source, exit, repeat))
        rows = {name: compared(made["unmodified"], runs) for name, runs in made.items()}
        for name in frontier(rows):
            rows[name]["frontier"] = True
        report[language] = {"data": source, "files": len(made["unmodified"][0].tasks), "configurations": rows}
        show(language, rows)
    print(json.dumps(report))


def one_run(options: argparse.Namespace, benchmark: str, data: str, exit: str | None, repeat: int) -> Files:
    """Run a configuration, or read it where it is complete."""
    spec = Spec(
        model=options.model, benchmark=benchmark, benchmark_options={"data": data}, limit=options.limit, exit=exit,
        max_new_tokens=15, batch_size=options.batch_size, meter=options.meter, repeat=repeat,
    )  # fmt: skip
    place = plan(spec, options.out).folder
    passkwh.run(spec, out=options.out, resume=True)
    folder = RunFolder.open(place)
    counted = [channel.channel for channel in folder.summary().channels if channel.counted]
    samples = sorted(folder.samples(), key=lambda sample: sample.task_id)
    return Files(
        tasks=tuple(sample.task_id for sample in samples),
        values={
            **{name: np.array([sample.scores[score] for sample in samples]) for name, score in LOSSES.items()},
            SAVED: np.array([net_j(sample, counted) for sample in samples]),
        },
        batches=np.array([sample.batch_id for sample in samples]),
        texts=tuple(sample.text for sample in samples),
        layers=np.array([np.mean(sample.exit_layers or np.nan) for sample in samples]),
        provenance=folder.summary().provenance,
    )


def net_j(sample: Sample, counted: Sequence[str]) -> float:
    """Net joules of generating a sample; not a number where a channel is missing."""
    values = [sample.generation_energy[channel].net_j for channel in counted]
    return float("nan") if any(value is None for value in values) else float(sum(value or 0.0 for value in values))


def compared(base: Sequence[Files], runs: Sequence[Files]) -> dict[str, Any]:
    """Shares lost and saved with their intervals, mean exit layer, and the share of completions that are the same."""
    assert all(one.tasks == other.tasks for one, other in zip(base, runs, strict=True))
    random = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in base[0].values}
    for _ in range(RESAMPLES):
        picked: dict[str, list[tuple[float, float]]] = {name: [] for name in drawn}
        for repeat in random.integers(len(runs), size=len(runs)):
            one, other = base[repeat], runs[repeat]
            units = np.unique(other.batches)
            counts = np.bincount(random.choice(units, len(units)), minlength=units.max() + 1)[other.batches]
            for name, values in picked.items():
                values.append((float(counts @ one.values[name]), float(counts @ other.values[name])))
        for name, values in picked.items():
            drawn[name].append(share(values))
    pairs = list(zip(base, runs, strict=True))
    totals = {name: [(float(b.values[name].sum()), float(r.values[name].sum())) for b, r in pairs] for name in drawn}
    result: dict[str, Any] = {
        name: {
            "share": round(share(totals[name]), 4),
            "low": round(float(np.quantile(values, 0.025)), 4),
            "high": round(float(np.quantile(values, 0.975)), 4),
        }
        for name, values in drawn.items()
    }  # fmt: skip
    same = [a == b for one, other in pairs for a, b in zip(one.texts, other.texts, strict=True)]
    layers = float(np.mean([run.layers.mean() for run in runs]))
    return result | {
        "mean_exit_layer": None if np.isnan(layers) else round(layers, 2),
        "same_completions": round(float(np.mean(same)), 4),
        "provenance": runs[0].provenance,
        "frontier": False,
    }


def share(sums: Sequence[tuple[float, float]]) -> float:
    """1 - (all of one) / (all of the base)."""
    base, other = (sum(values) for values in zip(*sums, strict=True))
    return 1 - other / base if base else float("nan")


def frontier(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Configurations that no other equals or beats in energy and both losses."""

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        mine = [one[SAVED]["share"], *(-one[name]["share"] for name in LOSSES)]
        theirs = [other[SAVED]["share"], *(-other[name]["share"] for name in LOSSES)]
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))

    return [name for name, row in rows.items() if not any(beats(other, row) for other in rows.values())]


def show(language: str, rows: dict[str, dict[str, Any]]) -> None:
    print(f"{language}: shares lost and saved against the unmodified model; * on the frontier")
    for name, row in rows.items():
        spans = "  ".join(
            f"{key} {row[key]['share']:7.1%} [{row[key]['low']:.1%}, {row[key]['high']:.1%}]"
            for key in (*LOSSES, SAVED)
        )
        mark = "*" if row["frontier"] else " "
        print(f" {mark} {name:44s} {spans}  layers {row['mean_exit_layer']}  same {row['same_completions']:.0%}")


if __name__ == "__main__":
    main()
