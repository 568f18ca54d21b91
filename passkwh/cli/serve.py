"""``bench serve``: a model behind the interfaces that editors and clients speak, with its energy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passkwh.cli.output import note, print_json


def serve(
    model: Annotated[str, typer.Option("--model", "-m", help="Registry name, hub id or local folder.")],
    quant: Annotated[str, typer.Option("--quant", "-q", help="none, gptq-int8, gptq-int4 or awq.")] = "none",
    host: Annotated[str, typer.Option(help="Address to listen on; loopback is reachable from this machine only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="What a request may ask for per completion.")] = 1024,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 8192,
    max_body_bytes: Annotated[int, typer.Option(min=1024, help="Largest request body.")] = 2**20,
    max_queue: Annotated[int, typer.Option(min=1, help="Completions that may wait; more are refused.")] = 64,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="From a request's arrival to its last token.")] = 60.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Waiting completions generated together.")] = 1,
    meter: Annotated[str, typer.Option(help="auto, estimate, simulated[:PROFILE], ...")] = "auto",
    idle_s: Annotated[float, typer.Option(min=0.0, help="Idle baseline at the start, for net energy.")] = 3.0,
    usage: Annotated[
        bool, typer.Option("--usage", help="Every answer carries energy, time and exit layers, asked for or not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout when ready.")] = False,
) -> None:
    """Serve a model to editors: /api/generate (llm-vscode, Ollama), /v1/completions (OpenAI), /metrics."""
    from passkwh import adapters
    from passkwh.serve.limits import Limits
    from passkwh.serve.server import bind, check_installed, is_loopback, url
    from passkwh.serve.server import serve as serve_model

    check_installed()
    bound = bind(host, port)
    if not is_loopback(bound):
        note(f"warning: {host} can be reached from other machines, and there is no password: anyone may use the model")
    limits = Limits(max_body_bytes, max_prompt_tokens, max_new_tokens, max_queue, timeout_s, batch_size)
    checkpoint = adapters.prepare(adapters.resolve(model, quant), note)
    adapters.check_memory(checkpoint, batch_size, max_prompt_tokens + max_new_tokens)
    note("loading the model")
    adapter = adapters.load(checkpoint)
    name = Path(checkpoint.location).name if checkpoint.source == "local" else model
    address = url(bound)

    def ready() -> None:
        if as_json:
            info = adapter.info
            print_json(
                {
                    "url": address, "model": name, "adapter": info.adapter, "quant": info.quant, "device": info.device,
                    "loopback": is_loopback(bound),
                }
            )  # fmt: skip
        else:
            print(f"serving {name} at {address} (Ctrl-C ends it)", flush=True)

    serve_model(bound, adapter, (name, model), limits, meter=meter, idle_s=idle_s, always_usage=usage, ready=ready)
    note("stopped")
