"""Batches of real (tiny) models: padding, seeds, stops, counts. Everything in float32, where rounding cannot hide."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from passkwh.adapters import load, resolve
from passkwh.adapters.engines.base import Completion, Decoding
from passkwh.adapters.engines.transformers_model import TransformersModel
from passkwh.errors import UsageError
from passkwh.prompts import Prompt, Request, TextPrompt

PROMPTS = ["def add(a, b):", "x", "class Point:\n    def __init__(self, x, y):\n        self.x = x", "import os\n"]


def model_of(folder: Path) -> TransformersModel:
    made = load(resolve(str(folder)), "cpu")
    assert isinstance(made, TransformersModel)
    return made


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> TransformersModel:
    return model_of(tiny_llama)


@pytest.fixture(scope="module")
def chat(tiny_chat: Path) -> TransformersModel:
    return model_of(tiny_chat)


def texts(prompts: list[str]) -> list[Prompt]:
    return [TextPrompt(prompt) for prompt in prompts]


def greedy(model: TransformersModel, prompts: list[str], steps: int = 24, **more: Any) -> list[Completion]:
    return model.generate(texts(prompts), Decoding(steps, **more), [0] * len(prompts))


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_opt", "tiny_qwen2"])
def test_a_row_answers_the_same_alone_and_among_longer_and_shorter_ones(
    family: str, request: pytest.FixtureRequest
) -> None:
    model = model_of(request.getfixturevalue(family))
    alone = [greedy(model, [prompt])[0] for prompt in PROMPTS]
    together = greedy(model, PROMPTS)
    assert [c.text for c in together] == [c.text for c in alone]
    assert [c.completion_tokens for c in together] == [c.completion_tokens for c in alone]
    assert [c.prompt_tokens for c in together] == [c.prompt_tokens for c in alone]
    assert len({c.text for c in alone}) == len(PROMPTS), "prompts that all give one answer would prove nothing"


def test_greedy_is_what_a_plain_loop_over_the_model_gives(tiny_llama: Path, llama: TransformersModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    ids = tokenizer(PROMPTS[2], return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.inference_mode():
        for _ in range(16):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert greedy(llama, [PROMPTS[2]], 16)[0].text == tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_sampling_depends_on_the_rows_seed_alone(llama: TransformersModel) -> None:
    hot = Decoding(24, temperature=1.5, top_p=0.95)
    alone = llama.generate(texts([PROMPTS[0]]), hot, [11])[0]
    for company, seeds in (([], []), (PROMPTS[1:3], [5, 6]), (PROMPTS[1:3], [11, 11]), ([PROMPTS[2]], [0])):
        row = llama.generate(texts([*company, PROMPTS[0]]), hot, [*seeds, 11])[-1]
        assert row.text == alone.text
    others = {llama.generate(texts([PROMPTS[0]]), hot, [seed])[0].text for seed in range(6)}
    assert len(others) == 6


def test_same_prompt_twice_in_a_batch_differs_by_seed(llama: TransformersModel) -> None:
    rows = llama.generate(texts([PROMPTS[0]] * 3), Decoding(24, temperature=1.0), [1, 2, 1])
    assert rows[0].text == rows[2].text != rows[1].text


def test_completion_counts_up_to_and_including_the_end_token(
    tiny_llama: Path, tmp_path: Path, llama: TransformersModel
) -> None:
    """Name the token of some place of a known completion an end token: the completion must end there."""
    steps = 24
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    prompt = tokenizer(PROMPTS[0], return_tensors="pt")
    with torch.inference_mode():
        full = model.generate(**prompt, max_new_tokens=steps, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    place = next(p for p in range(4, steps) if full[p] not in full[:p])
    folder = shutil.copytree(tiny_llama, tmp_path / "ends")
    model.config.eos_token_id = model.generation_config.eos_token_id = [int(full[place])]
    model.save_pretrained(folder)
    ends = model_of(folder)
    alone = greedy(ends, [PROMPTS[0]], steps)[0]
    assert (alone.completion_tokens, alone.finish_reason) == (place + 1, "stop")
    padded = greedy(ends, [PROMPTS[0], PROMPTS[2]], steps)[0]
    assert replace(padded, first_token_ns=None) == replace(alone, first_token_ns=None)
    assert greedy(ends, [PROMPTS[0]], place)[0].finish_reason == "length"
    assert greedy(llama, [PROMPTS[0]], steps)[0].completion_tokens == steps


def test_a_stop_string_ends_a_row_and_is_not_part_of_it(llama: TransformersModel) -> None:
    free = greedy(llama, PROMPTS, 32)
    target = free[0].text
    stop = next(target[i : i + 3] for i in range(8, 28) if target.find(target[i : i + 3]) == i)
    rows = greedy(llama, PROMPTS, 32, stop=(stop,))
    assert rows[0].text == target[: target.index(stop)]
    assert rows[0].finish_reason == "stop"
    assert rows[0].completion_tokens == target.index(stop) + 3  # a token is a character here
    for row, whole in zip(rows[1:], free[1:], strict=True):
        if stop not in whole.text:
            assert (row.text, row.completion_tokens) == (whole.text, whole.completion_tokens)


def test_stop_strings_end_generation_early(llama: TransformersModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps after a stop must not be computed: energy would be spent on text that is thrown away."""
    steps = 0
    forward = llama._model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        return forward(*args, **kwargs)

    monkeypatch.setattr(llama._model, "forward", counted)
    first = greedy(llama, [PROMPTS[0]], 32)[0].text
    whole, steps = steps, 0
    greedy(llama, [PROMPTS[0]], 32, stop=(first[:4],))
    assert (whole, steps) == (32, 4)


