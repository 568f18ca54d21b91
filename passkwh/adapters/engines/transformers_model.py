"""A model of transformers, dense or quantized, on a GPU or a CPU: its own ``generate`` with left-padded batches."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BatchEncoding,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteriaList,
)

from passkwh.adapters import device as devices
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import Completion, Decoding, Watch, over_context
from passkwh.adapters.engines.chat import ChatFormat
from passkwh.adapters.engines.decoding import FirstToken, SeededSampling, StopStrings, Watched, synchronize
from passkwh.adapters.engines.phases import ThinkingBudget, ThinkingPhases
from passkwh.adapters.memory import free_on
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.placement import skeleton, split
from passkwh.adapters.quantization.base import Loading, Quantization
from passkwh.adapters.quantization.lookup import quantization
from passkwh.adapters.quantization.make import read_manifest
from passkwh.adapters.silence import silence_libraries
from passkwh.adapters.thinking import AUTO, reasoning_of
from passkwh.errors import UsageError
from passkwh.prompts import FORCED_FIRST, FORCED_HIT, FORCED_MISS, ChatPrompt, Prompt
from passkwh.records import Drafts, ModelInfo, Option, Reasoning

FORCED_PART = 128
"""Positions of a forced pass whose scores stand in memory together."""


@dataclass(frozen=True)
class GeneratedTokens:
    """What was generated for a batch: the new tokens of every row, with anything after its end."""

    tokens: list[list[int]]
    exit_layers: list[list[int]] | None = None
    """Layers that each token up to a row's end ran through; None where that is always all of them."""
    drafts: list[Drafts] | None = None
    """What became of each row's drafts; None without drafts."""


