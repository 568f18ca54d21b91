"""Local folders -> checkpoints: what their small files say of them, in the forms that publishers write."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters
from passkwh.adapters import Overrides, embedded
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.prompt_form import read_form
from passkwh.adapters.quantization.recognise import label_of, packed_as
from passkwh.adapters.weights import Tensor, choose, size_of
from passkwh.errors import UsageError


def test_a_local_folder_is_known_by_its_content(tiny_llama: Path, tmp_path: Path) -> None:
    found = adapters.resolve(str(tiny_llama))
    twin = shutil.copytree(tiny_llama, tmp_path / "twin")
    (twin / "README.md").write_text("prose does not shape answers")
    assert adapters.resolve(str(twin)).revision == found.revision
    weights = twin / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert adapters.resolve(str(twin)).revision != found.revision
    assert (found.source, found.location, found.path) == ("local", "tiny-llama", tiny_llama.resolve())
    assert found.pending == ()


def test_parameters_are_counted_from_headers(tiny_llama: Path, tiny_opt: Path) -> None:
    from transformers import AutoModelForCausalLM

    for folder in (tiny_llama, tiny_opt):
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert adapters.resolve(str(folder)).parameters == sum(weight.numel() for weight in model.parameters())


def test_chat_is_told_from_template_and_name(tiny_llama: Path, tiny_chat: Path, tiny_qwen2: Path) -> None:
    assert not adapters.resolve(str(tiny_llama)).chat
    assert adapters.resolve(str(tiny_chat)).chat
    assert not adapters.resolve(str(tiny_qwen2)).chat, "a base model stays one though it carries a template"


def test_a_relative_folder_is_found_before_the_hub(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, hub_cache: Path
) -> None:
    monkeypatch.chdir(tiny_llama.parent.parent)
    assert adapters.resolve(f"{tiny_llama.parent.name}/tiny-llama").source == "local"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("config.json", "it has no config.json"),
        ("model.safetensors", "it has no weights"),
        ("tokenizer.json", "it has no tokenizer"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_told_what_it_lacks(
    spoil: str, complaint: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "spoiled")
    (folder / spoil).unlink()
    with pytest.raises(UsageError, match=f"spoiled is not a checkpoint: {complaint}"):
        adapters.resolve(str(folder))


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_config_that_is_none_is_refused(text: str, tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "odd")
    (folder / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"odd is not a checkpoint: its config\.json"):
        adapters.resolve(str(folder))


def test_truncated_weights_and_missing_shards_are_named(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"model\.safetensors is damaged"):
        adapters.resolve(str(folder))
    weights.unlink()
    (folder / "model-00002-of-00003.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"weight file model-00001-of-00003\.safetensors is missing \(2 of 3 are\)"):
        adapters.resolve(str(folder))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"weight file model-00001-of-00002\.safetensors is missing \(2 of 2 are\)"):
        adapters.resolve(str(folder))
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00002-of-00003.safetensors").unlink()
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UsageError, match="is a pointer of Git LFS and no weights: run `git lfs pull`"):
        adapters.resolve(str(folder))


def test_a_folder_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="no checkpoint folder nowhere/at/all"):
        adapters.resolve("./nowhere/at/all")


@pytest.mark.parametrize(
    ("packed", "quant"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq-int4"),
        ({"quant_method": "gptq", "bits": 8}, "gptq-int8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
    ],
)
def test_a_folder_that_is_quantized_already_is_recognised(
    packed: dict[str, object], quant: str, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "packed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": packed}))
    for asked in ("none", quant):
        found = adapters.resolve(str(folder), asked)
        assert (found.quant, found.prequantized, found.pending) == (quant, True, ())
    other = "awq" if quant != "awq" else "gptq-int4"
    with pytest.raises(UsageError, match=rf"already quantized \({quant}\): --quant {other} cannot"):
        adapters.resolve(str(folder), other)


# ---------------------------------------------------------------- as publishers make them

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50,
}  # fmt: skip


def publish(
    folder: Path,
    config: dict[str, Any] | None = None,
    tensors: dict[str, tuple[str, tuple[int, ...]]] | None = None,
    tokenizer: str = "tokenizer.json",
    **files: Any,
) -> Path:
    """A folder with configuration, weights of these types and shapes, all zero, and other files (__ for . in names)."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | (config or {})))
    (folder / "model.safetensors").write_bytes(safetensors(tensors or {"w.weight": ("BF16", (8, 8))}))
    (folder / tokenizer).write_text("{}")
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text)
    return folder


WIDTHS = {"U8": 1, "I8": 1, "F8_E4M3": 1, "F16": 2, "BF16": 2, "I32": 4, "F32": 4}


