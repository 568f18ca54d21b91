"""A checkpoint: which weights, where they are and what can be told of them without loading them."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from passkwh.adapters.model_files import ModelFiles, not_a_checkpoint
from passkwh.adapters.reasoning import Reasoning
from passkwh.errors import UsageError
from passkwh.registry import QUANTIZATIONS

Source = Literal["embedded", "hub", "local", "engine"]
"""Where weights come from: a Python package's GGUF file, the Hugging Face hub, a folder of the user's, or the engine,
which has them already (a server does)."""


@dataclass(frozen=True)
class Checkpoint:
    """A model's weights, as resolved from a name (see ``passkwh.adapters.resolve``)."""

    name: str
    """As asked for."""
    source: Source
    location: str
    """Hub id, name of the local folder or of the embedded file, or the engine's own (an endpoint's URL#MODEL)."""
    path: Path | None
    """Folder of the weights in transformers' format; None until ``passkwh.adapters.prepare`` has made it, and where the
    engine has its own."""
    revision: str | None
    """Hub commit, or ``sha256:...`` over a folder's content; None where the hub's is not known yet."""
    chat: bool
    """Prompts go through the model's chat template."""
    quant: str = "none"
    prequantized: bool = False
    """The weights at ``location`` are quantized already; otherwise ``prepare`` quantizes them here where asked to."""
    pending: tuple[str, ...] = ()
    """What ``prepare`` still has to do, in words; empty when the weights are ready."""
    parameters: int | None = None
    """Number of weights before quantization packs them; None where that is not known yet."""
    reasoning: Reasoning | None = None
    """The thinking phase, as the model's template and tokenizer name it; None for a model that has none, and where
    that is not known (an endpoint)."""
    format: Literal["safetensors", "gguf"] = "safetensors"
    """A folder as transformers has them, at ``path``; or one GGUF file, at ``file``."""
    file: Path | None = None
    """The GGUF file; None for the other format, and until ``prepare`` has fetched it."""
    engine: str | None = None
    """The engine that resolved the name as one of its own, which alone runs it; None where any engine may."""

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
    missing = [file.name for file in weight_files(folder) if not file.is_file()]
    if missing:
        raise UsageError(not_a_checkpoint(folder, f"weight file {missing[0]} is missing"))
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise UsageError(not_a_checkpoint(folder, "it has no tokenizer (tokenizer.json or tokenizer.model)"))


def weight_files(folder: Path) -> list[Path]:
    """The weight files a folder should have, sorted, present or not; UsageError when it has none at all."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).is_file():
            try:
                shards = json.loads((folder / index).read_text("utf-8"))["weight_map"].values()
            except (OSError, ValueError, KeyError, AttributeError):
                raise UsageError(not_a_checkpoint(folder, f"its {index} cannot be read")) from None
            return sorted(folder / shard for shard in set(shards))
    for pattern in ("*.safetensors", "pytorch_model*.bin"):
        if files := sorted(folder.glob(pattern)):
            return files
    raise UsageError(not_a_checkpoint(folder, "it has no weights (*.safetensors or pytorch_model.bin)"))


@dataclass(frozen=True)
class Tensor:
    """One tensor as a safetensors header lists it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


def tensors(folder: Path) -> Iterator[Tensor]:
    """The tensors of a folder's safetensors files, from their headers alone; nothing for other formats."""
    for file in weight_files(folder):
        if file.suffix != ".safetensors":
            continue
        try:
            with file.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(length))
            for name, entry in header.items():
                if name != "__metadata__":
                    start, end = entry["data_offsets"]
                    yield Tensor(name, tuple(entry["shape"]), entry["dtype"], end - start)
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise UsageError(not_a_checkpoint(folder, f"{file.name} is damaged ({error})")) from None


def count_parameters(folder: Path) -> int | None:
    """Number of weights, counting packed ones as what they stand for; None where no header tells."""
    bits = (config(folder).get("quantization_config") or {}).get("bits", 0)
    total = 0
    for tensor in tensors(folder):
        kind = tensor.name.rsplit(".", 1)[-1]
        if kind == "qweight":
            total += math.prod(tensor.shape) * 32 // bits
        elif kind not in ("qzeros", "scales", "g_idx"):
            total += math.prod(tensor.shape)
    return total or None


def quantization(folder: Path) -> str:
    """Name of the quantization of a folder's weights, ``none`` for dense ones; UsageError for one nobody runs here."""
    packed = config(folder).get("quantization_config")
    if not packed:
        return "none"
    for name in QUANTIZATIONS.names():
        with suppress(UsageError):  # a package that cannot be imported: it is named where somebody asks for it
            if QUANTIZATIONS.get(name).recognises(packed):
                return name
    method, bits = packed.get("quant_method") or packed.get("method"), packed.get("bits")
    width = "" if bits is None else f" with {bits} bits"
    known = ", ".join(name for name in QUANTIZATIONS.names() if not name.startswith("gguf-"))
    raise UsageError(f"{folder} is quantized by {method}{width}, which nobody runs here: there are {known}")


def content_revision(folder: Path) -> str:
    """``sha256:...`` over names and content of all that shapes a model's answers: equal content, equal revision."""
    files = set(weight_files(folder))
    for pattern in ("*.json", "*.jinja", "*.model", "*.txt"):
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
