"""What a configuration is, and what it is called: the one place that tells configurations apart and names them.

A *configuration* is all that determines a run's result but the seed and the repetition. Its label begins with the
model's short name, then the quantization unless the model's name says it (:func:`describe`). Where several
configurations stand beside each other (:func:`labels`), whatever else differs between those that would be called the
same is added as ``name=value``, and nothing that does not differ. Runs are called after their configuration, with the
repetition where there are several (:func:`run_labels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from passkwh.records import Manifest, content_hash

NOT_CONFIGURATION = {
    "schema_version", "benchmark", "benchmark_options", "limit", "task_ids", "samples", "max_new_tokens", "temperature",
    "top_p", "seed", "repeat", "meter", "idle_s", "model", "quant", "engine",
}  # fmt: skip
"""Fields of a spec that are equal between compared runs, or may differ between repeats of one configuration, or stand
in ``manifest.model`` as what they came to."""


def traits(manifest: Manifest) -> dict[str, Any]:
    """All that makes a configuration beside its model's name, what tells most to a reader first."""
    model = manifest.model
    return {
        "quant": model.quant,
        "adapter": model.adapter,
        **manifest.spec.model_dump(exclude=NOT_CONFIGURATION),
        "engine": model.engine,
        "dtype": model.dtype,
        "device": model.device.split(":")[0],
        "quantization": content_hash(model.quantization)[:8],
        # What --exit leaves to be chosen: one rule runs with whatever agent and heads the bundle has.
        "agent": model.early_exit.get("agent"),
        "bundle": model.early_exit.get("bundle"),
        "early_exit": content_hash(model.early_exit)[:8],
        "chat": model.chat,
        "checkpoint": model.checkpoint,
        "revision": model.revision[:12],
    }


def identity(manifest: Manifest) -> str:
    """Equal for runs of one configuration: those that differ in nothing but seed and repetition."""
    return content_hash(manifest.model.name, manifest.model.revision, traits(manifest))


def short_model(name: str) -> str:
    """The last part of a hub id or path."""
    return name.rstrip("/").rsplit("/", 1)[-1]


def describe(
    model: str,
    *,
    tuning: str = "",
    quant: str = "none",
    exit: str | None = None,
    thinking: str = "",
    batch_size: int | None = None,
    concurrency: int = 1,
) -> str:
    """A configuration in a few words, standing alone: ``Alpha-1.5B instruct gptq-int4 fixed:12 batch 4``.

    What the model's name says already is not said again; neither is what is ``none`` or not given.
    """
    known = model.lower()
    words = [
        model,
        "" if tuning.lower() in known else tuning,
        "" if quant == "none" or quant.lower() in known else quant,
        exit or "",
        f"thinking {thinking}" if thinking else "",
        f"{concurrency} in flight" if concurrency > 1 else f"batch {batch_size}" if batch_size else "",
    ]
    return " ".join(word for word in words if word)


def labels(manifests: Sequence[Manifest]) -> list[str]:
    """The shortest label of each configuration that tells it from the others; ``manifests`` has one run of each."""
    if not manifests:
        return []
    names = [manifest.model.name for manifest in manifests]
    full_names: dict[str, set[str]] = {}
    for name in names:
        full_names.setdefault(short_model(name), set()).add(name)
    shown = [name if len(full_names[short_model(name)]) > 1 else short_model(name) for name in names]
    by_run = [traits(manifest) for manifest in manifests]
    made = [describe(name, quant=own["quant"]) for name, own in zip(shown, by_run, strict=True)]
    for trait in by_run[0]:
        values: dict[str, set[str]] = {}
        for label, own in zip(made, by_run, strict=True):
            values.setdefault(label, set()).add(str(own[trait]))
        made = [
            f"{label} {trait.replace('_', '-')}={'none' if own[trait] is None else own[trait]}"
            if len(values[label]) > 1
            else label
            for label, own in zip(made, by_run, strict=True)
        ]
    return made


def run_labels(manifests: Sequence[Manifest]) -> list[str]:
    """A label of each run that tells it from the others: its configuration's, and which repetition it is where several
    runs of that configuration are among them; the run's name where that is not enough."""
    configurations = [identity(manifest) for manifest in manifests]
    first = dict(zip(reversed(configurations), reversed(manifests), strict=True))
    of_configuration = dict(zip(first, labels(list(first.values())), strict=True))
    made = [
        f"{of_configuration[key]} run {manifest.spec.repeat + 1}"
        if configurations.count(key) > 1
        else of_configuration[key]
        for key, manifest in zip(configurations, manifests, strict=True)
    ]
    return [
        label if made.count(label) == 1 else f"{label} ({manifest.run_id})"
        for label, manifest in zip(made, manifests, strict=True)
    ]
