"""A request's early-exit rule: its own, the server's with another threshold, or the server's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from passkwh import adapters
from passkwh.adapters.early_exit import parse
from passkwh.adapters.engines.base import Decoding
from passkwh.prompts import TextPrompt
from passkwh.serve.exit_choices import ExitChoices
from passkwh.serve.limits import Limits, Refused
from tests.serve.conftest import HTTP, Endpoint, hosted

PROMPT = "def area(radius):\n    return "


@pytest.mark.parametrize(
    ("server", "exit", "threshold", "chosen"),
    [
        (None, None, None, None),
        ("confidence:0.5", None, None, "confidence:0.5"),
        ("confidence:0.5", None, 0.25, "confidence:0.25"),
        ("agent:0.9,kv=propagated,bundle=/a,b", None, 1.0, "agent:1,kv=propagated,bundle=/a,b"),
        ("agent:0.9,kv=propagated,bundle=/a,b", "fixed:4", None, "fixed:4,bundle=/a,b"),
        ("fixed:4", "entropy:0.3", None, "entropy:0.3"),
    ],
)
def test_choices(server: str | None, exit: str | None, threshold: float | None, chosen: str | None) -> None:
    rule = ExitChoices(parse(server)).choose(exit, threshold)
    assert (rule and rule.text) == chosen


@pytest.mark.parametrize(
    ("server", "exit", "threshold", "expected"),
    [
        (None, "fixed:4", None, "no early-exit rule"),
        (None, None, 0.5, "no early-exit rule"),
        ("fixed:4", None, 0.5, "has no threshold"),
        ("fixed:4", "fixed:8", 0.5, "give one of them"),
        ("fixed:4", "confidense:0.9", None, "did you mean confidence"),
        ("fixed:4", "confidence:1.9", None, "threshold from 0 to 1"),
        ("fixed:4", "agent:0.9,bundle=/etc", None, "cannot choose a bundle"),
    ],
)
def test_choices_that_cannot_be(server: str | None, exit: str | None, threshold: float | None, expected: str) -> None:
    with pytest.raises(Refused, match=expected) as refused:
        ExitChoices(parse(server)).choose(exit, threshold)
    assert (refused.value.status, refused.value.field is not None) == (400, True)


@pytest.fixture(scope="module")
def leaving(letters: Path) -> Iterator[Endpoint]:
    """The small model, whose tokens leave after its first layer unless a request says otherwise."""
    with hosted(letters, Limits(), exit="fixed:1,exits=1+2", always_usage=True) as found:
        yield found


def test_the_rule_of_each_request(leaving: Endpoint, letters: Path) -> None:
    def ask(**options: Any) -> dict[str, Any]:
        body = {"inputs": PROMPT, "options": {"num_predict": 12, **options}}
        found: dict[str, Any] = HTTP.post(f"{leaving.url}/api/generate", json=body).json()
        return found

    model = adapters.load(adapters.prepare(adapters.resolve(str(letters))), exit=parse("fixed:1,exits=1+2"))
    early = model.generate([TextPrompt(PROMPT)], Decoding(12), [0])[0]
    full = adapters.load(adapters.prepare(adapters.resolve(str(letters)))).generate(
        [TextPrompt(PROMPT)], Decoding(12), [0]
    )[0]
    assert early.text != full.text

    answer = ask()
    assert answer["generated_text"] == early.text
    assert answer["usage"]["exit_layers"] == [list(early.exit_layers or ())]
    through = ask(exit="fixed:2,exits=1+2")
    assert through["generated_text"] == full.text
    assert through["usage"]["exit_layers"] == [[2] * 12]
    sure = ask(exit="confidence:1,exits=1+2")
    assert sure["generated_text"] == full.text
    for drafts in ("lookup:4,match=1", "draft:1,k=2"):
        drafted = ask(exit=drafts)
        assert drafted["generated_text"] == full.text
        assert drafted["usage"]["exit_layers"] is None
        (counts,) = drafted["usage"]["drafts"]
        assert len(counts["drafted"]) + sum(counts["accepted"]) >= 11
    assert ask()["generated_text"] == early.text  # the server's own rule is in force again
    assert "has no threshold" in ask(RL_agent_thresh=0.9)["error"]
    assert "can be left after layers" in ask(exit="fixed:9,exits=1+2")["error"]
    assert ask()["generated_text"] == early.text


def test_the_threshold_of_each_request(letters: Path) -> None:
    texts = {}
    with hosted(letters, Limits(), exit="confidence:0.5,exits=1+2") as sure:
        for threshold in (0, 1):
            body = {"inputs": PROMPT, "options": {"num_predict": 12, "RL_agent_thresh": threshold}, "usage": True}
            answer = HTTP.post(f"{sure.url}/api/generate", json=body).json()
            texts[threshold] = answer["generated_text"]
            layers = answer["usage"]["exit_layers"][0]
            assert set(layers[1:]) == {1 + threshold}  # 0: every exit is sure enough, 1: none is
    assert texts[0] != texts[1]
