"""LoRA adapters (Hu et al., 2021): merged into a dense checkpoint once, into the cache.

Merged weights run as fast as those they replace, and can be quantized like any others.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters import hub, model_name
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.peft_on_dense import dense_only
from passkwh.adapters.silence import silence_libraries
from passkwh.cache import OnStep, building, cache_dir
from passkwh.errors import MissingExtra, UsageError
from passkwh.records import content_hash

MANIFEST = "lora.json"


def refuse_alone(folder: Path, name: str) -> None:
    """UsageError for a folder that is a LoRA adapter and no model, with the model that it is for."""
    if (folder / hub.ADAPTER_CONFIG).is_file():
        base = ModelFiles(folder).read(hub.ADAPTER_CONFIG).get("base_model_name_or_path") or "MODEL"
        raise UsageError(f"{name} is a LoRA adapter of {base}: write --model {base} --lora {name}")


def attach(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with the LoRA adapter of its overrides, which ``merged`` will merge.

    Raises:
        UsageError: the adapter is none, or the weights are packed.
    """
    text = str(checkpoint.overrides.lora)
    if checkpoint.prequantized:
        raise UsageError(
            f"--lora {text} is merged into dense weights, and {checkpoint.name} is packed ({checkpoint.quant}): name "
            f"the dense model and add --quant {checkpoint.quant}"
        )
    folder, identity = _adapter(text)
    config = ModelFiles(folder).read(hub.ADAPTER_CONFIG)
    if not config:
        raise UsageError(f"--lora {text}: it has no {hub.ADAPTER_CONFIG}: give the folder or hub id of a LoRA adapter")
    base, guesses = str(config.get("base_model_name_or_path") or ""), checkpoint.guesses
    if base and base.rstrip("/").split("/")[-1].lower() != checkpoint.location.split("/")[-1].lower():
        guesses = (*guesses, f"lora: {text} names {base} as its base model, and is merged into {checkpoint.location}")
    target = _merged_folder(checkpoint, identity)
    ready = target.is_dir()
    return replace(
        checkpoint,
        path=target if ready else checkpoint.path,
        revision=f"{checkpoint.revision}+lora:{identity}",
        pending=() if ready else (*checkpoint.pending, f"merge the LoRA adapter {text} into {checkpoint.location}"),
        read={**checkpoint.read, "lora": f"{text}, {identity}, rank {config.get('r')}"},
        guesses=guesses,
    )


def merged(checkpoint: Checkpoint, report: OnStep) -> Path:
    """Folder of a checkpoint's weights with its adapter merged: from the cache, or made now. ``path`` is the base's."""
    assert checkpoint.path is not None
    assert checkpoint.overrides.lora is not None
    text = checkpoint.overrides.lora
    folder, identity = _adapter(text, download=True)
    target = _merged_folder(checkpoint, identity)
    if not target.is_dir():
        report(f"merge the LoRA adapter {text} into {checkpoint.location}, once")
        with building(target) as draft, silence_libraries():
            merge(checkpoint.path, folder, draft, f"the LoRA adapter {text}", checkpoint.overrides.trust_remote_code)
            made = {
                "base": checkpoint.location,
                "revision": checkpoint.revision,
                "adapter": text,
                "adapter_revision": identity,
            }
            (draft / MANIFEST).write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    return target


def merge(base: Path, adapter: Path, draft: Path, what: str, trust_remote_code: bool = False) -> None:
    """Write a dense checkpoint with an adapter merged into it. UsageError where the adapter does not fit."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtra(what, "early-exit") from None
    known = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    dtype = getattr(torch, devices.dtype_name(folders.config(base), devices.pick("auto")))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **known)
    try:
        with dense_only(), warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            result = PeftModel.from_pretrained(model, str(adapter), local_files_only=True).merge_and_unload()
        # Of an adapter whose layers have other names PEFT only warns, and would merge nothing.
        if any("missing adapter keys" in str(note.message) for note in notes):
            raise ValueError("its layers are named otherwise")
        result.save_pretrained(draft)
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise UsageError(f"{what} in {adapter} does not fit {base.name}: {why}") from None
    AutoTokenizer.from_pretrained(base, **known).save_pretrained(draft)


def folder_hash(folder: Path) -> str:
    """Hash over names and content of all files in a folder, whatever its own name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return content_hash([[file.relative_to(folder).as_posix(), folders.file_hash(file)] for file in files])


def _merged_folder(checkpoint: Checkpoint, identity: str) -> Path:
    label = "".join(c if c.isalnum() or c in "-." else "-" for c in checkpoint.location.split("/")[-1])
    base = str(checkpoint.revision).partition("+lora:")[0].removeprefix("sha256:")[:12]
    return cache_dir() / "fine-tuned" / f"{label}-{base}-lora-{identity}"


def _adapter(text: str, download: bool = False) -> tuple[Path, str]:
    """The adapter's folder and what identifies it: a local one with the hash of its content, or a repository's snapshot
    with its commit; of this the small files are there, with ``download`` all of it."""
    place = Path(text).expanduser()
    if place.is_dir():
        return place.resolve(), folder_hash(place)[:12]
    name = model_name.parse(text)
    if name is None:
        raise UsageError(f"--lora {text}: no such folder, and no hub id (owner/name)")
    folder = hub.download(name.id, name.revision) if download else hub.look(name.id, name.revision).folder
    return folder, folder.name[:12]
