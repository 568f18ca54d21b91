"""On a real NVIDIA GPU: counter against power over a minute of generation, and the update period as found.

    pytest -m gpu tests/gpu -s

Prints one JSON line with the device's name for docs/measurements.md. Skipped where there is no such GPU.
"""

from __future__ import annotations

import json
import time

import pyarrow as pa
import pytest

from passkwh.harness.meter import Recorder, Trace
from passkwh.harness.meter.crosscheck import disagreement
from passkwh.harness.meter.nvidia import find_nvidia
from passkwh.records import Window

GENERATION_S = 60.0
IDLE_S = 10.0


@pytest.mark.gpu
def test_counter_and_power_agree_over_a_minute_of_generation() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    channels = [channel for channel in find_nvidia()[0] if channel.info.quantity == "energy_j"][:1]
    if not channels:
        pytest.skip("no NVIDIA GPU with an energy counter")
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=16, num_attention_heads=16
    )
    model = LlamaForCausalLM(config).to("cuda", torch.bfloat16).eval()
    prompts = torch.randint(10, 30000, (8, 256), device="cuda")

    def generate() -> None:
        with torch.inference_mode():
            model.generate(prompts, max_new_tokens=128, min_new_tokens=128, do_sample=False, pad_token_id=0)
        torch.cuda.synchronize()

    generate()
    tables: list[pa.Table] = []
    name = channels[0].info.name
    with Recorder(channels, tables.append, session=0):
        idle_ns = time.monotonic_ns()
        time.sleep(IDLE_S)
        start_ns = time.monotonic_ns()
        while time.monotonic_ns() - start_ns < GENERATION_S * 1e9:
            generate()
        end_ns = time.monotonic_ns()
        time.sleep(0.5)
    trace = Trace.from_table(pa.concat_tables(tables), [channels[0].info])
    idle = trace.idle(name, Window(kind="idle_before", session=0, start_ns=idle_ns, end_ns=start_ns))
    found = disagreement(trace, name, 0, start_ns, end_ns)
    curve = trace.curve(name, 0)
    assert found is not None
    assert curve is not None
    energy = trace.energy(name, 0, start_ns, end_ns, idle)
    print(
        json.dumps(
            {
                "device": channels[0].info.source,
                "update_period_s": curve.period_s,
                "idle_w": idle.mean_w,
                "generation_j": energy.gross_j,
                "se_j": energy.se_j,
                "power_against_counter": found.relative,
                "power_quantity": found.power_quantity,
            }
        )
    )
    assert abs(found.relative) < 0.02
    assert 0.0 < curve.period_s < 0.5
