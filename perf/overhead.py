"""What the harness adds to generating: the metered path of `bench run` against a bare transformers loop.

    python perf/overhead.py [--rounds 7] [--tasks 8] [--batch-size 4] [--max-new-tokens 48]

Same process, same loaded model, same prompts, same greedy decoding, taken by turns. The harness side is the runner's
own step for a batch with the recorder polling at its usual rate: marks, generation, trace flushed to disk, samples
appended and synced. Prints one JSON line last; ``ratio`` is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from passkwh import adapters
from passkwh.harness import runner
from passkwh.harness.meter.base import open_meter
from passkwh.harness.meter.recorder import Recorder
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.plan import plan
from passkwh.harness.progress import Silent
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=48)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as out:
        spec = Spec(
            model=options.model,
            limit=options.tasks,
            batch_size=options.batch_size,
            max_new_tokens=options.max_new_tokens,
            meter="estimate",
        )
        planned = plan(spec, Path(out))
        assert planned.checkpoint is not None
        assert planned.benchmark is not None
        loaded = adapters.load(adapters.prepare(planned.checkpoint))
        model, tokenizer = loaded._model, loaded._tokenizer  # type: ignore[attr-defined]
        channels = open_meter(spec.meter)
        manifest = runner._manifest(planned, planned.benchmark, loaded, channels)
        folder = RunFolder.create(planned.folder, manifest)
        manifest = runner._begin_session(folder, manifest)
        spec = planned.spec
        items = runner.plan_items(spec, loaded, planned.benchmark.tasks)
        batches = [items[i : i + spec.batch_size] for i in range(0, len(items), spec.batch_size)]

        def bare() -> list[str]:
            texts: list[str] = []
            for batch in batches:
                prompts = [loaded.render(item.prompt) for item in batch]
                inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
                with torch.inference_mode():
                    output = model.generate(**inputs, max_new_tokens=options.max_new_tokens, do_sample=False)
                texts += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            return texts

        def metered(session: runner.RunSession) -> list[str]:
            decoding = runner._decoding(session)
            made = (runner._generate(session, number, batch, decoding) for number, batch in enumerate(batches))
            return [sample.text for samples in made for sample in samples]

        writer = folder.trace_writer(0, TRACE_SCHEMA)
        times: dict[str, list[float]] = {"bare": [], "metered": []}
        same = True
        for turn in range(options.rounds + 1):
            start = time.perf_counter()
            expected = bare()
            bare_s = time.perf_counter() - start
            with Recorder(channels, writer.write, 0, runner.POLL_INTERVAL_S) as recorder:
                session = runner.RunSession(spec, planned.benchmark, loaded, folder, manifest, recorder, Silent())
                start = time.perf_counter()
                texts = metered(session)
                metered_s = time.perf_counter() - start
            same = same and texts == expected
            if turn:  # the first turn warms up
                times["bare"].append(bare_s)
                times["metered"].append(metered_s)
        writer.close()
        folder.close()
        loaded.close()

    medians = {name: statistics.median(values) for name, values in times.items()}
    paired = statistics.median(m / b for m, b in zip(times["metered"], times["bare"], strict=True))
    print(
        json.dumps(
            {
                "model": options.model,
                "rounds": options.rounds,
                "tasks": options.tasks,
                "batch_size": options.batch_size,
                "max_new_tokens": options.max_new_tokens,
                "same_text": same,
                "bare_s": round(medians["bare"], 3),
                "metered_s": round(medians["metered"], 3),
                "ratio": round(medians["metered"] / medians["bare"], 4),
                "median_paired_ratio": round(paired, 4),
            }
        )
    )


if __name__ == "__main__":
    main()
