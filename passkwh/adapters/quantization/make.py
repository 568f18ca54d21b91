"""Quantizing a dense checkpoint: once, into the cache, with a manifest of how it was made."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.quantization.base import Quantization
from passkwh.adapters.silence import silence_libraries
from passkwh.cache import building, cache_dir
from passkwh.records import Provenance, Record
from passkwh.registry import QUANTIZATIONS

RECIPE = 1
"""Raised when quantization as done here changes, so that older results in the cache are made anew."""

MANIFEST = "quantization.json"


class SpentEnergy(Record):
    """What quantizing drew, as the caller's meter saw it."""

    gross_j: float | None
    provenance: Provenance | Literal["mixed"] | None
    reason: str | None = None


class QuantizationManifest(Record):
    """``quantization.json``: how a checkpoint in the cache was quantized."""

    recipe: int
    quant: str
    method: str
    bits: int
    group_size: int | None
    base: str
    base_revision: str
    revision: str
    parameters: int
    calibration: str
    calibration_sha256: str
    tool: str
    versions: dict[str, str]
    device: str
    duration_s: float
    energy: SpentEnergy


OpenSpan = Callable[[], AbstractContextManager[Callable[[], SpentEnergy]]]
"""Opens a metered span; what it yields tells, after the span has ended, what was spent in it."""


def folder_of(base: Checkpoint, quant: str) -> Path:
    """Where the quantized form of a dense checkpoint is, or will be."""
    label = "".join(c if c.isalnum() or c in "-." else "-" for c in base.location.split("/")[-1].removesuffix(".gguf"))
    revision = str(base.revision).removeprefix("sha256:")[:12]
    return cache_dir() / "quantized" / f"{label}-{revision}-{quant}-r{RECIPE}"


def read_manifest(folder: Path) -> QuantizationManifest | None:
    """The manifest of a checkpoint that was quantized here; None for any other folder."""
    try:
        return QuantizationManifest.model_validate_json((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def cached(base: Checkpoint, quant: str) -> Checkpoint | None:
    """The quantized form of ``base`` from the cache; None where it has yet to be made."""
    if base.revision is None:
        return None
    folder = folder_of(base, quant)
    made = read_manifest(folder)
    if made is None:
        return None
    return replace(
        base,
        path=folder,
        quant=quant,
        prequantized=True,
        revision=made.revision,
        parameters=made.parameters,
        pending=(),
    )


def ensure(
    base: Checkpoint, progress: Callable[[str], None] | None = None, meter: OpenSpan | None = None
) -> Checkpoint:
    """``base`` (dense weights at ``path``, wanted ``quant``) quantized: from the cache, or made now and kept there."""
    if made := cached(base, base.quant):
        return made
    if progress:
        progress(f"quantize {base.location} to {base.quant}, once")
    folder = folder_of(base, base.quant)
    with building(folder) as draft:
        make(base, draft, meter)
    result = cached(base, base.quant)
    assert result is not None
    return result


def make(base: Checkpoint, draft: Path, meter: OpenSpan | None = None) -> None:
    """Quantize into the empty folder ``draft``; the manifest is written last."""
    assert base.path is not None
    quantization: Quantization = QUANTIZATIONS.get(base.quant)
    device = devices.pick("auto")
    span: AbstractContextManager[Callable[[], SpentEnergy]] = meter() if meter else nullcontext(_unmetered)
    start_ns = time.monotonic_ns()
    with span as spent, silence_libraries():
        recipe = quantization.make(base.path, draft)
    manifest = QuantizationManifest(
        recipe=RECIPE,
        quant=base.quant,
        method=recipe.method,
        bits=quantization.bits,
        group_size=recipe.group_size,
        base=base.location,
        base_revision=str(base.revision),
        revision=folders.content_revision(draft),
        parameters=base.parameters or folders.count_parameters(base.path) or 0,
        calibration=recipe.calibration,
        calibration_sha256=recipe.calibration_sha256,
        tool=recipe.tool,
        versions={name: version(name) for name in recipe.libraries},
        device=device,
        duration_s=(time.monotonic_ns() - start_ns) / 1e9,
        energy=spent(),
    )
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def _unmetered() -> SpentEnergy:
    return SpentEnergy(gross_j=None, provenance=None, reason="quantized without a meter: `bench quantize` meters it")