def test_chats_get_the_template_and_end_at_stop_strings(chat: TransformersModel) -> None:
    prompt = Request("def f():", "Write f.", response_prefix="Sure:").prompt(chat=True)
    assert chat.render(prompt) == "<|begin|><|user|>Write f.<|end|><|assistant|>Sure:"
    with_system = Request("", "Write f.").prompt(chat=True, system="Be brief.")
    assert chat.render(with_system) == "<|begin|><|system|>Be brief.<|end|><|user|>Write f.<|end|><|assistant|>"
    free = chat.generate([prompt], Decoding(24), [0])[0]
    stopped = chat.generate([prompt], Decoding(24, stop=(free.text[2:4],)), [0])[0]
    assert (stopped.text, stopped.completion_tokens, stopped.finish_reason) == (free.text[:2], 4, "stop")
    specials = 4
    assert free.prompt_tokens == specials + len("Write f.Sure:"), "the template's own begin token must not be doubled"


def test_a_raw_request_skips_the_chat_template_and_is_tokenized_like_a_base_models(
    chat: TransformersModel, llama: TransformersModel
) -> None:
    prompt = Request("def f():", "Write f.", raw=True).prompt(chat=True)
    assert chat.render(prompt) == "def f():"
    ours, base = greedy(chat, ["def f():"], 24), greedy(llama, ["def f():"], 24)
    assert ours[0].prompt_tokens == base[0].prompt_tokens == len("<def f():")
    assert ours[0].text == base[0].text  # same random weights
    assert greedy(chat, ["def f():"], 24, stop=(ours[0].text[3:5],))[0].finish_reason == "stop"


def test_a_text_that_looks_like_a_chat_is_continued_as_it_is(chat: TransformersModel) -> None:
    """The form is the prompt's own and is not guessed from how it begins."""
    text = "<|begin|><|user|>Write f.<|end|>"
    assert chat.render(TextPrompt(text)) == text
    free = greedy(chat, [text], 24)[0]
    assert free.prompt_tokens == 1 + 3 + len("Write f."), "a text gets the token that begins a sequence"
    assert len(greedy(chat, [text], 24, stop=(free.text[2:4],))[0].text) <= len(free.text)


