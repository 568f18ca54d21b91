"""A chat as a model's template writes it: at a fixed date, with thinking as asked, up to where the answer goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from passkwh.adapters import thinking as thinking_phase
from passkwh.adapters.reasoning import Reasoning
from passkwh.adapters.thinking import AUTO, Markers
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt
from passkwh.records import Option

TEMPLATE_DATE = date(2025, 1, 1)
"""What templates are told that today is: prompts, and so sample keys, are the same on every day."""
_DIRECTIVES = "aAbBcdDeFHIjmMpSUwWxXyYZ%"


def _fixed_date() -> str:
    """``strftime_now`` as a macro that knows only that date; transformers hands templates no functions of ours."""
    replaced = "".join(
        f'|replace("{directive}", "{TEMPLATE_DATE.strftime(directive)}")'
        for letter in _DIRECTIVES
        for directive in (f"%{letter}", f"%-{letter}")
    )
    return "{% macro strftime_now(format) %}{{ format" + replaced + ' }}{% endmacro %}{{ "" }}'


class ChatFormat:
    """How chats are put to one model.

    Raises:
        UsageError: its template has no such switch for thinking.
    """

    def __init__(self, tokenizer: Any, reasoning: Reasoning | None, thinking: str, name: str) -> None:
        thinking_phase.check(reasoning, thinking, name)
        self.tokenizer = tokenizer
        self._reasoning = reasoning
        self._thinking = thinking
        self._name = name

    @property
    def markers(self) -> Markers | None:
        """Those of its thinking phase; None where it has none."""
        return thinking_phase.markers(self._reasoning)

    @property
    def budget(self) -> int | None:
        """Tokens after which thinking is ended by force; None where it is not."""
        return thinking_phase.budget(self._thinking)

    def render(self, prompt: ChatPrompt) -> str:
        """The chat up to where the answer goes on. UsageError for a system prompt that the template does not take."""
        text = self._template(prompt, self._thinking)
        return text + prompt.answer if self._takes_beginning(text) else text

    def is_open(self, rendered: str) -> bool:
        """The rendered chat ends within a thinking phase."""
        return self.markers is not None and rendered.rstrip().endswith(self.markers.start)

    @cached_property
    def about(self) -> dict[str, Option]:
        """What the manifest says of it."""
        about: dict[str, Option] = {}
        if self._has_date:
            about["template_date"] = TEMPLATE_DATE.isoformat()
        about["answer_beginning"] = self._about_beginning()
        if self._reasoning is None:
            return about
        given = thinking_phase.template_arguments(self._reasoning, self._thinking)
        told = [f"{key}={value}" for key, value in given.items()]
        told += [flag] if (flag := thinking_phase.flag(self._reasoning, self._thinking)) else []
        about["thinking"] = ", ".join(told) or "as the template does"
        if self.markers is not None:
            about["thinking_markers"] = f"{self.markers.start} {self.markers.end}"
            if self.budget is not None:
                about["thinking_ended"] = f"after {self.budget} tokens, by inserting {self.markers.closing!r}"
        return about

    def _about_beginning(self) -> str:
        text = self._template(ChatPrompt("x"), self._thinking)
        if self._takes_beginning(text):
            closed = self.markers is not None and text.rstrip().endswith(self.markers.end)
            return "as the benchmark gives it" + (", after the template closed the thinking" if closed else "")
        return "left out: " + ("the template opens the thinking" if self.is_open(text) else "the model may think first")

    def _takes_beginning(self, text: str) -> bool:
        """A beginning of the answer would stand in the answer, and neither within nor instead of the thinking."""
        if self._reasoning is None or (self.markers is not None and text.rstrip().endswith(self.markers.end)):
            return True
        return not self.is_open(text) and self._thinks_not

    @cached_property
    def _thinks_not(self) -> bool:
        """It is told not to think, or its template is by itself as it is when told not to."""
        if self._thinking != AUTO or self._reasoning is None:
            return self._thinking == "off"
        if self._reasoning.switch in (None, "reasoning_effort", "/think"):
            return False
        probe = ChatPrompt("x")
        return self._template(probe, AUTO) == self._template(probe, "off") != self._template(probe, "on")

    def _template(self, prompt: ChatPrompt, thinking: str) -> str:
        given: dict[str, Any] = dict(thinking_phase.template_arguments(self._reasoning, thinking))
        if flag := thinking_phase.flag(self._reasoning, thinking):
            prompt = self._flagged(prompt, flag)
        if self._has_date:
            given["chat_template"] = _fixed_date() + self.tokenizer.get_chat_template()
        return self._apply(prompt, given)

    def _flagged(self, prompt: ChatPrompt, flag: str) -> ChatPrompt:
        """With the flag in the message where the template looks for it, or else in the user's, where the model does."""
        by_user = replace(prompt, user=f"{prompt.user} {flag}")
        own = replace(prompt, system=prompt.system or "")
        by_system = replace(own, system=f"{own.system} {flag}")

        def looks_for_it(flagged: ChatPrompt, plain: ChatPrompt) -> bool:
            return self._apply(flagged, {}).replace(f" {flag}", "") != self._apply(plain, {})

        return by_system if not looks_for_it(by_user, prompt) and looks_for_it(by_system, own) else by_user

    def _apply(self, prompt: ChatPrompt, given: dict[str, Any]) -> str:
        turns = [{"role": "user", "content": prompt.user}]
        if prompt.system is not None:
            turns.insert(0, {"role": "system", "content": prompt.system})
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **given)
        except TemplateError as error:
            about = "leave --system out" if prompt.system is not None else "run it with another prompt form"
            raise UsageError(f"{self._name}'s chat template refuses the chat ({error}): {about}") from None
        return str(text)

    @cached_property
    def _has_date(self) -> bool:
        return "strftime_now" in self.tokenizer.get_chat_template()
