"""``bench estimate``: memory, time and energy of a model on a device, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.options import AsJson, BatchSize
from passkwh.cli.output import note, number, print_json, print_table, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.analysis.estimate.architecture import Architecture
    from passkwh.analysis.estimate.as_printed import AsPrinted
    from passkwh.analysis.estimate.cost import Estimate, Workload
    from passkwh.analysis.estimate.devices import Device
    from passkwh.analysis.estimate.fit import EstimatorFit


def estimate(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A model known here, or a config.json or its folder.", autocompletion=complete.models
        ),
    ],
    gpu: Annotated[str, typer.Option(help="A device known here, or a .json file with its rates.")],
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 256,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens generated for each.")] = 256,
    batch_size: BatchSize = 1,
    quant: Annotated[
        str, typer.Option(help="none, or one of `bench list`.", autocompletion=complete.quantizations)
    ] = "none",
    exit_layer: Annotated[float | None, typer.Option(help="Early exit: mean layer at which tokens leave.")] = None,
    idle_w: Annotated[float | None, typer.Option(min=0.0, help="Idle power of the device, for net energy.")] = None,
    fit: Annotated[list[Path] | None, typer.Option(help="A run to fit to; repeat for several.")] = None,
    as_printed: Annotated[
        bool, typer.Option("--as-printed", help="The thesis's equations, misprints included.")
    ] = False,
    vary: Annotated[
        str | None, typer.Option(help="How requirements grow with layers, hidden, heads, batch, precision or tokens.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="For --vary: write the figure here (SVG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Parameters, KV cache, VRAM, time to first token, time per token and energy, estimated."""
    from passkwh.analysis.estimate.architecture import find_architecture
    from passkwh.analysis.estimate.devices import find_device

    device = find_device(gpu)
    if idle_w is not None:
        device = device.model_copy(update={"idle_w": idle_w, "idle_source": "--idle-w"})
    architecture, nominal = find_architecture(model)
    workload = _workload(prompt_tokens, new_tokens, batch_size, quant, exit_layer)
    if out is not None and vary is None:
        raise UsageError("--out is for the figure of --vary: add --vary batch, for example")
    if vary is not None:
        if exit_layer is not None or fit or as_printed:
            raise UsageError("--vary knows neither --exit-layer, --fit nor --as-printed: leave them out")
        _vary(architecture, device, workload, vary, out, as_json)
        return
    if as_printed:
        if exit_layer is not None or fit:
            raise UsageError("--as-printed knows neither --exit-layer nor --fit: the thesis has no equations for them")
        from passkwh.analysis.estimate.as_printed import as_printed as by_the_book

        printed = by_the_book(architecture, nominal, device, workload)
        if as_json:
            print_json(printed.model_dump(mode="json"))
        else:
            _show_printed(printed)
        return
    from passkwh.analysis.estimate.cost import estimate_cost

    fitted = _fit(fit, device) if fit else None
    result = estimate_cost(architecture, device, workload, fitted.reached() if fitted else None)
    for text in (*(fitted.notes if fitted else ()), *result.notes):
        note(f"note: {text}")
    if as_json:
        print_json({**result.model_dump(mode="json"), "fit": fitted.model_dump(mode="json") if fitted else None})
        return
    _show(result)
    if fitted:
        _show_fit(fitted)


def _vary(
    architecture: Architecture, device: Device, workload: Workload, vary: str, out: Path | None, as_json: bool
) -> None:
    from passkwh.analysis.estimate.scaling import VARIED, scale

    varied = next((known for known in VARIED if known == vary), None)
    if varied is None:
        raise UsageError(f"--vary {vary}: write one of {', '.join(VARIED)}")
    result = scale(architecture, device, workload, varied)
    written = {}
    if out is not None:
        from passkwh.harness.runs.files import write_atomic
        from passkwh.reports.figures.render import draw
        from passkwh.reports.figures.scaling import scaling_figure

        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out, draw(scaling_figure(result)).svg)
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be written ({error.strerror}); choose another file") from error
        written = {"figure": str(out)}
    for text in result.notes:
        note(f"note: {text}")
    if as_json:
        print_json({**result.model_dump(mode="json"), **written})
        return
    rows = [
        [f"{p.value:g}", number(p.parameters / 1e9, 4), number(p.kv_cache_bytes / 1e9, 4), number(p.vram_bytes / 1e9,
        4),
         number(p.ttft_s, 4), number(p.decoding_s, 4)]
        for p in result.points
    ]  # fmt: skip
    heads = [varied, "parameters (10⁹)", "KV cache (GB)", "VRAM (GB)", "TTFT (s)", "then (s)"]
    title = f"{result.model} on {result.device} by {varied}: estimated, not measured"
    print_table(table(title, heads, rows, right=range(6)))
    if out is not None:
        print(out.resolve())


def _fit(runs: list[Path], device: Device) -> EstimatorFit:
    from passkwh.analysis.comparable_groups import complete_runs
    from passkwh.analysis.estimate.fit import fit_estimator
    from passkwh.analysis.frames import load

    paths, left_out = complete_runs(runs)
    for text in left_out:
        note(f"note: {text}")
    return fit_estimator(load(paths), device)


