"""How a task is put to a model, word for word as bigcodebench 0.2.5 does it."""

from __future__ import annotations

from typing import Literal

from passkwh.benchmarks.bigcodebench.data import Problem
from passkwh.prompts import Request

Style = Literal["complete", "instruct"]

_INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
_RESPONSE = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
STOPS = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
"""Every completion, a chat answer too, is cut before the first of these."""
BASE_STOPS = (*STOPS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
"""What ends the continuation of a prompt besides: whatever begins a new top-level statement."""


def request(problem: Problem, style: Style) -> Request:
    """The task in both forms: to be continued by a base model, and to be answered by an instruct model.

    The answer begins inside a code block that the response prefix opens.
    """
    if style == "complete":
        instruction = f"{_INSTRUCTION}\n```\n{problem.complete_prompt.strip()}\n```\n"
    else:
        instruction = f"{_INSTRUCTION}\n{problem.instruct_prompt.strip()}\n"
    return Request(
        text=problem.complete_prompt,
        instruction=instruction,
        response_prefix=f"{_RESPONSE}\n```python\n",
        stop=BASE_STOPS,
    )
