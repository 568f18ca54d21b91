"""A model of transformers, dense or quantized, whose tokens may leave early: only the generate step is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.request import ExitRequest, model_context
from passkwh.adapters.engines.transformers_model import GeneratedTokens, TransformersModel
from passkwh.adapters.lora import folder_hash
from passkwh.adapters.thinking import AUTO
from passkwh.errors import UsageError
from passkwh.records import Option


class EarlyExitModel(TransformersModel):
    """Loads as ``TransformersModel`` does and decodes with a rule that says at each exit which tokens leave."""

    def __init__(
        self, checkpoint: Checkpoint, device: str, request: ExitRequest, language: str, thinking: str = AUTO
    ) -> None:
        if "," in device:
            raise UsageError(f"--exit {request.text}: early exit needs the model on one device: give one of --devices")
        super().__init__(checkpoint, device, thinking)
        self._language = language
        self._request = request
        self._model_context = model_context(request, checkpoint, language, str(self._device))
        parts = model_parts(self._model)
        self._heads = ExitHeads.load(parts, self._model_context.bundle)
        self._decoder = ExitDecoder(parts, self._heads, request.rule(self._model_context), request.skipped)
        self._describe()

    def use(self, request: ExitRequest) -> None:
        """Leave by another rule, threshold or agent from now on; UsageError where it would need other weights."""
        context = model_context(request, self._checkpoint, self._language, str(self._device))
        if context.bundle != self._model_context.bundle:
            raise UsageError(
                f"--exit {request.text} needs another bundle than --exit {self._request.text}: load it anew"
            )
        self._decoder = ExitDecoder(self._decoder.parts, self._heads, request.rule(context), request.skipped)
        self._request, self._model_context = request, context
        self._describe()

    def _describe(self) -> None:
        context, bundle = self._model_context, self._model_context.bundle
        about: dict[str, Option] = {
            "rule": self._request.text.partition(",bundle=")[0],
            "kv": self._request.skipped,
            "exits": "+".join(map(str, context.layout.exits)),
            "layers": context.layout.depth,
            "hindsight": self._decoder.rule.hindsight,
            "head": bundle.card.head if bundle else "none",
            **self._decoder.rule.about(),
        }
        if bundle is not None:
            about |= {"bundle": bundle.folder.name, "bundle_sha256": folder_hash(bundle.folder)}
            about |= bundle.card.making(str(about.get("agent", "")))
        self._info = self._info.model_copy(update={"early_exit": about})

    def _draw(
        self, batch: BatchEncoding, steps: int, processors: Sequence[Any], criteria: Sequence[Any]
    ) -> GeneratedTokens:
        """As ``generate`` would, token by token, with the layers that each went through."""
        ending = Ending(steps, self._end_tokens, self._tokenizer.pad_token_id, criteria)
        tokens, exits = self._decoder.draw(batch["input_ids"], batch["attention_mask"], ending, processors)
        return GeneratedTokens(tokens.tolist(), exits)
