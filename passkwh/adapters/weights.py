"""Weight files: which of a folder's are the model's, what is in them, and how many weights that comes to.

Everything is read from file names and safetensors headers, never from the weights themselves.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passkwh.adapters.model_files import ModelFiles, not_a_checkpoint
from passkwh.errors import UsageError

_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))
"""As transformers looks for them: one file, else shards by an index, else shards by their names."""
_NOT_THE_MODEL = re.compile(r"(consolidated|adapter_model|optimizer|scheduler|training_args|rng_state)[^/]*")
"""Other files of tensors beside a model: another layout of the same weights, adapters, states of training."""
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")
_PACKED = ("qweight", "weight_packed", "W_q", "blocks", "qdata")
"""Last parts of the names of tensors in which several weights share an element."""
_ABOUT = re.compile(
    r"(qzeros|g_idx|SCB|weight_format|absmax|quant_map|nested_absmax|nested_quant_map|quant_state\b.*|zero|zeros|zero_point"
    r"|(?:\w+_)?scale(?:s|_inv|_2|_scale)?|weight_(?:zero_point|shape|g_idx)|(?:\w+_)?global_scale|perm|inv_freq)"
)
"""Last parts of the names of tensors that say how weights are packed and are none themselves."""
_WIDTHS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "F16": 16, "BF16": 16,
           "I32": 32, "F32": 32, "I64": 64, "F64": 64}  # fmt: skip
_ROUTED = re.compile(r"\.(?:experts|input_linear|output_linear)\.")
"""In the names of tensors of experts that a router chooses among; shared experts are always at work."""


@dataclass(frozen=True)
class Tensor:
    """One tensor as a safetensors header lists it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    parameters: int | None
    """Number of weights, counting packed ones as what they stand for; None where no header tells."""
    active_parameters: int | None
    """Those that one token goes through, of a mixture of experts; None of other models and where unknown."""


def choose(names: Iterable[str], index: Mapping[str, Any], where: object) -> list[str]:
    """The weight files of a model among a folder's files, sorted, whether all are there or not.

    Args:
        names: of the files that are there.
        index: content of the shards' index, where there is one.
        where: for messages.

    Raises:
        UsageError: there are none, with what there is instead.
    """
    there = sorted(name for name in names if "/" not in name)
    for stem, suffix in _FORMATS:
        if f"{stem}.{suffix}" in there:
            return [f"{stem}.{suffix}"]
        if f"{stem}.{suffix}.index.json" in there:
            shards = index.get("weight_map")
            if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
                raise UsageError(not_a_checkpoint(where, f"its {stem}.{suffix}.index.json cannot be read"))
            return sorted(set(shards.values()))
        named = [name for name in there if name.endswith(f".{suffix}") and not _NOT_THE_MODEL.fullmatch(name)]
        if suffix == "bin":
            named = [name for name in named if name.startswith(stem)]
        if shards := [name for name in named if _SHARD.search(name)]:
            return _whole_set(shards)
        if named:
            return named
    raise UsageError(not_a_checkpoint(where, _instead(there)))


def _whole_set(shards: list[str]) -> list[str]:
    """Shards by their names, with those that the names say are missing."""
    match = _SHARD.search(shards[0])
    assert match is not None
    begin, end, count = shards[0][: match.start()], shards[0][match.end() :], int(match[2])
    return [f"{begin}-{place:05d}-of-{count:05d}.{end}" for place in range(1, count + 1)]


def _instead(there: list[str]) -> str:
    """What a folder without weights has instead, in words."""
    if any(name.startswith("consolidated") for name in there):
        return "it has weights only in the publisher's own layout (consolidated.*), which transformers does not load"
    if gguf := [name for name in there if name.lower().endswith(".gguf")]:
        return f"its weights are GGUF ({gguf[0]}), which transformers does not run packed"
    return "it has no weights (*.safetensors or pytorch_model.bin)"


