"""When a token leaves: one file a rule, and one line here."""

from __future__ import annotations

from passkwh.adapters.early_exit.rules.agent import Agent
from passkwh.adapters.early_exit.rules.base import Asked, Decision, Rule, Subject
from passkwh.adapters.early_exit.rules.confidence import Confidence
from passkwh.adapters.early_exit.rules.entropy import Entropy
from passkwh.adapters.early_exit.rules.fixed import Fixed
from passkwh.adapters.early_exit.rules.oracle import Oracle

__all__ = ["RULES", "Asked", "Decision", "Rule", "Subject"]

RULES: dict[str, type[Rule]] = {
    "fixed": Fixed,
    "agent": Agent,
    "confidence": Confidence,
    "entropy": Entropy,
    "oracle": Oracle,
}
"""Name of a rule, as ``--exit`` takes it -> its class."""