class TransformersModel:
    """A causal language model of transformers (``passkwh.adapters.engines.base.Model``).

    Greedy decoding means the most likely token and nothing else: a checkpoint's own sampling advice, such as a
    repetition penalty, is not followed; only its end-of-sequence tokens are.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", thinking: str = AUTO) -> None:
        if checkpoint.path is None:
            raise UsageError(f"{checkpoint.location} is not on this machine yet: {', '.join(checkpoint.pending)}")
        self.watch: Watch | None = None
        self._checkpoint = checkpoint
        self._folder = checkpoint.path
        self._how = self._loading(device)
        self._device = torch.device(self._how.device)
        self._quantization: Quantization | None = None if checkpoint.quant == "none" else quantization(checkpoint.quant)
        with silence_libraries():
            self._tokenizer = AutoTokenizer.from_pretrained(
                self._folder,
                local_files_only=True,
                padding_side="left",
                trust_remote_code=self._how.trust_remote_code,
            )
            self._model = self._load_model()
        self._model.eval()
        self._chat = ChatFormat(self._tokenizer, reasoning_of(checkpoint), thinking, checkpoint.name)
        self._end_tokens = self._find_end_tokens()
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._end_tokens[0] if self._end_tokens else 0
        self._context_tokens = int(getattr(self._model.config, "max_position_embeddings", 0)) or None
        self._info = ModelInfo(
            name=checkpoint.name,
            adapter=checkpoint.adapter,
            engine="transformers",
            chat=checkpoint.chat,
            checkpoint=checkpoint.location,
            revision=str(checkpoint.revision),
            quant=checkpoint.quant,
            quantization=self._about_quantization(),
            dtype=str(self._model.dtype).removeprefix("torch."),
            device=self._device_name(),
            prompting=self._chat.about if checkpoint.chat else {},
            parameters=self._count_parameters(),
            **checkpoint.about() | {"context_tokens": self._context_tokens, "end_tokens": tuple(self._end_tokens)},
            gpus=devices.gpu_uuids({str(weight.device) for weight in self._model.parameters()}),
        )

    def _loading(self, device: str) -> Loading:
        """Onto which devices, as ``passkwh.adapters.check_memory`` names them: several joined by commas."""
        names = devices.listed(device)
        trust = self._checkpoint.overrides.trust_remote_code
        if len(names) == 1 or device == "auto":
            return Loading(names[0], trust_remote_code=trust)
        placement = split(self._checkpoint, {name: free_on(name) for name in names})
        return Loading(placement.devices[0], placement.device_map, trust)

    def _load_model(self) -> Any:
        """The model on its device; UsageError when the folder lacks some of its weights."""
        if self._quantization is not None:
            return self._quantization.load(self._folder, self._how)
        dtype = getattr(torch, devices.dtype_name(ModelFiles(self._folder).text_config, self._device.type))
        model, report = AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=dtype, output_loading_info=True, **self._how.arguments()
        )
        if missing := sorted(report["missing_keys"]):
            raise UsageError(f"{self._folder} lacks weights of its model: {missing[0]} and {len(missing) - 1} more")
        return model

    def _about_quantization(self) -> dict[str, Option]:
        """How weights are packed and computed with; empty for dense ones."""
        if self._quantization is None:
            return {}
        about = self._quantization.describe(self._model, self._folder, str(self._device))
        if made := read_manifest(self._folder):
            about |= {"calibration_sha256": made.calibration_sha256, "quantized_with": made.tool}
            if made.energy.gross_j is not None:
                about |= {"making_j": made.energy.gross_j, "making_provenance": str(made.energy.provenance)}
        return about

    # ------------------------------------------------------------ what early exit does in its own way

    def _draw(
        self, batch: BatchEncoding, steps: int, processors: Sequence[Any], criteria: Sequence[Any]
    ) -> GeneratedTokens:
        """Continue an encoded batch by at most ``steps`` tokens, until the criteria have ended every row."""
        with torch.inference_mode():
            output = self._model.generate(
                **batch,
                generation_config=self._generation_config(steps),
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList(criteria),
            )
        return GeneratedTokens(output[:, batch["input_ids"].shape[1] :].tolist())

    # ------------------------------------------------------------ the model's contract

    @property
    def info(self) -> ModelInfo:
        """The checkpoint and how it is run."""
        return self._info

    def render(self, prompt: Prompt) -> str:
        """A text as it is; a chat in the model's own template, up to where the answer goes on."""
        return self._chat.render(prompt) if isinstance(prompt, ChatPrompt) else prompt.text

    def generate(self, prompts: Sequence[Prompt], decoding: Decoding, seeds: Sequence[int]) -> list[Completion]:
        """Complete prompts as one batch, one seed a row; returns when the device has finished.

        A prompt that fills the model's context has no completion (``context``) and does not touch its neighbours'. A
        row that would outgrow the context is generated alone, so that it is cut there (``length``) and no other is.
        """
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
        texts = [self.render(prompt) for prompt in prompts]
        encoded = [self._encode(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
        lengths = [len(row["input_ids"]) for row in encoded]
        together = [i for i, length in enumerate(lengths) if self._fits(length + decoding.max_new_tokens)]
        alone = [[i] for i, length in enumerate(lengths) if i not in together and self._fits(length + 1)]
        parts = ([together] if together else []) + alone
        completions = {i: self._over_context(length) for i, length in enumerate(lengths)}
        for part in parts:
            opened = [isinstance(prompts[i], ChatPrompt) and self._chat.is_open(texts[i]) for i in part]
            made = self._generate([encoded[i] for i in part], opened, decoding, [seeds[i] for i in part])
            completions |= zip(part, made, strict=True)
        # It is the batch's first token, of rows without a completion, too; parts have a first token each.
        first_ns = completions[parts[0][0]].first_token_ns if len(parts) == 1 else None
        return [replace(completions[i], first_token_ns=first_ns) for i in range(len(prompts))]

    def _generate(
        self, encoded: Sequence[Any], opened: Sequence[bool], decoding: Decoding, seeds: Sequence[int]
    ) -> list[Completion]:
        """Complete rows that are encoded as one batch; ``opened`` says which prompts end within a thinking phase."""
        batch = self._tokenizer.pad(encoded, return_tensors="pt").to(self._device)
        rows, prompt_length = batch["input_ids"].shape
        steps = decoding.max_new_tokens
        if self._context_tokens is not None:
            steps = min(steps, self._context_tokens - prompt_length)
        lasts = batch["input_ids"][:, -1].tolist()
        first = FirstToken()
        criteria: list[Any] = [first]
        processors: list[Any] = []
        phases = stops = watched = None
        if decoding.temperature > 0:
            processors.append(SeededSampling(seeds, steps, decoding.temperature, decoding.top_p, self._device))
        if self._chat.markers is not None:
            phases = ThinkingPhases(self._chat.markers, self._decode_all, opened, self._end_tokens, prompt_length)
            criteria.append(phases)
            if self._chat.budget is not None:
                closing = self._tokenizer.encode(self._chat.markers.closing, add_special_tokens=False)
                processors.append(ThinkingBudget(phases, self._chat.budget, closing, prompt_length))
        if decoding.stop:
            stops = StopStrings(self._decode_all, decoding.stop, prompt_length, rows, phases)
            criteria.append(stops)

        def answer(row: int, tokens: Sequence[int]) -> tuple[str, Reasoning | None]:
            def decode(part: Sequence[int], before: int | None) -> str:
                return self._decode(part, lasts[row] if before is None else before)

            return phases.take_apart(row, tokens, decode) if phases else (decode(tokens, None), None)

        if self.watch is not None:
            watched = Watched(
                self.watch, lambda row, tokens: answer(row, tokens[: self._end(tokens)])[0], prompt_length, rows
            )
            criteria.append(watched)
        generated = self._draw(batch, steps, processors, criteria)
        synchronize(self._device)
        completions = []
        for row, prompt_tokens in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
            tokens = generated.tokens[row]
            ended = (self._end(tokens), *(part.length[row] for part in (stops, watched) if part))
            ends = [length for length in ended if length is not None]
            length = min(ends, default=len(tokens))
            text, reasoning = answer(row, tokens[:length])
            if cuts := [place for place in map(text.find, decoding.stop) if place >= 0]:
                text = text[: min(cuts)]
            completions.append(
                Completion(
                    text=text,
                    prompt_tokens=prompt_tokens,
                    completion_tokens=length,
                    finish_reason="stop" if ends else "length",
                    first_token_ns=first.ns,
                    exit_layers=None if generated.exit_layers is None else tuple(generated.exit_layers[row][:length]),
                    drafts=None if generated.drafts is None else generated.drafts[row],
                    reasoning=reasoning,
                )
            )
        return completions

    def token_ends(self, text: str) -> list[int]:
        """End offset of each token of a text to continue, special tokens included (``SupportsTokenOffsets``)."""
        offsets = self._tokenizer(text, return_offsets_mapping=True, return_attention_mask=False)["offset_mapping"]
        return [end for _, end in offsets]

    def tokenizer_file(self) -> str | None:
        """What ``tokenizers`` makes this tokenizer of (``SupportsTokenizerFile``)."""
        core = getattr(self._tokenizer, "backend_tokenizer", None)
        return None if core is None else str(core.to_str())

    def teacher_force(self, texts: Sequence[str]) -> list[Completion]:
        """Which tokens of the texts the model would have written itself, in one pass (``SupportsTeacherForcing``).

        Raises:
            UsageError: a text is longer than the model's context.
        """
        rows = [self._tokenizer(text, return_token_type_ids=False) for text in texts]
        # Padding stands on the right here, where no token of the text can look at it.
        batch = self._tokenizer.pad(rows, return_tensors="pt", padding_side="right").to(self._device)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if self._context_tokens is not None and ids.shape[1] > self._context_tokens:
            raise UsageError(
                f"a text of {ids.shape[1]} tokens does not fit {self._checkpoint.name}'s context of "
                f"{self._context_tokens} tokens: give a smaller max_context"
            )
        with torch.inference_mode():
            states = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            head = self._model.get_output_embeddings()
            # A vocabulary's scores for a whole file take gigabytes, so they are made a part at a time.
            guesses = torch.cat([head(part).argmax(-1) for part in states[:, :-1].split(FORCED_PART, dim=1)], dim=1)
        synchronize(self._device)
        hits = (guesses == ids[:, 1:]).tolist()
        return [
            Completion(
                text=FORCED_FIRST + "".join(FORCED_HIT if hit else FORCED_MISS for hit in row[: count - 1]),
                prompt_tokens=count,
                completion_tokens=0,
                finish_reason="stop",
                first_token_ns=None,
            )
            for row, count in zip(hits, mask.sum(dim=1).tolist(), strict=True)
        ]

    def close(self) -> None:
        """Free the model's memory."""
        del self._model
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    # ------------------------------------------------------------ parts

    def _encode(self, text: str, prompt: Prompt) -> Any:
        """Token ids and attention mask of a rendered prompt."""
        # A chat template writes the special tokens that begin a sequence; other prompts get them here.
        return self._tokenizer(text, add_special_tokens=not isinstance(prompt, ChatPrompt), return_token_type_ids=False)

    def _generation_config(self, steps: int) -> GenerationConfig:
        return GenerationConfig(
            max_new_tokens=steps,
            do_sample=False,
            use_cache=True,
            eos_token_id=self._end_tokens or None,
            pad_token_id=self._tokenizer.pad_token_id,
        )

    def _fits(self, tokens: int) -> bool:
        return self._context_tokens is None or tokens <= self._context_tokens

    def _over_context(self, prompt_length: int) -> Completion:
        return over_context(
            f"a prompt of {prompt_length} tokens leaves no room in {self._checkpoint.name}'s context of "
            f"{self._context_tokens} tokens"
        )

    def _end(self, tokens: list[int]) -> int | None:
        """Length up to and including the first token that ends a sequence; None where there is none."""
        return next((place + 1 for place, token in enumerate(tokens) if token in self._end_tokens), None)

    def _decode_all(self, tokens: Sequence[int]) -> str:
        """The tokens' text, special tokens by their names."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _decode(self, tokens: Sequence[int], last: int) -> str:
        """The tokens' text as it continues the prompt: some tokenizers drop the first token's leading space."""
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        before = self._tokenizer.decode([last], **options)
        return str(self._tokenizer.decode([last, *tokens], **options)[len(before) :])

    def _find_end_tokens(self) -> list[int]:
        """Every token that ends a sequence, as checkpoint and tokenizer name them."""
        tokens: list[int] = []
        for value in (
            self._model.generation_config.eos_token_id,
            self._model.config.eos_token_id,
            self._tokenizer.eos_token_id,
        ):
            tokens += [value] if isinstance(value, int) else list(value or [])
        return sorted(set(tokens))

    def _device_name(self) -> str:
        if self._device.type == "cuda":
            names = [torch.cuda.get_device_name(name) for name in dict.fromkeys(self._how.device_map.values())]
            return "cuda:" + "+".join(names or [torch.cuda.get_device_name(self._device)])
        return str(self._device)

    def _count_parameters(self) -> int:
        """Number of weights that the configuration describes, built without memory: exact for packed ones too."""
        return sum(weight.numel() for weight in skeleton(self._checkpoint).parameters())
