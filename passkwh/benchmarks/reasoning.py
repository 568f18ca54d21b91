"""Leftovers of reasoning in an answer: what a model thought aloud, in the forms in which it reaches the answer's text.

Engines that know a model's reasoning keep it apart (``Sample`` holds both). A server without a reasoning parser, or a
decoder that drops special tokens, leaves it in the text; no program is to be looked for there.
"""

from __future__ import annotations

import re

_WORDS = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_OPENING = re.compile(
    rf"^[ \t]*(?:<{_WORDS}>|\[THINK\]|◁think▷|<\|(?:START_THINKING|begin_of_thought|inner_prefix)\|>)",
    re.MULTILINE | re.IGNORECASE,
)
"""Most models and Seed-OSS (``<seed:think>``), Magistral, Kimi, Command A, Sky-T1, Apertus."""
_CLOSING = re.compile(
    rf"</{_WORDS}>|\[/THINK\]|◁/think▷|<\|(?:END_THINKING|end_of_thought|inner_suffix)\|>", re.IGNORECASE
)

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_CHANNEL_WITHOUT_TOKENS = re.compile(r"\s*(?:analysis|commentary)(?=[^\sa-z])")
_FINAL_WITHOUT_TOKENS = "assistantfinal"


def without_reasoning(text: str) -> str:
    """The answer alone: what follows the last end of reasoning, up to where reasoning begins again and does not end.

    Tags may be nested, and the first may be missing (the prompt opened it). Of channels (gpt-oss) the last ``final``
    one is the answer, also where a decoder dropped the special tokens. Empty where all is reasoning.
    """
    channels = list(_CHANNEL.finditer(text))
    if channels:
        final = next((channel for channel in reversed(channels) if channel[1] == "final"), None)
        return "" if final is None else _CHANNEL_END.split(text[final.end() :], maxsplit=1)[0]
    if _CHANNEL_WITHOUT_TOKENS.match(text):
        return text.rpartition(_FINAL_WITHOUT_TOKENS)[2] if _FINAL_WITHOUT_TOKENS in text else ""
    ends = [match.end() for match in _CLOSING.finditer(text) if not _in_a_string(text, match)]
    answer = text[ends[-1] :] if ends else text
    again = _OPENING.search(answer)
    return answer if again is None else answer[: again.start()]


def _in_a_string(text: str, tag: re.Match[str]) -> bool:
    """Whether a tag stands between quotes on its line, which no reasoning began: code that speaks of it."""
    start, end = text.rfind("\n", 0, tag.start()) + 1, text.find("\n", tag.end())
    before, after = text[start : tag.start()], text[tag.end() : end if end >= 0 else None]
    return not _OPENING.match(before) and any(before.count(quote) % 2 and quote in after for quote in "'\"")
