"""Early-exit rules that a request may choose, where the model that is served has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from passkwh.adapters.engines.base import Model
from passkwh.errors import UsageError
from passkwh.registry import EXIT_RULES
from passkwh.serve.limits import invalid

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest

FIELD, THRESHOLD_FIELD = "exit", "RL_agent_thresh"


@runtime_checkable
class SwitchesExit(Protocol):
    """A model whose early-exit rule can be changed between batches."""

    def use(self, request: ExitRequest) -> None:
        """Leave by this rule from now on; UsageError where it does not fit the model."""
        ...


class ExitChoices:
    """The rule of each request: its own, the server's with another threshold, or the server's.

    ``server`` is the server's ``--exit``, with its bundle; None for a model without early exit. A request may choose
    rule and options but not the bundle, which is a folder on the server's disk.
    """

    def __init__(self, server: ExitRequest | None) -> None:
        self._server = server
        self._in_force = server

    def choose(self, exit: str | None, threshold: float | None) -> ExitRequest | None:
        """The rule for a request, None without early exit. Refused (400), naming the field, for one that cannot be."""
        server = self._server
        if server is None:
            for field, value in ((FIELD, exit), (THRESHOLD_FIELD, threshold)):
                if value is not None:
                    message = f"{field}: the model that is served has no early-exit rule: start it with --exit"
                    raise invalid(message, field)
            return None
        if exit is not None and threshold is not None:
            raise invalid(f"{FIELD} and {THRESHOLD_FIELD}: give one of them", THRESHOLD_FIELD)
        if exit is not None:
            return _with_bundle(exit, server)
        return server if threshold is None else _with_threshold(threshold, server)

    def apply(self, model: Model, rule: ExitRequest | None) -> None:
        """Put ``rule`` in force; UsageError where it does not fit the model. Called by the thread that generates."""
        if rule == self._in_force or rule is None:
            return
        assert isinstance(model, SwitchesExit)  # only a server with a rule hands out rules
        model.use(rule)
        self._in_force = rule


def _with_bundle(exit: str, server: ExitRequest) -> ExitRequest:
    from passkwh.adapters.early_exit.request import parse

    if "bundle=" in exit:
        raise invalid(f"{FIELD}: a request cannot choose a bundle, the server has one", FIELD)
    try:
        parse(exit)
    except UsageError as error:
        raise invalid(f"{FIELD}: {' '.join(str(error).split()).removeprefix('--exit ')}", FIELD) from None
    _, comma, bundle = server.text.partition(",bundle=")
    return parse(exit + comma + bundle)


def _with_threshold(threshold: float, server: ExitRequest) -> ExitRequest:
    from passkwh.adapters.early_exit.request import parse

    head, comma, options = server.text.partition(",")
    name = head.partition(":")[0]
    if not EXIT_RULES.get(name).takes_threshold:
        raise invalid(
            f"{THRESHOLD_FIELD}: the server's rule {head} has no threshold: give {FIELD}, for example agent:0.9",
            THRESHOLD_FIELD,
        )
    return parse(f"{name}:{threshold:g}{comma}{options}")