def test_the_context_bounds_a_completion_and_a_prompt_that_fills_it_fails_alone(llama: TransformersModel) -> None:
    prompt = "x" * 500
    row = greedy(llama, [prompt], 64)[0]
    assert row.prompt_tokens + row.completion_tokens == 512
    assert row.finish_reason == "length"
    failed, *others = greedy(llama, ["x" * 600, *PROMPTS], 4)
    assert (failed.text, failed.finish_reason) == ("", "context")
    assert (failed.prompt_tokens, failed.completion_tokens) == (0, 0), "nothing of it was computed"
    assert "601 tokens leaves no room in" in failed.failure
    for row, alone in zip(others, greedy(llama, PROMPTS, 4), strict=True):
        assert (row.text, row.completion_tokens, row.finish_reason, row.failure) == (
            alone.text, alone.completion_tokens, alone.finish_reason, "",
        )  # fmt: skip
    assert failed.first_token_ns == others[0].first_token_ns is not None, "of one batch all say when it had a token"
    assert greedy(llama, ["x" * 600], 4)[0].finish_reason == "context"


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_opt"])
def test_a_row_that_reaches_the_contexts_end_does_not_cut_its_neighbours(
    family: str, request: pytest.FixtureRequest
) -> None:
    model = model_of(request.getfixturevalue(family))
    prompts = ["x" * 500, PROMPTS[0], "y" * 505]
    together = greedy(model, prompts, 24)
    alone = [greedy(model, [prompt], 24)[0] for prompt in prompts]
    for row, single in zip(together, alone, strict=True):
        assert (row.text, row.completion_tokens, row.finish_reason) == (
            single.text, single.completion_tokens, single.finish_reason,
        )  # fmt: skip
    assert together[1].completion_tokens == 24
    assert {row.first_token_ns for row in together} == {None}, "three prefills have three first tokens"


def test_the_first_token_is_marked_between_call_and_return(llama: TransformersModel) -> None:
    start_ns = time.monotonic_ns()
    rows = greedy(llama, PROMPTS, 16)
    end_ns = time.monotonic_ns()
    marks = {row.first_token_ns for row in rows}
    assert len(marks) == 1
    (mark,) = marks
    assert mark is not None
    assert start_ns < mark < end_ns


def test_info_says_what_is_run(llama: TransformersModel, tiny_llama: Path) -> None:
    info = llama.info
    assert (info.adapter, info.chat, info.dtype, info.device, info.quantization) == (
        "base",
        False,
        "float32",
        "cpu",
        {},
    )
    assert info.checkpoint == "tiny-llama"
    assert info.revision.startswith("sha256:")
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    assert info.parameters == sum(weight.numel() for weight in model.parameters())


def test_weights_that_are_missing_are_not_made_up(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_llama, tmp_path / "holed")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks weights of its model: model\.layers\.1\.mlp\.up_proj\.weight"):
        model_of(folder)


def test_a_device_that_does_not_exist_is_named(tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="device 'warp' cannot be used"):
        load(resolve(str(tiny_llama)), "warp")


def test_generating_twice_gives_the_same(llama: TransformersModel) -> None:
    first, second = greedy(llama, PROMPTS), greedy(llama, PROMPTS)
    assert [c.text for c in first] == [c.text for c in second]


def test_smollm2_writes_python(smollm2: Any) -> None:
    rows = smollm2.generate([TextPrompt("def add(a, b):\n    return")], Decoding(12, stop=("\n",)), [0])
    assert rows[0].text == " a + b"
    assert rows[0].finish_reason == "stop"
    prompt = Request("", "What is 2 + 2?").prompt(chat=True)
    rendered = smollm2.render(prompt)
    assert rendered.startswith("<|im_start|>system\n")
    assert rendered.endswith("<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n")
    answer = smollm2.generate([prompt], Decoding(48), [0])[0]
    assert "4" in answer.text
    assert answer.finish_reason == "stop"
    assert smollm2.info.parameters == 134_515_008
