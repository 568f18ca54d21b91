"""What early exit saves on a CPU: each file completed by the unmodified model and by every rule, by turns.

    python perf/exits_turns.py [--rule fixed:30 --rule confidence:0.95,candidates=1024] [--rule lookup:3]
        [--data python=DIR --data java=DIR] [--files 60]

Whole runs one after the other (`perf/exits_compare.py`) say what rules lose; what they save is lost in the drift of a
machine that others share. Here every file is completed (one at a time, 15 new tokens, as the completion benchmarks ask)
by all configurations within seconds, each time in another order. Of each configuration: CPU seconds against the
unmodified model's over all files, which on a CPU is the ratio of estimated joules; its 95 % interval draws files with
replacement; and the share of completions that are the unmodified model's. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from passkwh import adapters
from passkwh.adapters.early_exit.request import parse
from passkwh.adapters.engines.base import Decoding
from passkwh.harness.plan import plan
from passkwh.records import Spec

BENCHMARKS = {"python": "py150", "java": "javacorpus"}
RULES = ("fixed:30", "confidence:0.95,candidates=1024", "agent:0.9", "lookup:3")
RESAMPLES = 2000
UNMODIFIED = "unmodified"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rule", action="append")
    parser.add_argument("--data", action="append", metavar="LANGUAGE=DIR", help="python=embedded by default")
    parser.add_argument("--files", type=int, default=60)
    options = parser.parse_args()
    checkpoint = adapters.prepare(adapters.resolve(options.model))
    report: dict[str, Any] = {"model": options.model, "files": options.files}
    for language, data in (pair.split("=", 1) for pair in options.data or ["python=embedded"]):
        spec = Spec(
            model=options.model, benchmark=BENCHMARKS[language], benchmark_options={"data": data}, limit=options.files
        )
        benchmark = plan(spec, Path()).benchmark
        assert benchmark is not None
        models = {UNMODIFIED: adapters.load(checkpoint, "cpu")}
        for rule in options.rule or RULES:
            models[rule] = adapters.load(checkpoint, "cpu", parse(rule), language)
        report[language] = compared(models, [task.request.prompt(chat=False) for task in benchmark.tasks])
        for model in models.values():
            model.close()
        for name, row in report[language].items():
            print(language, name, row, flush=True)
    print(json.dumps(report))


def compared(models: dict[str, Any], prompts: list[Any]) -> dict[str, dict[str, Any]]:
    """Ratio of CPU seconds to the unmodified model's with its interval, and the share of equal completions, by name."""
    order = random.Random(0)
    decoding = Decoding(15)
    for model in models.values():
        model.generate([prompts[0]], decoding, [0])  # lays weights out, fills caches
    spent_s = {name: np.empty(len(prompts)) for name in models}
    texts: dict[str, list[str]] = {name: [] for name in models}
    for place, prompt in enumerate(prompts):
        for name in order.sample(list(models), len(models)):
            begin_ns = time.process_time_ns()
            (completion,) = models[name].generate([prompt], decoding, [0])
            spent_s[name][place] = (time.process_time_ns() - begin_ns) / 1e9
            texts[name].append(completion.text)
    drawn = np.random.default_rng(0).integers(len(prompts), size=(RESAMPLES, len(prompts)))
    base = spent_s[UNMODIFIED]
    rows = {}
    for name, own in spent_s.items():
        low, high = np.quantile(own[drawn].sum(axis=1) / base[drawn].sum(axis=1), [0.025, 0.975])
        same = np.mean([text == plain for text, plain in zip(texts[name], texts[UNMODIFIED], strict=True)])
        rows[name] = {
            "ratio": round(float(own.sum() / base.sum()), 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
            "same_completions": float(same),
            "cpu_s": round(float(own.sum()), 2),
        }
    return rows


if __name__ == "__main__":
    main()
