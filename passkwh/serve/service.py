"""The parts of the service put together: model, engine, ledger and metrics, started and stopped as one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from passkwh.adapters.engines.base import Model
from passkwh.serve.attribution import Ledger
from passkwh.serve.engine import Engine, RowEnergy
from passkwh.serve.limits import Limits
from passkwh.serve.metrics import Metrics
from passkwh.serve.rules import Rules


@dataclass(frozen=True)
class Service:
    """A model that answers requests."""

    names: tuple[str, ...]
    """What requests may call the model; the first is what answers call it."""
    adapter: Model
    limits: Limits
    rules: Rules
    ledger: Ledger
    metrics: Metrics
    engine: Engine
    always_usage: bool
    """Every answer carries its energy, time and exit layers, asked for or not."""

    def stop(self) -> None:
        """End what runs, and free model and meter."""
        self.engine.stop()
        self.ledger.stop()
        self.adapter.close()


def start_service(
    adapter: Model,
    names: tuple[str, ...],
    limits: Limits,
    *,
    rule: str | None,
    meter: str,
    idle_s: float,
    always_usage: bool,
) -> Service:
    """A running service; returns when the idle baseline has been taken. UsageError for a meter that is not here."""
    rules = Rules(rule)
    metrics = Metrics(names[0], adapter.info, lambda: engine.waiting(), limits.queue)
    ledger = Ledger(meter, adapter.info, limits.timeout_s, metrics.energy)

    def book(start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        metrics.generated(len(tokens), sum(prompt for prompt, _ in tokens), sum(made for _, made in tokens))
        return ledger.book(start_ns, end_ns, tokens)

    engine = Engine(adapter, rules, limits, ledger.mark, book)
    ledger.start(idle_s)
    engine.start()
    return Service(names, adapter, limits, rules, ledger, metrics, engine, always_usage)
