"""The optional parts of the package: what each is for, and which of them a missing library belongs to."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "run": (
        ("torch", "transformers", "accelerate", "safetensors", "gguf", "huggingface_hub"),
        "models on this machine",
    ),
    "quant": (("gptqmodel", "bitsandbytes", "torchao"), "GPTQ, AWQ, bitsandbytes and torchao quantization"),
    "gguf": (("xllamacpp",), "llama.cpp, for GGUF files"),
    "completion": (("codebleu", "sacrebleu", "rouge_score", "rapidfuzz", "javalang"), "metrics of line completion"),
    "early-exit": (("peft", "gymnasium", "stable_baselines3"), "training of early-exit models"),
    "serve": (("fastapi", "uvicorn", "prometheus_client"), "the completion endpoint for editors"),
    "cluster": (("ray", "fsspec"), "studies on many machines"),
}
"""By extra: its libraries, the one that tells whether it is installed first, and its purpose."""


def installed(extra: str) -> bool:
    """Whether an extra's first library is here."""
    modules, _ = EXTRAS[extra]
    return find_spec(modules[0]) is not None


def extra_of(module: str) -> str | None:
    """The extra that brings a module, by its full name; None where no extra does."""
    top = module.partition(".")[0]
    return next((extra for extra, (modules, _) in EXTRAS.items() if top in modules), None)
