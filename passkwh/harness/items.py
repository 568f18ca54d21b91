"""The samples that a run is going to make, in their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from passkwh.adapters.engines.base import Model
from passkwh.adapters.infill import InfillTokens
from passkwh.benchmarks.base import Task
from passkwh.prompts import InfillPrompt, Prompt
from passkwh.records import Spec, sample_key


@dataclass(frozen=True)
class Item:
    """One sample to be made: its place, its prompt and its identity."""

    task: Task
    sample_index: int
    order: int
    prompt: Prompt
    key: str
    seed: int


def plan_items(spec: Spec, model: Model, tasks: Sequence[Task], infill: InfillTokens | None = None) -> list[Item]:
    """Every sample of a run in its order: all tasks once, then all tasks again for the next sample.

    Args:
        infill: the model's tokens for filling in the middle; there where a task asks for it.
    """
    items: list[Item] = []
    asked = [task.request.prompt(model.info.chat, spec.system) for task in tasks]
    prompts = [_rendered(prompt, infill) for prompt in asked]
    texts = [model.render(prompt) for prompt in prompts]
    for index in range(spec.samples):
        for task, prompt, text in zip(tasks, prompts, texts, strict=True):
            key = sample_key(spec, model.info, task.task_id, text, index)
            digest = hashlib.sha256(f"{spec.seed}/{spec.repeat}/{task.task_id}/{index}".encode()).digest()
            items.append(Item(task, index, len(items), prompt, key, int.from_bytes(digest[:4])))
    return items


def _rendered(prompt: Prompt | InfillPrompt, infill: InfillTokens | None) -> Prompt:
    if not isinstance(prompt, InfillPrompt):
        return prompt
    assert infill is not None  # plan() refused a model that has none
    return infill.render(prompt)
