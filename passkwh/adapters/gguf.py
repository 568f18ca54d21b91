"""GGUF files, the format of llama.cpp: what one says of its model, and which one a name means.

Only the header is read, by a reader of our own: the ``gguf`` package's makes an array of every token of the vocabulary,
which takes seconds, and a name is resolved several times a run. The format is that of ggml's ``docs/gguf.md``; versions
2 and 3, which is what llama.cpp itself reads.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from passkwh.adapters.checkpoint import Checkpoint, file_hash
from passkwh.adapters.models import RegisteredModel
from passkwh.adapters.prompt_form import is_base_name
from passkwh.adapters.reasoning import reasoning_of
from passkwh.errors import UsageError

PREFIX = "gguf-"
"""Names of quantizations that a GGUF file has begin so: ``gguf-q4_k_m``."""

DENSE = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""File types that are no quantization, with their number formats."""

_HUB_FILE = re.compile(
    r"(?P<id>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?:(?P<file>[\w./ -]+\.gguf)", re.I
)
_NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_ARRAY_KEPT = 64
"""Longer arrays (tokens, merges, scores) are passed over."""


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself."""

    metadata: dict[str, Any]
    """Keys and values; of long arrays only the key, with None."""
    parameters: int
    """Number of weights."""

    @property
    def file_type(self) -> str:
        """How most weights are packed, as llama.cpp names it: ``q4_1``, ``q4_k_m``, ``f16``."""
        from gguf import LlamaFileType

        number = self.metadata.get("general.file_type")
        try:
            name = LlamaFileType(number).name
        except ValueError:
            return f"type{number}"
        return _label(name)

    @property
    def quant(self) -> str:
        """Name of its quantization, ``none`` for dense weights."""
        return "none" if self.file_type in DENSE else PREFIX + self.file_type

    @property
    def context_tokens(self) -> int | None:
        """Length of the context that the model was trained for."""
        return self._of_architecture("context_length")

    @property
    def has_chat_template(self) -> bool:
        """It comes with a chat template."""
        return bool(self.metadata.get("tokenizer.chat_template"))

    def key_value_bytes(self) -> int:
        """Bytes that one more token adds to the cache in 16 bits: layers x key-value heads x widths of both."""
        heads = self._of_architecture("attention.head_count") or 1
        kept = self._of_architecture("attention.head_count_kv") or heads
        width = (self._of_architecture("embedding_length") or 0) // heads
        widths = sum(self._of_architecture(f"attention.{part}_length") or width for part in ("key", "value"))
        return (self._of_architecture("block_count") or 0) * kept * widths * 2

    def _of_architecture(self, key: str) -> int | None:
        value = self.metadata.get(f"{self.metadata.get('general.architecture')}.{key}")
        return max(value) if isinstance(value, list) else None if value is None else int(value)


def _label(file_type: str) -> str:
    """llama.cpp's name of a file type, from the library's: ``MOSTLY_Q4_K_M`` is ``q4_k_m``."""
    return file_type.removeprefix("MOSTLY_").removeprefix("ALL_").lower()


def header(file: Path) -> Header:
    """A file's header, read once a process unless the file changes. UsageError for what is no GGUF file."""
    try:
        seen = file.stat()
        return _header(file, seen.st_size, seen.st_mtime_ns)
    except FileNotFoundError:
        raise UsageError(f"there is no file {file}") from None
    except (OSError, struct.error, KeyError, ValueError, MemoryError, OverflowError, RecursionError) as error:
        raise UsageError(f"{file} is damaged or no GGUF file ({type(error).__name__}: {error}): get it again") from None


@functools.cache
def _header(file: Path, size: int, mtime_ns: int) -> Header:
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UsageError(f"{file} is no GGUF file: it does not begin with GGUF")
        version, tensors, pairs = struct.unpack("<IQQ", stream.read(20))
        if version not in (2, 3):
            raise UsageError(f"{file} is of GGUF version {version}: versions 2 and 3 are read")
        metadata = {}
        for _ in range(pairs):
            key = _text(stream)
            metadata[key] = _value(stream, _number(stream, "<I"))
        parameters = 0
        for _ in range(tensors):
            _text(stream)
            shape = [_number(stream, "<Q") for _ in range(_number(stream, "<I"))]
            parameters += math.prod(shape)
            stream.seek(12, 1)  # type and offset
    return Header(metadata, parameters)


def _number(stream: BinaryIO, form: str) -> Any:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _text(stream: BinaryIO) -> str:
    length = _number(stream, "<Q")
    content = stream.read(length)
    if len(content) < length:
        raise struct.error("the file ends within a text")
    return content.decode("utf-8", "replace")


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(stream)
    if kind != _ARRAY:
        return _number(stream, _NUMBERS[kind])
    kind, length = _number(stream, "<I"), _number(stream, "<Q")
    if length <= _ARRAY_KEPT:
        return [_value(stream, kind) for _ in range(length)]
    if kind in _NUMBERS:
        stream.seek(struct.calcsize(_NUMBERS[kind]) * length, 1)
    else:
        for _ in range(length):
            _value(stream, kind)
    return None


