"""Packed models compute what their weights say: against a dense model of the dequantized weights, and in every format
that is packed while it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from passkwh import adapters
from passkwh.adapters import Overrides
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import Decoding
from passkwh.adapters.engines.transformers import ENGINE
from passkwh.errors import UsageError
from passkwh.prompts import TextPrompt
from tests.adapters.conftest import save


def logits_of(checkpoint: Checkpoint) -> torch.Tensor:
    """What a checkpoint's model makes of a fixed text: (tokens, vocabulary)."""
    model: Any = adapters.load(checkpoint, "cpu")
    ids = model._tokenizer("the same text for every one of them", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits: torch.Tensor = model._model(ids).logits[0].float()
    model.close()
    return logits


def pack_bits(values: torch.Tensor, bits: int, dim: int) -> torch.Tensor:
    """Whole numbers one after the other into 32-bit words along a dimension, lowest bits first, as GPTQ stores them."""
    values = values.movedim(dim, 0).to(torch.int64)
    stream = ((values.unsqueeze(1) >> torch.arange(bits).view(1, -1, *[1] * (values.dim() - 1))) & 1).flatten(0, 1)
    words = stream.reshape(-1, 32, *stream.shape[1:])
    weights = (torch.ones(32, dtype=torch.int64) << torch.arange(32)).view(1, 32, *[1] * (words.dim() - 2))
    packed = (words * weights).sum(1)
    packed = torch.where(packed >= 2**31, packed - 2**32, packed)
    return packed.to(torch.int32).movedim(0, dim).contiguous()


def packed_and_dense(
    weight: torch.Tensor, bits: int, group_size: int, desc_act: bool, sym: bool, v2: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A weight (out, in) rounded to groups, as GPTQ's tensors, and what these stand for."""
    inputs = weight.shape[1]
    size = inputs if group_size < 0 else group_size
    groups = torch.arange(inputs) // size
    if desc_act:
        groups = groups[torch.randperm(inputs, generator=torch.Generator().manual_seed(3))]
    top = 2**bits - 1
    scales = torch.empty(inputs // size, weight.shape[0])
    zeros = torch.empty_like(scales)
    for group in range(inputs // size):
        part = weight[:, groups == group]
        low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
        if sym:
            scales[group] = (torch.maximum(-low, high) * 2 / top).clamp(min=1e-4)  # a row may be all zero
            zeros[group] = 2 ** (bits - 1)
        else:
            scales[group] = ((high - low) / top).clamp(min=1e-4)
            zeros[group] = (-low / scales[group]).round().clamp(1, top)
    scales = scales.to(torch.float16).float()
    whole = (weight.T / scales[groups] + zeros[groups]).round().clamp(0, top)
    dense = ((whole - zeros[groups]) * scales[groups]).T
    stored_zeros = zeros if v2 else zeros - 1  # the first format keeps them one lower
    return {
        "qweight": pack_bits(whole, bits, 0),
        "qzeros": pack_bits(stored_zeros, bits, 1),
        "scales": scales.to(torch.float16),
        "g_idx": groups.to(torch.int32),
    }, dense


CORNERS: dict[str, dict[str, Any]] = {
    "4 bits": {"bits": 4},
    "2 bits": {"bits": 2},
    "3 bits": {"bits": 3},
    "8 bits, unsymmetric": {"bits": 8, "sym": False},
    "columns in another order": {"bits": 4, "desc_act": True},
    "one scale a row": {"bits": 4, "group_size": -1},
    "unsymmetric, first format": {"bits": 4, "sym": False},
    "unsymmetric, second format": {"bits": 4, "sym": False, "v2": True},
    "a packed LM head": {"bits": 4, "head": True},
    "a packed LM head, embeddings tied": {"bits": 4, "head": True, "tied": True},
    "as AutoGPTQ wrote it": {"bits": 4, "old": True},
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Tiny models with a vocabulary that packs whole, by whether head and embeddings are one matrix."""
    folder = tmp_path_factory.mktemp("wide")
    return {
        tied: save(folder / f"tied-{tied}", "llama", vocab_size=128, tie_word_embeddings=tied) for tied in (False, True)
    }


@pytest.mark.parametrize("corner", CORNERS)
def test_gptq_computes_with_the_weights_that_its_tensors_stand_for(
    corner: str, wide: dict[bool, Path], tmp_path: Path
) -> None:
    pytest.importorskip("gptqmodel", reason="the quant extra is not installed")
    how = {"group_size": 32, "desc_act": False, "sym": True, "v2": False} | CORNERS[corner]
    tied, head, old = (bool(how.pop(name, False)) for name in ("tied", "head", "old"))
    packed, dense = (shutil.copytree(wide[tied], tmp_path / name) for name in ("packed", "dense"))
    weights = load_file(packed / "model.safetensors")
    if head and tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    stored, meant = dict(weights), dict(weights)
    for name, weight in weights.items():
        if name.endswith("_proj.weight") or (head and name == "lm_head.weight"):
            parts, meant[name] = packed_and_dense(weight.float(), **how)
            del stored[name]
            stored |= {name.removesuffix("weight") + kind: part for kind, part in parts.items()}
            meant[name] = meant[name].contiguous()
    save_file(
        {name: part.contiguous() for name, part in stored.items()}, packed / "model.safetensors", {"format": "pt"}
    )
    save_file(meant, dense / "model.safetensors", {"format": "pt"})
    description = {
        "quant_method": "gptq", "bits": how["bits"], "group_size": how["group_size"], "desc_act": how["desc_act"],
        "sym": how["sym"], "checkpoint_format": "gptq_v2" if how["v2"] else "gptq", "lm_head": head,
        "meta": {"quantizer": ["gptqmodel:7.6.0"]},  # of others the library takes no zero points in the first format
    }  # fmt: skip
    config = json.loads((packed / "config.json").read_text())
    if old:
        for key in ("quant_method", "checkpoint_format", "lm_head"):
            del description[key]
        (packed / "quantize_config.json").write_text(json.dumps(description))
    else:
        (packed / "config.json").write_text(json.dumps(config | {"quantization_config": description}))
    untied = json.loads((dense / "config.json").read_text()) | {"tie_word_embeddings": tied and not head}
    (dense / "config.json").write_text(json.dumps(untied))
    found = adapters.resolve(str(packed))
    assert found.quant == f"gptq-int{how['bits']}"
    model: Any = adapters.load(found, "cpu")
    ids = model._tokenizer("the same text for every one of them", return_tensors="pt")["input_ids"]
    exact = AutoModelForCausalLM.from_pretrained(dense, dtype=model._model.dtype)
    with torch.inference_mode():
        actual, expected = (made(ids).logits[0].float() for made in (model._model, exact))
    # Both compute in 16 bits; a zero point or an order that is taken wrongly is off by tenths.
    assert float((actual - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize(
    ("quant", "kernel", "error"),
    [("bnb-nf4", "Linear4bit", 0.5), ("bnb-fp4", "Linear4bit", 0.9), ("bnb-int8", "Linear8bitLt", 0.05),
     ("torchao-int8", "Int8Tensor", 0.05)],
)  # fmt: skip
def test_weights_are_packed_while_they_are_loaded(
    quant: str, kernel: str, error: float, tiny_chat: Path, own_cache: Path
) -> None:
    pytest.importorskip({"bnb": "bitsandbytes", "torchao": "torchao"}[quant.split("-")[0]])
    dense = adapters.resolve(str(tiny_chat))
    found = adapters.resolve(str(tiny_chat), quant)
    assert (found.path, found.revision, found.quant, found.pending) == (dense.path, dense.revision, quant, ())
    assert adapters.prepare(found) == found
    assert not own_cache.exists(), "nothing is written"
    model = adapters.load(found, "cpu")
    assert kernel in str(model.info.quantization["kernel"])
    assert (model.info.adapter, model.info.quant, model.info.parameters) == (quant, quant, dense.parameters)
    assert model.generate([TextPrompt("def f(")], Decoding(8), [0])[0].completion_tokens == 8
    exact = logits_of(dense)
    off = float((logits_of(found) - exact).norm() / exact.norm())
    assert 0 < off < error, "packed, and close to the dense model"


def test_a_checkpoint_that_was_saved_packed_is_loaded_as_it_is(tiny_chat: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    found = adapters.resolve(str(tiny_chat), "bnb-nf4")
    model: Any = adapters.load(found, "cpu")
    model._model.save_pretrained(tmp_path / "nf4")
    model._tokenizer.save_pretrained(tmp_path / "nf4")
    saved = adapters.resolve(str(tmp_path / "nf4"))
    assert (saved.quant, saved.prequantized, saved.parameters) == ("bnb-nf4", True, found.parameters)
    assert torch.equal(logits_of(saved), logits_of(found))


@pytest.mark.parametrize(
    ("quant", "reason"),
    [("torchao-int4", "has no kernel for cpu: it would take an NVIDIA GPU of compute capability 8.0"),
     ("torchao-fp8", "has no kernel for cpu: it would take an NVIDIA GPU of compute capability 8.9"),
     ("fp8", "--quant fp8 cannot be made here")],
)  # fmt: skip
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_what_this_machine_cannot_run_is_refused_with_what_would(quant: str, reason: str, tiny_chat: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        adapters.check(adapters.resolve(str(tiny_chat), quant))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            "would unpack it and run dense .*compute capability 8.9",
        ),
        ({"quant_method": "mxfp4"}, "would unpack it and run dense .*pip install kernels"),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4"},
            "transformers does not load it; it would take vLLM or TensorRT-LLM",
        ),
        ({"quant_method": "nvfp4"}, "nvfp4 cannot be run on cpu: .*compute capability 10"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8 of NVIDIA ModelOpt cannot be run here"),
        ({"quant_method": "hqq", "bits": 4}, "hqq-int4 needs pip install hqq"),
        ({"quant_method": "aqlm", "nbits_per_codebook": 16}, "aqlm cannot be run on cpu: .*aqlm"),
        ({"quant_method": "auto-round", "bits": 4}, "auto-round-int4 needs pip install auto-round"),
        ({"quant_method": "gptq", "bits": 5}, "gptq-int5 cannot be run on cpu: "),
        ({"quant_method": "no-such-thing"}, "no-such-thing cannot be run on cpu: Unknown quantization type"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_format_that_cannot_be_run_packed_is_refused_before_it_is_loaded(
    packed: dict[str, Any], reason: str, tiny_llama: Path, tmp_path: Path, no_engine_environments: None
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "packed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": packed}))
    with pytest.raises(UsageError, match=reason) as caught:
        adapters.check(adapters.resolve(str(folder)))
    assert "\n" not in str(caught.value)
    assert ENGINE.refusal(adapters.resolve(str(tiny_llama))) is None


@pytest.mark.parametrize(
    ("quant", "options", "said"),
    [
        ("gptq-int4", {"size": 32}, "--quant-option size: gptq-int4 takes group_size, desc_act, sym, format, lm_head"),
        ("gptq-int4", {"group_size": 33}, "--quant-option group_size=33: give a multiple of 32, or -1"),
        ("gptq-int4", {"desc_act": "yes"}, "--quant-option desc_act=yes: true quantizes columns"),
        ("awq", {"desc_act": True}, "--quant-option desc_act: awq takes group_size"),
        ("bnb-nf4", {"group_size": 32}, "--quant-option group_size: bnb-nf4 has no options"),
        ("none", {"group_size": 32}, "--quant-option group_size is for a quantization that is made here: give --quant"),
    ],
)
def test_options_of_a_quantization_are_checked(
    quant: str, options: dict[str, Any], said: str, tiny_llama: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        adapters.resolve(str(tiny_llama), quant, overrides=Overrides(quant_options=options))


def test_options_make_another_checkpoint(tiny_llama: Path, own_cache: Path) -> None:
    from passkwh.adapters.quantization.make import folder_of

    places = {
        folder_of(
            adapters.resolve(str(tiny_llama), "gptq-int4", overrides=Overrides(quant_options=options)), "gptq-int4"
        )
        for options in ({}, {"group_size": 32}, {"group_size": 64}, {"sym": False})
    }
    assert len(places) == 4
