"""The samples that a run is going to make, in their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from passkwh.adapters.engines.base import Model
from passkwh.benchmarks.base import Task
from passkwh.prompts import Prompt
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


def plan_items(spec: Spec, model: Model, tasks: Sequence[Task]) -> list[Item]:
    """Every sample of a run in its order: all tasks once, then all tasks again for the next sample."""
    items: list[Item] = []
    prompts = [task.request.prompt(model.info.chat, spec.system) for task in tasks]
    texts = [model.render(prompt) for prompt in prompts]
    for index in range(spec.samples):
        for task, prompt, text in zip(tasks, prompts, texts, strict=True):
            key = sample_key(spec, model.info, task.task_id, text, index)
            digest = hashlib.sha256(f"{spec.seed}/{spec.repeat}/{task.task_id}/{index}".encode()).digest()
            items.append(Item(task, index, len(items), prompt, key, int.from_bytes(digest[:4])))
    return items
