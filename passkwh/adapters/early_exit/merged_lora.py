"""The weights of a LITE fine-tuned model as a checkpoint of its own: adapters are merged once, into the cache.

Merged weights run as fast as those they replace, and can be quantized like any others.
"""

from __future__ import annotations

import json
from dataclasses import replace

from passkwh.adapters import checkpoint as folders
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.adapters.early_exit.request import check_base
from passkwh.adapters.lora import folder_hash, merge
from passkwh.adapters.silence import silence_libraries
from passkwh.cache import OnStep, building, cache_dir

MANIFEST = "early-exit.json"


def merged_lora(dense: Checkpoint, bundle: Bundle, report: OnStep) -> Checkpoint:
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
            merge(dense.path, bundle.lora, draft, "the LITE adapter", dense.overrides.trust_remote_code)
            made = {"base": dense.location, "base_revision": dense.revision, "adapter_sha256": adapter}
            (draft / MANIFEST).write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    return replace(dense, path=folder, revision=folders.content_revision(folder))
