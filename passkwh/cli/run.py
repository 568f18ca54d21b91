"""``bench run``: one or more configurations through one benchmark, metered."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passkwh.cli import complete
from passkwh.cli.benchmark_options import OPTION_HELP, benchmark_options
from passkwh.cli.options import (
    AsJson,
    BatchSize,
    ModelOptions,
    Since,
    TaskData,
    TaskIds,
    TaskLimit,
    Until,
    grouped,
    out_folder,
    typed_values,
)
from passkwh.cli.output import note, number, print_json, print_table, size, table
from passkwh.errors import UsageError
from passkwh.measures import MEASURES, metric, metric_per_kwh

if TYPE_CHECKING:
    from passkwh.harness.plan import ModelReading, Plan
    from passkwh.records import Summary


MODEL_HELP = (
    "Registry name (see `bench list`), hub id or URL, OWNER/NAME@REV, local folder, FILE.gguf or openai:URL#MODEL; "
    "repeat to run several."
)
DEVICES_HELP = "auto, cpu, or the GPUs that the model may lie on, as 0,1."
QUANT_HELP = "none, or a quantization of `bench list`; repeat to run several."
ENGINE_HELP = "What runs the model, an engine of `bench list`; auto takes the first that can."
ENGINE_OPTION_HELP = "An option of the engine's own, for example n_threads=4 (llamacpp); repeat for more."
THINKING_HELP = (
    "Of a model that thinks first: on, off, low, medium, high, or the most tokens it may think; repeat to run several. "
    "Default: as its template does by itself."
)
CONCURRENCY_HELP = (
    "Requests kept in flight: when one ends, the next begins (engines that serve, instead of --batch-size); repeat to "
    "run several."
)
EXIT_HELP = (
    "Rule by which tokens leave before the last layer, as fixed:LAYER or agent:T, or lossless drafts, as "
    "lookup:3 or draft:LAYER,k=4 (see `bench list`), or none; "
    "repeat to run several. See docs/early-exit.md for its options."
)


@grouped
def run(
    model: Annotated[list[str], typer.Option("--model", "-m", help=MODEL_HELP, autocompletion=complete.models)],
    quant: Annotated[
        list[str] | None, typer.Option("--quant", "-q", help=QUANT_HELP, autocompletion=complete.quantizations)
    ] = None,
    engine: Annotated[str, typer.Option(help=ENGINE_HELP, autocompletion=complete.engines)] = "auto",
    engine_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=ENGINE_OPTION_HELP)] = None,
    asked: ModelOptions = ModelOptions(),  # noqa: B008
    devices: Annotated[str, typer.Option(help=DEVICES_HELP)] = "auto",
    exit: Annotated[
        list[str] | None, typer.Option("--exit", metavar="RULE", help=EXIT_HELP, autocompletion=complete.exit_rules)
    ] = None,
    exit_bundle: Annotated[Path | None, typer.Option(help="Folder of `bench train` for every --exit.")] = None,
    thinking: Annotated[
        list[str] | None,
        typer.Option("--thinking", metavar="HOW", help=THINKING_HELP, autocompletion=complete.thinking),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System prompt; default: the chat template's own.")] = None,
    benchmark: Annotated[
        str, typer.Option("--benchmark", "-b", help="See `bench list`.", autocompletion=complete.benchmarks)
    ] = "bigcodebench",
    style: Annotated[
        str | None,
        typer.Option(
            help="Prompt style of the benchmark: complete or instruct.",
            autocompletion=complete.one_of("complete", "instruct"),
        ),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="Part of the benchmark, for example full, hard or sample.")] = None,
    task: Annotated[str | None, typer.Option(help="Task of a benchmark that has several, for example line.")] = None,
    data: TaskData = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    since: Since = None,
    until: Until = None,
    task_ids: TaskIds = None,
    limit: TaskLimit = None,
    samples: Annotated[int, typer.Option(min=1, help="Completions per task.")] = 1,
    batch_size: BatchSize = 1,
    concurrency: Annotated[list[int] | None, typer.Option("--concurrency", min=1, help=CONCURRENCY_HELP)] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Default: the benchmark's own.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy decoding.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Nucleus mass when sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of sampling, and of the order of repeats.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs per configuration, interleaved in random order.")] = 1,
    meter: Annotated[
        str, typer.Option(help="auto, estimate, simulated[:PROFILE], replay:FILE, ...", autocompletion=complete.meters)
    ] = "auto",
    idle_s: Annotated[float, typer.Option(min=0.0, help="Idle baseline before and after, in seconds.")] = 10.0,
    out: Annotated[Path, typer.Option(help="Where run folders are made.", callback=out_folder)] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a kill interrupted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run and what is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run models through a benchmark under an energy meter and store each run in a folder."""
    from pydantic import ValidationError

    from passkwh.benchmarks import selection
    from passkwh.harness.plan import plan, refuse_problems
    from passkwh.records import Spec

    rules = _rules(exit, exit_bundle)
    chosen = selection.parse(task_ids) if task_ids is not None else ()
    options = benchmark_options(option, style=style, subset=subset, task=task, data=data, since=since, until=until)
    try:
        specs = [
            Spec(
                model=name, quant=quantization, engine=engine,
                engine_options=typed_values(engine_option, "--engine-option"), exit=rule, thinking=how, system=system,
                benchmark=benchmark,
                benchmark_options=options, limit=limit, task_ids=chosen, samples=samples, batch_size=batch_size,
                concurrency=at_once,
                max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, repeat=repeat,
                meter=meter, idle_s=idle_s, devices=devices, **_of_quant(asked.spec_fields(), quantization),
            )
            for name in model
            for quantization in quant or ["none"]
            for rule in rules
            for how in thinking or ["auto"]
            for at_once in concurrency or [1]
            for repeat in range(repeats)
        ]  # fmt: skip
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["loc"] == ("thinking",):
            raise UsageError(
                f"--thinking {problem['input']}: write on, off, low, medium, high, or a number of tokens"
            ) from None
        named = f"--{problem['loc'][-1]}".replace("_", "-")
        wrong = problem["msg"].replace("Input should be", "it should be")
        raise UsageError(f"{named} {problem['input']}: {wrong}; see `bench run --help`") from error
    if repeats > 1:
        random.Random(seed).shuffle(specs)  # so that drift of the machine does not fall on one configuration
    plans = [plan(spec, out) for spec in specs]
    if dry_run:
        _show_plans(plans, as_json)
    refuse_problems(plans)
    if not dry_run:
        _carry_out(plans, resume, as_json)