def _workload(prompt_tokens: int, new_tokens: int, batch_size: int, quant: str, exit_layer: float | None) -> Workload:
    from passkwh.analysis.estimate.cost import Workload
    from passkwh.registry import QUANTIZATIONS

    if quant != "none" and quant not in QUANTIZATIONS:
        raise UsageError(f"--quant {quant}: {QUANTIZATIONS.unknown(quant)}")
    if exit_layer is not None and exit_layer <= 0:
        raise UsageError(f"--exit-layer {exit_layer:g}: layers are counted from 1")
    values: dict[str, Any] = {
        "prompt_tokens": prompt_tokens, "new_tokens": new_tokens, "batch_size": batch_size, "quant": quant,
        "exit_layer": exit_layer,
    }  # fmt: skip
    return Workload.model_validate(values)


def _show(result: Estimate) -> None:
    rows = [
        ["parameters", f"{result.parameters:,}"],
        ["active per token", f"{result.active_parameters:,}"],
        ["weights", number(result.weight_bytes / 1e9, 4, "GB")],
        ["KV cache", f"{number(result.kv_cache_bytes_per_token / 1e3, 4, 'kB')} per token, "
                     f"{number(result.kv_cache_bytes / 1e9, 3, 'GB')} in all"],
        ["VRAM", number(result.vram_bytes / 1e9, 4, "GB") + ("" if result.fits else " (does not fit)")],
        ["prefill", number(result.prefill_flop / 1e12, 4, "TFLOP")],
        ["decode step", f"{number(result.decode_flop_per_step / 1e9, 4, 'GFLOP')}, "
                        f"{number(result.decode_bytes_per_step / 1e9, 4, 'GB')}, bound by {result.bound_by}"],
        ["TTFT", number(result.ttft_s * 1e3, 4, "ms")],
        ["TPOT", number(result.tpot_s * 1e3, 4, "ms")],
        ["TGT", number(result.tgt_s, 4, "s")],
        ["energy", f"{number(result.energy_j, 4, 'J')} at {result.power_w:.0f} W"],
        ["net energy", number(result.net_energy_j, 4, "J")],
        ["J/token", number(result.joules_per_token, 4)],
    ]  # fmt: skip
    print_table(table(f"{result.model} on {result.device}: estimated, not measured", ["", ""], rows))


def _show_fit(fitted: EstimatorFit) -> None:
    rows = [
        [r.run, number(r.measured_s, 4), number(r.predicted_s, 4), f"{r.time_error:+.1%}",
         "—" if r.left_out_time_error is None else f"{r.left_out_time_error:+.1%}",
         number(r.measured_j, 4), number(r.predicted_j, 4),
         "—" if r.energy_error is None else f"{r.energy_error:+.1%}", r.provenance]
        for r in fitted.runs
    ]  # fmt: skip
    share = "—" if fitted.efficiency is None else f"{fitted.efficiency:.1%}"
    print_table(
        table(
            f"Fit: {share} of peak rates, {fitted.step_overhead_s * 1e3:.3g} ms a step more, "
            f"{number(fitted.power_w, 4, 'W')}",
            ["run", "s", "predicted", "error", "left out", "J", "predicted", "error", "energy is"],
            rows,
            right=range(1, 8),
        )
    )


def _show_printed(result: AsPrinted) -> None:
    rows = [
        ["parameters (3.19, 3.22)", number(result.parameters_by_equation, 4)],
        ["n_params of the tables", number(result.n_params, 4)],
        ["KV cache per token (3.23)", number(result.kv_bytes_per_token / 1e9, 4, "GB")],
        ["KV cache (3.25)", number(result.kv_bytes / 1e9, 4, "GB")],
        ["VRAM (3.26)", number(result.vram_bytes / 1e9, 4, "GB")],
        ["VRAM as table 5.14", number(result.vram_bytes_table_5_14 / 1e9, 4, "GB")],
        ["VRAM as tables 5.19-5.35", number(result.vram_bytes_table_5_19 / 1e9, 4, "GB")],
        ["prefill compute (3.27)", number(result.prefill_compute / 1e12, 4, "TFLOP")],
        ["decode compute (3.29)", number(result.decode_compute / 1e9, 4, "GFLOP")],
        ["memory (3.28, 3.30)", number(result.decode_memory / 1e9, 4, "GB")],
        ["TTFT (3.31)", number(result.ttft_s * 1e3, 4, "ms")],
        ["TPOT (3.32)", number(result.tpot_s * 1e3, 4, "ms")],
        ["TGT (3.33)", number(result.tgt_s, 4, "s")],
        ["TGT as tables 5.19-5.35", number(result.tgt_s_table_5_19, 4, "s")],
        ["energy (3.34)", number(result.energy_j, 4, "J")],
    ]
    print_table(table(f"{result.model} on {result.device}: as printed in the thesis", ["", ""], rows))
