"""llama.cpp: GGUF files by every name that they have, and a real server of it as an engine."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.adapters import embedded, gguf
from passkwh.adapters.engines.base import Decoding
from passkwh.adapters.engines.served import ServedModel
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, TextPrompt

pytest.importorskip("xllamacpp", reason="llama.cpp is in the gguf extra")

OPTIONS = {"n_threads": 1}
PROMPTS = [TextPrompt("def add(a, b):"), TextPrompt("import os\n\n"), TextPrompt("x")]


# ---------------------------------------------------------------- files


def test_a_file_says_what_it_is(tiny_gguf: Path) -> None:
    checkpoint = adapters.resolve(str(tiny_gguf))
    assert (checkpoint.format, checkpoint.file, checkpoint.quant) == ("gguf", tiny_gguf, "none")
    assert checkpoint.chat
    about = gguf.header(tiny_gguf)
    assert (about.file_type, about.context_tokens) == ("f32", 4096)
    assert about.key_value_bytes() == 2 * 2 * (16 + 16) * 2  # layers x key-value heads x widths x bytes


def test_the_embedded_file_is_labelled_by_its_type_and_counts_its_weights() -> None:
    checkpoint = adapters.resolve("smollm2-135m-instruct", "gguf-q4_1")
    assert (checkpoint.quant, checkpoint.adapter, checkpoint.parameters) == ("gguf-q4_1", "gguf-q4_1", 134_515_008)
    assert checkpoint.chat
    assert checkpoint.pending == ()
    assert adapters.resolve("smollm2-135m-instruct", engine="llamacpp") == checkpoint
    assert adapters.resolve("smollm2-135m-instruct").format == "safetensors"
    with pytest.raises(UsageError, match="is packed as gguf-q4_1: --quant gguf-q8_0 cannot"):
        adapters.resolve("smollm2-135m-instruct", "gguf-q8_0")


def test_a_file_of_the_hub_is_taken_from_its_cache(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "a" * 40
    snapshot = tmp_path / "models--some--tiny-GGUF" / "snapshots" / commit / "sub"
    snapshot.mkdir(parents=True)
    shutil.copy(tiny_gguf, snapshot / "tiny-f32.gguf")
    refs = snapshot.parents[2] / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    for name in ("some/tiny-GGUF:sub/tiny-f32.gguf", f"some/tiny-GGUF@{commit}:sub/tiny-f32.gguf"):
        checkpoint = adapters.resolve(name)
        assert (checkpoint.revision, checkpoint.source, checkpoint.pending) == (commit, "hub", ())
        assert adapters.prepare(checkpoint) == checkpoint


def test_a_file_of_the_hub_that_is_not_here_says_how_to_get_it() -> None:
    checkpoint = adapters.resolve("some/Model-GGUF@v1:model-Q4_K_M.gguf")
    assert checkpoint.quant == "gguf-q4_k_m"
    assert checkpoint.pending == ("download some/Model-GGUF@v1:model-Q4_K_M.gguf from the hub",)
    with pytest.raises(UsageError, match=r"hf download some/Model-GGUF model-Q4_K_M.gguf --revision v1"):
        adapters.prepare(checkpoint)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin with GGUF"),
        (b"PK\x03\x04" + bytes(100), "does not begin with GGUF"),
        (b"GGUF", "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**60) + b"key", "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 99), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "damaged"),
    ],
)
def test_what_is_no_gguf_file_is_said_in_a_line(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=reason) as error:
        adapters.resolve(str(file))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_what_cannot_be_made_here_are_said(tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*/absent.gguf"):
        adapters.resolve("absent.gguf")
    with pytest.raises(UsageError, match=r"not made here: name one .*llama-quantize"):
        adapters.resolve("qwen2.5-0.5b", "gguf-q4_k_m")
    with pytest.raises(UsageError, match="reads weights in gguf and these are in safetensors"):
        adapters.choose(adapters.resolve(str(tiny_llama), engine="llamacpp"), "llamacpp")


def test_quantizing_to_a_type_that_is_there_already_shows_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    from passkwh.cli.quantize import quantize

    quantize(model="smollm2-135m-instruct", quant="gguf-q4_1", meter="estimate", as_json=True)
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (made["path"], made["source"]) == (str(embedded.gguf_file()), "published")
    with pytest.raises(UsageError, match="llama-quantize"):
        quantize(model="qwen2.5-0.5b", quant="gguf-q4_k_m", meter="estimate")


def test_a_plan_knows_what_a_file_takes(tiny_gguf: Path, tmp_path: Path) -> None:
    from passkwh.harness.plan import plan
    from passkwh.records import Spec

    report = plan(Spec(model=str(tiny_gguf), limit=1, batch_size=4, meter="estimate"), tmp_path).report
    assert report.problems == ()
    assert report.memory_needed_bytes is not None
    assert report.memory_needed_bytes > tiny_gguf.stat().st_size


def test_auto_takes_llama_cpp_for_a_gguf_file_and_transformers_for_a_folder(tiny_gguf: Path, tiny_llama: Path) -> None:
    engines = [type(adapters.choose(adapters.resolve(str(path)))).__name__ for path in (tiny_gguf, tiny_llama)]
    assert engines == ["LlamaCppEngine", "TransformersEngine"]


# ---------------------------------------------------------------- the engine


@pytest.fixture(scope="module")
def served(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    log = tmp_path_factory.mktemp("log") / "engine.log"
    model = adapters.load(adapters.resolve(str(tiny_gguf)), parallel=4, max_tokens=400, options=OPTIONS, log=log)
    assert isinstance(model, ServedModel)
    yield model
    model.close()


def test_it_writes_what_transformers_writes_and_counts_the_same_tokens(served: ServedModel, tiny_llama: Path) -> None:
    reference = adapters.load(adapters.resolve(str(tiny_llama)))
    decoding = Decoding(24)
    ours, theirs = ([model.generate([prompt], decoding, [0])[0] for prompt in PROMPTS] for model in (served, reference))
    reference.close()
    for one, other in zip(ours, theirs, strict=True):
        assert (one.prompt_tokens, one.completion_tokens, one.finish_reason) == (
            other.prompt_tokens, other.completion_tokens, other.finish_reason,
        )  # fmt: skip
        # Random bytes are seldom UTF-8: what cannot be decoded is replaced by each in its own way.
        assert one.text.partition("\ufffd")[0] == other.text.partition("\ufffd")[0]
        assert one.first_token_ns is not None
        assert one.cached_tokens == 0


def test_a_batch_has_all_its_rows_in_the_server_at_once(served: ServedModel) -> None:
    decoding = Decoding(16)
    alone = [served.generate([prompt], decoding, [0])[0].text for prompt in PROMPTS]
    assert [completion.text for completion in served.generate(PROMPTS, decoding, [0, 0, 0])] == alone
    assert "n_slots = 4" in served._process.log.read_text()


def test_a_seed_determines_what_is_sampled(served: ServedModel) -> None:
    decoding = Decoding(16, temperature=1.0)
    texts = [served.generate([PROMPTS[0]], decoding, [seed])[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_chat_is_put_in_the_files_own_template(served: ServedModel) -> None:
    prompt = ChatPrompt("hi", system="be brief", answer="```")
    text = served.render(prompt)
    assert text == "[system] be brief\n[user] hi\n[assistant] ```"
    assert served.generate([prompt], Decoding(1), [0])[0].prompt_tokens == len(text)  # a token is a byte


def test_its_record_names_version_command_and_options(served: ServedModel, tiny_gguf: Path) -> None:
    about = served.info.engine_info
    assert (served.info.engine, served.info.place, served.info.device, served.info.dtype) == (
        "llamacpp", "process", "cpu", "float32",
    )  # fmt: skip
    assert about["n_threads"] == 1
    assert str(tiny_gguf) in str(about["command"])
    assert "{port}" in str(about["command"])  # the same on every machine and in every session
    assert served._process.key not in json.dumps(about)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n_thread": 1}, "did you mean n_threads"),
        ({"n_threads": "many"}, "takes a int"),
        ({"port": 80}, "the run sets that itself"),
        ({"n_parallel": 2}, "the run sets that itself"),
    ],
)
def test_an_option_that_it_does_not_have_is_refused(
    options: dict[str, int | str], reason: str, tiny_gguf: Path
) -> None:
    with pytest.raises(UsageError, match=reason):
        adapters.check_options(adapters.resolve(str(tiny_gguf)), "auto", options)


def test_transformers_has_no_options(tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="engine transformers has no options"):
        adapters.check_options(adapters.resolve(str(tiny_llama)), "auto", {"n_threads": 1})


def test_the_embedded_model_reads_all_tasks_in_the_tokens_of_its_publisher(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from passkwh import benchmarks
    from passkwh.adapters.engines.chat import ChatFormat

    # llama.cpp knows the publisher's way of cutting texts by its name in the file, smollm; transformers does not.
    tokenizer = AutoTokenizer.from_pretrained(embedded.convert(embedded.revision()))
    chats = ChatFormat(tokenizer, None, "auto", "smollm2-135m-instruct")
    tasks = benchmarks.open("bigcodebench", {"subset": "sample"}, None).tasks
    prompts = [task.request.prompt(chat) for task in tasks for chat in (True, False)]
    prompts.append(ChatPrompt("Naïve\n\t≠ 名前 <|im_end|> \u2028", system="Be brief.", answer="Here:\n```python\n"))
    checkpoint = adapters.resolve("smollm2-135m-instruct", engine="llamacpp")
    model = adapters.load(checkpoint, max_tokens=2048, options=OPTIONS, log=tmp_path / "log")
    assert isinstance(model, ServedModel)
    try:
        for prompt in prompts:
            text = chats.render(prompt) if isinstance(prompt, ChatPrompt) else prompt.text
            tokens = tokenizer(text, add_special_tokens=not isinstance(prompt, ChatPrompt))["input_ids"]
            assert model.render(prompt) == text
            assert list(model._encoding(prompt).tokens) == tokens
        shortest = min(prompts, key=lambda prompt: len(model._encoding(prompt).tokens))
        counted = model.generate([shortest], Decoding(1), [0])[0].prompt_tokens
        assert counted == len(model._encoding(shortest).tokens)
    finally:
        model.close()