def safetensors(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> bytes:
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + WIDTHS[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


@pytest.mark.parametrize(
    ("packed", "label"),
    [
        ({"quant_method": "gptq", "bits": "4", "group_size": 128}, "gptq-int4"),
        ({"quant_method": "gptq", "bits": 4}, "gptq-int4"),
        ({"quant_method": "gptq", "bits": 2, "desc_act": True, "group_size": -1}, "gptq-int2"),
        ({"quant_method": "GPTQ", "bits": 3}, "gptq-int3"),
        ({"quant_method": "gptq", "bits": 5}, "gptq-int5"),
        ({"quant_method": "awq", "w_bit": 4, "version": "gemm"}, "awq"),
        ({"quant_method": "AWQ", "bits": 4}, "awq"),
        ({"quant_method": "awq"}, "awq"),
        ({"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}, "awq"),
        ({"quant_method": "auto-round", "bits": 4}, "auto-round-int4"),
        ({"quant_method": "intel/auto_round", "bits": 2}, "auto-round-int2"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fbgemm_fp8"}, "fbgemm-fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bnb-nf4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "bnb-fp4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, "bnb-int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "hqq"}, "hqq"),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}}, "hqq-int4"),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}, "torchao-int8"),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "torchao-int4"),
        ({"quant_method": "aqlm", "nbits_per_codebook": 16}, "aqlm"),
        ({"quant_method": "quanto", "weights": "int8"}, "quanto"),
    ],
)
def test_every_format_has_its_label(packed: dict[str, Any], label: str, tmp_path: Path) -> None:
    for place, config in (
        ("a", {"quantization_config": packed}),
        ("b", {"text_config": {"quantization_config": packed}}),
    ):
        found = adapters.resolve(str(publish(tmp_path / place, config)))
        assert (found.quant, found.adapter, found.prequantized) == (label, label, True)
        assert found.read["quantization"] == "config.json"


def group(bits: int, kind: str = "int", activations: int | None = None, **more: Any) -> dict[str, Any]:
    acts = None if activations is None else {"num_bits": activations, "type": kind}
    return {"weights": {"num_bits": bits, "type": kind, **more}, "input_activations": acts}


@pytest.mark.parametrize(
    ("groups", "label"),
    [
        ([group(4)], "w4a16"),
        ([group(8, activations=8)], "w8a8"),
        ([group(8, "float", 8)], "fp8"),
        ([group(8, "float")], "fp8a16"),
        ([group(4, "float", 4, group_size=16)], "nvfp4"),
        ([group(4, "float", group_size=32)], "mxfp4a16"),
        ([group(4), group(8)], "mixed"),
    ],
)
def test_compressed_tensors_are_named_by_their_scheme(groups: list[dict[str, Any]], label: str) -> None:
    config = {"quant_method": "compressed-tensors", "config_groups": {f"group_{i}": g for i, g in enumerate(groups)}}
    assert label_of(config) == f"compressed-tensors-{label}"


@pytest.mark.parametrize(
    ("file", "content", "label"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, "gptq-int4"),
        ("quantize_config.json", {"bits": 8, "quant_method": "gptq"}, "gptq-int8"),
        ("quant_config.json", {"zero_point": True, "q_group_size": 128, "w_bit": 4}, "awq"),
        ("hf_quant_config.json", {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}, "nvfp4"),
    ],
)
def test_older_files_say_how_weights_are_packed(file: str, content: dict[str, Any], label: str, tmp_path: Path) -> None:
    folder = publish(tmp_path / "old", **{file.replace(".", "__"): content})
    packed = packed_as(ModelFiles(folder))
    assert (packed.label, packed.file) == (label, file)


