"""``draft:L`` and ``draft:RULE:...``: tokens drafted at an exit of the model itself, through its own LM head.

Self-speculative decoding (Zhang et al., 2024; LayerSkip: Elhoushi et al., 2024): the check is the rest of the layers,
over all drafted tokens at once, from the states that the draft left. With a rule tokens leave where it says so, and the
first that it keeps to the last exit ends the draft.
"""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.adapters.early_exit.drafts.base import Drafter, Frontier, whole_number
from passkwh.adapters.early_exit.drafts.lookup import MATCH, continuation
from passkwh.adapters.early_exit.rules.base import ExitMethod, ModelContext, Rule, RuleSpec, listed
from passkwh.adapters.early_exit.rules.fixed import Fixed
from passkwh.errors import UsageError
from passkwh.records import Option
from passkwh.registry import EXIT_RULES

MOST = 4
"""Tokens of a draft, where ``k`` says nothing."""


class ExitDrafter(Drafter):
    """Up to ``k`` tokens, each from where the rule lets it leave; before them, where ``lookup`` is given, an n-gram's.

    A row whose last tokens stood before is drafted for by looking up, up to ``lookup`` tokens, which costs nothing.
    """

    example = "draft:12,k=4"
    options = ("k", "lookup")

    def __init__(self, rule: Rule, most: int, lookup: int) -> None:
        self._rule = rule
        self._exits = sorted(rule.exits)
        self._most = most
        self._lookup = lookup

    @classmethod
    def allowed(cls, argument: str | None) -> tuple[str, ...]:
        """Its own, and those of the rule that its argument names."""
        rule = _rule_named(argument)
        return (*cls.options, *(rule.options if rule else ()), *cls.common)

    @classmethod
    def make(cls, spec: RuleSpec, context: ModelContext | None) -> ExitDrafter | None:
        """The drafter, for a layer before the last or any rule that can be known before the last layer."""
        most = whole_number(spec, spec.options.get("k", str(MOST)), "k=TOKENS", cls.example)
        lookup = 0
        if (text := spec.options.get("lookup")) is not None:
            lookup = whole_number(spec, text, "lookup=TOKENS", f"{cls.example},lookup=8")
        rule = _rule(spec, context)
        return None if rule is None else cls(rule, most, lookup)

    def about(self) -> dict[str, Option]:
        """What its rule says."""
        return self._rule.about()

    def draft(self, frontier: Frontier) -> list[list[int]]:
        """Token by token, for the rows whose draft goes on."""
        drafts: list[list[int]] = [[] for _ in frontier.rows]
        if self._lookup:
            drafts = [
                continuation(text, min(self._lookup, most), MATCH)
                for text, most in zip(frontier.texts, frontier.most, strict=True)
            ]
        limits = [min(self._most, most) for most in frontier.most]
        going = [at for at, draft in enumerate(drafts) if not draft and limits[at]]
        while going:
            going = [
                at
                for at in self._next(frontier, drafts, going)
                if len(drafts[at]) < limits[at] and drafts[at][-1] not in frontier.end_tokens
            ]
        return drafts

    def _next(self, frontier: Frontier, drafts: Sequence[list[int]], going: Sequence[int]) -> list[int]:
        """One token more for these rows, as places in the frontier; those for which the rule let it leave."""
        walk, heads = frontier.walk, frontier.heads
        for at in going:
            if drafts[at]:
                walk.write(frontier.rows[at], frontier.ends[at] + len(drafts[at]) - 1, drafts[at][-1:])
        left: list[int] = []
        kept, layer = list(going), 0
        for exit_layer in self._exits:
            rows = [frontier.rows[at] for at in kept]
            ends = [frontier.ends[at] + len(drafts[at]) for at in kept]
            walk.advance(rows, ends, layer, exit_layer)
            states = walk.states(rows, [end - 1 for end in ends], ends)
            decision = self._rule.leave(exit_layer, states, heads)
            leaving = [place for place, gone in enumerate(decision.leave) if gone]
            if leaving:
                some = slice(None) if len(leaving) == len(kept) else leaving
                logits = heads.logits(exit_layer, states[some]) if decision.logits is None else decision.logits[some]
                for place, token in zip(leaving, logits.argmax(dim=-1).tolist(), strict=True):
                    drafts[kept[place]].append(token)
                    left.append(kept[place])
            kept = [at for at, gone in zip(kept, decision.leave, strict=True) if not gone]
            layer = exit_layer
            if not kept:
                break
        return sorted(left)


def _rule_named(argument: str | None) -> type[Rule] | None:
    """The rule that an argument names; None for a layer, and for what is no rule."""
    name = (argument or "").partition(":")[0]
    method: type[ExitMethod] | None = EXIT_RULES.get(name) if name in EXIT_RULES else None
    return method if method is not None and issubclass(method, Rule) and not method.hindsight else None


def _rule(spec: RuleSpec, context: ModelContext | None) -> Rule | None:
    """What says where drafted tokens leave, for a model; UsageError where the argument is neither layer nor rule."""
    argument = spec.argument or ""
    if argument.isdecimal():
        return None if context is None else _at_layer(int(argument), context)
    rule = _rule_named(argument)
    if rule is None:
        raise UsageError(
            f"--exit {spec.name} needs a layer, or a rule that decides before the last layer, not {argument!r}: write "
            f"for example {ExitDrafter.example} or draft:confidence:0.8,k=8"
        )
    name, colon, rest = argument.partition(":")
    own = {key: value for key, value in spec.options.items() if key in rule.options}
    return rule.make(RuleSpec(name, rest if colon else None, own), context)


def _at_layer(layer: int, context: ModelContext) -> Rule:
    """Leaving there: with the model's own head after any layer, with a bundle's after those that it has one for."""
    depth = context.layout.depth
    heads = context.bundle is not None and context.bundle.card.head != "none"
    if not 1 <= layer < depth or (heads and layer not in context.layout.exits):
        possible = f"layers {listed(context.layout.exits[:-1])}" if heads else f"layers 1 to {depth - 1}"
        raise UsageError(f"--exit draft:{layer}: tokens of {context.model} can be drafted after {possible}")
    return Fixed(layer, depth)