def _of_quant(fields: dict[str, Any], quantization: str) -> dict[str, Any]:
    """What is asked of a model, for one quantization: the dense model beside quantized ones takes no options."""
    return {**fields, "quant_options": {}} if quantization == "none" else fields


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
    from passkwh.cli.live import LiveProgress, time_left
    from passkwh.harness.runner import run as run_plan
    from passkwh.harness.runs.folder import RunFolder
    from passkwh.harness.sweep.machine_lock import try_hold_machine

    complete = {entry.folder for entry in plans if resume and RunFolder(entry.folder).complete}
    todo = [entry for entry in plans if entry.folder not in complete]
    if complete:
        several = f"{len(complete)} of {len(plans)} runs are"
        note(f"{several if len(plans) > 1 else 'the run is'} already complete")
    began_s = time.monotonic()
    for done, entry in enumerate(todo):
        name = entry.folder.name
        place = f"run {done + 1} of {len(todo)}, " if len(todo) > 1 else ""
        if done:
            left = time_left((time.monotonic() - began_s) / done * (len(todo) - done))
            note(f"{done} of {len(todo)} runs are done, {left} if the others take as long")
        try:
            with try_hold_machine(entry.spec.meter, name) as other, LiveProgress(place + name) as progress:
                folder = run_plan(entry, resume=resume, progress=progress)
        except KeyboardInterrupt:
            note(f"{entry.folder}: the same command with --resume goes on from what is stored")
            raise
        for warning in folder.summary().warnings:
            note(f"warning: {warning}")
        if other is not None:
            note(f"warning: another run ({other}) was metered here at the same time: each energy is of both")
    results = [(str(entry.folder), RunFolder.open(entry.folder).summary()) for entry in plans]
    if as_json:
        shown = [{"run_dir": path, **summary.model_dump(mode="json")} for path, summary in results]
        print_json(shown[0] if len(plans) == 1 else {"runs": shown})
        return
    _show_results(results)
    note("next: bench report " + " ".join(path for path, _ in results))