def weight_files(folder: Path) -> list[Path]:
    """The weight files a folder should have, sorted, present or not; UsageError when it has none at all."""
    files = ModelFiles(folder)
    index = files.index
    return [folder / name for name in choose((entry.name for entry in folder.iterdir()), index, folder)]


def check_weights(folder: Path) -> None:
    """UsageError where a weight file is missing, not whole or only a pointer to it."""
    files = weight_files(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        of_how_many = f" ({len(missing)} of {len(files)} are)" if len(files) > 1 else ""
        raise UsageError(not_a_checkpoint(folder, f"weight file {missing[0]} is missing{of_how_many}"))
    for file in files:
        with file.open("rb") as stream:
            begin = stream.read(48)
        if begin.startswith(b"version https://git-lfs"):
            raise UsageError(f"{file} is a pointer of Git LFS and no weights: run `git lfs pull` in {folder}")
        if not begin:
            raise UsageError(not_a_checkpoint(folder, f"weight file {file.name} is empty"))


def tensors(folder: Path) -> list[Tensor]:
    """The tensors of a folder's safetensors files, from their headers alone; none for other formats."""
    read: list[Tensor] = []
    for file in weight_files(folder):
        if file.suffix != ".safetensors":
            continue
        try:
            with file.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                header = json.loads(stream.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
            if file.stat().st_size < 8 + length + end:
                raise ValueError(
                    f"it ends before its last tensor: {file.stat().st_size:,} of {8 + length + end:,} bytes"
                )
            read += [
                Tensor(name, tuple(entry["shape"]), entry["dtype"])
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            MemoryError,
            RecursionError,
            struct.error,
        ) as error:
            why = str(error) or type(error).__name__
            raise UsageError(not_a_checkpoint(folder, f"{file.name} is damaged ({why})")) from None
    return read


def size_of(listed: Iterable[Tensor], files: ModelFiles, bits: int | None) -> Size:
    """How many weights the tensors hold; ``bits`` is how many a packed weight has, None where weights are dense."""
    total = routed = 0
    for tensor in listed:
        count = _weights_in(tensor, bits)
        total += count
        routed += count if _ROUTED.search(f".{tensor.name}.") else 0
    if not total:
        return Size(None, None)
    chosen, experts = experts_of(files.text_config)
    if not (chosen and experts and routed):
        return Size(total, None)
    return Size(total, total - routed + routed * chosen // experts)


def _weights_in(tensor: Tensor, bits: int | None) -> int:
    """Weights that a tensor holds: one an element, more where several share one, none where it is about weights."""
    elements = math.prod(tensor.shape)
    if bits is None:
        return elements
    last = tensor.name.rsplit(".", 1)[-1]
    # bitsandbytes puts what it knows of a weight behind its name: model.q.weight.quant_state.bitsandbytes__nf4
    behind = re.search(r"\.weight\.(.+)$", tensor.name)
    if _ABOUT.fullmatch(behind[1] if behind and last != "W_q" else last) or last.endswith("_scales"):
        return 0
    width = _WIDTHS.get(tensor.dtype, 8)
    packed = last in _PACKED or last.endswith(("_blocks", "_packed", "_qdata"))
    if packed or (last == "weight" and tensor.dtype in ("U8", "I32")) or (behind and behind[1] == "_data"):
        return elements * width // bits if bits < width else elements
    return elements


def experts_of(config: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """How many experts a token is routed to, and how many there are, by whichever name a family has for it."""
    chosen = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_top_k", "moe_k",
              "top_k_experts", "num_selected_experts")  # fmt: skip
    there = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "num_routed_experts")
    inner = config.get("ffn_config")  # DBRX keeps them in a part of its own
    places = (config, inner) if isinstance(inner, dict) else (config,)
    return _first_number(places, chosen), _first_number(places, there)


def _first_number(places: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> int | None:
    for place in places:
        for key in keys:
            value = place.get(key)
            if isinstance(value, list) and value and all(isinstance(entry, int) for entry in value):
                value = round(sum(value) / len(value))  # one number a layer
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
