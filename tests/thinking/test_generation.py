"""Thinking through transformers: what is thought and what is answered, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters import load, resolve
from passkwh.adapters.engines.base import Completion, Decoding
from passkwh.adapters.engines.phases import ThinkingPhases
from passkwh.adapters.engines.transformers_model import TransformersModel
from passkwh.adapters.thinking import TAGS, Markers, split
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Request, TextPrompt
from tests.thinking.conftest import ANSWER, OPENS, PROGRAM, THOUGHTS, TURNS, Model

PROMPT = Request("", "Solve it.", response_prefix="Sure:\n```python\n").prompt(chat=True)
FENCED = "```python\n" + PROGRAM.rstrip("\n")
STOP = ("\n```\n",)
THOUGHT = "".join(THOUGHTS)


def model_of(folder: Path, thinking: str = "auto") -> TransformersModel:
    made = load(resolve(str(folder)), "cpu", thinking=thinking)
    assert isinstance(made, TransformersModel)
    return made


def complete(model: TransformersModel, tokens: int = 60, stop: tuple[str, ...] = STOP) -> Completion:
    return model.generate([PROMPT], Decoding(tokens, stop=stop), [0])[0]


def parts(made: Completion) -> tuple[str, str | None, int | None, str | None]:
    thought = made.reasoning
    return made.text, *((thought.text, thought.tokens, thought.ended_by) if thought else (None, None, None))


def test_thought_and_answer_are_kept_apart(thinker: Path) -> None:
    model = model_of(thinker)
    made = complete(model)
    assert parts(made) == (FENCED, THOUGHT, len(THOUGHTS) + 2, "model")
    assert made.completion_tokens == len(THOUGHTS) + 2 + 5, "up to the token with which the block ended"
    assert made.reasoning is not None
    assert made.first_token_ns is not None
    assert made.reasoning.end_ns is not None
    assert made.first_token_ns < made.reasoning.end_ns
    assert complete(model, stop=()).text == "".join(ANSWER)
    assert complete(model, stop=("hm3",)).text == "".join(ANSWER), "nothing is looked for within the thinking"
    assert model.render(PROMPT) == "<|user|>Solve it.<|end|><|assistant|>", "the beginning would replace the thinking"
    assert model.info.prompting["answer_beginning"] == "left out: the model may think first"


def test_told_not_to_think_it_answers_after_the_beginning(thinker: Path) -> None:
    model = model_of(thinker, "off")
    assert model.render(PROMPT).endswith("<|assistant|><think>\n</think>Sure:\n```python\n")
    assert str(model.info.prompting["answer_beginning"]).endswith("after the template closed the thinking")
    assert parts(complete(model)) == (PROGRAM.rstrip("\n"), None, None, None)


def test_a_budget_ends_the_thinking(thinker: Path) -> None:
    model = model_of(thinker, "4")
    assert parts(complete(model)) == (FENCED, "hm0 hm1 hm2 ", 4 + len("\n") + 1, "budget")
    assert model.info.prompting["thinking_ended"] == r"after 4 tokens, by inserting '\n</think>\n\n'"
    assert parts(complete(model_of(thinker, "500"))) == parts(complete(model_of(thinker, "on"))), "it is a bound"


def test_cut_while_thinking_there_is_no_answer(thinker: Path) -> None:
    made = complete(model_of(thinker), tokens=5)
    assert parts(made) == ("", "hm0 hm1 hm2 hm3 ", 5, None)
    assert made.finish_reason == "length"


def test_thinking_that_is_never_closed_is_no_answer(make_thinker: Model) -> None:
    made = complete(model_of(make_thinker(chain=["<think>", *THOUGHTS])))
    assert parts(made) == ("", THOUGHT, len(THOUGHTS) + 2, None)
    assert made.finish_reason == "stop"


@pytest.mark.parametrize("special", [False, True])
def test_a_template_that_opens_the_thinking(make_thinker: Model, special: bool) -> None:
    model = model_of(make_thinker(template=OPENS, special=special))
    assert model.render(PROMPT).endswith("<|assistant|><think>\n")
    assert model.info.prompting["answer_beginning"] == "left out: the template opens the thinking"
    assert parts(complete(model)) == (FENCED, THOUGHT, len(THOUGHTS) + 1, "model")


@pytest.mark.parametrize("special", [False, True])
def test_it_does_not_matter_how_markers_are_tokenized(make_thinker: Model, special: bool) -> None:
    pieces = ("<thi", "nk>", "</thi", "nk>\n\n")
    for number, (markers, chain) in enumerate((
        (("<think>", "</think>"), ["<think>", *THOUGHTS, "</think>", *ANSWER]),
        (pieces, [*pieces[:2], *THOUGHTS, *pieces[2:], *ANSWER]),
    )):  # fmt: skip
        folder = make_thinker(f"thinker-{number}", markers=markers, special=special, chain=chain)
        made = complete(model_of(folder))
        assert parts(made) == (FENCED, THOUGHT, chain.index(ANSWER[0]), "model")


def test_harmony_channels(make_thinker: Model) -> None:
    analysis, final = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
    template = (
        "{% if reasoning_effort %}<|system|>Reasoning: {{ reasoning_effort }}<|end|>{% endif %}" + TURNS
        + "{% if false %}<|channel|>analysis<|message|>{% endif %}"
    )  # fmt: skip
    chain = [analysis, *THOUGHTS, final, *ANSWER]
    folder = make_thinker(template=template, markers=(analysis, final), special=True, chain=chain)
    model = model_of(folder, "low")
    assert model.render(PROMPT) == "<|system|>Reasoning: low<|end|><|user|>Solve it.<|end|><|assistant|>"
    assert parts(complete(model)) == (FENCED, THOUGHT, len(THOUGHTS) + 2, "model")
    at_once = make_thinker("at-once", template=template, markers=(analysis, final), chain=[final, *ANSWER])
    assert parts(complete(model_of(at_once))) == (FENCED, None, None, None), "the header is no part of the answer"


def test_rows_of_a_batch_think_for_themselves(make_thinker: Model) -> None:
    folder = make_thinker(branches={"hm2 ": "</think>", "hm5 ": "</think>"})
    model = model_of(folder)
    seeds, hot = list(range(6)), Decoding(60, temperature=1.0, stop=STOP)
    prompts = [ChatPrompt("x" * 3**number) for number in range(6)]
    together = model.generate(prompts, hot, seeds)
    alone = [model.generate([prompt], hot, [seed])[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert [parts(row) for row in together] == [parts(row) for row in alone]
    assert {row.text for row in together} == {FENCED}
    assert len({row.reasoning.tokens for row in together if row.reasoning}) > 1, "or they would prove nothing"
    ends = {row.reasoning.tokens: row.reasoning.end_ns for row in together if row.reasoning}
    assert [ends[tokens] for tokens in sorted(ends)] == sorted(ends.values()), "each has a time of its own"
    bounded = model_of(folder, "4").generate(prompts, hot, seeds)
    assert {row.reasoning.tokens for row in bounded if row.reasoning} <= {4, 5, 6}
    assert {row.text for row in bounded} == {FENCED}


def test_early_exit_thinks_too(thinker: Path) -> None:
    from passkwh.adapters import early_exit

    for thinking in ("auto", "4"):
        plain = complete(model_of(thinker, thinking))
        early = load(resolve(str(thinker)), "cpu", exit=early_exit.parse("fixed:2"), thinking=thinking)
        made = early.generate([PROMPT], Decoding(60, stop=STOP), [0])[0]
        assert parts(made) == parts(plain)
        assert made.completion_tokens == len(made.exit_layers or ()) == plain.completion_tokens


def test_whoever_watches_sees_the_answer_alone(thinker: Path) -> None:
    model, seen = model_of(thinker), []

    def watch(text_of: object) -> Sequence[bool]:
        seen.append(text_of(0))  # type: ignore[operator]
        return [False]

    model.watch = watch
    assert complete(model).text == FENCED
    assert seen[: len(THOUGHTS) + 2] == [""] * (len(THOUGHTS) + 2)
    assert seen[-2].startswith("```python\nimport math")


@pytest.mark.parametrize(
    ("template", "thinking", "message"),
    [
        (TURNS, "on", "has no thinking phase that its chat template knows of: leave --thinking on out"),
        (TURNS, "64", "has no thinking phase"),
        (OPENS, "off", "always thinks, and its template has no switch .* or give a number of tokens"),
        (None, "low", r"--thinking low: .* takes on, off or a number of tokens \(enable_thinking of its template\)"),
        (TURNS + "<|channel|>analysis{{ reasoning_effort }}", "off", "takes low, medium, high or a number of tokens"),
    ],
)
def test_what_a_model_cannot_be_told_is_refused(
    make_thinker: Model, template: str | None, thinking: str, message: str
) -> None:
    folder = make_thinker(**({} if template is None else {"template": template}))
    with pytest.raises(UsageError, match=message):
        load(resolve(str(folder)), "cpu", thinking=thinking)


FLAGGED = "{%% if '/no_think' in messages[%d].content %%}<think></think>{%% endif %%}"


@pytest.mark.parametrize(("turn", "role"), [(-1, "user"), (0, "system")])
def test_a_flag_in_a_message_where_a_template_has_only_that(make_thinker: Model, turn: int, role: str) -> None:
    model = model_of(make_thinker(template=TURNS + FLAGGED % turn), "off")
    prompt = ChatPrompt("Solve it.", system="Be brief.", answer="Sure:\n")
    text = model.render(prompt)
    assert text.endswith("<|assistant|><think></think>Sure:\n")
    assert f"<|{role}|>{'Solve it.' if role == 'user' else 'Be brief.'} /no_think<|end|>" in text
    assert model.info.prompting["thinking"] == "/no_think"


BUDGET = "{% if thinking_budget is defined %}{{ thinking_budget }}{% endif %}<seed:think></seed:think>"
EFFORT = "{% if reasoning_effort == 'none' %}N{% elif reasoning_effort == 'high' %}H{% endif %}[THINK][/THINK]"


@pytest.mark.parametrize(
    ("template", "thinking", "text"),
    [(BUDGET, "512", "512<"), (BUDGET, "off", "0<"), (EFFORT, "off", "N["), (EFFORT, "high", "H[")],
)
def test_other_switches(make_thinker: Model, template: str, thinking: str, text: str) -> None:
    assert model_of(make_thinker(template=template + TURNS), thinking).render(PROMPT).startswith(text)


def test_templates_that_ask_for_the_date_are_told_the_same_every_day(make_thinker: Model) -> None:
    template = "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }};{{ strftime_now('%-d/%m') }}{% endif %}"
    model = model_of(make_thinker(template=template + TURNS))
    assert model.render(PROMPT).startswith("01 January 2025;1/01<|user|>")
    assert model.info.prompting["template_date"] == "2025-01-01"


def test_a_template_without_system_prompts_says_so(make_thinker: Model) -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    model = model_of(make_thinker(template=refuses + TURNS))
    with pytest.raises(UsageError, match=r"template refuses the chat \(no system role\): leave --system out"):
        model.render(ChatPrompt("x", system="Be brief."))


def test_base_models_prompts_are_texts_as_ever(thinker: Path) -> None:
    made = model_of(thinker).generate([TextPrompt("</think>")], Decoding(3), [0])[0]
    assert parts(made) == ("".join(ANSWER[:3]), None, None, None)


# ---------------------------------------------------------------- the two ways to take a text apart agree

WORDS = st.sampled_from(["<think>", "</think>", "a", "b = 1", "\n", " ", "```\n", "x<think>"])


@given(st.lists(WORDS, max_size=14), st.booleans())
def test_tokens_and_text_are_taken_apart_alike(words: list[str], opened: bool) -> None:
    """A row followed token by token, where a token is a character, gives what the whole text gives."""
    text = "".join(words)
    phases = ThinkingPhases(TAGS, lambda ids: "".join(map(chr, ids)), [opened], [], 0)
    ids = [ord(letter) for letter in text]
    for count in range(1, len(ids) + 1):
        phases(torch.tensor([ids[:count]]), None)
    answer, thought = phases.take_apart(0, ids, lambda part, _: "".join(map(chr, part)))
    whole = split(f"<think>{text}" if opened else text, may_be_open=False)
    if whole is None:
        assert (answer, thought) == (text, None)
        return
    assert thought is not None
    assert (answer, thought.text, thought.ended_by is not None) == (whole.answer, whole.thought, whole.is_closed)
    assert thought.tokens == len(text) - (len(answer) if whole.is_closed else 0) or "\n" in text


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>a</think>b\n<think>c</think>d", "ab\nc", "d"),
        ("Sure.\n<think>a</think>\n\nd", "Sure.\na", "d"),
        ("<think></think>d", "", "d"),
        ("a</think>d", "a", "d"),
        ('re.sub("<think>.*", "", text)', None, None),
        ("<think>a", "a", ""),
    ],
)
def test_texts(text: str, thought: str | None, answer: str | None) -> None:
    made = split(text)
    assert (made and made.thought, made and made.answer) == (thought, answer)


def test_harmony_texts() -> None:
    harmony = Markers("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
    thought = "<|channel|>analysis<|message|>We<|end|><|start|>assistant"
    for text, expected in (
        (f"{thought}<|channel|>final<|message|>x", ("We", "x", True)),
        (f"{thought}{thought}<|channel|>final<|message|>x", ("WeWe", "x", True)),
        ("<|channel|>final<|message|>x", (None, "x", True)),
        (thought, ("We", "", False)),
    ):
        made = split(text, harmony)
        assert made is not None
        assert (made.thought, made.answer, made.is_closed) == expected