PACKED_TENSORS: dict[str, tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...]]], int]] = {
    "gptq, 4 bits": (
        {"quant_method": "gptq", "bits": 4},
        {"q.qweight": ("I32", (8, 64)), "q.qzeros": ("I32", (1, 8)), "q.scales": ("F16", (1, 64)),
         "q.g_idx": ("I32", (64,)), "e.weight": ("F16", (10, 64))}, 64 * 64 + 640),
    "gptq, 3 bits": ({"quant_method": "gptq", "bits": 3}, {"q.qweight": ("I32", (6, 64))}, 64 * 64),
    "awq": ({"quant_method": "awq"}, {"q.qweight": ("I32", (64, 8)), "q.scales": ("F16", (1, 64))}, 64 * 64),
    "bitsandbytes nf4": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {"q.weight": ("U8", (2048, 1)), "q.weight.absmax": ("U8", (64,)), "q.weight.quant_map": ("F32", (16,)),
         "q.weight.nested_absmax": ("F32", (1,)), "q.weight.quant_state.bitsandbytes__nf4": ("U8", (90,))}, 64 * 64),
    "bitsandbytes int8": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"q.weight": ("I8", (64, 64)), "q.SCB": ("F32", (64,)), "q.weight_format": ("U8", ())}, 64 * 64),
    "fp8": (
        {"quant_method": "fp8"},
        {"q.weight": ("F8_E4M3", (64, 64)), "q.weight_scale_inv": ("F32", (1, 1))}, 64 * 64),
    "compressed-tensors": (
        {"quant_method": "compressed-tensors", "config_groups": {"g": group(4)}},
        {"q.weight_packed": ("I32", (64, 8)), "q.weight_scale": ("BF16", (64, 1)), "q.weight_shape": ("I32", (2,))},
        64 * 64),
    "mxfp4": (
        {"quant_method": "mxfp4"},
        {"m.gate_up_proj_blocks": ("U8", (2, 64, 2, 16)), "m.gate_up_proj_scales": ("U8", (2, 64, 2)),
         "m.gate_up_proj_bias": ("BF16", (2, 64))}, 2 * 64 * 64 + 128),
    "nvfp4": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
        {"q.weight": ("U8", (64, 32)), "q.weight_scale": ("F8_E4M3", (64, 4)), "q.weight_scale_2": ("F32", ()),
         "q.input_scale": ("F32", ())}, 64 * 64),
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKED_TENSORS)
def test_packed_weights_count_as_what_they_stand_for(kind: str, tmp_path: Path) -> None:
    packed, tensors, parameters = PACKED_TENSORS[kind]
    assert (
        adapters.resolve(str(publish(tmp_path / "x", {"quantization_config": packed}, tensors))).parameters
        == parameters
    )


@pytest.mark.parametrize(
    ("config", "experts", "active"),
    [
        ({"num_local_experts": 8, "num_experts_per_tok": 2}, "model.layers.0.block_sparse_moe.experts.{}.w1.weight", 2),
        ({"num_experts": 8, "num_experts_per_tok": 4}, "model.layers.0.mlp.experts.{}.up_proj.weight", 4),
        ({"n_routed_experts": 8, "num_experts_per_tok": 3}, "model.layers.0.mlp.experts.{}.up_proj.weight", 3),
        ({"text_config": {"num_local_experts": 8, "num_experts_per_tok": 1}}, "m.feed_forward.experts.{}.weight", 1),
        ({"num_experts": 8, "moe_topk": [2, 2]}, "model.layers.0.mlp.experts.{}.up_proj.weight", 2),
        ({"ffn_config": {"moe_num_experts": 8, "moe_top_k": 4}}, "t.blocks.0.ffn.experts.{}.mlp.w1", 4),
        ({"num_experts": 0}, "model.layers.0.mlp.up_proj.{}.weight", None),
        ({}, "model.layers.0.mlp.up_proj.{}.weight", None),
    ],
)
def test_the_active_part_of_a_mixture_of_experts(
    config: dict[str, Any], experts: str, active: int | None, tmp_path: Path
) -> None:
    tensors = [Tensor(experts.format(place), (10, 10), "BF16") for place in range(8)]
    tensors += [Tensor("model.layers.0.mlp.shared_experts.up_proj.weight", (5, 10), "BF16"), Tensor("e", (7,), "BF16")]
    size = size_of(tensors, ModelFiles(publish(tmp_path / "moe", config)), None)
    assert size.parameters == 857
    assert size.active_parameters == (None if active is None else 57 + 100 * active)


@pytest.mark.parametrize("file", ["tekken.json", "qwen.tiktoken", "spiece.model", "vocab.json", "tokenizer.json"])
def test_a_tokenizer_in_any_form_makes_a_checkpoint(file: str, tmp_path: Path) -> None:
    assert adapters.resolve(str(publish(tmp_path / "x", tokenizer=file))).pending == ()


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["model.safetensors", "consolidated.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (
            ["model-00001-of-00002.safetensors"],
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ),
        (["gptq_model-4bit-128g.safetensors", "adapter_model.safetensors"], ["gptq_model-4bit-128g.safetensors"]),
        (["pytorch_model.bin", "training_args.bin"], ["pytorch_model.bin"]),
        (
            ["pytorch_model-00002-of-00002.bin"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        ),
    ],
)
def test_which_files_are_the_weights(there: list[str], chosen: list[str]) -> None:
    assert choose(there, {}, "x") == chosen


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        (["consolidated.safetensors", "params.json"], "the publisher's own layout"),
        (["model.Q4_K_M.gguf"], r"its weights are GGUF \(model\.Q4_K_M\.gguf\)"),
        (["training_args.bin"], "it has no weights"),
    ],
)
def test_what_there_is_instead_of_weights_is_said(there: list[str], instead: str) -> None:
    with pytest.raises(UsageError, match=instead):
        choose(there, {}, "x")


