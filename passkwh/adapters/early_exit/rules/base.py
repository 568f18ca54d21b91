"""The contract of exit rules: at an exit, from the states there, a rule decides which tokens leave.

What ``--exit`` names is an ``ExitMethod``: a rule, or a drafter (``drafts/base.py``), whose contract is another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.errors import UsageError
from passkwh.records import Option

if TYPE_CHECKING:  # rules are listed and checked without torch
    import torch

    from passkwh.adapters.early_exit.bundle import Bundle
    from passkwh.adapters.early_exit.heads import ExitHeads


@dataclass(frozen=True)
class ModelContext:
    """The model that a rule is made for."""

    model: str
    revision: str | None
    """Revision of its dense weights; None where a published quantized checkpoint does not tell it."""
    hidden_size: int
    layout: ExitLayout
    bundle: Bundle | None
    language: str
    """Programming language that is going to be written."""
    device: str = "cpu"


@dataclass(frozen=True)
class RuleSpec:
    """A rule as ``--exit`` names it: ``NAME:ARGUMENT,KEY=VALUE,...``."""

    name: str
    argument: str | None
    options: dict[str, str] = field(default_factory=dict)


LOSS = "loss="
"""Before a loss in place of a threshold."""


class Decision(NamedTuple):
    """What a rule decides at an exit, token by token; made at every exit of every token, and so a plain tuple."""

    leave: list[bool]
    logits: torch.Tensor | None = None
    """[tokens, vocabulary] at this exit, where the rule had to work them out anyway."""


class ExitMethod(ABC):
    """What ``--exit`` names, made once for a model. The class is the member of the registry (``EXIT_RULES``)."""

    example: ClassVar[str]
    """How it is written, for messages."""
    options: ClassVar[tuple[str, ...]] = ()
    """Options of its own, beside those that every method of its kind has."""
    common: ClassVar[tuple[str, ...]]
    """Options that every method of its kind has."""
    takes_threshold: ClassVar[bool] = False
    """Its argument is a threshold from 0 to 1, which a request to ``bench serve`` may set by itself."""
    lossless: ClassVar[bool] = False
    """The tokens are those of all layers, and so the model's weights must be the ones that were named."""

    @classmethod
    @abstractmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Self | None:
        """The method for a model; with no model yet, None after checking what can be checked without one.

        UsageError where the argument is wrong or does not fit the model.
        """

    @classmethod
    def allowed(cls, argument: str | None) -> tuple[str, ...]:
        """Options that may be given with this argument."""
        return (*cls.options, *cls.common)

    def about(self) -> dict[str, Option]:
        """What a record of the run must say of the method beyond how it was written."""
        return {}


class Rule(ExitMethod):
    """When tokens leave. Called at every exit before the last that is among ``exits``."""

    common = ("kv", "exits", "bundle")
    hindsight: ClassVar[bool] = False
    """Only after the last layer does the rule know where tokens should have left (``required_layers``): none leaves."""
    exits: frozenset[int]

    @abstractmethod
    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Which tokens leave after ``layer`` layers, from their raw states [tokens, d]."""

    def required_layers(self, last: torch.Tensor) -> list[int] | None:
        """Layers that the tokens needed, from the last layer's logits; None: those that they ran through.

        Only of a rule with ``hindsight``.
        """
        return None


class Threshold(NamedTuple):
    """A rule's threshold, and what a record of the run must say of where it comes from."""

    value: float
    about: dict[str, str]


def threshold(spec: RuleSpec, example: str, context: ModelContext | None) -> Threshold:
    """The rule's argument: a number from 0 to 1, or ``loss=X``, for which the bundle's calibration has the threshold.

    UsageError for anything else, and for a loss that nothing was calibrated to.
    """
    text = spec.argument
    if text is not None and text.startswith(LOSS):
        most = _number(text.removeprefix(LOSS))
        if not 0 <= most < 1:
            raise UsageError(f"--exit {spec.name}:{text}: a loss is a share from 0 to 1, as in {spec.name}:{LOSS}0.05")
        return Threshold(0.0, {}) if context is None else _calibrated(spec, most, context)
    value = _number(text or "")
    if not 0 <= value <= 1:
        seen = "nothing" if text is None else repr(text)
        raise UsageError(
            f"--exit {spec.name} needs a threshold from 0 to 1, not {seen}: write for example {example}, or "
            f"{spec.name}:{LOSS}0.05 for a loss"
        )
    return Threshold(value, {})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _calibrated(spec: RuleSpec, most: float, context: ModelContext) -> Threshold:
    """The threshold with the least layers whose loss, and that of all more careful ones, is at most ``most``."""
    bundle, exits, language = context.bundle, context.layout.exits, context.language
    tables = bundle.card.calibrations if bundle else ()
    fitting = [t for t in tables if bundle and t.fits(spec.name, spec.options, bundle, exits, language)]
    if not fitting:
        known = ", ".join(dict.fromkeys(f"{t.described} ({t.language})" for t in tables)) or "nothing"
        raise UsageError(
            f"--exit {spec.name}:{LOSS}{most:g}: not calibrated for {context.model}, {language} and these options and "
            f"exits (calibrated: {known}): give a threshold, or run `bench train calibrate`"
        )
    table = fitting[-1]
    point = table.pick(most)
    if point is None:
        least, greatest = table.range
        raise UsageError(
            f"--exit {spec.name}:{LOSS}{most:g} is outside of what was calibrated on {table.files} files "
            f"({least:.3g} to {greatest:.3g}): give a loss in between, or a threshold"
        )
    about = {
        "threshold": f"{point.threshold:g}",
        "calibrated_loss": f"{point.loss:.4f}",
        "calibrated_on": f"{table.files} files of {table.data}",
    }
    return Threshold(point.threshold, about)


def before_last(layout: ExitLayout) -> frozenset[int]:
    """The exits at which there is something to decide."""
    return frozenset(layout.exits[:-1])


def listed(exits: Sequence[int]) -> str:
    """Exits in words."""
    return ", ".join(map(str, exits))
