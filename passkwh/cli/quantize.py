"""``bench quantize``: make the quantized form of a model ahead of its runs, and say what it cost."""

from __future__ import annotations

from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson, Meter, ModelOptions, grouped
from passkwh.cli.output import number, print_json, print_table, table
from passkwh.errors import UsageError


@grouped
def quantize(
    model: Annotated[
        str,
        typer.Argument(
            help="Registry name (see `bench list`), hub id or local folder.", autocompletion=complete.models
        ),
    ],
    quant: Annotated[
        str, typer.Option("--quant", "-q", help="See `bench list`.", autocompletion=complete.quantizations)
    ] = "gptq-int4",
    asked: ModelOptions = ModelOptions(),  # noqa: B008
    meter: Meter = "auto",
    as_json: AsJson = False,
) -> None:
    """Quantize a model into the cache, once, under the meter; `bench run --quant` then uses it."""
    from passkwh import adapters
    from passkwh.adapters.quantization import make as quantizing
    from passkwh.adapters.quantization.lookup import is_made
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.meter.base import meter_channels
    from passkwh.harness.meter.block import metered_span
    from passkwh.harness.progress import Steps
    from passkwh.registry import QUANTIZATIONS

    if quant == "none":
        raise UsageError(f"--quant none is the model as it is: give one of {', '.join(QUANTIZATIONS.names())}")
    checkpoint = adapters.resolve(model, quant, overrides=asked.overrides(quant))
    if not checkpoint.prequantized and not is_made(checkpoint):
        raise UsageError(
            f"--quant {quant} is applied while a model is loaded: there is nothing to make ahead of `bench run`"
        )
    meter_channels(meter)  # a wrong name is an error before the work, not after it
    made_here = any("quantize" in step for step in checkpoint.pending)
    with LiveProgress(model) as live:
        checkpoint = adapters.prepare(checkpoint, Steps(live), lambda: metered_span(meter))
    place = checkpoint.file or checkpoint.path
    assert place is not None
    manifest = quantizing.read_manifest(place)
    result = {
        "model": model,
        "quant": quant,
        "checkpoint": checkpoint.location,
        "path": str(place),
        "revision": checkpoint.revision,
        "source": "quantized here" if made_here else ("cache" if manifest else "published"),
        "quantization": manifest.model_dump(mode="json") if manifest else None,
    }
    if as_json:
        print_json(result)
        return
    rows = [[key, str(result[key])] for key in ("checkpoint", "path", "revision", "source")]
    if manifest:
        energy = manifest.energy
        cost = f"{number(energy.gross_j, 4, 'J')} ({energy.provenance or energy.reason})"
        rows += [
            ["bits, group size", f"{manifest.bits}, {manifest.group_size}"],
            ["calibration", manifest.calibration],
            ["tool", manifest.tool],
            ["took", f"{manifest.duration_s:.0f} s"],
            ["energy", cost],
        ]
    print_table(table(f"{model} {quant}", ["", ""], rows))