def test_an_adapter_alone_names_its_base(tmp_path: Path) -> None:
    folder = publish(tmp_path / "lora", adapter_config__json={"base_model_name_or_path": "owner/base"})
    with pytest.raises(UsageError, match=r"is a LoRA adapter of owner/base: write --model owner/base --lora .*lora$"):
        adapters.resolve(str(folder))


@pytest.mark.parametrize(
    "code",
    [{"AutoModelForCausalLM": "modeling_x.X"}, {"AutoConfig": "owner/other--configuration_x.X"}],
)
def test_code_of_its_own_runs_only_where_that_is_allowed(code: dict[str, str], tmp_path: Path) -> None:
    folder = publish(tmp_path / "code", {"auto_map": code})
    with pytest.raises(UsageError, match=r"brings Python code of its own .*add --trust-remote-code$"):
        adapters.resolve(str(folder))
    allowed = Overrides(trust_remote_code=True)
    before = adapters.resolve(str(folder), overrides=allowed)
    assert before.overrides.given() == {"trust_remote_code": "true"}
    (folder / "modeling_x.py").write_text("print('hello')")
    assert adapters.resolve(str(folder), overrides=allowed).revision != before.revision, "the code is part of it"


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("owner/name:model-Q4_K_M.gguf", "owner/name:model-Q4_K_M.gguf"),
        ("owner/name@refs/pr/3:model-Q4_K_M.gguf", "owner/name@refs/pr/3:model-Q4_K_M.gguf"),
        ("https://huggingface.co/owner/name/blob/main/model-Q4_K_M.gguf", "owner/name:model-Q4_K_M.gguf"),
        ("https://huggingface.co/owner/name/resolve/v1/model-Q4_K_M.gguf", "owner/name@v1:model-Q4_K_M.gguf"),
    ],
)
def test_a_gguf_file_of_the_hub_is_for_the_engine_that_runs_it(name: str, location: str, hub_cache: Path) -> None:
    found = adapters.resolve(name)
    assert (found.name, found.location, found.format, found.quant) == (name, location, "gguf", "gguf-q4_k_m")
    assert found.guesses, "its header is not here"
    with pytest.raises(UsageError, match="--lora is for models in transformers' format"):
        adapters.resolve(name, overrides=Overrides(lora="owner/adapter"))
    for form in ("base", "chat"):
        assert adapters.resolve(name, overrides=Overrides(prompt=form)).chat == (form == "chat")


