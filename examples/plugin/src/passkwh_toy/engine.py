"""An engine: ``toy:N`` knows the first N solutions of the toy benchmark by heart, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import Completion, Decoding, LoadOptions
from passkwh.errors import UsageError
from passkwh.prompts import ChatPrompt, Prompt
from passkwh.records import ModelInfo


class ToyEngine:
    """Runs models named ``toy:N``."""

    summary = "toy:N recites the first N solutions of toy-sums"

    def resolve(self, name: str, quant: str) -> Checkpoint | None:
        """The checkpoint that ``toy:N`` means; None for any other name."""
        prefix, _, known = name.partition(":")
        if prefix != "toy":
            return None
        if not known.isdecimal() or quant != "none":
            raise UsageError(f"{name}: write toy:N, with N solutions that it knows, and no --quant")
        return Checkpoint(
            name=name, source="engine", location=name, path=None, revision="1", chat=False, parameters=int(known)
        )

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """Why it cannot run a checkpoint: it has only its own."""
        return None if checkpoint.name.startswith("toy:") else "the toy engine runs models named toy:N"

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> ToyModel:
        """The model, ready to answer."""
        return ToyModel(checkpoint)


class ToyModel:
    """Answers the problems that it knows with their solutions, others with nothing."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        tasks = [json.loads(line) for line in Path(__file__).with_name("tasks.jsonl").read_text("utf-8").splitlines()]
        self._answers = {task["prompt"]: task["reference"] for task in tasks[: checkpoint.parameters]}
        self.info = ModelInfo(
            name=checkpoint.name, adapter="toy", engine="toy", chat=False, checkpoint=checkpoint.location,
            revision="1", dtype="text", device="cpu", parameters=checkpoint.parameters,
        )  # fmt: skip

    def render(self, prompt: Prompt) -> str:
        """The prompt as the model reads it."""
        return prompt.user if isinstance(prompt, ChatPrompt) else prompt.text

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """A character is a token, and takes a millisecond."""
        answers = []
        for text in map(self.render, prompts):
            known = next((answer for problem, answer in self._answers.items() if problem in text), "")
            answer = known[: decoding.max_new_tokens]
            time.sleep(0.001 * (len(answer) + 1))
            answers.append(Completion(answer, len(text), len(answer) + 1, "stop", first_token_ns=None))
        return answers

    def close(self) -> None:
        """Nothing to free."""


ENGINE = ToyEngine()
