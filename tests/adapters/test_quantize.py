"""Quantizing a real (tiny) model with the real library, end to end, and being killed at it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from passkwh import adapters
from passkwh.adapters import checkpoint
from passkwh.adapters.engines.base import Decoding
from passkwh.adapters.quantization import calibration
from passkwh.adapters.quantization import make as quantize
from passkwh.adapters.quantization.gptqmodel import check_awq_outputs, group_size
from passkwh.errors import MissingExtra, UsageError
from passkwh.prompts import TextPrompt
from passkwh.records import ModelInfo


@pytest.fixture(scope="module")
def int4(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[adapters.Checkpoint, list[str]]]:
    """A tiny model quantized to 4 bits under a meter that says 12 J, and the steps that were told."""
    pytest.importorskip("gptqmodel", reason="the quant extra is not installed")
    steps: list[str] = []

    @contextlib.contextmanager
    def meter() -> Iterator[Callable[[], quantize.SpentEnergy]]:
        steps.append("metering")
        yield lambda: quantize.SpentEnergy(gross_j=12.0, provenance="simulated")
        steps.append("metered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PASSKWH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield adapters.prepare(adapters.resolve(str(tiny_chat), "gptq-int4"), steps.append, meter), steps
        assert os.listdir() == [], "the library must leave nothing in the user's folder"


def test_a_model_is_quantized_once_and_told_about(int4: tuple[adapters.Checkpoint, list[str]], tiny_chat: Path) -> None:
    made, steps = int4
    assert re.fullmatch("quantize tiny-llama-chat to gptq-int4, once: about .* here, an estimate", steps[0])
    assert (steps[1], steps[-1]) == ("metering", "metered")
    assert [re.sub(" after.*", "", step) for step in steps[2:-1]] == [
        f"quantize tiny-llama-chat to gptq-int4: layer {layer} of 2" for layer in (1, 2)
    ]
    again = adapters.resolve(str(tiny_chat), "gptq-int4")
    assert again == made
    assert again.pending == ()
    assert (made.quant, made.adapter, made.chat, made.prequantized) == ("gptq-int4", "gptq-int4", True, True)
    dense = adapters.resolve(str(tiny_chat))
    assert made.revision != dense.revision
    assert made.parameters == dense.parameters


def test_the_manifest_says_how_it_was_made(int4: tuple[adapters.Checkpoint, list[str]], tiny_chat: Path) -> None:
    import gptqmodel

    folder = int4[0].path
    assert folder is not None
    manifest = quantize.read_manifest(folder)
    assert manifest is not None
    assert (manifest.method, manifest.bits, manifest.group_size) == ("gptq", 4, 64)
    assert manifest.base_revision == adapters.resolve(str(tiny_chat)).revision
    assert manifest.revision == checkpoint.content_revision(folder)
    assert manifest.tool == f"gptqmodel {gptqmodel.__version__}"
    texts = [(folder / name).read_text("utf-8") for name in ("config.json", "quantize_config.json")]
    assert not any("offload_to_disk_path" in text for text in texts), "made again, it must be of the same revision"
    assert manifest.energy == quantize.SpentEnergy(gross_j=12.0, provenance="simulated")
    assert manifest.duration_s > 0
    assert "standard library" in manifest.calibration
    assert len(manifest.calibration_sha256) == 64


def test_the_quantized_model_answers_and_says_what_computes_it(
    int4: tuple[adapters.Checkpoint, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    model = adapters.load(int4[0], "cpu")
    info: ModelInfo = model.info
    assert (info.adapter, info.quant, info.parameters) == ("gptq-int4", "gptq-int4", int4[0].parameters)
    assert info.quantization["bits"] == 4
    assert info.quantization["group_size"] == 64
    assert str(info.quantization["kernel"]).endswith("Linear")
    rows = model.generate([TextPrompt("abc"), TextPrompt("a longer prompt")], Decoding(12), [0, 0])
    assert [row.completion_tokens for row in rows] == [12, 12]
    assert rows[0].text == model.generate([TextPrompt("abc")], Decoding(12), [0])[0].text
    assert capfd.readouterr() == ("", ""), "stdout is for results, stderr for progress"


def logits_of(found: adapters.Checkpoint) -> torch.Tensor:
    """What a checkpoint's model makes of a fixed text: (tokens, vocabulary)."""
    model: Any = adapters.load(found, "cpu")
    ids = model._tokenizer("the same text for every one of them", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits: torch.Tensor = model._model(ids).logits[0].float()
    return logits


def test_eight_bits_are_closer_to_the_dense_model_than_four(
    int4: tuple[adapters.Checkpoint, list[str]], tiny_chat: Path
) -> None:
    int8 = adapters.prepare(adapters.resolve(str(tiny_chat), "gptq-int8"))
    dense = logits_of(adapters.resolve(str(tiny_chat)))
    four, eight = (float((logits_of(made) - dense).norm() / dense.norm()) for made in (int4[0], int8))
    assert eight < 0.05
    assert 3 * eight < four < 0.5
    if sys.platform == "linux":
        info = adapters.load(int8, "cpu").info
        assert info.quantization["kernel"] == "TorchInt8Linear"
        assert info.quantization["kernel_weights"] == "int8 per channel, rounded again from groups"


def test_what_is_not_packed_keeps_the_number_format_of_the_base(
    tiny_chat: Path, own_cache: Path, tmp_path: Path
) -> None:
    """A CPU without instructions for bfloat16 calibrates in float32, and stores what it got."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    base = shutil.copytree(tiny_chat, tmp_path / "in-bfloat16")
    AutoModelForCausalLM.from_pretrained(tiny_chat, dtype=torch.bfloat16).save_pretrained(base)
    made = adapters.prepare(adapters.resolve(str(base), "gptq-int4"))
    assert made.path is not None
    tensors = load_file(made.path / "model.safetensors")
    dense = {name: tensor for name, tensor in tensors.items() if name.endswith(".weight")}
    assert dense
    assert {tensor.dtype for tensor in dense.values()} == {torch.bfloat16}
    assert json.loads((made.path / "config.json").read_text())["dtype"] == "bfloat16"
    before = load_file(base / "model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.items())
    assert {tensor.dtype for name, tensor in tensors.items() if name.endswith(".scales")} == {torch.float16}


def test_a_folder_of_packed_weights_is_used_as_it_is(
    int4: tuple[adapters.Checkpoint, list[str]], tmp_path: Path
) -> None:
    assert int4[0].path is not None
    folder = shutil.copytree(int4[0].path, tmp_path / "from-a-publisher")
    (folder / "quantization.json").unlink()
    found = adapters.resolve(str(folder), "gptq-int4")
    assert (found.prequantized, found.pending, found.revision) == (True, (), int4[0].revision)
    assert found.parameters == int4[0].parameters, "packed weights count as what they stand for"


@pytest.mark.slow
def test_killed_while_quantizing_nothing_half_made_is_used(tiny_llama: Path, own_cache: Path) -> None:
    """`bench quantize` is killed at it and called again; what it prints is told on the way."""
    pytest.importorskip("gptqmodel", reason="the quant extra is not installed")
    command = [sys.executable, "-m", "passkwh.cli.main", "quantize", str(tiny_llama), "--meter", "simulated", "--json"]
    quantized = own_cache / "quantized"

    def drafts() -> list[Path]:
        return list(quantized.glob(".*")) if quantized.is_dir() else []

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
        while victim.poll() is None and not any(os.listdir(draft) for draft in drafts()):
            time.sleep(0.002)  # until the first file of the draft is being written
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    assert victim.returncode == -signal.SIGKILL
    assert len(drafts()) == 1
    assert adapters.resolve(str(tiny_llama), "gptq-int4").pending

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stage = f"{tiny_llama}: quantize tiny-llama to gptq-int4"
    assert all(line.startswith(stage) for line in done.stderr.splitlines()), done.stderr
    result = json.loads(done.stdout)
    assert result["source"] == "quantized here"
    energy = result["quantization"]["energy"]
    assert energy["provenance"] == "simulated"
    assert energy["gross_j"] > 0
    made = adapters.resolve(str(tiny_llama), "gptq-int4")
    assert (str(made.path), made.revision, made.pending) == (result["path"], result["revision"], ())
    assert [entry.name for entry in quantized.iterdir()] == [Path(result["path"]).name]


@pytest.mark.slow
def test_interrupted_while_quantizing_the_program_ends_without_an_abort(own_cache: Path) -> None:
    """The library's threads are computing at that moment, and once ended the process with an abort."""
    pytest.importorskip("gptqmodel", reason="the quant extra is not installed")
    command = [sys.executable, "-m", "passkwh.cli.main", "quantize", "smollm2-135m-instruct", "--meter", "simulated"]
    errors: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as victim:
        assert victim.stderr is not None
        for line in victim.stderr:
            if ": layers " in line and not any(": layers " in earlier for earlier in errors):
                victim.send_signal(signal.SIGTERM)
            errors.append(line)
    assert victim.returncode == 130, errors
    assert all(line.startswith("smollm2-135m-instruct: ") for line in errors), errors
    assert not list((own_cache / "quantized").glob("*gptq*"))


def test_a_changed_base_is_quantized_anew(int4: tuple[adapters.Checkpoint, list[str]], tiny_chat: Path) -> None:
    dense = adapters.resolve(str(tiny_chat))
    assert quantize.cached(dense, "gptq-int4") == int4[0]
    assert quantize.cached(replace(dense, revision="sha256:" + "0" * 64), "gptq-int4") is None
    assert quantize.cached(dense, "awq") is None


@pytest.mark.parametrize(
    ("widths", "size"),
    [
        ({"hidden_size": 4096, "intermediate_size": 14336}, 128),
        ({"hidden_size": 576, "intermediate_size": 1536}, 64),
        ({"hidden_size": 2560, "ffn_dim": 10240}, 128),
        ({"hidden_size": 96, "intermediate_size": 256}, 32),
    ],
)
def test_the_group_size_divides_the_widths(widths: dict[str, Any], size: int) -> None:
    assert group_size(widths) == size


def test_widths_that_cannot_be_grouped_are_refused() -> None:
    with pytest.raises(UsageError, match=r"widths \[40, 80\] cannot be quantized: 32 must divide them"):
        group_size({"hidden_size": 40, "intermediate_size": 80})


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}, None),
        ({"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}, None),
        ({"hidden_size": 2048, "num_attention_heads": 16, "moe_intermediate_size": 96}, "96"),
        ({"hidden_size": 128, "ffn_dim": 224, "num_attention_heads": 4, "num_key_value_heads": 1}, "32, 224"),
    ],
)
def test_outputs_that_awq_cannot_take_are_named(config: dict[str, Any], wrong: str | None) -> None:
    if wrong is None:
        check_awq_outputs(config)
    else:
        with pytest.raises(UsageError, match=f"layers of {wrong} outputs cannot be quantized to awq: 64 must divide"):
            check_awq_outputs(config)


def test_a_model_that_awq_cannot_take_is_refused(tiny_chat: Path, own_cache: Path) -> None:
    with pytest.raises(UsageError, match=r"outputs cannot be quantized to awq: 64 must divide them: use gptq-int4"):
        adapters.prepare(adapters.resolve(str(tiny_chat), "awq"))
    assert not list((own_cache / "quantized").glob("*awq*"))


def test_without_the_extra_the_command_is_named(
    tiny_llama: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gptqmodel", None)
    with pytest.raises(MissingExtra, match=r"pip install 'passkwh\[quant\]'"):
        adapters.prepare(adapters.resolve(str(tiny_llama), "gptq-int4"))
    assert not any((own_cache / "quantized").iterdir())


def test_calibration_is_the_same_every_time(tiny_llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    first, second = (calibration.standard_library(tokenizer, texts=4, tokens=64) for _ in range(2))
    assert first == second
    assert [len(row) for row in first.rows] == [64] * 4
    assert first.sha256 != calibration.standard_library(tokenizer, texts=5, tokens=64).sha256
