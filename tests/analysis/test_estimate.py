"""The estimator: parameter counts against real modules, equations by hand, tables of the thesis as printed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeRun  # type: ignore[import-not-found]

from passkwh.analysis.estimate.architecture import Architecture, find_architecture, from_config, known_models
from passkwh.analysis.estimate.as_printed import AsPrinted, as_printed
from passkwh.analysis.estimate.cost import Efficiency, Workload, estimate_cost, kv_cache_bytes_per_token, weight_bytes
from passkwh.analysis.estimate.devices import devices, find_device
from passkwh.analysis.estimate.fit import fit_estimator
from passkwh.analysis.frames import Frames, load
from passkwh.errors import UsageError

TRUE_COUNTS = {
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-1.5B": 1_543_714_304,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-7B": 7_615_616_512,
    "Qwen2.5-14B": 14_770_033_664,
    "Qwen2.5-32B": 32_763_876_352,
    "Qwen2.5-72B": 72_706_203_648,
    "Llama-3.1-8B": 8_030_261_248,
    "DeepSeek-V2-Lite": 15_706_484_224,
    "SmolLM2-135M": 134_515_008,
}
"""Elements of the published checkpoints' tensors, as the hub counts them."""


def model(name: str) -> Architecture:
    return find_architecture(name)[0]


@pytest.mark.parametrize("name", TRUE_COUNTS)
def test_parameters_of_published_checkpoints(name: str) -> None:
    assert model(name).parameters == TRUE_COUNTS[name], "to the last weight, where 1 % was asked"


