"""Quantizing a dense checkpoint: once, into the cache, with a manifest of how it was made."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import device as devices
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.quantization.base import MakesCheckpoints, ReportsProgress
from passkwh.adapters.quantization.lookup import configured
from passkwh.adapters.silence import silence_libraries
from passkwh.adapters.weights import size_of, tensors
from passkwh.cache import CountsSteps, OnStep, building, cache_dir
from passkwh.records import Option, Provenance, Record, content_hash

RECIPE = 3
"""Raised when quantization as done here changes, so that older results in the cache are made anew. 2: calibrated in the
embedded model's own tokens. 3: GPTQ with 12 texts, and on a CPU always in float32."""

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
    options: dict[str, Option] = Field(default_factory=dict)
    device: str
    duration_s: float
    energy: SpentEnergy


OpenSpan = Callable[[], AbstractContextManager[Callable[[], SpentEnergy]]]
"""Opens a metered span; what it yields tells, after the span has ended, what was spent in it."""


def folder_of(base: Checkpoint, quant: str) -> Path:
    """Where the quantized form of a dense checkpoint, made with its options, is or will be."""
    options = base.overrides.quant_options
    label = "".join(c if c.isalnum() or c in "-." else "-" for c in base.location.split("/")[-1].removesuffix(".gguf"))
    dense, _, adapter = str(base.revision).removeprefix("sha256:").partition("+lora:")
    revision = dense[:12] + (f"-lora-{adapter}" if adapter else "")
    made_with = f"-{content_hash(dict(options))[:8]}" if options else ""
    return cache_dir() / "quantized" / f"{label}-{revision}-{quant}{made_with}-r{RECIPE}"


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


def ensure(base: Checkpoint, progress: OnStep | None = None, meter: OpenSpan | None = None) -> Checkpoint:
    """``base`` (dense weights at ``path``, wanted ``quant``) quantized: from the cache, or made now and kept there."""
    if made := cached(base, base.quant):
        return made
    report = progress or (lambda _: None)
    folder = folder_of(base, base.quant)
    with building(folder) as draft:
        make(base, draft, report, meter)
    result = cached(base, base.quant)
    assert result is not None
    return result


def make(base: Checkpoint, draft: Path, report: OnStep, meter: OpenSpan | None = None) -> None:
    """Quantize into the empty folder ``draft``; the manifest is written last."""
    assert base.path is not None
    quantization = configured(base.quant, base.overrides.quant_options)
    assert isinstance(quantization, MakesCheckpoints)
    device = devices.pick("auto")
    what = f"quantize {base.location} to {base.quant}"
    with silence_libraries():
        expected_s = quantization.expected_s(base.path) if isinstance(quantization, ReportsProgress) else None
    report(f"{what}, once" + ("" if expected_s is None else f": about {_minutes(expected_s)} here, an estimate"))
    span: AbstractContextManager[Callable[[], SpentEnergy]] = meter() if meter else nullcontext(_unmetered)
    start_ns = time.monotonic_ns()

    def layer_done(done: int, of: int) -> None:
        if isinstance(report, CountsSteps):
            report.count(f"{what}: layers", done, of)
            return
        if not done:
            return
        elapsed_s = (time.monotonic_ns() - start_ns) / 1e9
        left = f", about {_minutes(elapsed_s / done * (of - done))} more" if done < of else ""
        report(f"{what}: layer {done} of {of} after {_minutes(elapsed_s)}{left}")

    with span as spent, silence_libraries():
        if isinstance(quantization, ReportsProgress):
            recipe = quantization.make(base.path, draft, layer_done)
        else:
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
        parameters=base.parameters or size_of(tensors(base.path), ModelFiles(base.path), None).parameters or 0,
        calibration=recipe.calibration,
        calibration_sha256=recipe.calibration_sha256,
        tool=recipe.tool,
        versions={name: version(name) for name in recipe.libraries},
        options=dict(base.overrides.quant_options),
        device=device,
        duration_s=(time.monotonic_ns() - start_ns) / 1e9,
        energy=spent(),
    )
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _unmetered() -> SpentEnergy:
    return SpentEnergy(gross_j=None, provenance=None, reason="quantized without a meter: `bench quantize` meters it")
