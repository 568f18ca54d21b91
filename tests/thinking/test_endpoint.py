"""Thinking through a server: what its parser takes apart, what it counts, and what it lets through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from passkwh import adapters
from passkwh.adapters.engines.base import Completion, Decoding, Model
from passkwh.errors import UsageError
from passkwh.prompts import Request
from tests.thinking.server import ANSWER, PROGRAM, THOUGHTS, Habits, serving

PROMPT = Request("", "Write it.", response_prefix="Sure:\n```python\n").prompt(chat=True, system="Be brief.")
TEXT = "Here:\n```python\n" + PROGRAM
STOP = ("\n```\n",)


@contextmanager
def loaded(habits: Habits, thinking: str = "auto") -> Iterator[Model]:
    with serving(habits) as url:
        checkpoint = adapters.resolve(f"openai-chat:{url}#thinker")
        model = adapters.load(checkpoint, thinking=thinking)
        habits.asked.clear()
        yield model
        model.close()


def complete(model: Model, tokens: int = 100, rows: int = 1) -> Completion:
    return model.generate([PROMPT] * rows, Decoding(tokens, stop=STOP), [0] * rows)[0]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_a_parsers_thinking_is_kept_apart(key: str) -> None:
    with loaded(habits := Habits(key)) as model:
        made = complete(model)
        assert made.text == TEXT
        assert made.completion_tokens == len(THOUGHTS) + len(ANSWER)
        assert made.reasoning is not None
        assert (made.reasoning.text, made.reasoning.tokens) == ("".join(THOUGHTS), len(THOUGHTS))
        assert made.reasoning.ended_by == "model"
        assert made.first_token_ns is not None
        assert made.reasoning.end_ns is not None
        assert made.first_token_ns < made.reasoning.end_ns, "the first token is the first of thinking"
        assert "stop" not in habits.asked[0], "it would end the thinking at the first block of a draft"
        assert habits.asked[0]["messages"] == [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write it."},
        ]  # fmt: skip
        assert str(model.info.prompting["stops"]).startswith("not sent")
        assert complete(model, rows=2).first_token_ns is None


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("streams", [False, True])
def test_thinking_between_tags_is_taken_apart_here(opens: bool, streams: bool) -> None:
    with loaded(Habits(key="", counts=False, opens=opens, streams=streams), "on") as model:
        made = complete(model)
    assert made.text == TEXT
    assert made.reasoning is not None
    assert (made.reasoning.text, made.reasoning.tokens) == ("".join(THOUGHTS), None), "nobody counted them"
    assert (made.reasoning.end_ns is not None) == streams


def test_cut_while_thinking_there_is_no_answer() -> None:
    for key in ("reasoning", ""):
        with loaded(Habits(key)) as model:
            made = complete(model, tokens=4)
        assert (made.text, made.finish_reason) == ("", "length")
        assert made.reasoning is not None
        assert (made.reasoning.ended_by, made.reasoning.end_ns, made.reasoning.tokens) == (None, None, 4)


def test_a_server_that_keeps_its_thoughts_still_counts_them() -> None:
    with loaded(Habits(key="hidden")) as model:
        made = complete(model)
    assert made.text == TEXT
    assert made.reasoning is not None
    assert (made.reasoning.text, made.reasoning.tokens, made.reasoning.end_ns) == ("", len(THOUGHTS), None)


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        ("auto", {}),
        ("off", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("on", {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
        ("high", {"reasoning_effort": "high"}),
    ],
)
def test_how_to_think_is_said_in_every_request(thinking: str, sent: dict[str, object]) -> None:
    with loaded(habits := Habits(), thinking) as model:
        made = complete(model)
        fields = ("chat_template_kwargs", "reasoning_effort")
        assert {name: value for name, value in habits.asked[0].items() if name in fields} == sent
        assert (made.reasoning is None) == (thinking == "off")
        assert ("stop" in habits.asked[0]) == (thinking == "off")


def test_what_a_server_cannot_be_told_is_refused() -> None:
    with serving(Habits()) as url:
        chat = adapters.resolve(f"openai-chat:{url}#thinker")
        with pytest.raises(UsageError, match=r"--thinking 512: a server ends the thinking by its own rules"):
            adapters.check_thinking(chat, "512")
        base = adapters.resolve(f"openai:{url}#thinker")
        with pytest.raises(UsageError, match=r"--thinking on: .* is run as a base model"):
            adapters.check_thinking(base, "on")


@pytest.mark.parametrize(
    ("stops", "sent", "prompting"),
    [(16, 7, "sent"), (4, 4, "the first 4 sent"), (2, 0, "not sent, as the server takes none")],
)
@pytest.mark.parametrize("refusal", ["stop: at most 4 sequences", "[{'type': 'too_long', 'loc': 'body.stop'}]"])
def test_stop_strings_are_sent_as_far_as_the_server_takes_them_and_cut_at_afterwards(
    stops: int, sent: int, prompting: str, refusal: str
) -> None:
    with loaded(habits := Habits(thinks=False, stops=stops, refusal=refusal)) as model:
        # The one that ends the answer is the last, so that it is not among four.
        seven = (*(f"<end{number}>" for number in range(6)), *STOP)
        (made,) = model.generate([PROMPT], Decoding(100, stop=seven), [0])
        assert made.text == TEXT
        assert made.reasoning is None
        assert habits.asked[0].get("stop", []) == list(seven[:sent])
        assert str(model.info.prompting["stops"]).startswith(prompting)
        assert made.first_token_ns is not None, "the server still streams"


def test_a_prompt_over_the_servers_context_fails_alone() -> None:
    with loaded(Habits(context=100)) as model:
        long = Request("", "x" * 200).prompt(chat=True)
        failed, made = model.generate([long, PROMPT], Decoding(100, stop=STOP), [0, 0])
    assert (failed.text, failed.finish_reason, failed.completion_tokens) == ("", "context", 0)
    assert "maximum context length is 2048" in failed.failure
    assert made.text == TEXT


def test_why_a_server_stopped_is_kept() -> None:
    with loaded(Habits(finish="content_filter")) as model:
        assert complete(model).finish_reason == "content_filter"
