"""The parts of the service put together: model, batcher, meter and metrics, started and stopped as one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from passkwh.adapters.engines.base import Model
from passkwh.serve.batcher import Batcher, RowEnergy
from passkwh.serve.energy_attribution import EnergyAttribution
from passkwh.serve.exit_choices import ExitChoices
from passkwh.serve.limits import Served
from passkwh.serve.metrics import Metrics
from passkwh.serve.text_form import TextForm

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest


class Service:
    """A model that answers requests, from its creation (which ends when the idle baseline was taken) to ``stop``.

    Raises:
        UsageError: for a meter that is not here.
    """

    def __init__(
        self,
        model: Model,
        served: Served,
        *,
        rule: ExitRequest | None,
        meter: str,
        idle_s: float,
        always_usage: bool,
        text_form: TextForm | None = None,
    ) -> None:
        self.model = model
        self.served = served
        self.always_usage = always_usage
        """Every answer carries its energy, time and exit layers, whether its request wants them or not."""
        self.exit_choices = ExitChoices(rule)
        self.text_form = text_form or TextForm(None)
        limits = served.limits
        self.metrics = Metrics(served.names[0], model.info, lambda: self.batcher.waiting(), limits.queue)
        self.energy = EnergyAttribution(meter, model.info, limits.timeout_s, self.metrics.energy)
        self.batcher = Batcher(model, self.exit_choices, limits, self.energy.mark, self._attribute)
        self.energy.start(idle_s)
        self.batcher.start()

    def _attribute(self, start_ns: int, end_ns: int, tokens: Sequence[tuple[int, int]]) -> Future[list[RowEnergy]]:
        self.metrics.generated(len(tokens), sum(prompt for prompt, _ in tokens), sum(made for _, made in tokens))
        return self.energy.attribute(start_ns, end_ns, tokens)

    def stop(self) -> None:
        """End what runs, and free model and meter."""
        self.batcher.stop()
        self.energy.stop()
        self.model.close()