def _show_results(results: Sequence[tuple[str, Summary]]) -> None:
    """Print headlines, a line a run; of benchmarks without verdicts also each metric, alone and per kilowatt-hour."""
    summaries = [summary for _, summary in results]
    names = ["tasks", "gross_energy_j", "joules_per_token", "tokens_per_s"]
    if any(summary.pass_at_k for summary in summaries):
        names[1:2] = ["pass_at_1", "gross_energy_j", "pass_at_kwh", "solved_per_kwh"]
    if any(summary.mean_exit_layer is not None for summary in summaries):
        names.append("mean_exit_layer")
    if any(summary.tokens_per_check is not None for summary in summaries):
        names += ["tokens_per_check", "draft_acceptance"]
    if any(summary.cut_while_thinking is not None for summary in summaries):
        names += ["reasoning_tokens", "reasoning_energy_j", "reasoning_share"]
    measures = [MEASURES[name] for name in names]
    rows = [[path, *(m.text(m.value(summary)) for m in measures), summary.provenance] for path, summary in results]
    columns = ["run", *(measure.label for measure in measures), "provenance"]
    print_table(table(None, columns, rows, right=range(1, len(columns) - 1)))
    for path, summary in results:
        if summary.metrics_per_kwh:
            values = [
                [name, *(m.text(m.value(summary)) for m in (metric(name), metric_per_kwh(name)))]
                for name in summary.metrics_per_kwh
            ]
            print_table(table(path, ["metric", "value", "per kWh"], values, right=[1, 2]))


def _show_plans(plans: list[Plan], as_json: bool) -> None:
    """Print what would run: tasks, checkpoint, memory, meter, what is missing and why it cannot."""
    if as_json:
        print_json({"dry_run": True, "runs": [_plan_content(entry) for entry in plans]})
        return
    rows = [
        [
            str(entry.folder),
            _model_in_words(entry.report.model),
            number(entry.report.tasks, 6),
            number(entry.report.tasks and entry.report.tasks * entry.spec.samples, 6),
            f"{size(entry.report.memory_needed_bytes)} of {size(entry.report.memory_free_bytes)} free",
            ", ".join(f"{name} ({provenance})" for name, provenance in entry.report.channels.items()),
            "; ".join(entry.report.missing) or "nothing",
            "; ".join(problem.text for problem in entry.report.problems) or "yes",
        ]
        for entry in plans
    ]
    columns = ["run", "model", "tasks", "samples", "memory", "meter", "missing", "can run"]
    print_table(table("would run", columns, rows, right=[2, 3]))
    for guess in dict.fromkeys(guess for entry in plans if entry.report.model for guess in entry.report.model.guesses):
        note(f"guessed: {guess}")


def _model_in_words(model: ModelReading | None) -> str:
    """What the files say of a model, in a cell."""
    if model is None:
        return "—"
    weights = "" if model.parameters is None else f", {model.parameters / 1e9:.3g} B weights"
    active = "" if model.active_parameters is None else f" ({model.active_parameters / 1e9:.3g} B active)"
    return f"{model.prompt}, {'dense' if model.quant == 'none' else model.quant}{weights}{active}"


def _plan_content(entry: Plan) -> dict[str, Any]:
    spec, report = entry.spec, entry.report
    figures = {"checkpoint", "tasks", "memory_needed_bytes", "memory_free_bytes", "missing", "problems"}
    return {
        "run_dir": str(entry.folder),
        "complete": (entry.folder / "summary.json").exists(),
        **spec.model_dump(include={"model", "quant", "engine", "exit", "thinking", "max_new_tokens"}),
        **report.model_dump(mode="json", include=figures),
        "files_say": report.model and report.model.model_dump(mode="json"),
        "samples": None if report.tasks is None else report.tasks * spec.samples,
        "channels": [{"name": name, "provenance": provenance} for name, provenance in report.channels.items()],
    }
