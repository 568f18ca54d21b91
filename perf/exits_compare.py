"""What early exit loses and saves against the *unmodified* model: several bundles, rules and languages, the same files.

    python perf/exits_compare.py --bundle frozen=DIR [--bundle held=DIR --bundle lite=DIR] \\
        [--rule fixed:26 --rule agent:0.9 --rule confidence:0.9,candidates=1024] \\
        [--data python=DIR --data java=DIR] [--limit 200] [--repeats 1] [--meter estimate] [--out runs/exits-compare]

Every configuration is a run of `bench run` in --out (one prompt at a time, 15 new tokens), gone on with when this is
called again: the unmodified model without --exit, and for each bundle full depth (what its training itself lost) and
the rules. Of each, per language: the share of ROUGE-L and of CodeBLEU lost (means over files), the share of net energy
of generating saved, the mean exit layer, and the share of completions that are the unmodified model's. Shares and
their 95 % intervals are those of `bench exits`. On the frontier are the configurations that no other beats in energy
and in both losses. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import passkwh
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.analysis.exits.study import study
from passkwh.analysis.frames import load
from passkwh.analysis.results import Interval
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Spec

BENCHMARKS = {"python": "py150", "java": "javacorpus"}
RULES = (
    "agent:0.95", "agent:0.9", "agent:0.8", "agent:0.6", "confidence:0.9,candidates=1024",
    "confidence:0.7,candidates=1024", "entropy:0.1,candidates=1024",
)  # fmt: skip
METRICS = ("rougeL", "codebleu")
SAVED = "net_saved"
SHARES = (*(f"{metric}_lost" for metric in METRICS), SAVED)
NOTHING: dict[str, float | None] = {"share": 0.0, "low": 0.0, "high": 0.0}
"""What the unmodified model loses and saves, which everything is compared with."""


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
        made = {
            name: [one_run(options, BENCHMARKS[language], source, exit, repeat) for repeat in range(options.repeats)]
            for name, exit in exits.items()
        }
        rows = compared(made)
        for name in frontier(rows):
            rows[name]["frontier"] = True
        report[language] = {
            "data": source, "files": len(made["unmodified"][0].samples()), "configurations": rows,
        }  # fmt: skip
        show(language, rows)
    print(json.dumps(report))


def one_run(options: argparse.Namespace, benchmark: str, data: str, exit: str | None, repeat: int) -> RunFolder:
    """Run a configuration, or read it where it is complete."""
    spec = Spec(
        model=options.model, benchmark=benchmark, benchmark_options={"data": data}, limit=options.limit, exit=exit,
        max_new_tokens=15, batch_size=options.batch_size, meter=options.meter, repeat=repeat,
    )  # fmt: skip
    (path,) = passkwh.run(spec, out=options.out, resume=True).paths
    return RunFolder.open(path)


def compared(made: dict[str, list[RunFolder]]) -> dict[str, dict[str, Any]]:
    """Shares lost and saved with their intervals, mean exit layer, and the share of completions that are the same."""
    result = study(load([run.path for runs in made.values() for run in runs]), METRICS, "net")
    by_run = {path: one for one in result.configurations for path in one.runs}
    texts = {name: [text for run in runs for text in texts_of(run)] for name, runs in made.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, runs in made.items():
        one = by_run[str(runs[0].path)]
        against = one.against_base
        shares = dict.fromkeys(SHARES, NOTHING)
        if against is not None:
            shares = {f"{metric}_lost": in_short(against.lost(metric)) for metric in METRICS}
            shares[SAVED] = in_short(against.energy_saved_interval)
        same = [mine == base for mine, base in zip(texts[name], texts["unmodified"], strict=True)]
        rows[name] = {
            **shares,
            "mean_exit_layer": one.mean_exit_layer and round(one.mean_exit_layer, 2),
            "same_completions": round(sum(same) / len(same), 4),
            "provenance": result.provenance,
            "frontier": False,
        }
    return rows


def texts_of(run: RunFolder) -> list[str]:
    """Completions, in the order of files."""
    return [sample.text for sample in sorted(run.samples(), key=lambda sample: sample.task_id)]


def in_short(share: Interval | None) -> dict[str, float | None]:
    """An interval's numbers; None where they are missing."""
    if share is None:
        return dict.fromkeys(NOTHING)
    values = {"share": share.estimate, "low": share.low, "high": share.high}
    return {key: None if value is None else round(value, 4) for key, value in values.items()}


def frontier(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Configurations that no other equals or beats in energy and both losses, of those that have all three."""

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        mine = [one[SAVED]["share"], *(-one[f"{name}_lost"]["share"] for name in METRICS)]
        theirs = [other[SAVED]["share"], *(-other[f"{name}_lost"]["share"] for name in METRICS)]
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))

    whole = {name: row for name, row in rows.items() if all(row[key]["share"] is not None for key in SHARES)}
    return [name for name, row in whole.items() if not any(beats(other, row) for other in whole.values())]


def span(share: dict[str, float | None]) -> str:
    """A share and its interval in per cent."""
    value, low, high = (f"{part:.1%}" if part is not None else "?" for part in share.values())
    return f"{value:>7} [{low}, {high}]"


def show(language: str, rows: dict[str, dict[str, Any]]) -> None:
    print(f"{language}: shares lost and saved against the unmodified model; * on the frontier")
    for name, row in rows.items():
        spans = "  ".join(f"{key} {span(row[key])}" for key in SHARES)
        mark = "*" if row["frontier"] else " "
        print(f" {mark} {name:44s} {spans}  layers {row['mean_exit_layer']}  same {row['same_completions']:.0%}")


if __name__ == "__main__":
    main()