# ---------------------------------------------------------------- names -> checkpoints


def is_gguf(name: str) -> bool:
    """The name is one of a GGUF file: ``FILE.gguf`` or ``OWNER/NAME[@REVISION]:FILE.gguf``."""
    return name.lower().endswith(".gguf")


def resolve(name: str, quant: str = "none") -> Checkpoint:
    """The checkpoint of a local file or of one on the hub (see :func:`is_gguf`).

    UsageError where there is no such file, or ``quant`` is not what it is packed in.
    """
    on_hub = None if Path(name).expanduser().is_file() else _HUB_FILE.fullmatch(name)
    if on_hub is None:
        file = Path(name).expanduser().resolve()
        return of_file(name, file, "local", file.name, f"sha256:{file_hash(file)}" if file.is_file() else None, quant)
    hub_id, revision, path = on_hub["id"], on_hub["revision"], on_hub["file"]
    location = f"{hub_id}{f'@{revision}' if revision else ''}:{path}"
    cached = _cached(hub_id, revision, path)
    if cached is not None:
        return of_file(name, cached, "hub", location, _commit(cached), quant)
    label = _label_in(path)
    return Checkpoint(
        name=name,
        source="hub",
        location=location,
        path=None,
        format="gguf",
        revision=None,
        chat=not is_base_name(Path(path).stem),
        quant=quant if quant != "none" else label,
        prequantized=True,
        pending=(f"download {location} from the hub",),
    )


def of_file(
    name: str,
    file: Path,
    source: Any,
    location: str,
    revision: str | None,
    quant: str = "none",
    known: RegisteredModel | None = None,
) -> Checkpoint:
    """The checkpoint of a file on this machine. UsageError where ``quant`` is not what it is packed in."""
    about = header(file)
    if quant not in ("none", about.quant):
        packed = "holds dense weights" if about.quant == "none" else f"is packed as {about.quant}"
        raise UsageError(f"{name} {packed}: --quant {quant} cannot be applied to it")
    base = is_base_name(file.stem) or is_base_name(str(about.metadata.get("general.name", "")))
    return Checkpoint(
        name=name,
        source=source,
        location=location,
        path=None,
        format="gguf",
        file=file,
        revision=revision,
        chat=known.tuning == "instruct" if known else about.has_chat_template and not base,
        quant=about.quant,
        prequantized=about.quant != "none",
        parameters=about.parameters,
        weight_bytes=file.stat().st_size,
        context_tokens=about.context_tokens,
        reasoning=reasoning_of(about.metadata.get("tokenizer.chat_template"), ""),
    )


def download(checkpoint: Checkpoint, count: Callable[[int, int], None] | None = None) -> Checkpoint:
    """The checkpoint of a hub file with the file on this machine. UsageError says why it cannot be had.

    ``count`` is called with bytes that are here and all.
    """
    from passkwh.adapters.hub import counting_bars, offline

    match = _HUB_FILE.fullmatch(checkpoint.location)
    assert match is not None
    hub_id, revision, path = match["id"], match["revision"], match["file"]
    get = f"`hf download {hub_id} {path}{f' --revision {revision}' if revision else ''}` where there is a network"
    if offline():
        raise UsageError(
            f"{checkpoint.location} is not in the hub's cache and HF_HUB_OFFLINE is set: unset it, or run {get}"
        )
    from huggingface_hub import hf_hub_download

    bars = None if count is None else counting_bars(count)
    try:
        file = Path(hf_hub_download(hub_id, path, revision=revision, tqdm_class=bars))
    except Exception as error:  # of the client or its transport, whose exceptions change with every release
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UsageError(f"{checkpoint.location} cannot be downloaded ({why}): run {get}") from error
    return of_file(checkpoint.name, file, "hub", checkpoint.location, _commit(file), checkpoint.quant)


def _cached(hub_id: str, revision: str | None, path: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(hub_id, path, revision=revision)
    return Path(file) if isinstance(file, str) else None


def _commit(cached: Path) -> str:
    """The hub commit of a file in the hub's cache: ``.../snapshots/COMMIT/PATH``."""
    parts = cached.parts
    return parts[parts.index("snapshots") + 1]


def _label_in(path: str) -> str:
    """The quantization that a file's name says it has; what its header says counts once it is here."""
    from gguf import LlamaFileType

    words = set(re.split(r"[.\-]", Path(path).stem.lower()))
    types = {_label(kind.name) for kind in LlamaFileType}
    named = sorted(words & types, key=len)
    return PREFIX + named[-1] if named and named[-1] not in DENSE else "none"
