"""``bench train calibrate``: what each threshold of a rule costs in quality, on validation files, kept in the bundle.

Every threshold writes its own completion of every file. All of them are rows of one batch that goes through all
layers, after one pass over the context: the very rule decides for each row at which exit the token would have left, and
the token is what that exit says. Keys and values are the whole model's, as with ``kv=deferred``, so the tokens are
those that a run with this rule and threshold writes. It takes little more than one run at full depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from passkwh.adapters.early_exit.bundle import Bundle, Calibration, CalibrationPoint
from passkwh.adapters.early_exit.request import ExitRequest, parse
from passkwh.adapters.early_exit.rules.base import ModelContext, Rule
from passkwh.adapters.early_exit.training.model import TrainableModel
from passkwh.adapters.early_exit.training.states import StateReader
from passkwh.errors import UsageError

THRESHOLDS = {
    "agent": (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3),
    "confidence": (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3),
    "entropy": (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3),
}
"""What is tried of each rule, the most careful first."""
RESAMPLES = 2000


@dataclass(frozen=True)
class ValidationFile:
    """A beginning, and what should follow."""

    context: str
    reference: str


Score = Callable[[str, str], float]
"""Reference and prediction -> quality, from 0 to 1."""


@dataclass(frozen=True)
class Written:
    """What rows of one file came to, full depth last."""

    texts: list[str]
    mean_layers: list[float]


class Rows:
    """Writes completions of one text by many rules at once."""

    def __init__(self, trainable: TrainableModel, rules: Sequence[Rule], new_tokens: int) -> None:
        self._trainable, self._rules, self._new_tokens = trainable, rules, new_tokens
        ends = trainable.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])

    @torch.inference_mode()
    def write(self, context: str) -> Written:
        """Complete ``context`` by each rule, and through all layers. The first token is the last layer's."""
        model = self._trainable.model
        ids = self._trainable.tokenizer(context, return_tensors="pt")["input_ids"].to(self._trainable.device)
        first = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        count = len(self._rules) + 1
        cache = first.past_key_values
        cache.batch_repeat_interleave(count)
        tokens = [[int(first.logits[0, -1].argmax())] for _ in range(count)]
        layers: list[list[int]] = [[self._trainable.parts.depth] for _ in range(count)]
        reader = StateReader(model, self._trainable.card.exits)
        for _ in range(self._new_tokens - 1):
            newest = torch.tensor([[row[-1]] for row in tokens], device=ids.device)
            states = [state[:, -1] for state in reader(newest, past_key_values=cache)]
            for row, (token, layer) in enumerate(self._decide(states)):
                if tokens[row][-1] not in self._ends:
                    tokens[row].append(token)
                    layers[row].append(layer)
        last = int(ids[0, -1])
        texts = [self._text([last, *row])[len(self._text([last])) :] for row in tokens]
        return Written(texts, [sum(row) / len(row) for row in layers])

    def _decide(self, states: Sequence[torch.Tensor]) -> list[tuple[int, int]]:
        """From each exit's states [rows, d]: every row's token and the layer that it left after."""
        heads, exits = self._trainable.heads, self._trainable.card.exits
        left = []
        for row, rule in enumerate(self._rules):
            places = (
                place
                for place, layer in enumerate(exits[:-1])
                if layer in rule.exits and rule.leave(layer, states[place][row : row + 1], heads).leave[0]
            )
            left.append(next(places, len(exits) - 1))
        left.append(len(exits) - 1)
        finals = [heads.state_to_final(exits[place], states[place][row : row + 1]) for row, place in enumerate(left)]
        chosen: list[int] = heads.lm_head(torch.cat(finals)).argmax(dim=-1).tolist()
        return [(token, exits[place]) for token, place in zip(chosen, left, strict=True)]

    def _text(self, tokens: list[int]) -> str:
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return str(self._trainable.tokenizer.decode(tokens, **options))


