"""A model of transformers, dense or quantized, whose tokens may leave early: only the generate step is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding

from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.drafts.base import Drafter
from passkwh.adapters.early_exit.drafts.decode import DraftDecoder
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.request import ExitRequest, model_context
from passkwh.adapters.early_exit.rules.base import ExitMethod, Rule
from passkwh.adapters.engines.transformers_model import GeneratedTokens, TransformersModel
from passkwh.adapters.lora import folder_hash
from passkwh.adapters.thinking import AUTO
from passkwh.errors import UsageError
from passkwh.records import Drafts, Option


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
        self._parts = parts
        self._use(request, request.rule(self._model_context))

    def use(self, request: ExitRequest) -> None:
        """Leave by another rule, threshold or agent from now on; UsageError where it would need other weights."""
        context = model_context(request, self._checkpoint, self._language, str(self._device))
        if context.bundle != self._model_context.bundle:
            raise UsageError(
                f"--exit {request.text} needs another bundle than --exit {self._request.text}: load it anew"
            )
        method = request.rule(context)
        self._request, self._model_context = request, context
        self._use(request, method)

    def _use(self, request: ExitRequest, method: ExitMethod) -> None:
        """Decode with this rule or drafter from now on."""
        self._decoder: ExitDecoder | DraftDecoder
        if isinstance(method, Drafter):
            self._decoder = DraftDecoder(self._parts, self._heads, method)
            kind: dict[str, Option] = {"lossless": True}
        else:
            assert isinstance(method, Rule)
            self._decoder = ExitDecoder(self._parts, self._heads, method, request.skipped)
            kind = {"kv": request.skipped, "hindsight": method.hindsight}
        context, bundle = self._model_context, self._model_context.bundle
        about: dict[str, Option] = {
            "rule": request.text.partition(",bundle=")[0],
            "exits": "+".join(map(str, context.layout.exits)),
            "layers": context.layout.depth,
            "head": bundle.card.head if bundle else "none",
            **kind,
            **method.about(),
        }
        if bundle is not None:
            about |= {"bundle": bundle.folder.name, "bundle_sha256": folder_hash(bundle.folder)}
            about |= bundle.card.making(str(about.get("agent", "")))
        self._info = self._info.model_copy(update={"early_exit": about})

    def _draw(
        self, batch: BatchEncoding, steps: int, processors: Sequence[Any], criteria: Sequence[Any]
    ) -> GeneratedTokens:
        """As ``generate`` would, with the layers that each token went through, or what became of drafts."""
        ending = Ending(steps, self._end_tokens, self._tokenizer.pad_token_id, criteria)
        prompts = batch["input_ids"], batch["attention_mask"]
        if isinstance(self._decoder, ExitDecoder):
            tokens, exits = self._decoder.draw(*prompts, ending, processors)
            return GeneratedTokens(tokens.tolist(), exits)
        tokens, counts = self._decoder.draw(*prompts, ending, processors)
        drafts = [Drafts(drafted=tuple(row.drafted), accepted=tuple(row.accepted)) for row in counts]
        return GeneratedTokens(tokens.tolist(), drafts=drafts)
