"""The engine ``llamacpp``: GGUF files, through the server of the package xllamacpp in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from passkwh.adapters import gguf
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import LoadOptions
from passkwh.adapters.engines.endpoint_client import Client
from passkwh.adapters.engines.served import Encode, EncodedPrompt, ServedModel, Server, check_names, model_info, start
from passkwh.adapters.memory import memory_needed
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Prompt
from passkwh.records import ModelInfo, Option

NAME = "llamacpp"
PROGRAM = Path(__file__).with_name("llamacpp_server.py")
RESERVED = ("port", "hostnames", "api_keys", "api_prefix", "model", "n_parallel", "embedding")
ROOM = 3
"""The planned length of a row is an estimate, made at three characters a token: a slot has room for one character a
token, as far as the model's context goes."""


class LlamaCppEngine:
    """GGUF files of every quantization that llama.cpp has."""

    summary = "llama.cpp, a server of this run's own, for GGUF files: FILE.gguf or OWNER/NAME:FILE.gguf"
    format = "gguf"
    takes_requests = True

    def missing(self) -> str | None:
        """The extra, where it is not installed."""
        return None if importlib.util.find_spec("xllamacpp") else "llama.cpp needs pip install 'passkwh[gguf]'"

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """It runs every GGUF file, where it is installed."""
        return self.missing()

    def check_options(self, options: Mapping[str, Option]) -> None:
        """UsageError unless each is a parameter of llama.cpp's (an attribute of ``CommonParams``) with a value of its
        kind."""
        if not options:
            return
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        kinds = {name: type(getattr(parameters, name)) for name in dir(parameters) if not name.startswith("_")}
        plain = {name: kind for name, kind in kinds.items() if kind in (bool, int, float, str)}
        check_names(NAME, options, [*plain, "n_threads"], RESERVED)
        for name, value in options.items():
            kind = plain.get(name, float if name == "start_s" else int)
            if not isinstance(value, kind) and not (kind is float and type(value) is int):
                raise UsageError(f"--engine-option {name}={value}: llama.cpp takes a {kind.__name__} here")

    def memory_needed(self, checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
        """Bytes for weights, key-value cache and margin."""
        return memory_needed(checkpoint, batch_size, max_tokens, device)

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> ServedModel:
        """Start a server for the file, with a slot for every row of a batch."""
        assert checkpoint.file is not None
        about = gguf.header(checkpoint.file)
        package = version("xllamacpp")
        server = Server(
            engine=NAME,
            version=package,
            command=(
                sys.executable, "-P", str(PROGRAM), _parameters(checkpoint.file, about, options),
            ),
            key_variable="PASSKWH_SERVER_KEY",
            model=checkpoint.name,
            options={name: value for name, value in options.options.items() if name != "start_s"},
            # Its own defaults sample from the 40 most likely tokens and those above a twentieth of the likeliest.
            request={"top_k": 0, "min_p": 0.0, "cache_prompt": bool(options.options.get("cache_prompt", False))},
        )  # fmt: skip

        def info(logged: str) -> ModelInfo:
            return model_info(
                server,
                checkpoint,
                dtype=gguf.DENSE.get(about.file_type, about.file_type),
                device=_device(logged),
                quantization=_quantization(checkpoint, about, package),
            )

        return start(server, options, info, _encoder)


ENGINE = LlamaCppEngine()


def _parameters(file: Path, about: gguf.Header, options: LoadOptions) -> str:
    """llama.cpp's parameters, as ``llamacpp_server.py`` takes them."""
    given = {name: value for name, value in options.options.items() if name not in ("start_s", "n_threads")}
    threads = options.options.get("n_threads", _threads())
    slot = ROOM * options.max_tokens if options.max_tokens else about.context_tokens or 4096
    if about.context_tokens is not None:
        slot = min(slot, about.context_tokens)
    parameters: dict[str, Any] = {
        "model.path": str(file),
        "n_parallel": options.parallel,
        "n_ctx": slot * options.parallel,
        "cpuparams.n_threads": threads,
        "cpuparams_batch.n_threads": threads,
        # A prompt's tokens are computed for every sample, so that its joules are its own.
        "cache_prompt": False,
        "cache_ram_mib": 0,
        "ui": False,
        **given,
    }
    return json.dumps(parameters)[:-1] + ', "port": {port}}'


def _threads() -> int:
    """As llama.cpp takes them, one for each physical core, but no more than this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or usable, usable)


def _quantization(checkpoint: Checkpoint, about: gguf.Header, package: str) -> dict[str, Option]:
    if checkpoint.quant == "none":
        return {}
    assert checkpoint.file is not None
    bits = checkpoint.file.stat().st_size * 8 / about.parameters
    return {
        "method": "gguf",
        "type": about.file_type.upper(),
        "bits_per_weight": round(bits, 2),
        "tool": f"xllamacpp {package}",
    }


def _device(logged: str) -> str:
    """The device that the server computes on, as ``cpu`` or ``gpu:NAME``: it prints a line of those that it has."""
    gpus = next(json.loads(line.partition(" ")[2]) for line in logged.splitlines() if line.startswith("gpus "))
    return f"gpu:{', '.join(gpus)}" if gpus else "cpu"


def _encoder(client: Client) -> Encode:
    """Prompts into tokens by the server: its file has the template and the vocabulary."""

    def encode(prompt: Prompt) -> EncodedPrompt:
        if isinstance(prompt, ChatPrompt):
            turns = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
            turns.append({"role": "user", "content": prompt.user})
            text = client.ask("/apply-template", {"messages": turns})["prompt"] + prompt.answer
        else:
            text = prompt.text
        # A chat template writes the special tokens that begin a sequence; other prompts get them here.
        special = not isinstance(prompt, ChatPrompt)
        tokens = client.ask("/tokenize", {"content": text, "add_special": special, "parse_special": True})["tokens"]
        return EncodedPrompt(text, tuple(tokens))

    return encode
