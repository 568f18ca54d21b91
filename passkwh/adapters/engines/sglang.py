"""The engine ``sglang``: SGLang's server, from an environment of its own (``bench setup sglang``), on a GPU."""

from __future__ import annotations

from collections.abc import Mapping

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines import served_folder
from passkwh.adapters.engines.base import LoadOptions
from passkwh.adapters.engines.served import ServedModel
from passkwh.records import Option

RESERVED = {
    "model-path": "the run names the model",
    "served-model-name": "the run names the model",
    "host": "the server listens on loopback",
    "port": "the run takes a free port",
    "api-key": "the run has a key of its own",
}


class SglangEngine:
    """Checkpoints in transformers' format, in as many quantizations as SGLang reads."""

    summary = "SGLang, a server of this run's own, from an environment of its own: bench setup sglang"
    environment = served_folder.PackageEnvironment("sglang", None)
    takes_requests = True

    def missing(self) -> str | None:
        """The environment, where there is none."""
        return self.environment.missing()

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """It runs checkpoints of ours where it is installed; which quantizations it reads, it says when it starts."""
        return self.missing()

    def check_options(self, options: Mapping[str, Option]) -> None:
        """UsageError for one that the run sets itself."""
        served_folder.check_options("sglang", options, RESERVED)

    def check_thinking(self, checkpoint: Checkpoint, thinking: str) -> None:
        """UsageError for a model whose template has no such switch, and for a number of tokens."""
        served_folder.check_thinking(checkpoint, thinking)

    def memory_needed(self, checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
        """Bytes for weights, key-value cache and margin."""
        return served_folder.memory_needed(checkpoint, batch_size, max_tokens, device)

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> ServedModel:
        """Start a server, with as many requests at a time as a batch has rows."""
        return served_folder.load("sglang", self.environment, checkpoint, options, command)


def command(
    checkpoint: Checkpoint, options: LoadOptions, dtype: str, device: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The interpreter's arguments: no radix cache (its prefix cache), no sampling advice of the checkpoint's."""
    words = [
        "-m", "sglang.launch_server", "--model-path", str(checkpoint.path),
        "--served-model-name", checkpoint.name, "--host", "127.0.0.1", "--port", "{port}", "--dtype", dtype,
        "--api-key", "{key}",
    ]  # fmt: skip
    preset: dict[str, Option] = {
        "max_running_requests": options.parallel,
        "disable_radix_cache": True,
        "enable_cache_report": True,
        "sampling_defaults": "openai",
    }
    if (length := served_folder.context_tokens(checkpoint, options)) is not None:
        preset["context_length"] = length
    return (*words, *served_folder.flags({k: v for k, v in preset.items() if k not in options.options})), {}


ENGINE = SglangEngine()
