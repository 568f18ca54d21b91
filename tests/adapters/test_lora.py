"""LoRA adapters on a tiny model: merged once, known by their content, refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from passkwh import adapters
from passkwh.adapters import Overrides
from passkwh.adapters.peft_on_dense import dense_only
from passkwh.errors import UsageError
from tests.adapters.test_packed_formats import logits_of


@pytest.fixture(scope="module")
def adapter(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """An adapter as PEFT saves one, and what PEFT's own model makes of the fixed text with it."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("lora") / "adapter"
    base = AutoModelForCausalLM.from_pretrained(tiny_chat)
    with dense_only():
        config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        model: Any = peft.get_peft_model(base, config)
        model.peft_config["default"].base_model_name_or_path = f"owner/{tiny_chat.name}"
        model.save_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(tiny_chat)("the same text for every one of them", return_tensors="pt")[
        "input_ids"
    ]
    with torch.inference_mode():
        return folder, model.eval()(ids).logits[0]


def asked(folder: Path) -> Overrides:
    return Overrides(lora=str(folder))


def test_an_adapter_is_merged_once_and_gives_pefts_own_answer(
    adapter: tuple[Path, torch.Tensor], tiny_chat: Path, own_cache: Path
) -> None:
    folder, expected = adapter
    dense = adapters.resolve(str(tiny_chat))
    found = adapters.resolve(str(tiny_chat), overrides=asked(folder))
    assert found.pending == (f"merge the LoRA adapter {folder} into {tiny_chat.name}",)
    assert str(found.revision).startswith(f"{dense.revision}+lora:")
    assert found.guesses == ()
    ready = adapters.prepare(found)
    assert adapters.resolve(str(tiny_chat), overrides=asked(folder)) == ready
    assert (ready.revision, ready.parameters, ready.chat, ready.pending) == (found.revision, dense.parameters, True, ())
    assert torch.allclose(logits_of(ready), expected, atol=1e-4)
    assert not torch.allclose(logits_of(dense), expected, atol=1e-2)
    info = adapters.load(ready, "cpu").info
    assert info.overridden == {"lora": str(folder)}
    assert "rank 4" in info.read["lora"]
    packed = adapters.resolve(str(tiny_chat), "torchao-int8", overrides=asked(folder))
    assert (packed.path, packed.revision, packed.quant) == (ready.path, ready.revision, "torchao-int8")


def test_an_adapter_of_another_model_is_said_and_one_that_does_not_fit_is_refused(
    adapter: tuple[Path, torch.Tensor], tiny_qwen2: Path, tiny_opt: Path, own_cache: Path
) -> None:
    found = adapters.resolve(str(tiny_qwen2), overrides=asked(adapter[0]))
    assert any("names owner/tiny-llama-chat as its base model" in guess for guess in found.guesses)
    with pytest.raises(UsageError, match=r"does not fit tiny-opt"):
        adapters.prepare(adapters.resolve(str(tiny_opt), overrides=asked(adapter[0])))


def test_what_is_no_adapter_and_what_takes_none_is_refused(tiny_chat: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--lora .*tiny-llama-chat: it has no adapter_config\.json"):
        adapters.resolve(str(tiny_chat), overrides=asked(tiny_chat))
    with pytest.raises(UsageError, match="--lora nothing: no such folder, and no hub id"):
        adapters.resolve(str(tiny_chat), overrides=Overrides(lora="nothing"))
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in tiny_chat.iterdir():
        (packed / file.name).write_bytes(file.read_bytes())
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "awq", "bits": 4}})
    )
    with pytest.raises(
        UsageError, match=r"is merged into dense weights, and .*packed is packed \(awq\): .*add --quant awq"
    ):
        adapters.resolve(str(packed), overrides=asked(tmp_path))
