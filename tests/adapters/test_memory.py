"""Estimates of memory against what models really take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from passkwh import adapters
from passkwh.adapters import checkpoint, device, memory, placement
from passkwh.adapters.memory import key_value_bytes
from passkwh.adapters.quantization.base import Loading
from passkwh.errors import UsageError

TOKENS = 40

SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "intermediate_size": 128},
    "qwen2": {"num_key_value_heads": 4, "intermediate_size": 128},
    "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64},
    "deepseek_v2": {
        "intermediate_size": 128, "moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2,
        "kv_lora_rank": 16, "q_lora_rank": None, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
        "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("family", SHAPES)
def test_the_cache_takes_as_many_bytes_as_computed(family: str) -> None:
    common = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = AutoConfig.for_model(family, **common, **SHAPES[family])
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        cache = model(torch.ones(2, TOKENS, dtype=torch.long), use_cache=True).past_key_values
    real = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert key_value_bytes(config.to_dict(), 4) * 2 * TOKENS == real


def test_qwens_cache_by_the_published_shape() -> None:
    """Qwen2.5-7B: 28 layers, 4 key-value heads of width 128, 16 bits: 56 KiB a token."""
    shape = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}
    assert key_value_bytes(shape, 2) == 56 * 1024


def test_a_batch_takes_more_than_a_row(tiny_llama: Path) -> None:
    found = adapters.resolve(str(tiny_llama))
    one, many = (adapters.memory_needed(found, batch, 512, "cpu") for batch in (1, 64))
    assert many - one >= 63 * 512 * key_value_bytes(checkpoint.config(tiny_llama), 4)


def of_14b(tmp_path: Path, **more: Any) -> adapters.Checkpoint:
    """Qwen2.5-14B as it is known before its weights are here."""
    shape = {
        "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48,
        "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064, "dtype": "bfloat16",
        "tie_word_embeddings": False, "architectures": ["Qwen2ForCausalLM"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(shape))
    values = {"parameters": 14_770_033_664, "files": tmp_path, **more}
    return adapters.Checkpoint(name="14b", source="hub", location="o/14b", path=None, revision="0", chat=True, **values)


def test_a_model_that_is_not_here_is_estimated_from_its_small_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: True)
    needed = {
        quant: adapters.memory_needed(of_14b(tmp_path, quant=quant), 1, 512, "cpu") / 2**30
        for quant in ("none", "gptq-int4", "bnb-nf4", "torchao-int8")
    }
    assert 28 < needed["none"] < 34
    assert 9 < needed["gptq-int4"] < needed["bnb-nf4"] < 13
    assert 14 < needed["torchao-int8"] < 19
    published = of_14b(tmp_path, quant="gptq-int4", prequantized=True, weight_bytes=9_980_000_000)
    assert 9.2 < adapters.memory_needed(published, 1, 512, "cpu") / 2**30 < 12


def test_layers_are_laid_over_two_devices_by_their_packed_size(tmp_path: Path) -> None:
    """On a skeleton without memory: the same that is loaded onto real devices."""
    gib = 2**30
    found = of_14b(tmp_path, quant="gptq-int4", prequantized=True, weight_bytes=9_980_000_000)
    free = {"cuda:0": 7 * gib, "cuda:1": 7 * gib}
    plan = placement.split(found, free)
    assert plan.devices == ("cuda:0", "cuda:1")
    assert all(plan.weights[name] < free[name] for name in free)
    assert sum(plan.weights.values()) == pytest.approx(9_980_000_000, rel=0.01)
    layers = [plan.device_map[f"model.layers.{place}"] for place in range(48)]
    assert layers == sorted(layers), "in their order"
    assert 16 <= layers.count("cuda:1") <= 32, "evenly"
    needed = memory.needed_by_device(found, 4, 2048, dict(plan.weights))
    assert sum(needed.values()) == pytest.approx(memory.memory_needed(found, 4, 2048, "cpu"), rel=0.2)
    with pytest.raises(UsageError, match=r"14b has 27\.5 GiB of weights and cuda:0, cuda:1 have 14\.0 GiB free"):
        placement.split(of_14b(tmp_path), free)


def test_a_model_on_two_devices_is_loaded_by_its_map(tiny_llama: Path) -> None:
    """The map of two devices, with the CPU under both names: what it gives is what one device gives."""
    found = adapters.resolve(str(tiny_llama))
    plan = placement.split(found, {"cuda:0": 2**30, "cuda:1": 2**30})
    assert set(plan.device_map.values()) == {"cuda:0", "cuda:1"}
    how = Loading("cpu", dict.fromkeys(plan.device_map, "cpu"))
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, **how.arguments())
    whole = AutoModelForCausalLM.from_pretrained(tiny_llama)
    ids = torch.arange(8).view(1, -1)
    assert torch.equal(model(ids).logits, whole(ids).logits)


@pytest.mark.parametrize("text", ["cpu,cpu", "cpu,mps", "warp", "0,0"])
def test_devices_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"--devices .*: write auto, cpu, or GPUs|device '(warp|cuda:0)' cannot be used"
    ):
        device.listed(text)


def test_too_little_memory_says_needed_and_free(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = adapters.resolve(str(tiny_llama))
    adapters.check_memory(found, 1, 512, "cpu")
    with pytest.raises(UsageError, match=r"needs about [\d.]+ GiB on cpu and [\d.]+ GiB are free: .*--batch-size"):
        adapters.check_memory(found, 10**9, 512, "cpu")


def test_the_number_format_follows_checkpoint_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    half, full = {"dtype": "bfloat16"}, {"torch_dtype": "float32"}
    for native, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(device, "cpu_has_bfloat16", lambda native=native: native)
        assert device.dtype_name(half, "cpu") == device.dtype_name({"dtype": "float16"}, "cpu") == expected
    assert device.dtype_name({"dtype": "float16"}, "cuda") == "float16"
    assert device.dtype_name(full, "cuda") == device.dtype_name(full, "cpu") == "float32"


PEAK = """
import json, sys
from passkwh import adapters
from passkwh.adapters.engines.base import Decoding
from passkwh.prompts import TextPrompt
found = adapters.prepare(adapters.resolve("smollm2-135m-instruct"))
model = adapters.load(found, "cpu")
model.generate([TextPrompt(model._tokenizer.decode([5] * 400))] * 2, Decoding(4), [0] * 2)
lines = open("/proc/self/status").read().splitlines()  # ru_maxrss begins with what the parent had
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
print(json.dumps([peak, adapters.memory_needed(found, 2, 404, "cpu")]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_estimate_covers_what_the_embedded_model_takes(smollm2: Any) -> None:
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak, needed = json.loads(done.stdout)
    assert 0.6 * peak < needed < 3 * peak
    print(f"peak {peak / 2**20:.0f} MiB, estimated {needed / 2**20:.0f} MiB")
