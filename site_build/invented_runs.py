"""Invented runs for the gallery: complete run folders in which nothing was measured, and which say so.

Of ``perf/synthetic.py``, which invents runs of models in the thesis's shape; those with early exit are made of one of
them here. All their channels are simulated.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from passkwh.adapters.early_exit.training.log import LossStep, TrainingLog, moving_rewards
from passkwh.stored import unseal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "perf"))
import synthetic

DEPTH, EXITS = 28, (4, 8, 12, 20, 28)
RULES = (
    (None, 28, 0.50), ("fixed:4", 4, 0.12), ("fixed:8", 8, 0.22), ("fixed:12", 12, 0.30), ("fixed:20", 20, 0.42),
    ("fixed:28", 28, 0.48), ("agent:0.6", 8, 0.35), ("agent:0.8", 12, 0.41), ("agent:0.9", 20, 0.45),
    ("agent:1", 28, 0.48), ("oracle", 12, 0.48),
)  # fmt: skip
"""Rule, the layer that its decoded tokens ran through, and the run's ROUGE-L: all invented."""


def of_configurations(root: Path) -> list[Path]:
    """Runs of one model size as base, instruct, AWQ, GPTQ-Int8 and GPTQ-Int4, and of others as base and instruct."""
    return synthetic.write_runs(root, synthetic.THESIS[:12], tasks=60, shorter=10.0, interval_s=0.2)


def of_exit_rules(root: Path) -> tuple[list[Path], list[TrainingLog]]:
    """The same run under several exit rules, cheaper where tokens leave earlier, and two trainings."""
    (whole,) = synthetic.write_runs(root / "whole", synthetic.THESIS[:1], tasks=40, shorter=10.0, interval_s=0.2)
    runs = [_left_early(whole, root / f"{number:02d}", *rule) for number, rule in enumerate(RULES)]
    losses = tuple(
        LossStep(step=n, weighted=3 / n**0.5, exits=tuple(4 / (1 + i) / n**0.4 + 0.2 for i in range(len(EXITS))))
        for n in range(1, 60)
    )
    about: dict[str, Any] = {"model": "an invented model", "languages": ("python",), "exits": EXITS}
    rewards = moving_rewards([1 - 3 / (3 + n / 20) for n in range(300)])
    return runs, [
        TrainingLog(kind="lite", losses=losses, **about),
        TrainingLog(kind="agent", optimal_exits={4: 30, 8: 22, 12: 18, 20: 9, 28: 4}, rewards=rewards, **about),
    ]


def _left_early(whole: Path, run: Path, rule: str | None, layer: int, quality: float) -> Path:
    shutil.copytree(whole, run)
    manifest, summary = (_unsealed(run / name) for name in ("manifest.json", "summary.json"))
    manifest["run_id"] = summary["run_id"] = run.name
    manifest["spec"]["exit"] = rule
    if rule:
        manifest["model"]["revision"] = "1" * 40  # the fine-tuned weights
        manifest["model"]["early_exit"] = {
            "rule": rule, "layers": DEPTH, "exits": "+".join(map(str, EXITS)), "kv": "propagate",
            "hindsight": rule == "oracle",
        }  # fmt: skip
    cost = layer / DEPTH * (1.1 if (rule or "").startswith("agent") else 1.0)
    samples = [json.loads(unseal(line)) for line in (run / "samples.jsonl").read_bytes().splitlines()]
    for sample in samples:
        sample["key"] = f"{run.name}{sample['key'][2:]}"
        sample["exit_layers"] = [DEPTH, *_layers(layer, sample["completion_tokens"] - 1)] if rule else None
    (run / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples), "utf-8")
    for channel in summary["channels"]:
        for kind in ("gross_j", "net_j"):
            channel["generation"][kind] *= cost
    summary |= {
        "metrics": {"rougeL": quality, "exact_match": quality / 4, "codebleu": quality / 2},
        "generation_s": summary["generation_s"] * cost, "mean_exit_layer": float(layer) if rule else None,
    }  # fmt: skip
    for name, content in (("manifest.json", manifest), ("summary.json", summary)):
        (run / name).write_text(json.dumps(content), "utf-8")
    return run


def _layers(layer: int, tokens: int) -> list[int]:
    """Exit layers whose most common one is ``layer``, by turns with its neighbours."""
    place = EXITS.index(layer)
    near = [EXITS[min(max(place + step, 0), len(EXITS) - 1)] for step in (0, 0, 0, -1, 1)]
    return [near[token % len(near)] for token in range(tokens)]


def _unsealed(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    content.pop("crc32", None)
    return content
