"""The weights of a LITE fine-tuned model as a checkpoint of its own: adapters are merged once, into the cache.

Merged weights run as fast as those they replace, and can be quantized like any others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.adapters.early_exit.lora import dense_only
from passkwh.adapters.early_exit.request import check_base
from passkwh.adapters.silence import silence_libraries
from passkwh.cache import building, cache_dir
from passkwh.errors import MissingExtra, UsageError
from passkwh.records import content_hash

MANIFEST = "early-exit.json"


def has_weights(bundle: Bundle) -> bool:
    """The bundle has weights to put in place of the base model's."""
    return bundle.lora is not None or bundle.weights is not None


def merged_lora(dense: Checkpoint, bundle: Bundle, report: Callable[[str], None]) -> Checkpoint:
    """The fine-tuned form of a prepared dense checkpoint, merged now unless it is in the cache.

    UsageError where the bundle was made for another checkpoint, or its adapter does not fit.
    """
    check_base(bundle, dense)
    assert dense.path is not None
    if bundle.weights is not None:
        folders.check(bundle.weights)
        return replace(dense, path=bundle.weights, revision=folders.content_revision(bundle.weights))
    assert bundle.lora is not None
    adapter = folder_hash(bundle.lora)
    label = "".join(c if c.isalnum() or c in "-." else "-" for c in dense.location.split("/")[-1])
    base = str(dense.revision).removeprefix("sha256:")[:12]
    folder = cache_dir() / "fine-tuned" / f"{label}-{base}-{adapter[:12]}"
    if not folder.is_dir():
        report(f"merge the fine-tuning in {bundle.folder.name} into {dense.location}, once")
        with building(folder) as draft, silence_libraries():
            _merge(dense.path, bundle.lora, draft)
            made = {"base": dense.location, "base_revision": dense.revision, "adapter_sha256": adapter}
            (draft / MANIFEST).write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    return replace(dense, path=folder, revision=folders.content_revision(folder))


def folder_hash(folder: Path) -> str:
    """Hash over names and content of all files in a folder, whatever its own name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return content_hash([[file.relative_to(folder).as_posix(), folders.file_hash(file)] for file in files])


def _merge(base: Path, lora: Path, draft: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtra("a LITE adapter", "early-exit") from None
    dtype = getattr(torch, devices.dtype_name(folders.config(base), devices.pick("auto")))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
    try:
        with dense_only():
            merged = PeftModel.from_pretrained(model, str(lora), local_files_only=True).merge_and_unload()
        merged.save_pretrained(draft)
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        raise UsageError(f"the LITE adapter in {lora} does not fit {base.name}: {why}") from None
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(draft)
