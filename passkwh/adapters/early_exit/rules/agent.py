"""``agent:T``: a token leaves where the trained policy is sure of it with at least probability T (GREEN-CODE, VI-B).

Options: ``agent=NAME`` chooses among the bundle's agents (by default the one for the benchmark's language, or the
only one), ``temperature=X`` divides the policy's logits before the softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from passkwh.adapters.early_exit.rules.base import (
    Decision,
    ModelContext,
    Rule,
    RuleSpec,
    before_last,
    listed,
    threshold,
)
from passkwh.errors import UsageError
from passkwh.records import Option

if TYPE_CHECKING:
    import torch

    from passkwh.adapters.early_exit.heads import ExitHeads
    from passkwh.adapters.early_exit.policy import ExitPolicy, PolicyMeta

    Through = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    """Values, weights and biases of a layer -> its output."""


class Agent(Rule):
    """A token leaves where a trained policy says so with at least probability T.

    The policy is folded so that it costs little: its standardisation becomes part of the first layer. Of its last layer
    only the difference of the two logits matters: softmax reaches T where that difference over the temperature reaches
    the log odds of T.
    """

    example = "agent:0.9"
    options = ("agent", "temperature")
    takes_threshold = True

    def __init__(
        self, policy: ExitPolicy, least: float, exits: frozenset[int], device: str = "cpu", temperature: float = 1.0
    ) -> None:
        import torch

        from passkwh.adapters.early_exit.policy import CONTINUE, EXIT

        self.exits = exits
        linears = [part for part in policy.net if isinstance(part, torch.nn.Linear)]
        weights = [part.weight.detach().double() for part in linears]
        biases = [part.bias.detach().double() for part in linears]
        weights[-1] = weights[-1][EXIT : EXIT + 1] - weights[-1][CONTINUE : CONTINUE + 1]
        biases[-1] = biases[-1][EXIT : EXIT + 1] - biases[-1][CONTINUE : CONTINUE + 1]
        weights[0] = weights[0] / policy.std.double()
        biases[0] = biases[0] - weights[0] @ policy.mean.double()
        *self._inner, self._last = [
            (w.float().to(device), b.float().to(device)) for w, b in zip(weights, biases, strict=True)
        ]
        self._of_many: Through = torch.nn.functional.linear
        self._of_one: Through = lambda values, weight, bias: torch.addmv(bias, weight, values)
        self._activation = torch.tanh if policy.activation == "tanh" else torch.relu
        odds = math.inf if least == 1 else -math.inf if least == 0 else math.log(least / (1 - least))
        self._least = odds * temperature
        self._about: dict[str, Option] = {}

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> Agent | None:
        """The rule with an agent of the model's bundle, which must have been trained for this model and these exits."""
        name = spec.options.get("agent")
        if context is not None and context.bundle is not None and name is None:
            name = _choose(context)
            spec = replace(spec, options={**spec.options, "agent": name})
        least = threshold(spec, cls.example, context)
        temperature = _temperature(spec)
        if context is None:
            return None
        if context.bundle is None:
            raise UsageError(
                f"--exit agent needs an agent, and none comes with {context.model}: train one with `bench train agent` "
                "and name its folder with --exit-bundle"
            )
        from passkwh.adapters.early_exit.policy import ExitPolicy

        assert name is not None
        policy, meta = ExitPolicy.load(context.bundle.agent(name))
        _check(name, meta, context)
        rule = cls(policy, least.value, before_last(context.layout), context.device, temperature)
        rule._about = {"agent": name, "agent_language": meta.language, **least.about}
        return rule

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        """Those of which the policy is sure enough."""
        if states.shape[0] > 1:
            odds = self._odds(states, self._of_many).tolist()
            return Decision([odd >= self._least for (odd,) in odds])
        # One vector has functions of its own, which take a fifth less.
        return Decision([self._odds(states[0], self._of_one).item() >= self._least])

    def _odds(self, states: torch.Tensor, through: Through) -> torch.Tensor:
        """[n, d] -> [n, 1], or [d] -> [1]."""
        values = states.float()
        for weight, bias in self._inner:
            values = self._activation(through(values, weight, bias))
        return through(values, *self._last)

    def about(self) -> dict[str, Option]:
        """Which agent it is."""
        return self._about


def _temperature(spec: RuleSpec) -> float:
    text = spec.options.get("temperature", "1")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"--exit agent: temperature={text} is not a number above 0")
    return value


def _choose(context: ModelContext) -> str:
    from passkwh.adapters.early_exit.policy import ExitPolicy

    assert context.bundle is not None
    names = context.bundle.agents()
    if len(names) == 1:
        return names[0]
    if not names:
        return context.language  # and asking the bundle for it says that it has none
    for name in names:
        _, meta = ExitPolicy.load(context.bundle.agent(name))
        if meta.language == context.language:
            return name
    raise UsageError(
        f"{context.bundle.folder} has no agent for {context.language}, only {', '.join(names)}: choose one with "
        f"--exit agent:T,agent={names[0]}"
    )


def _check(name: str, meta: PolicyMeta, context: ModelContext) -> None:
    """UsageError unless the agent was trained for this model and layout."""
    revision = context.revision or meta.revision
    if (meta.revision, meta.hidden_size, meta.layers) != (revision, context.hidden_size, context.layout.depth):
        raise UsageError(
            f"agent {name!r} was trained for {meta.model} ({_version(meta.revision)}, {meta.layers} layers of width "
            f"{meta.hidden_size}), not for {context.model} ({_version(revision)}, {context.layout.depth} layers of "
            f"width {context.hidden_size}): train one with `bench train agent`"
        )
    if meta.exits != context.layout.exits:
        raise UsageError(
            f"agent {name!r} was trained for exits {listed(meta.exits)}, and {context.model} is left at "
            f"{listed(context.layout.exits)}: leave the same exits, or train one with `bench train agent`"
        )
    assert context.bundle is not None
    if meta.weights_hash != (weights_hash := context.bundle.weights_hash()):
        raise UsageError(
            f"agent {name!r} was trained with other heads or fine-tuning ({meta.weights_hash[:12] or 'none'}) than "
            f"{context.bundle.folder} holds ({weights_hash[:12] or 'none'}): train one with `bench train agent`"
        )


def _version(revision: str) -> str:
    return f"revision {revision.removeprefix('sha256:')[:12]}"
