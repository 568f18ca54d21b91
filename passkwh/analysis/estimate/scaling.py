"""How a model's requirements change with one of its sizes, or of what is asked of it (thesis, figures 4.1-4.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal, get_args

from pydantic import Field

from passkwh.analysis.estimate.architecture import Architecture, Experts
from passkwh.analysis.estimate.cost import Workload, estimate_cost
from passkwh.analysis.estimate.devices import Device
from passkwh.errors import UsageError
from passkwh.records import Record

Varied = Literal["layers", "hidden", "heads", "batch", "precision", "tokens"]
VARIED: tuple[Varied, ...] = get_args(Varied)
FIGURES: dict[Varied, str] = {
    "layers": "thesis, figures 4.3 to 4.5", "hidden": "thesis, figures 4.3 to 4.5", "heads": "thesis, figures 4.3 "
                                                                                             "and 4.4",
    "batch": "thesis, figure 4.4", "precision": "thesis, figure 4.5", "tokens": "thesis, figures 4.1, 4.2 and 4.4",
}  # fmt: skip
PRECISIONS = {"none": 16.0, "gptq-int8": 8.0, "gptq-int4": 4.0}
"""Quantizations that stand for bits a weight."""


class ScalingPoint(Record):
    """Requirements at one value of what is varied."""

    value: Annotated[float, Field(description="layers, width, heads, batch rows, bits a weight, or generated tokens")]
    parameters: float
    kv_cache_bytes: Annotated[float, Field(description="of the whole batch at the end of generation")]
    vram_bytes: float
    ttft_s: float
    decoding_s: Annotated[float, Field(description="TGT less TTFT")]


class Scaling(Record):
    """A model's requirements along one axis: estimated."""

    provenance: Literal["estimated"] = "estimated"
    model: str
    device: str
    varied: Varied
    workload: Workload
    points: tuple[ScalingPoint, ...]
    notes: tuple[str, ...]


def scale(model: Architecture, device: Device, workload: Workload, varied: Varied) -> Scaling:
    """Requirements at values around the model's own, all else kept.

    Raises:
        UsageError: heads of a model with latent attention, whose cache has none.
    """
    if varied == "heads" and model.latent is not None:
        raise UsageError("--vary heads: a cache of latent attention does not depend on heads; vary another")
    points = []
    for value in _values(model, workload, varied):
        changed, asked = _changed(model, workload, varied, value)
        got = estimate_cost(changed, device, asked)
        points.append(
            ScalingPoint(
                value=PRECISIONS[str(value)] if varied == "precision" else float(value), parameters=got.parameters,
                kv_cache_bytes=got.kv_cache_bytes, vram_bytes=got.vram_bytes, ttft_s=got.ttft_s,
                decoding_s=got.tgt_s - got.ttft_s,
            )
        )  # fmt: skip
    return Scaling(
        model=model.name, device=device.name, varied=varied, workload=workload, points=tuple(points),
        notes=_notes(model, varied),
    )  # fmt: skip


def _values(model: Architecture, workload: Workload, varied: Varied) -> Sequence[int | str]:
    own: dict[Varied, int] = {"layers": model.layers, "hidden": model.hidden, "heads": model.heads}
    if varied == "precision":
        return list(PRECISIONS)
    if varied == "batch":
        return [1, 2, 4, 8, 16, 32]
    if varied == "tokens":
        return [1, 10, 50, 100, 250, 500, 1000]
    # Whole multiples of what a head, or a group of heads, takes.
    step = {"layers": 1, "hidden": model.head_dim, "heads": model.heads // model.kv_heads}[varied]
    return sorted({max(step, round(own[varied] * share / step) * step) for share in (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2)})


def _changed(
    model: Architecture, workload: Workload, varied: Varied, value: int | str
) -> tuple[Architecture, Workload]:
    number = 0 if isinstance(value, str) else value
    changes: dict[Varied, Callable[[], tuple[Architecture, Workload]]] = {
        "layers": lambda: (replace(model, layers=number, experts=_experts(model, number)), workload),
        "hidden": lambda: (replace(model, hidden=number), workload),
        # Groups keep their size, so that key-value heads grow with heads.
        "heads": lambda: (replace(model, heads=number, kv_heads=number * model.kv_heads // model.heads), workload),
        "batch": lambda: (model, workload.model_copy(update={"batch_size": number})),
        "precision": lambda: (model, workload.model_copy(update={"quant": str(value)})),
        "tokens": lambda: (model, workload.model_copy(update={"new_tokens": number})),
    }
    return changes[varied]()


def _experts(model: Architecture, layers: int) -> Experts | None:
    if model.experts is None:
        return None
    dense = model.layers - model.experts.layers
    return replace(model.experts, layers=max(layers - dense, 0))


def _notes(model: Architecture, varied: Varied) -> tuple[str, ...]:
    if varied not in ("batch", "heads") or model.latent is not None:
        return ()
    row = model.cache_values * 2.0
    at = 32_768
    return (
        f"KV cache of a row at {at:,} tokens, 2 s l h_kv d p: {row * at / 1e9:.3f} GB; ten of its {model.heads} heads: "
        f"{row * at / 1e9 / model.heads * 10:.3f} GB. The thesis prints 1.875 and 0.67 GB for "
        "Qwen2.5-Coder-7B-Instruct and "
        "no length.",
    )
