"""The thinking phase is read from the template, in the forms that publishers write it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.reasoning import Reasoning, read_reasoning

QWEN3 = (
    "{%- if message.content is string and '</think>' in content %}{{ content.split('</think>')[-1] }}{%- endif %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)
HARMONY = (
    "{%- if reasoning_effort is not defined %}{%- set reasoning_effort = 'medium' %}{%- endif %}"
    "{{- 'Reasoning: ' + reasoning_effort }}{%- if message.thinking %}"
    "{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}{%- endif %}"
)
EFFORT = (
    "{%- if reasoning_effort == 'none' %}{{ '' }}{%- elif reasoning_effort in ['low', 'high'] %}"
    "{{ '[THINK]' }}x{{ '[/THINK]' }}{%- endif %}"
)


@pytest.mark.parametrize(
    ("template", "reasoning"),
    [
        (QWEN3, Reasoning("enable_thinking", (), "<think>", "</think>")),
        (HARMONY, Reasoning("reasoning_effort", (), "<|channel|>analysis<|message|>", "<|end|>")),
        (EFFORT, Reasoning("reasoning_effort", ("none", "low", "high"), "[THINK]", "[/THINK]")),
        ("{% if not thinking is defined %}{% set thinking = false %}{% endif %}<think></think>",
         Reasoning("thinking", (), "<think>", "</think>")),
        ("{{ '<｜Assistant｜><think>\\n' }}{{ content.split('</think>')[-1] }}",
         Reasoning(None, (), "<think>", "</think>")),
        ("{% if thinking_budget == 0 %}<seed:think></seed:think>{% endif %}",
         Reasoning("thinking_budget", (), "<seed:think>", "</seed:think>")),
        ("<|START_THINKING|>{{ message.plan }}<|END_THINKING|>",
         Reasoning(None, (), "<|START_THINKING|>", "<|END_THINKING|>")),
        ("◁think▷◁/think▷{{ messages }}", Reasoning(None, (), "◁think▷", "◁/think▷")),
        ("{% if thinking %}{{ 'Respond after a thought process.' }}{% endif %}", Reasoning("thinking")),
        ("{{ 'detailed thinking on' }}{{ message.thinking }}{{ messages }}", None),
        ("{{ '<｜Assistant｜><think>\\n' }}", Reasoning(None, (), "<think>", "</think>")),
        ("{% if '/no_think' in messages[0].content %}<think></think>{% endif %}",
         Reasoning("/think", (), "<think>", "</think>")),
        ("{# enable_thinking is no switch of this one #}{{ messages }}", None),
        ("{{ messages }}", None),
        (None, None),
    ],
)  # fmt: skip
def test_the_switch_and_the_markers_of_a_template(
    template: str | None, reasoning: Reasoning | None, tmp_path: Path
) -> None:
    if template is not None:
        (tmp_path / "chat_template.jinja").write_text(template, "utf-8")
    assert read_reasoning(ModelFiles(tmp_path)) == reasoning


def test_a_marker_of_the_tokenizer_alone_is_no_sign_and_completes_a_switch(tmp_path: Path) -> None:
    tokens = {"1": {"content": "<think>"}, "2": {"content": "</think>"}}
    for template, reasoning in (
        ("{{ messages }}", None),
        ("{% if enable_thinking %}{% endif %}", Reasoning("enable_thinking", (), "<think>", "</think>")),
    ):
        content = {"chat_template": template, "added_tokens_decoder": tokens}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
        assert read_reasoning(ModelFiles(tmp_path)) == reasoning
