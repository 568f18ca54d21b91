"""What the shell completes values of options and arguments from: names of the registries, read without importing them.

An option takes one of these as its ``autocompletion``. A shell waits for the answer at every press of the key, so
nothing here imports torch, pandas or a member of a registry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from importlib import resources

from passkwh.registry import BENCHMARKS, ENGINES, EXIT_RULES, EXPORTS, IMPORTS, METERS, QUANTIZATIONS, Registry

Completion = Callable[[str], list[str]]
"""From what is written so far to the values that begin so."""


def one_of(*values: str) -> Completion:
    """Values that are known beforehand.

    Example:
        >>> one_of("gross", "net")("n")
        ['net']
    """
    return lambda incomplete: _beginning(values, incomplete)


def _of(registry: Registry, *first: str) -> Completion:
    """Names of a registry, other packages' members among them, after ``first``."""

    def names(incomplete: str) -> list[str]:
        return _beginning([*first, *registry.names()], incomplete)

    return names


def models(incomplete: str) -> list[str]:
    """Models with a name of their own; the shell completes folders and files itself where none begins so."""
    # Not through passkwh.adapters, whose records take longer to import than a shell should wait.
    text = resources.files("passkwh").joinpath("adapters").joinpath("models.toml").read_text("utf-8")
    return _beginning(tomllib.loads(text)["models"], incomplete)


def studies(incomplete: str) -> list[str]:
    """Ready-made studies; the shell completes study files itself where none begins so."""
    files = resources.files("passkwh").joinpath("harness").joinpath("sweep").joinpath("studies").iterdir()
    return _beginning(
        sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")), incomplete
    )


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in dict.fromkeys(values) if value.startswith(incomplete)]


quantizations = _of(QUANTIZATIONS, "none")
engines = _of(ENGINES, "auto")
benchmarks = _of(BENCHMARKS)
environments = one_of("bigcodebench", "sglang", "vllm")
"""Whether a member has an environment is known once it is imported: these are ours that have one."""
meters = _of(METERS)
exit_rules = _of(EXIT_RULES, "none")
exports = _of(EXPORTS)
imports = _of(IMPORTS)
conventions = one_of("passkwh", "thesis", "green-code")
experiments = one_of(
    "batch-size", "model-size", "fine-tuning", "awq", "gptq", "granularity", "early-exit", "all"
)  # fmt: skip
languages = one_of("python", "java")
thinking = one_of("on", "off", "low", "medium", "high")
