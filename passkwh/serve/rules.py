"""Early-exit rules a request may ask for, where the model that is served has any."""

from __future__ import annotations

from passkwh.adapters.base import Adapter
from passkwh.serve.limits import invalid


class Rules:
    """Which rule a request's rows are generated under."""

    def choose(self, rule: str | None, threshold: float | None) -> str | None:
        """The rule for a request; None is the server's own. Refused (400) where there is none to choose."""
        for field, value in (("exit", rule), ("RL_agent_thresh", threshold)):
            if value is not None:
                raise invalid(f"{field}: the model that is served has no early-exit rule: start it with --exit", field)
        return None

    def under(self, adapter: Adapter, rule: str | None) -> Adapter:
        """The adapter with ``rule`` in force. Called by the engine's thread."""
        return adapter
