"""A checkpoint: which weights, where they are and what can be told of them without loading them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from passkwh.adapters.model_files import ModelFiles, not_a_checkpoint
from passkwh.adapters.prompt_form import PromptForm
from passkwh.adapters.reasoning import Reasoning
from passkwh.adapters.weights import check_weights, weight_files
from passkwh.errors import UsageError
from passkwh.records import Option

TOKENIZERS = ("tokenizer.json", "*.model", "vocab.json", "vocab.txt", "tekken.json", "*.tiktoken", "*.spm")
"""Files of which a tokenizer needs one, as publishers have them."""

Source = Literal["embedded", "hub", "local", "engine"]
"""Where weights come from: a Python package's GGUF file, the Hugging Face hub, a folder of the user's, or the engine,
which has them already (a server does)."""


@dataclass(frozen=True)
class Overrides:
    """What is asked of a model besides its name; the defaults leave everything to its files."""

    revision: str | None = None
    """Branch, tag or commit of the hub; None for the main branch."""
    prompt: PromptForm | None = None
    """Whether the model continues texts or answers chats; None for what its files say."""
    lora: str | None = None
    """LoRA adapter put onto the weights: a folder or a hub id."""
    trust_remote_code: bool = False
    """The model's own Python code may run."""
    quant_options: Mapping[str, Option] = field(default_factory=dict)
    """Of the quantization that is made here, as ``group_size``."""

    def given(self) -> dict[str, str]:
        """Those that were given, in words, for records."""
        values = {name: getattr(self, name) for name in ("revision", "prompt", "lora", "trust_remote_code")}
        return {name: str(value).lower() if value is True else str(value) for name, value in values.items() if value}


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights, as resolved from a name (see ``passkwh.adapters.resolve``), and what its files say of it."""

    name: str
    """As asked for."""
    source: Source
    location: str
    """Hub id, name of the local folder or of the embedded file, or the engine's own (an endpoint's URL#MODEL)."""
    path: Path | None
    """Folder of the weights in transformers' format; None until ``passkwh.adapters.prepare`` has made it, and where the
    engine has its own."""
    revision: str | None
    """Hub commit, or ``sha256:...`` over a folder's content."""
    chat: bool
    """Prompts go through the model's chat template."""
    quant: str = "none"
    prequantized: bool = False
    """The weights at ``location`` are quantized already; otherwise ``prepare`` quantizes them here where asked to."""
    pending: tuple[str, ...] = ()
    """What ``prepare`` still has to do, in words; empty when the weights are ready."""
    parameters: int | None = None
    """Number of weights before quantization packs them; None where that is not known yet."""
    active_parameters: int | None = None
    """Those that one token goes through, of a mixture of experts; None of other models and where unknown."""
    weight_bytes: int | None = None
    """Size of the weight files; None where nobody says."""
    files: Path | None = None
    """Folder of the small files, which is there before the weights are; None where the engine has its own."""
    context_tokens: int | None = None
    """Tokens of prompt and completion that the model was made for; None where its configuration does not say."""
    end_tokens: tuple[int, ...] = ()
    """Tokens that end a sequence, as configuration and generation config name them."""
    reasoning: Reasoning | None = None
    """The thinking phase, as the model's template and tokenizer name it; None for a model that has none, and where
    that is not known (an endpoint)."""
    format: Literal["safetensors", "gguf"] = "safetensors"
    """A folder as transformers has them, at ``path``; or one GGUF file, at ``file``."""
    file: Path | None = None
    """The GGUF file; None for the other format, and until ``prepare`` has fetched it."""
    read: Mapping[str, str] = field(default_factory=dict)
    """What says so, in words: of ``prompt`` and ``quantization``."""
    guesses: tuple[str, ...] = ()
    """What the files leave open and was guessed, each with the option that decides it."""
    overrides: Overrides = Overrides()
    engine: str | None = None
    """The engine that resolved the name as one of its own, which alone runs it; None where any engine may."""

    def about(self) -> dict[str, Any]:
        """What the files say of the model, as fields of ``ModelInfo``, whichever engine runs it."""
        return {
            "active_parameters": self.active_parameters,
            "context_tokens": self.context_tokens,
            "end_tokens": self.end_tokens,
            "reasoning": None if self.reasoning is None else self.reasoning.switch or "always",
            "read": dict(self.read),
            "overridden": self.overrides.given(),
            "guesses": self.guesses,
        }

    @property
    def adapter(self) -> str:
        """How it is made callable, for records: the quantization, or else base or instruct. Engines may say another."""
        if self.quant != "none":
            return self.quant
        return "instruct" if self.chat else "base"


# ---------------------------------------------------------------- what a folder says


def config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``; UsageError when it is missing or is not one of transformers."""
    return ModelFiles(folder).config


def check(folder: Path) -> None:
    """UsageError unless ``folder`` holds configuration, weights and a tokenizer; says what is missing."""
    if not folder.is_dir():
        raise UsageError(f"no checkpoint folder {folder}: give a registered name, a hub id or an existing folder")
    config(folder)
    check_weights(folder)
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise UsageError(not_a_checkpoint(folder, "it has no tokenizer (tokenizer.json or tokenizer.model)"))


def content_revision(folder: Path) -> str:
    """``sha256:...`` over names and content of all that shapes a model's answers: equal content, equal revision."""
    files = set(weight_files(folder))
    code = ("*.py",) if ModelFiles(folder).own_code else ()
    for pattern in ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", *code):
        files.update(folder.glob(pattern))
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.name != "quantization.json":  # our own record of how the rest was made: it holds this hash
            digest.update(f"{file.name}\0{file_hash(file)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; read once a process unless the file changes."""
    seen = file.stat()
    return _hash(file.resolve(), seen.st_size, seen.st_mtime_ns)


@functools.cache
def _hash(file: Path, size: int, mtime_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
