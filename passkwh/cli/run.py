"""``bench run``: one or more configurations through one benchmark, metered."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli.benchmark_options import OPTION_HELP, benchmark_options
from passkwh.cli.output import note, number, print_json, print_table, size, table
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.harness.plan import Plan


MODEL_HELP = "Registry name (see `bench list`), hub id, local folder or openai:URL#MODEL; repeat to run several."
QUANT_HELP = "none, or a quantization of `bench list`; repeat to run several."
EXIT_HELP = (
    "Rule by which tokens leave before the last layer: fixed:LAYER, agent:T, confidence:T, entropy:T, oracle, or none; "
    "repeat to run several. See docs/early-exit.md for its options."
)


def run(
    model: Annotated[list[str], typer.Option("--model", "-m", help=MODEL_HELP)],
    quant: Annotated[list[str] | None, typer.Option("--quant", "-q", help=QUANT_HELP)] = None,
    exit: Annotated[list[str] | None, typer.Option("--exit", metavar="RULE", help=EXIT_HELP)] = None,
    exit_bundle: Annotated[Path | None, typer.Option(help="Folder of `bench train` for every --exit.")] = None,
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="See `bench list`.")] = "bigcodebench",
    style: Annotated[str | None, typer.Option(help="Prompt style of the benchmark: complete or instruct.")] = None,
    subset: Annotated[str | None, typer.Option(help="Part of the benchmark, for example full, hard or sample.")] = None,
    task: Annotated[str | None, typer.Option(help="Task of a benchmark that has several, for example line.")] = None,
    data: Annotated[Path | None, typer.Option(help="Local file with the benchmark's tasks.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions per task.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts generated together.")] = 1,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Default: the benchmark's own.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy decoding.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus mass when sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of sampling, and of the order of repeats.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs per configuration, interleaved in random order.")] = 1,
    meter: Annotated[str, typer.Option(help="auto, estimate, simulated[:PROFILE], replay:FILE, ...")] = "auto",
    idle_s: Annotated[float, typer.Option(min=0.0, help="Idle baseline before and after, in seconds.")] = 10.0,
    out: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a kill interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and what is missing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """Run models through a benchmark under an energy meter and store each run in a folder."""
    from pydantic import ValidationError

    from passkwh.harness.plan import plan
    from passkwh.records import Spec

    rules = _rules(exit, exit_bundle)
    options = benchmark_options(option, style=style, subset=subset, task=task, data=data)
    try:
        specs = [
            Spec(
                model=name, quant=quantization, exit=rule, benchmark=benchmark, benchmark_options=options, limit=limit,
                samples=samples, batch_size=batch_size, max_new_tokens=max_new_tokens, temperature=temperature,
                top_p=top_p, seed=seed, repeat=repeat, meter=meter, idle_s=idle_s,
            )
            for name in model
            for quantization in quant or ["none"]
            for rule in rules
            for repeat in range(repeats)
        ]  # fmt: skip
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(f"--{problem['loc'][-1]}: {problem['msg']}".replace("_", "-")) from error
    if repeats > 1:
        random.Random(seed).shuffle(specs)  # so that drift of the machine does not fall on one configuration
    plans = [plan(spec, out) for spec in specs]
    if dry_run:
        _show_plans(plans, as_json)
        return
    _carry_out(plans, resume, as_json)


def _rules(exits: list[str] | None, bundle: Path | None) -> list[str | None]:
    """The ``--exit`` of each run, with its bundle; None for a run whose tokens go through all layers."""
    if not exits:
        if bundle is not None:
            raise UsageError(f"--exit-bundle {bundle} says where a rule's parts are: add the rule, as --exit agent:0.9")
        return [None]
    for text in exits:
        if bundle is not None and ",bundle=" in text:
            raise UsageError(f"--exit {text} names a bundle, and --exit-bundle {bundle} another: give one of them")
    added = "" if bundle is None else f",bundle={bundle}"
    return [None if text == "none" else text + added for text in exits]


def _carry_out(plans: list[Plan], resume: bool, as_json: bool) -> None:
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.runner import run as run_plan
    from passkwh.harness.sweep.machine_lock import beside

    results: list[dict[str, Any]] = []
    todo = [entry for entry in plans if not (resume and len(plans) > 1 and (entry.folder / "summary.json").exists())]
    if len(todo) < len(plans):
        note(f"{len(plans) - len(todo)} of {len(plans)} runs are already complete")
    for entry in todo:
        name = entry.folder.name
        with beside(entry.spec.meter, name) as other, LiveProgress(name) as progress:
            folder = run_plan(entry, resume=resume, progress=progress)
        results.append({"run_dir": str(folder.path), **folder.summary().model_dump(mode="json")})
        for warning in results[-1]["warnings"]:
            note(f"warning: {warning}")
        if other is not None:
            note(f"warning: another run ({other}) was metered here at the same time: each energy is of both")
    if as_json:
        print_json(results[0] if len(plans) == 1 else {"runs": results})
        return
    _show_results(results)
    if results:
        note("next: bench report " + " ".join(r["run_dir"] for r in results))


def _show_results(results: list[dict[str, Any]]) -> None:
    """Print headlines, a line a run; of benchmarks without verdicts also each metric, alone and per kilowatt-hour."""
    judged = [r for r in results if r["pass_at_k"]]
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("tasks", lambda r: str(r["tasks"])),
        ("energy", lambda r: number(r["gross_energy_j"], 4, "J")),
        ("provenance", lambda r: r["provenance"]),
        ("J/token", lambda r: number(r["joules_per_token"])),
        ("tokens/s", lambda r: number(r["tokens_per_s"])),
    ]
    if judged:
        columns[1:1] = [("pass@1", lambda r: number(r["pass_at_k"].get("1")))]
        columns[4:4] = [
            ("pass@kWh", lambda r: number(r["pass_at_kwh"])), ("solved/kWh", lambda r: number(r["solved_per_kwh"])),
        ]  # fmt: skip
    if any(r["mean_exit_layer"] is not None for r in results):
        columns.append(("mean exit layer", lambda r: number(r["mean_exit_layer"])))
    names = ["run", *(name for name, _ in columns)]
    rows = [[r["run_dir"], *(show(r) for _, show in columns)] for r in results]
    print_table(
        table(None, names, rows, right=[i for i, name in enumerate(names) if name not in ("run", "provenance")])
    )
    for r in results:
        if r["metrics_per_kwh"]:
            values = [
                [name, number(r["metrics"][name]), number(per_kwh)] for name, per_kwh in r["metrics_per_kwh"].items()
            ]
            print_table(table(r["run_dir"], ["metric", "value", "per kWh"], values, right=[1, 2]))


def _show_plans(plans: list[Plan], as_json: bool) -> None:
    """Print what would run: tasks, checkpoint, memory, meter, and what is missing."""
    shown: list[dict[str, Any]] = []
    for entry in plans:
        shown.append(
            {
                "run_dir": str(entry.folder),
                "model": entry.spec.model,
                "quant": entry.spec.quant,
                "exit": entry.spec.exit,
                "checkpoint": entry.checkpoint.location,
                "complete": (entry.folder / "summary.json").exists(),
                "tasks": len(entry.benchmark.tasks),
                "samples": len(entry.benchmark.tasks) * entry.spec.samples,
                "max_new_tokens": entry.spec.max_new_tokens,
                "memory_needed_bytes": entry.memory_needed_bytes,
                "memory_free_bytes": entry.memory_free_bytes,
                "channels": [{"name": c.name, "provenance": c.provenance} for c in entry.channels],
                "missing": entry.missing(),
            }
        )
    if as_json:
        print_json({"dry_run": True, "runs": shown})
        return
    rows = [
        [
            r["run_dir"], str(r["tasks"]), str(r["samples"]),
            f"{size(r['memory_needed_bytes'])} of {size(r['memory_free_bytes'])} free",
            ", ".join(f"{c['name']} ({c['provenance']})" for c in r["channels"]), "; ".join(r["missing"]) or "nothing",
        ]
        for r in shown
    ]  # fmt: skip
    print_table(table("would run", ["run", "tasks", "samples", "memory", "meter", "missing"], rows, right=[1, 2]))