def test_a_folder_may_have_any_name(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("owner/model@v2", "a:b", "x@y:z/model#1"):
        folder = shutil.copytree(tiny_llama, tmp_path / name)
        assert adapters.resolve(name).path == folder


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://example.org/owner/name", r"is no page of https://huggingface\.co"),
        ("https://huggingface.co/datasets/owner/name", "is no model's page"),
        ("https://huggingface.co/owner", "is no model's page"),
        ("owner/name:model.safetensors", "transformers loads a checkpoint whole"),
        ("owner/name:Q4_K_M", r"name the file of that quantization, as OWNER/NAME:FILE\.gguf"),
        ("hf.co/owner/name:IQ3_XXS", "name the file of that quantization"),
        ("nowhere.gguf", "there is no file"),
        ("owner/name@v1:branch", r"may stand only :FILE\.gguf"),
    ],
)
def test_other_names_are_refused_in_a_line(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        adapters.resolve(name)


# ---------------------------------------------------------------- base or chat

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TOKENS = {"1": {"content": "<|endoftext|>"}, "2": {"content": "<|im_end|>"}}


def tokenizer(template: str | None, eos: str | None) -> dict[str, Any]:
    named = {"chat_template": template, "eos_token": eos}
    return {"added_tokens_decoder": TOKENS} | {key: value for key, value in named.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "template", "eos", "ends", "chat", "guess"),
    [
        ("Qwen3-8B", CHATML, "<|im_end|>", [2, 1], True, False),
        ("Qwen2.5-Coder-7B", CHATML, "<|endoftext|>", 1, False, False),
        ("SmolLM3-3B-Base", CHATML, "<|endoftext|>", 1, False, False),
        ("phi-3-mini", CHATML, "<|endoftext|>", [1, 2], True, False),
        ("Mistral-7B-v0.3", "{{ messages }}{{ eos_token }}", "</s>", None, True, False),
        ("deepseek-base", "{{ messages }}{{ eos_token }}", "</s>", None, False, True),
        ("Some-Base-7B", "{{ messages }}", None, None, False, True),
        ("Some-7B", "{{ messages }}", None, None, True, True),
        ("gemma-2-9b-it", "{{ messages }}<end_of_turn>", "<eos>", 1, True, True),
        ("Database-Instruct", CHATML, "<|im_end|>", 2, True, False),
        ("any-instruct", None, "<|im_end|>", 2, False, False),
    ],
)
def test_base_or_chat_is_read_from_template_and_end_tokens(
    name: str, template: str | None, eos: str | None, ends: Any, chat: bool, guess: bool, tmp_path: Path
) -> None:
    folder = publish(
        tmp_path / name,
        tokenizer_config__json=tokenizer(template, eos),
        generation_config__json={} if ends is None else {"eos_token_id": ends},
    )
    reading = read_form(ModelFiles(folder), f"owner-base/{name}")
    assert (reading.chat, reading.guess) == (chat, guess)
    found = adapters.resolve(str(folder))
    assert (found.chat, bool(found.guesses)) == (chat, guess)
    if template is None:
        with pytest.raises(UsageError, match=r"--prompt chat: .* has no chat template to ask it in"):
            adapters.resolve(str(folder), overrides=Overrides(prompt="chat"))
    for form in ("base", "chat") if template else ("base",):
        asked = adapters.resolve(str(folder), overrides=Overrides(prompt=form))
        assert (asked.chat, asked.guesses, asked.read["prompt"]) == (form == "chat", (), f"--prompt {form}")
        assert asked.overrides.given() == {"prompt": form}


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("chat_template__jinja", CHATML),
        ("chat_template__json", {"chat_template": CHATML}),
        (
            "tokenizer_config__json",
            {"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]},
        ),
    ],
)
def test_a_template_is_found_in_each_of_its_places(place: str, content: Any, tmp_path: Path) -> None:
    assert ModelFiles(publish(tmp_path / "x", **{place: content})).chat_template == CHATML


def test_context_and_end_tokens_of_a_model_whose_text_part_is_one_of_several(tmp_path: Path) -> None:
    config = {"text_config": {"max_position_embeddings": 4096, "eos_token_id": [5, 3]}, "eos_token_id": 7}
    found = adapters.resolve(str(publish(tmp_path / "x", config, generation_config__json={"eos_token_id": [3, 9]})))
    assert (found.context_tokens, found.end_tokens) == (4096, (3, 5, 9))


def test_a_model_of_its_own_code_runs_where_that_is_allowed(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class is that of the code it brings."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = shutil.copytree(tiny_llama, tmp_path / "own-code")
    config = json.loads((folder / "config.json").read_text())
    named = {"auto_map": {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}, "architectures": ["OwnForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config | named))
    (folder / "modeling_own.py").write_text(
        "from transformers import LlamaForCausalLM\n\n\nclass OwnForCausalLM(LlamaForCausalLM):\n    pass\n"
    )
    allowed = adapters.prepare(adapters.resolve(str(folder), overrides=Overrides(trust_remote_code=True)))
    model: Any = adapters.load(allowed, "cpu")
    assert type(model._model).__name__ == "OwnForCausalLM"
    assert model.info.overridden == {"trust_remote_code": "true"}
    assert model.info.parameters == adapters.resolve(str(tiny_llama)).parameters


@pytest.mark.parametrize("quant", ["none", "gptq-int4"])
def test_what_is_converted_only_when_it_is_needed_has_its_small_files_then(
    quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several runs are planned before the first of them converts the embedded model, on a machine that is new."""
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    try:
        planned = adapters.resolve("smollm2-135m-instruct", quant)
    except UsageError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("passkwh.adapters.quantization.make.ensure", lambda base, report, meter: base)
    assert (planned.path, planned.files, planned.context_tokens) == (None, None, None)
    folder = tmp_path / "converted"
    folder.mkdir()
    config = {"model_type": "llama", "max_position_embeddings": 77, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("passkwh.adapters.embedded.convert", lambda revision: folder)
    steps: list[str] = []
    prepared = adapters.prepare(planned, steps.append)
    assert (prepared.path, prepared.files) == (folder, folder)
    assert (prepared.context_tokens, prepared.end_tokens) == (77, (2,))
    assert steps[0].startswith("convert the embedded GGUF file")
    embedded.converted_folder(str(planned.revision)).mkdir()
    steps.clear()
    adapters.prepare(planned, steps.append)
    assert not steps  # another run has converted it since
