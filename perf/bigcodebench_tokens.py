"""Whether a chat generates as many tokens here as with bigcodebench 0.2.5's own ``hf`` backend, task by task.

    python perf/bigcodebench_tokens.py CHECKPOINT --official-python PYTHON [--tasks 20] [--max-new-tokens 300]

CHECKPOINT is a folder of a chat model or a registered name. PYTHON has bigcodebench 0.2.5 and the same transformers:
an environment of its own in which ``pip install --no-deps bigcodebench==0.2.5 stop-sequencer appdirs fire termcolor
tempdir pqdm multipledispatch wget`` was run, and a ``.pth`` file names the site-packages that hold torch.

Both decode greedily, one prompt at a time, in one data type with one attention kernel. That backend does not begin the
answer (it hands ``direct_completion`` on as ``prefill``), so neither does ours here (``--option prefill=false``). It
stops at the end of a code block where its ``response_prefix`` holds a fence, which its default does not: it is given
one. Its stop strings may begin within the prompt, which ours may not. Prints one JSON line last; ``--write`` keeps it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

OFFICIAL = """
import contextlib, json, sys
asked = json.load(sys.stdin)
with contextlib.redirect_stdout(sys.stderr):
    from bigcodebench.provider.hf import HuggingFaceDecoder
    decoder = HuggingFaceDecoder(
        asked["checkpoint"], "bigcodebench", asked["attention"], subset="full", split="complete", temperature=0,
        max_new_tokens=asked["max_new_tokens"], dtype=asked["dtype"], revision=None,
        instruction_prefix="Please provide a self-contained Python script that solves the following problem in a "
        "markdown code block:",
        response_prefix="Below is a Python script with a self-contained function that solves the problem and passes "
        "corresponding tests:\\n```python",
    )
    generate, counts = decoder.model.generate, []

    def counted(ids, **options):
        made = generate(ids, **options)
        counts.append(made.shape[1] - ids.shape[1])
        return made

    decoder.model.generate = counted
    texts = [decoder.codegen([prompt], do_sample=False, num_samples=1)[0][0] for prompt in asked["prompts"]]
print(json.dumps([{"tokens": tokens, "text": text} for tokens, text in zip(counts, texts, strict=True)]))
"""


def ours(model: Any, tasks: int, max_new_tokens: int) -> list[dict[str, Any]]:
    """Tokens generated and text of the first of BigCodeBench's embedded tasks, by a loaded model."""
    from passkwh import benchmarks
    from passkwh.adapters.engines.base import Decoding

    made = []
    for task in benchmarks.open("bigcodebench", {"prefill": "false"}, tasks).tasks:
        decoding = Decoding(max_new_tokens, stop=task.request.stops(chat=True))
        (completion,) = model.generate([task.request.prompt(chat=True)], decoding, [0])
        text = completion.text.replace("\t", "    ")
        made.append({"task": task.task_id, "tokens": completion.completion_tokens, "text": text})
    return made


def start_official(python: str, model: Any, folder: Path, tasks: int, max_new_tokens: int) -> subprocess.Popen[str]:
    """bigcodebench at the same work, in a process of its own."""
    from passkwh.benchmarks.bigcodebench.tasks import SAMPLE

    prompts = [json.loads(line)["complete_prompt"] for line in SAMPLE.read_text("utf-8").splitlines()[:tasks]]
    asked = {
        "checkpoint": str(folder), "prompts": prompts, "max_new_tokens": max_new_tokens, "dtype": model.info.dtype,
        "attention": "sdpa",
    }  # fmt: skip
    process = subprocess.Popen([python, "-c", OFFICIAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    process.stdin = None
    return process


def official(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What it made."""
    text, _ = process.communicate()
    if process.returncode:
        sys.exit(f"bigcodebench ended with {process.returncode}")
    made: list[dict[str, Any]] = json.loads(text.splitlines()[-1])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--official-python", required=True)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()

    from passkwh import adapters

    checkpoint = adapters.prepare(adapters.resolve(arguments.checkpoint))
    assert checkpoint.path is not None
    model = adapters.load(checkpoint, "cpu")
    tasks, limit = arguments.tasks, arguments.max_new_tokens
    process = start_official(arguments.official_python, model, checkpoint.path, tasks, limit)
    here = ours(model, tasks, limit)
    there = official(process)
    result = {
        "model": model.info.checkpoint,
        "dtype": model.info.dtype,
        "max_new_tokens": arguments.max_new_tokens,
        "tasks": len(here),
        "equal_tokens": sum(one["tokens"] == other["tokens"] for one, other in zip(here, there, strict=True)),
        "equal_texts": sum(one["text"] == other["text"] for one, other in zip(here, there, strict=True)),
        "cut_at_the_limit": sum(other["tokens"] == arguments.max_new_tokens for other in there),
        "official_tokens": {one["task"]: other["tokens"] for one, other in zip(here, there, strict=True)},
        "tokens": {one["task"]: one["tokens"] for one in here},
    }
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
