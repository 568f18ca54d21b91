"""The thesis's estimator exactly as printed, misprints included (docs/estimator.md lists them)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from passkwh.analysis.estimate.architecture import Architecture
from passkwh.analysis.estimate.cost import Workload
from passkwh.analysis.estimate.devices import Device, Precision
from passkwh.errors import UsageError
from passkwh.records import Record

BYTES: dict[str, float] = {"none": 2.0, "gptq-int8": 1.0, "awq": 1.0, "gptq-int4": 0.5}
"""Bytes per parameter (section 3.6.3); tables 5.30 and 5.35 halve for AWQ, although its weights have 4 bits."""
RATES: dict[str, Precision] = {"none": "fp16", "gptq-int8": "int8", "awq": "int8", "gptq-int4": "int4"}
TABLE_5_14_OVERHEAD = 1.2
"""Table 5.14's VRAM is this times the weights, where eq. 3.26 has the KV cache."""


class AsPrinted(Record):
    """What the printed equations give. Seconds, bytes and operations; energies in joules."""

    provenance: Literal["estimated"] = "estimated"
    model: str
    device: str
    workload: Workload
    parameters_by_equation: Annotated[float, Field(description="eq. 3.19, or 3.22 for a mixture of experts")]
    n_params: Annotated[float, Field(description="what the tables compute with: the number in the model's name")]
    kv_bytes_per_token: Annotated[float, Field(description="eq. 3.23")]
    kv_bytes: Annotated[float, Field(description="eq. 3.25")]
    vram_bytes: Annotated[float, Field(description="eq. 3.26")]
    vram_bytes_table_5_14: Annotated[float, Field(description="1.2 x weights, as table 5.14 has it")]
    vram_bytes_table_5_19: Annotated[float, Field(description="weights alone, as tables 5.19-5.35 have it")]
    prefill_compute: Annotated[float, Field(description="eq. 3.27")]
    prefill_memory: Annotated[float, Field(description="eq. 3.28")]
    decode_compute: Annotated[float, Field(description="eq. 3.29")]
    decode_memory: Annotated[float, Field(description="eq. 3.30")]
    ttft_s: Annotated[float, Field(description="eq. 3.31")]
    tpot_s: Annotated[float, Field(description="eq. 3.32")]
    tgt_s: Annotated[float, Field(description="eq. 3.33")]
    tgt_s_table_5_19: Annotated[float, Field(description="(tokens + 1) x TPOT, which tables 5.19-5.35 print")]
    energy_j: Annotated[float, Field(description="eq. 3.34 with the TDP")]


def parameters(model: Architecture) -> float:
    """Eq. 3.4, 3.5, 3.7, 3.10, 3.12, 3.13 added up as in 3.19; for a mixture of experts eq. 3.14-3.18 and 3.22."""
    m, d, h, layers, v = model.hidden, model.head_dim, model.heads, model.layers, model.vocab
    shared = v * m + model.context * m + 4 * m * d * h * layers + 2 * m * (2 * layers + 1) + m * v + v
    if model.experts is None:
        width = model.intermediate
        return shared + ((width * m) ** 2 + width + m) * layers
    e = model.experts
    j = 1.5 * e.intermediate
    per_expert = 2 * m * j + j + m
    count = e.routed + e.shared_intermediate // e.intermediate
    return shared + (per_expert * count + m * e.routed) * e.layers


def as_printed(model: Architecture, n_params: float | None, device: Device, workload: Workload) -> AsPrinted:
    """Equations 3.23-3.34, with ``n_params`` (the model's true count when None), tokens in = ``prompt_tokens``.

    The thesis scales n_params by bytes / 2 for quantized models (tables 5.30 and 5.35), and so does this.
    Raises UsageError for a quantization that it does not have.
    """
    if workload.quant not in BYTES:
        raise UsageError(
            f"--as-printed: the thesis has no figures for {workload.quant}; write one of {', '.join(BYTES)}"
        )
    n = float(model.parameters if n_params is None else n_params)
    p = BYTES[workload.quant]
    b, s = workload.batch_size, workload.prompt_tokens
    scaled = n * p / 2.0
    rate, bandwidth = device.rate(RATES[workload.quant]), device.bandwidth_bytes_s
    group = model.heads / model.kv_heads
    prefill, decode, memory = 2 * scaled * b * s, 2 * scaled * b, 2 * scaled
    ttft_s = prefill / rate + memory / bandwidth
    tpot_s = decode / rate + memory / bandwidth
    tgt_s = ttft_s + tpot_s * workload.new_tokens
    kv_bytes = 2 * b * s * n * (model.heads / group) * model.hidden * p
    return AsPrinted(
        model=model.name, device=device.name, workload=workload, parameters_by_equation=parameters(model), n_params=n,
        kv_bytes_per_token=2 * n * model.heads * model.hidden * p, kv_bytes=kv_bytes,
        vram_bytes=n * p + kv_bytes * p, vram_bytes_table_5_14=TABLE_5_14_OVERHEAD * n * p,
        vram_bytes_table_5_19=n * p, prefill_compute=prefill, prefill_memory=memory, decode_compute=decode,
        decode_memory=memory, ttft_s=ttft_s, tpot_s=tpot_s, tgt_s=tgt_s,
        tgt_s_table_5_19=(workload.new_tokens + 1) * tpot_s, energy_j=device.tdp_w * tgt_s,
    )  # fmt: skip