CONFIGS = {
    "llama with biases": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "qwen2 tied": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", "head_dim": 24},
    "mistral": {"model_type": "mistral"},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {"model_type": "qwen2_moe", "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
                  "shared_expert_intermediate_size": 80, "decoder_sparse_step": 2, "mlp_only_layers": [3]},
    "qwen3_moe": {"model_type": "qwen3_moe", "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48},
    "deepseek_v2 with query rank": {
        "model_type": "deepseek_v2", "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3,
        "moe_intermediate_size": 40, "first_k_dense_replace": 1, "num_key_value_heads": 4, "topk_group": 1,
        "n_group": 1},
    "deepseek_v2 without": {
        "model_type": "deepseek_v2", "q_lora_rank": None, "kv_lora_rank": 16, "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8, "v_head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3,
        "moe_intermediate_size": 40, "first_k_dense_replace": 2, "num_key_value_heads": 4, "topk_group": 1,
        "n_group": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_of_modules_that_transformers_builds(name: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {
        "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 112, "vocab_size": 320, "tie_word_embeddings": False, **CONFIGS[name],
    }  # fmt: skip
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    assert from_config(config, name).parameters == sum(p.numel() for p in built.parameters())


def test_key_value_caches() -> None:
    # Qwen2.5-7B: 28 layers x 2 x 4 heads x 128 x 2 bytes. DeepSeek-V2: 27 layers x (512 + 64) x 2 bytes.
    assert kv_cache_bytes_per_token(model("Qwen2.5-7B")) == 28 * 2 * 4 * 128 * 2
    assert kv_cache_bytes_per_token(model("DeepSeek-V2-Lite")) == 27 * (512 + 64) * 2


def test_cost_of_a_dense_model_by_hand() -> None:
    device, asked = find_device("L40S"), Workload(prompt_tokens=100, new_tokens=50, batch_size=2)
    found = estimate_cost(model("Llama-3.1-8B"), device, asked)
    body, head = 8_030_261_248 - 2 * 128256 * 4096 - 65 * 4096, 128256 * 4096
    prefill = 2 * (2 * body * 100 + 32 * 2 * 32 * 128 * 100 * 101 + 2 * head)
    assert found.prefill_flop == pytest.approx(prefill, rel=1e-12)
    step = 2 * (2 * (body + head) + 2 * 32 * 2 * 32 * 128 * 125)
    assert found.decode_flop_per_step == pytest.approx(step, rel=1e-12)
    cache = 32 * 2 * 8 * 128 * 2
    traffic = 2 * (body + head) + 2 * 125 * cache
    assert found.decode_bytes_per_step == pytest.approx(traffic, rel=1e-12)
    assert found.tpot_s == pytest.approx(traffic / 864e9, rel=1e-12)
    ttft = max(prefill / 362.05e12, (2 * (body + head) + 200 * cache) / 864e9)
    assert found.ttft_s == pytest.approx(ttft, rel=1e-12)
    assert found.tgt_s == pytest.approx(ttft + 49 * found.tpot_s, rel=1e-12)
    assert found.energy_j == pytest.approx(350 * found.tgt_s, rel=1e-12)
    assert found.vram_bytes == pytest.approx(2 * 8_030_261_248 + 2 * 150 * cache, rel=1e-12)
    assert found.bound_by == "bandwidth"
    assert found.provenance == "estimated"


def test_active_experts_of_a_mixture() -> None:
    lite = model("DeepSeek-V2-Lite")
    # 26 of 27 layers have 64 + 2 experts of three 2048 x 1408 matrices, of which a token meets 6 + 2.
    assert lite.parameters - lite.active_parameters == 26 * 58 * 3 * 2048 * 1408
    one, many = (
        estimate_cost(lite, find_device("L40S"), Workload(batch_size=b)).decode_bytes_per_step for b in (1, 256)
    )
    assert one < 2 * 1.05 * lite.active_parameters
    assert many > 2 * 0.9 * lite.parameters, "a large batch reads every expert"


def test_variants_go_the_right_way() -> None:
    device, qwen = find_device("L40S"), model("Qwen2.5-7B")
    plain = estimate_cost(qwen, device, Workload())
    for quant, bits in (("gptq-int8", 8), ("gptq-int4", 4), ("awq", 4)):
        asked = Workload(quant=quant)  # type: ignore[arg-type]
        body = qwen.body()
        expected = body * (bits + (16 + bits) / 128) / 8 + (qwen.parameters - body) * 2
        assert weight_bytes(qwen, quant) == pytest.approx(expected)
        assert estimate_cost(qwen, device, asked).tpot_s < plain.tpot_s
    early = estimate_cost(qwen, device, Workload(exit_layer=14))
    assert early.ttft_s == plain.ttft_s
    # Half the layers, but all of the output layer.
    half = 2 * (qwen.body() / 2 + qwen.head) + 384 * 57344 / 2
    assert early.decode_bytes_per_step == pytest.approx(half)
    assert estimate_cost(qwen, device, Workload(exit_layer=28)).tgt_s == pytest.approx(plain.tgt_s)
    with pytest.raises(UsageError, match="28 layers"):
        estimate_cost(qwen, device, Workload(exit_layer=29))
    reached = Efficiency(compute=0.5, bandwidth=0.5, step_overhead_s=0.001, power_w=200)
    assert estimate_cost(qwen, device, Workload(), reached).tpot_s == pytest.approx(2 * plain.tpot_s + 0.001)
    assert any(
        "has 16 GB" in n for n in estimate_cost(qwen, find_device("Tesla T4"), Workload(prompt_tokens=30_000)).notes
    )


def printed(name: str, gpu: str, **asked: object) -> AsPrinted:
    architecture, nominal = find_architecture(name)
    return as_printed(architecture, nominal, find_device(gpu), Workload.model_validate(asked))


@pytest.mark.parametrize(
    ("name", "prefill", "ttft", "tpot", "tgt", "vram", "tgt_by_equation"),
    [
        ("Qwen2.5-Coder-7B", 3.58, 36.00, 16.24, 4.17, 16.80, 4.19),
        ("Meta-Llama-3.1-8B", 4.10, 41.14, 18.56, 4.76, 19.20, 4.79),
        ("DeepSeek-V2-Lite", 8.09, 81.26, 36.66, 9.40, 37.92, 9.47),
    ],
)
def test_table_5_14(
    name: str, prefill: float, ttft: float, tpot: float, tgt: float, vram: float, tgt_by_equation: float
) -> None:
    """256 tokens. Its TTFT use an L40's rate and its TPOT an L40S's; each is reproduced to the printed digits."""
    slow, fast = printed(name, "L40", prompt_tokens=256), printed(name, "L40S", prompt_tokens=256)
    assert round(slow.prefill_compute / 1e12, 2) == prefill
    assert round(slow.ttft_s * 1e3, 2) == ttft
    assert round(fast.tpot_s * 1e3, 2) == tpot
    assert round(fast.vram_bytes_table_5_14 / 1e9, 2) == vram
    # Differences: with either rate alone the other column does not come out, and eq. 3.26's VRAM is absurd.
    assert round(fast.ttft_s * 1e3, 2) != ttft
    assert round(slow.tpot_s * 1e3, 2) != tpot
    assert fast.vram_bytes > 1e15
    assert round((ttft + 256 * tpot) / 1e3, 2) == tgt_by_equation != tgt
    listed = (Path(__file__).resolve().parents[2] / "docs/estimator.md").read_text()
    assert f"{tgt_by_equation:.2f}" in listed
    assert f"{tgt:.2f}" in listed


@pytest.mark.parametrize(
    ("name", "quant", "prefill", "ttft", "tpot", "tgt", "vram"),
    [
        ("Qwen2.5-0.5B", "none", 0.66, 0.003, 0.001, 0.77, 1.0),
        ("Qwen2.5-3B", "none", 3.96, 0.018, 0.007, 4.60, 6.0),
        ("Qwen2.5-7B", "none", 9.24, 0.0417, 0.0162, 10.74, 14.0),
        ("Qwen2.5-14B", "none", 18.48, 0.0835, 0.0325, 21.47, 28.0),
        ("Qwen2.5-7B", "gptq-int8", 4.62, 0.0144, 0.0081, 5.36, 7.0),
        ("Qwen2.5-7B", "gptq-int4", 2.31, 0.0072, 0.0041, 2.68, 3.5),
        ("Qwen2.5-14B", "awq", 9.24, 0.0288, 0.0162, 10.72, 14.0),
        ("Qwen2.5-72B", "none", None, None, None, 110.43, 144.0),
    ],
)
def test_tables_5_19_to_5_35(
    name: str, quant: str, prefill: float | None, ttft: float | None, tpot: float | None, tgt: float, vram: float
) -> None:
    """660 tokens on an L40S; TGT is 661 steps, not eq. 3.33."""
    found = printed(name, "L40S", quant=quant, prompt_tokens=660, new_tokens=660)
    if prefill is not None and ttft is not None and tpot is not None:
        assert round(found.prefill_compute / 1e12, 2) == prefill
        assert round(found.ttft_s, len(str(ttft)) - 2) == pytest.approx(ttft)
        assert round(found.tpot_s, len(str(tpot)) - 2) == pytest.approx(tpot)
    assert round(found.tgt_s_table_5_19, 2) == tgt
    assert found.vram_bytes_table_5_19 == vram * 1e9


def test_misprints_are_kept_as_printed() -> None:
    found = printed("Qwen2.5-7B", "L40S")
    m, d, h, layers, v, width, context = 3584, 128, 28, 28, 152064, 18944, 131072
    by_hand = (
        2 * v * m + v + context * m + 4 * m * d * h * layers + 2 * m * 57 + ((width * m) ** 2 + width + m) * layers
    )
    assert found.parameters_by_equation == by_hand
    assert found.kv_bytes_per_token == 2 * 7e9 * h * m * 2
    assert found.kv_bytes == 2 * 256 * 7e9 * 4 * m * 2
    assert found.vram_bytes == 14e9 + found.kv_bytes * 2
    mixture = printed("DeepSeek-V2-Lite", "L40S").parameters_by_equation
    assert mixture == pytest.approx(15.7e9, rel=0.1), "for the mixture no product is squared, and it comes close"


def test_devices_name_their_sources() -> None:
    names = {d.name for d in devices()}
    assert {"L40S", "RTX 8000", "A100", "H100", "H200", "T4"} <= names
    for device in devices():
        assert device.source
        assert device.idle_source, "a missing idle power says why, a known one says where from"
    assert find_device("NVIDIA A100-SXM4-80GB").name == "A100"
    with pytest.raises(UsageError, match="L40S"):
        find_device("abacus")
    with pytest.raises(UsageError, match="no int4 rate"):
        find_device("H100").rate("int4")


def test_device_and_model_files(tmp_path: Path) -> None:
    device = find_device("L40S").model_copy(update={"name": "mine", "idle_w": 30.0})
    (tmp_path / "mine.json").write_text(device.model_dump_json())
    (tmp_path / "bad.json").write_text('{"name": "x"}')
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
              "intermediate_size": 128, "vocab_size": 100}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "odd.json").write_text(json.dumps({**config, "model_type": "strange"}))
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    found = estimate_cost(model(str(tmp_path)), find_device(str(tmp_path / "mine.json")), Workload())
    assert found.net_energy_j == pytest.approx((350 - 30) * found.tgt_s)
    assert any("strange" in note for note in model(str(tmp_path / "odd.json")).notes)
    with pytest.raises(UsageError, match="num_attention_heads"):
        find_architecture(str(tmp_path / "empty.json"))
    with pytest.raises(UsageError, match="as JSON"):
        find_architecture(str(tmp_path / "broken.json"))
    with pytest.raises(UsageError, match=r"Qwen2\.5-7B"):
        find_architecture("no-such-model")
    with pytest.raises(UsageError, match="flops"):
        find_device(str(tmp_path / "bad.json"))
    with pytest.raises(UsageError, match="cannot be read"):
        find_device(str(tmp_path / "absent.json"))


def with_times(frames: Frames, seconds: list[float], joules: list[float]) -> Frames:
    from dataclasses import replace

    runs = [
        replace(run, summary=run.summary.model_copy(update={"generation_s": s, "generation_energy_j": j}))
        for run, s, j in zip(frames.runs, seconds, joules, strict=True)
    ]
    return Frames(tuple(runs), frames.samples)


def test_a_fit_finds_what_made_the_times(make_run: MakeRun) -> None:
    names = ("Qwen2.5-0.5B-Instruct", "Qwen2.5-3B-Instruct", "Qwen2.5-7B-Instruct")
    frames = load([make_run(name, model=f"Qwen/{name}") for name in names])
    device = find_device("L40S")
    steps = 100 + 101 + 102 + 103
    ideal = [
        sum(
            estimate_cost(model(n), device, Workload(prompt_tokens=50, new_tokens=t)).tgt_s
            for t in (100, 101, 102, 103)
        )
        for n in names
    ]
    seconds = [t / 0.6 + 0.002 * steps for t in ideal]
    found = fit_estimator(with_times(frames, seconds, [240.0 * s for s in seconds]), device)
    assert found.efficiency == pytest.approx(0.6, rel=1e-9)
    assert found.step_overhead_s == pytest.approx(0.002, rel=1e-9)
    assert found.power_w == pytest.approx(240.0)
    for run in found.runs:
        assert run.time_error == pytest.approx(0.0, abs=1e-9)
        assert run.left_out_time_error == pytest.approx(0.0, abs=1e-9)
        assert run.energy_error == pytest.approx(0.0, abs=1e-9)
    again = estimate_cost(model("Qwen2.5-7B"), device, Workload(), found.reached())
    assert again.power_w == pytest.approx(240.0)
    noisy = fit_estimator(
        with_times(frames, [s * f for s, f in zip(seconds, (1.1, 0.9, 1.0), strict=True)], [1.0] * 3), device
    )
    assert max(abs(run.time_error) for run in noisy.runs) > 0.01


def test_a_fit_to_one_run_says_how_little_that_is(make_run: MakeRun) -> None:
    frames = load([make_run("r", model="Qwen/Qwen2.5-3B-Instruct", energy_j=[None, 1.0, 2.0, 3.0])])
    found = fit_estimator(frames, find_device("L40S"))
    assert found.runs[0].left_out_time_error is None
    assert found.power_w is None
    assert any("1 run" in note for note in found.notes)
    assert any("TDP" in note for note in found.notes)
    with pytest.raises(UsageError, match="not a model known here"):
        fit_estimator(load([make_run("u")]), find_device("L40S"))


def test_known_models_are_consistent() -> None:
    for known in known_models().values():
        assert known.source
        assert np.isclose(known.nominal_parameters, known.architecture.parameters, rtol=0.1), known.name
