"""Memory, time and energy of one batch of requests, with the thesis's equations corrected (docs/estimator.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from passkwh.adapters.quantization.lookup import quantization
from passkwh.analysis.estimate.architecture import Architecture
from passkwh.analysis.estimate.devices import Device
from passkwh.errors import UsageError
from passkwh.records import Record
from passkwh.units import joules_to_kwh

HALF_BYTES = 2


class Workload(Record):
    """What is asked of the model."""

    prompt_tokens: Annotated[int, Field(ge=1)] = 256
    new_tokens: Annotated[int, Field(ge=1)] = 256
    batch_size: Annotated[int, Field(ge=1)] = 1
    quant: Annotated[str, Field(description="none, or a name in the registry of quantizations")] = "none"
    exit_layer: Annotated[
        float | None, Field(gt=0, description="mean layer at which a token leaves; all when None")
    ] = None


class Efficiency(Record):
    """What a device reaches of its peak rates, and what it draws doing so; fitted to runs, or ideal."""

    compute: Annotated[float, Field(gt=0)] = 1.0
    bandwidth: Annotated[float, Field(gt=0)] = 1.0
    step_overhead_s: Annotated[float, Field(ge=0, description="time per step that no peak rate explains")] = 0.0
    power_w: Annotated[float | None, Field(description="mean power; the TDP when None")] = None


class Estimate(Record):
    """Computed, not measured."""

    provenance: Literal["estimated"] = "estimated"
    model: str
    device: str
    workload: Workload
    parameters: int
    active_parameters: int
    weight_bytes: float
    kv_cache_bytes_per_token: float
    kv_cache_bytes: float
    vram_bytes: Annotated[float, Field(description="weights and cache; activations and the runtime come on top")]
    fits: bool
    prefill_flop: float
    decode_flop_per_step: Annotated[float, Field(description="of one step of the whole batch, at mean context")]
    decode_bytes_per_step: float
    bound_by: Literal["compute", "bandwidth"]
    ttft_s: float
    tpot_s: float
    tgt_s: float
    power_w: float
    energy_j: float
    net_energy_j: float | None
    energy_kwh: float
    joules_per_token: float
    notes: tuple[str, ...] = ()


def weight_bytes(model: Architecture, quant: str) -> float:
    """Bytes of the checkpoint: half precision, or packed matrices with a scale and zero point per group."""
    if quant == "none":
        return float(model.parameters * HALF_BYTES)
    bits = quantization(quant).bits_per_weight
    packed = model.body() * bits / 8
    return packed + (model.parameters - model.body()) * HALF_BYTES


def kv_cache_bytes_per_token(model: Architecture) -> float:
    """Eq. 3.23-3.25 corrected: two vectors of every KV head for each *layer*; the compressed latent for MLA."""
    return float(model.cache_values * HALF_BYTES)


def estimate_cost(
    model: Architecture, device: Device, workload: Workload, reached: Efficiency | None = None
) -> Estimate:
    """Cost of one batch.

    Compute and memory traffic overlap, so a step takes the longer of the two; each step reads the weights it uses
    once, and the cache of every row. The first token comes out of the prefill, so new_tokens - 1 steps follow.
    Raises UsageError for an exit layer the model does not have.
    """
    reached = reached or Efficiency()
    if workload.exit_layer is not None and workload.exit_layer > model.layers:
        raise UsageError(f"--exit-layer {workload.exit_layer:g}: {model.name} has {model.layers} layers")
    rate = device.rate("fp16") * reached.compute
    bandwidth = device.bandwidth_bytes_s * reached.bandwidth
    rows, prompt, new = workload.batch_size, workload.prompt_tokens, workload.new_tokens
    depth = workload.exit_layer
    share = 1.0 if depth is None else depth / model.layers
    per_weight = (weight_bytes(model, workload.quant) - _half_precision_bytes(model)) / model.body()
    cache = kv_cache_bytes_per_token(model)

    # Prefill passes all layers whatever the exit: later tokens attend to the prompt in every layer.
    used = model.experts.per_token if model.experts else None
    prefill_flop = rows * (
        2 * model.body(used) * prompt + model.layers * model.attention_width * prompt * (prompt + 1) + 2 * model.head
    )
    prefill_bytes = model.body(_distinct_experts(model, rows * prompt)) * per_weight + model.head * HALF_BYTES
    prefill_bytes += rows * prompt * cache
    ttft_s = max(prefill_flop / rate, prefill_bytes / bandwidth) + reached.step_overhead_s

    context = prompt + new / 2
    body = model.body(used, depth)
    layers = share * model.layers
    step_flop = rows * (2 * (body + model.head) + 2 * layers * model.attention_width * context)
    step_bytes = model.body(_distinct_experts(model, rows), depth) * per_weight + model.head * HALF_BYTES
    step_bytes += rows * context * cache * share
    tpot_s = max(step_flop / rate, step_bytes / bandwidth) + reached.step_overhead_s
    tgt_s = ttft_s + tpot_s * (new - 1)

    kv_bytes = rows * (prompt + new) * cache
    vram = weight_bytes(model, workload.quant) + kv_bytes
    power_w = reached.power_w if reached.power_w is not None else device.tdp_w
    energy_j = power_w * tgt_s
    return Estimate(
        model=model.name, device=device.name, workload=workload, parameters=model.parameters,
        active_parameters=model.active_parameters, weight_bytes=weight_bytes(model, workload.quant),
        kv_cache_bytes_per_token=cache, kv_cache_bytes=kv_bytes, vram_bytes=vram, fits=vram <= device.memory_bytes,
        prefill_flop=prefill_flop, decode_flop_per_step=step_flop, decode_bytes_per_step=step_bytes,
        bound_by="compute" if step_flop / rate > step_bytes / bandwidth else "bandwidth",
        ttft_s=ttft_s, tpot_s=tpot_s, tgt_s=tgt_s, power_w=power_w, energy_j=energy_j,
        net_energy_j=None if device.idle_w is None else (power_w - device.idle_w) * tgt_s,
        energy_kwh=joules_to_kwh(energy_j), joules_per_token=energy_j / (rows * new),
        notes=tuple(_notes(model, device, workload, reached, vram)),
    )  # fmt: skip


def _half_precision_bytes(model: Architecture) -> float:
    """Bytes of what quantization leaves alone: embedding, output layer, norms and biases."""
    return (model.parameters - model.body()) * HALF_BYTES


def _distinct_experts(model: Architecture, tokens: int) -> float | None:
    """How many routed experts of a layer are expected to be read when so many tokens choose at random."""
    if model.experts is None:
        return None
    e = model.experts
    return e.routed * (1.0 - (1.0 - e.per_token / e.routed) ** tokens)


def _notes(model: Architecture, device: Device, workload: Workload, reached: Efficiency, vram: float) -> list[str]:
    notes = list(model.notes)
    if reached.power_w is None:
        notes.append("at the device's peak rates and full TDP: times are lower bounds; fit to runs with --fit")
    if device.idle_w is None:
        notes.append(f"no net energy: idle power of {device.name}: {device.idle_source}")
    if vram > device.memory_bytes:
        notes.append(f"needs {vram / 1e9:.1f} GB and {device.name} has {device.memory_bytes / 1e9:.0f} GB")
    if workload.quant != "none":
        notes.append("quantized weights save memory traffic; arithmetic is counted at half precision, as kernels do it")
    if workload.exit_layer is not None:
        notes.append("early exit: the prompt passes all layers, and what the exit's decision costs is not counted")
    return notes
