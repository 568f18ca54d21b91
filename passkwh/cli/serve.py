"""``bench serve``: a model behind the interfaces that editors and clients speak, with its energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli import complete
from passkwh.cli.options import Engine, Meter
from passkwh.cli.output import note, print_json, say
from passkwh.errors import MissingExtra, UsageError

EXIT_HELP = "Rule by which tokens leave early, as fixed:LAYER or agent:T (see `bench list`)."


def serve(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Registry name, hub id or local folder.", autocompletion=complete.models),
    ],
    quant: Annotated[
        str, typer.Option("--quant", "-q", help="none, or one of `bench list`.", autocompletion=complete.quantizations)
    ] = "none",
    engine: Engine = "auto",
    exit: Annotated[
        str | None, typer.Option("--exit", metavar="RULE", help=EXIT_HELP, autocompletion=complete.exit_rules)
    ] = None,
    exit_bundle: Annotated[Path | None, typer.Option(help="Folder of `bench train` for --exit.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback is reachable from this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PASSKWH_API_KEY",
            show_default=False,
            help="Requests must carry it (Authorization: Bearer KEY); asked for where other machines reach --host. "
            "Better given in the environment, where no list of processes shows it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which requests may call the server, beside localhost; repeatable.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="What a request may ask for per completion.")] = 1024,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 8192,
    max_body_bytes: Annotated[int, typer.Option(min=1024, help="Largest request body.")] = 2**20,
    max_queue: Annotated[int, typer.Option(min=1, help="Completions that may wait; more are refused.")] = 64,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="From a request's arrival to its last token.")] = 60.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Waiting completions generated together.")] = 1,
    meter: Meter = "auto",
    idle_s: Annotated[float, typer.Option(min=0.0, help="Idle baseline at the start, for net energy.")] = 3.0,
    text_form: Annotated[
        str,
        typer.Option(
            help="code: a fine-tuned exit bundle gets and gives code as editors have it; tokens: CodeXGLUE's form, as "
            "it was trained on; auto: code where the bundle is fine-tuned."
        ),
    ] = "auto",
    usage: Annotated[
        bool,
        typer.Option(
            "--usage", help="Every answer carries energy, time and exit layers, wanted by its request or not."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout when ready.")] = False,
) -> None:
    """Serve a model to editors: /api/generate (llm-vscode, Ollama), /v1/completions (OpenAI), /metrics."""
    from passkwh import adapters
    from passkwh.adapters import early_exit
    from passkwh.cli.live import LiveProgress
    from passkwh.harness.meter.base import meter_channels
    from passkwh.harness.progress import Status, Steps

    try:
        from passkwh.serve import server
        from passkwh.serve.access import KEY_VARIABLE, Access
        from passkwh.serve.service import Service
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("fastapi", "prometheus_client", "starlette", "uvicorn"):
            raise MissingExtra("the completion endpoint", "serve") from None
        raise
    from passkwh.serve.limits import Limits, Served
    from passkwh.serve.text_form import check_form, of_rule

    access = Access([host, *(allow_host or [])], api_key)
    bound = server.bind(host, port)
    if api_key is None and not server.is_loopback(bound):
        raise UsageError(
            f"--host {host} can be reached from other machines: give a key that requests must carry, with --api-key or "
            f"in {KEY_VARIABLE}"
        )
    limits = Limits(max_body_bytes, max_prompt_tokens, max_new_tokens, max_queue, timeout_s, batch_size)
    check_form(text_form)
    meter_channels(meter)  # a mistake shows before the model is loaded
    rule = early_exit.parse(_rule(exit, exit_bundle))
    resolved = adapters.resolve(model, quant, engine)
    adapters.check(resolved, engine, rule)
    with LiveProgress(model) as live:
        checkpoint = adapters.prepare(resolved, Steps(live), exit=rule)
    form = of_rule(text_form, rule, checkpoint)
    on = adapters.check_memory(checkpoint, batch_size, max_prompt_tokens + max_new_tokens, engine=engine)
    with LiveProgress(model) as live:
        live.update(Status("loading the model", 0, 0))
        loaded = adapters.load(checkpoint, on, rule, engine=engine, report=Steps(live))
    name = checkpoint.location if checkpoint.source == "local" else model.rpartition("#")[2]
    address = server.url(bound)

    def ready() -> None:
        if as_json:
            info = loaded.info
            print_json(
                {
                    "url": address, "model": name, "adapter": info.adapter, "quant": info.quant, "device": info.device,
                    "loopback": server.is_loopback(bound),
                }
            )  # fmt: skip
        else:
            say(f"serving {name} at {address} (Ctrl-C ends it)")

    served = Served((name, model), limits)
    service = Service(loaded, served, rule=rule, meter=meter, idle_s=idle_s, always_usage=usage, text_form=form)
    server.serve(bound, service, ready, access)
    note("stopped")


def _rule(exit: str | None, bundle: Path | None) -> str | None:
    """The server's rule with its bundle."""
    if bundle is None:
        return exit
    if exit is None:
        raise UsageError(f"--exit-bundle {bundle} says where a rule's parts are: add the rule, as --exit agent:0.9")
    if ",bundle=" in exit:
        raise UsageError(f"--exit {exit} names a bundle, and --exit-bundle {bundle} another: give one of them")
    return f"{exit},bundle={bundle}"