def _rule(request: ExitRequest, context: ModelContext) -> Rule:
    """The rule of a request; UsageError for a drafter, which loses nothing."""
    method = request.rule(context)
    if not isinstance(method, Rule):
        raise UsageError(f"--rule {request.spec.name} loses nothing and has no threshold: leave it out")
    return method


def calibrate(
    trainable: TrainableModel,
    bundle: Bundle,
    asked: Sequence[str],
    files: Sequence[ValidationFile],
    language: str,
    data: str,
    score: Score,
    new_tokens: int,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[Calibration]:
    """A table for each of the rules ``asked`` (``agent``, ``agent,agent=NAME``, ``confidence,candidates=N``, ...).

    UsageError for a rule without a threshold, for what the bundle does not have, and where full depth scores nothing.
    """
    context = ModelContext(
        model=trainable.card.base.model,
        revision=trainable.card.base.revision,
        hidden_size=trainable.card.base.hidden_size,
        layout=trainable.card.layout,
        bundle=bundle,
        language=language,
        device=str(trainable.device),
    )
    requests = [[_at(rule, threshold) for threshold in _thresholds(rule)] for rule in asked]
    rules = [[_rule(request, context) for request in row] for row in requests]
    rows = Rows(trainable, [rule for row in rules for rule in row], new_tokens)
    scores, layers = [], []
    for place, file in enumerate(files):
        tick(place, len(files))
        written = rows.write(file.context)
        scores.append([score(file.reference, text) for text in written.texts])
        layers.append(written.mean_layers)
    by_file, depth = np.asarray(scores), np.asarray(layers)
    if not by_file[:, -1].any():
        raise UsageError(
            f"through all layers the model scores 0 on each of {len(files)} files of {data}: there is nothing to lose; "
            "give more --files or other --data"
        )
    tables, at = [], 0
    for row, made in zip(requests, rules, strict=True):
        span = slice(at, at + len(row))
        at += len(row)
        options = dict(row[0].spec.options)
        if row[0].spec.name == "agent":
            options["agent"] = str(made[0].about()["agent"])
        tables.append(
            Calibration(
                rule=row[0].spec.name,
                options=options,
                language=language,
                data=data,
                files=len(files),
                new_tokens=new_tokens,
                full_depth=round(float(by_file[:, -1].mean()), 5),
                weights_hash=bundle.weights_hash(),
                exits=trainable.card.exits,
                points=_points(
                    [float(r.spec.argument or 0) for r in row], by_file[:, span], by_file[:, -1], depth[:, span]
                ),
            )
        )
    return tables


def _thresholds(rule: str) -> tuple[float, ...]:
    name = rule.partition(",")[0]
    if name not in THRESHOLDS:
        raise UsageError(f"--rule {rule}: only {', '.join(THRESHOLDS)} have a threshold to calibrate")
    return THRESHOLDS[name]


def _at(rule: str, threshold: float) -> ExitRequest:
    name, comma, options = rule.partition(",")
    return parse(f"{name}:{threshold:g}{comma}{options}")


def _points(
    thresholds: Sequence[float], scores: NDArray[Any], full: NDArray[Any], layers: NDArray[Any]
) -> tuple[CalibrationPoint, ...]:
    """One point a threshold: [files, thresholds] of scores and mean layers, and full depth's scores [files]."""
    drawn = np.random.default_rng(0).integers(len(full), size=(RESAMPLES, len(full)))
    points = []
    for place, threshold in enumerate(thresholds):
        of_full = full[drawn].sum(axis=1)
        losses = 1 - scores[:, place][drawn].sum(axis=1)[of_full > 0] / of_full[of_full > 0]
        low, high = np.quantile(losses, [0.025, 0.975])
        points.append(
            CalibrationPoint(
                threshold=threshold,
                loss=round(float(1 - scores[:, place].sum() / full.sum()), 5),
                loss_low=round(float(low), 5),
                loss_high=round(float(high), 5),
                mean_exit_layer=round(float(layers[:, place].mean()), 3),
            )
        )
    return tuple(points)
