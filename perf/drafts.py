"""Lossless drafts against the whole model: equality of greedy tokens on held-out prompts, cost of checks, and energy.

    python perf/drafts.py equality --out DIR [--exit lookup:8 ...] [--data py150 ...] [--prompts 200] [--batch-size 8]
    python perf/drafts.py cost
    python perf/drafts.py energy --out DIR [--exit lookup:8 ...] [--data py150 ...] [--prompts 20]

equality  greedy tokens with drafts against ``generate`` of the unmodified model, token for token. Where they differ,
          the two logits at the first difference are compared in one pass over the text: ``gap`` is what the token of
          ``generate`` is ahead by there, a tie in the data type where that is no more than its rounding
cost      a pass over 1, 2, 4, ... tokens after 200, against one over 1: what a check must be worth
energy    batch 1, by turns with ``generate`` of the unmodified model: the ratio of CPU seconds (on a CPU the estimated
          net energy is proportional to them), tokens per check, and the ideal, where a check costs as much as a token

Prompts: Java files of --java (CodeXGLUE's test.txt; else those of the embedded sample's test split), Python files of
--python (CodeXGLUE's test.txt or .jsonl, or a folder of .py files), and tasks of --bigcodebench. Work that is in --out
is not done again. Prints one line a step and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from passkwh import adapters
from passkwh.adapters.early_exit.decode import Ending
from passkwh.adapters.early_exit.drafts.base import Drafter
from passkwh.adapters.early_exit.drafts.decode import DraftDecoder
from passkwh.adapters.early_exit.drafts.walk import Walk
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.fused import Fused
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import default_layout
from passkwh.adapters.early_exit.request import parse
from passkwh.adapters.early_exit.rules.base import ModelContext
from passkwh.benchmarks.completion.data import embedded_files

LENGTHS = {"py150": 15, "javacorpus": 15, "bigcodebench": 64}
"""New tokens of a prompt."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equality", "cost", "energy"])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--exit", nargs="+", default=["lookup:3", "draft:20,k=3"])
    parser.add_argument("--data", nargs="+", default=list(LENGTHS), choices=list(LENGTHS))
    parser.add_argument("--python", type=Path, nargs="+", default=[])
    parser.add_argument("--java", type=Path, nargs="+", default=[])
    parser.add_argument("--bigcodebench", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--context", type=int, default=384, help="tokens of a prompt: its last ones")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("drafts"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(json.dumps({"what": options.what, "dtype": options.dtype, **COMMANDS[options.what](options)}))


class Setting:
    """The unmodified model, its tokenizer and parts."""

    def __init__(self, options: argparse.Namespace) -> None:
        checkpoint = adapters.prepare(adapters.resolve(options.model))
        dtype = getattr(torch, options.dtype)
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=dtype).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
        self.parts = model_parts(self.model)
        self.heads = ExitHeads(self.parts)
        layout = default_layout(self.parts.depth)
        self.context = ModelContext(options.model, None, self.parts.hidden_size, layout, None, "python")
        end = self.model.generation_config.eos_token_id
        self.ends = [end] if isinstance(end, int) else list(end or [])

    def drafter(self, text: str) -> DraftDecoder:
        made = parse(text).rule(self.context)
        assert isinstance(made, Drafter)
        return DraftDecoder(self.parts, self.heads, made)

    def generate(self, batch: dict[str, torch.Tensor], steps: int) -> torch.Tensor:
        config = GenerationConfig(
            max_new_tokens=steps, do_sample=False, use_cache=True, eos_token_id=self.ends, pad_token_id=0
        )
        with torch.inference_mode():
            output: torch.Tensor = self.model.generate(**batch, generation_config=config)
        return output[:, batch["input_ids"].shape[1] :]

    def pad(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        return {"input_ids": ids, "attention_mask": mask}

    def prompts(self, name: str, options: argparse.Namespace) -> list[list[int]]:
        """Token ids of the first prompts of a data set."""
        texts = {"py150": python, "javacorpus": java, "bigcodebench": bigcodebench}[name](options, self.tokenizer)
        rows = []
        for text in texts:
            ids: list[int] = self.tokenizer(text)["input_ids"][-options.context :]
            if len(ids) > 40:
                rows.append(ids)
            if len(rows) == options.prompts:
                return rows
        if not rows:
            raise SystemExit(f"no prompts for {name}: give --python or --bigcodebench files of it")
        return rows


def beginning(text: str) -> str:
    """A file up to 40 % of it, as the completion benchmarks cut."""
    return text[: len(text) * 2 // 5]


def whole_files(source: Path) -> Iterator[str]:
    """Beginnings of the files of a test.txt of CodeXGLUE's, a line each."""
    for line in source.read_text("utf-8").splitlines():
        yield beginning(line.removeprefix("<s> ").removesuffix(" </s>").replace(" <EOL> ", "\n"))


def python(options: argparse.Namespace, _: Any) -> Iterator[str]:
    for source in options.python:
        if source.suffix == ".jsonl":
            for line in source.read_text("utf-8").splitlines():
                yield json.loads(line)["input"].removeprefix("<s> ").replace(" <EOL> ", "\n")
        elif source.suffix == ".txt":
            yield from whole_files(source)
        else:
            for file in sorted(source.rglob("*.py")):
                text = file.read_text("utf-8", errors="ignore")
                if 1500 < len(text) < 60_000:
                    yield beginning(text)


def java(options: argparse.Namespace, _: Any) -> Iterator[str]:
    """Files of --java, else of the embedded sample's test split, each cut at several places until there are enough."""
    for source in options.java:
        yield from whole_files(source)
    if options.java:
        return
    files = [file.text.replace(" <EOL> ", "\n") for file in embedded_files("java", "test").read()]
    for share in (40, 25, 55, 70):
        yield from (text[: len(text) * share // 100] for text in files)


def bigcodebench(options: argparse.Namespace, tokenizer: Any) -> Iterator[str]:
    with gzip.open(options.bigcodebench, "rt", encoding="utf-8") as lines:
        for line in lines:
            task = json.loads(line)["instruct_prompt"]
            messages = [{"role": "user", "content": task}]
            yield tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + "```python\n"


# ---------------------------------------------------------------- equality


def equality(options: argparse.Namespace) -> dict[str, Any]:
    setting = Setting(options)
    result: dict[str, Any] = {}
    for name in options.data:
        prompts = setting.prompts(name, options)
        for start in range(0, len(prompts), options.batch_size):
            rows = prompts[start : start + options.batch_size]
            batch = setting.pad(rows)
            plain = kept(options, f"{options.dtype}-{options.context}-{name}-{start}-generate", lambda: {
                "tokens": setting.generate(batch, LENGTHS[name]).tolist()  # noqa: B023
            })  # fmt: skip
            for text in options.exit:
                key = f"{options.dtype}-{options.context}-{name}-{start}-{text.replace(':', '-').replace(',', '-')}"
                record = kept(options, key, lambda: drawn(setting, batch, LENGTHS[name], text, plain["tokens"]))  # noqa: B023
                tally(result.setdefault(f"{name} {text}", {}), record)
            print(name, start + len(rows), {text: result[f"{name} {text}"] for text in options.exit}, flush=True)
    return {"equality": result}


def kept(options: argparse.Namespace, key: str, make: Any) -> dict[str, Any]:
    file = options.out / f"{key}.json"
    if not file.exists():
        file.write_text(json.dumps(make()), "utf-8")
    record: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return record


def drawn(
    setting: Setting, batch: dict[str, torch.Tensor], steps: int, text: str, plain: list[list[int]]
) -> dict[str, Any]:
    tokens, counts = setting.drafter(text).draw(
        batch["input_ids"], batch["attention_mask"], Ending(steps, setting.ends, 0)
    )
    rows = [completion(row, setting.ends) for row in tokens.tolist()]
    wanted = [completion(row, setting.ends) for row in plain]
    differences = []
    for number, (own, other) in enumerate(zip(rows, wanted, strict=True)):
        if own != other:
            prompt = batch["input_ids"][number][batch["attention_mask"][number] == 1]
            differences.append(gap(setting, prompt, own, other))
    return {
        "prompts": len(rows),
        "equal": sum(own == other for own, other in zip(rows, wanted, strict=True)),
        "tokens": sum(map(len, rows)),
        "checks": sum(len(row.drafted) for row in counts),
        "drafted": sum(sum(row.drafted) for row in counts),
        "accepted": sum(sum(row.accepted) for row in counts),
        "differences": differences,
    }


def completion(row: list[int], ends: Sequence[int]) -> list[int]:
    end = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
    return row[:end]


def gap(setting: Setting, prompt: torch.Tensor, own: list[int], other: list[int]) -> dict[str, Any]:
    """At the first difference: both tokens, and how far apart their logits are in one pass over the text."""
    at = next(place for place, (a, b) in enumerate(zip(own, other, strict=False)) if a != b)
    text = torch.cat((prompt, torch.tensor(own[:at], dtype=prompt.dtype)))[None]
    with torch.inference_mode():
        logits = setting.model(text, logits_to_keep=1).logits[0, -1].float()
    a, b = float(logits[own[at]]), float(logits[other[at]])
    return {"place": at, "own": own[at], "other": other[at], "logits": [a, b], "gap": b - a}


def tally(total: dict[str, Any], record: dict[str, Any]) -> None:
    for key in ("prompts", "equal", "tokens", "checks", "drafted", "accepted"):
        total[key] = total.get(key, 0) + record[key]
    total.setdefault("differences", []).extend(record["differences"])
    total["acceptance"] = total["accepted"] / total["drafted"] if total["drafted"] else None
    total["tokens_per_check"] = 1 + total["accepted"] / total["checks"] if total["checks"] else None


# ---------------------------------------------------------------- cost and energy


def cost(options: argparse.Namespace) -> dict[str, Any]:
    setting = Setting(options)
    parts = setting.parts
    tokens = torch.randint(10, 1000, (1, 300))
    spent: dict[int, list[float]] = {count: [] for count in (1, 2, 3, 4, 6, 8, 9, 12, 16)}
    with torch.inference_mode(), Fused(parts).running():
        walk = Walk(parts, torch.ones(1, 200, dtype=torch.long), tokens)
        walk.prefill()
        for _ in range(9):
            for count, ms in spent.items():
                begin_ns = time.process_time_ns()
                walk.advance([0], [200 + count], 0, parts.depth)
                setting.heads.logits(parts.depth, walk.states([0], [200], [200 + count]))
                ms.append((time.process_time_ns() - begin_ns) / 1e6)
                walk.cut(0, 200)
    ms = {count: statistics.median(values) for count, values in spent.items()}
    return {"ms": ms, "ratio": {count: value / ms[1] for count, value in ms.items()}}


def energy(options: argparse.Namespace) -> dict[str, Any]:
    setting = Setting(options)
    result: dict[str, Any] = {}
    for name in options.data:
        for number, row in enumerate(setting.prompts(name, options)):
            key = f"energy-{options.dtype}-{options.context}-{name}-{number}-" + "+".join(options.exit).replace(
                ":", "-"
            ).replace(",", "-")
            record = kept(options, key, lambda: turns(setting, setting.pad([row]), LENGTHS[name], options.exit))  # noqa: B023
            for text, own in record.items():
                total = result.setdefault(f"{name} {text}", {"ratios": [], "accepted": 0, "checks": 0, "same": 0})
                total["ratios"].append(own["ratio"])
                total["accepted"] += own["accepted"]
                total["checks"] += own["checks"]
                total["same"] += own["same"]
                total["ratio"] = statistics.median(total["ratios"])
                total["mean_ratio"] = statistics.fmean(total["ratios"])
                total["tokens_per_check"] = 1 + total["accepted"] / max(total["checks"], 1)
                total["ideal"] = 1 / total["tokens_per_check"]
            shown = {
                text: (round(total["ratio"], 3), round(total["tokens_per_check"], 2)) for text, total in result.items()
            }
            print(name, number + 1, shown, flush=True)
    for total in result.values():
        total["prompts"] = len(total.pop("ratios"))
    return {"energy": result}


def turns(setting: Setting, batch: dict[str, torch.Tensor], steps: int, exits: Sequence[str]) -> dict[str, Any]:
    """CPU seconds of each way to complete a prompt, prompt included, against ``generate`` right before and after."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    ending = Ending(steps, setting.ends, 0)

    def generate() -> tuple[list[list[int]], list[Any]]:
        return setting.generate(batch, steps).tolist(), []

    plain, _, before = timed(generate)
    record = {}
    for text in exits:
        decoder = setting.drafter(text)

        def draft(decoder: DraftDecoder = decoder) -> tuple[list[list[int]], list[Any]]:
            tokens, counts = decoder.draw(ids, mask, ending)
            return tokens.tolist(), counts

        tokens, (counts,), own = timed(draft)
        _, _, after = timed(generate)
        record[text] = {
            "ratio": 2 * own / (before + after),
            "same": tokens == plain,
            "checks": len(counts.drafted),
            "accepted": sum(counts.accepted),
        }
        before = after
    return record


def timed(call: Any) -> tuple[list[list[int]], list[Any], float]:
    begin_ns = time.process_time_ns()
    tokens, counts = call()
    return tokens, counts, (time.process_time_ns() - begin_ns) / 1e9


COMMANDS = {"equality": equality, "cost": cost, "energy": energy}

if __name__ == "__main__":
    main()
