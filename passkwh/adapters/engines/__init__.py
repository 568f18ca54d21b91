"""Programs that run models, one file an engine, and how one is chosen. The contract stands in ``base.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from passkwh.adapters.engines.base import Engine, SupportsEarlyExit
from passkwh.adapters.quantization.lookup import is_packed_while_loading
from passkwh.errors import UsageError
from passkwh.registry import ENGINES

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Checkpoint
    from passkwh.adapters.early_exit.request import ExitRequest

AUTO = "auto"


def names(engine: str = AUTO) -> list[str]:
    """The engines to try, in order: the one that was named, or for ``auto`` the built-in ones before others."""
    if engine != AUTO:
        return [engine]
    return ENGINES.by_preference()


def reads(engine: str) -> str | None:
    """The format of weights that an engine reads, ``safetensors`` unless it says another; None where it reads none."""
    return "safetensors" if engine == AUTO else getattr(ENGINES.get(engine), "format", "safetensors")


def choose(checkpoint: Checkpoint, engine: str = AUTO, exit: ExitRequest | None = None) -> Engine:
    """The engine that runs a checkpoint: the first that does not refuse it, or the one that was named.

    Raises:
        UsageError: the named engine refuses (with its reason), or all do (with the reason of each).
    """
    wanted = checkpoint.engine if checkpoint.engine is not None and engine == AUTO else engine
    reasons: dict[str, str] = {}
    for name in names(wanted):
        try:
            candidate: Engine = ENGINES.get(name)
        except UsageError as error:
            if wanted != AUTO:
                raise
            reasons[name] = str(error)
            continue
        reason = _refusal(name, candidate, checkpoint, exit)
        if reason is None:
            return candidate
        reasons[name] = reason
    if wanted != AUTO:
        raise UsageError(f"engine {wanted} cannot run {checkpoint.name}: {reasons[wanted]}")
    raise UsageError(
        f"no engine runs {checkpoint.name}: " + "; ".join(f"{name}: {why}" for name, why in reasons.items())
    )


def _refusal(name: str, engine: Engine, checkpoint: Checkpoint, exit: ExitRequest | None) -> str | None:
    if checkpoint.engine not in (None, name):
        return f"its name is one of engine {checkpoint.engine}, which alone runs it"
    if checkpoint.engine is None and reads(name) not in (None, checkpoint.format):
        return f"it reads weights in {reads(name)} and these are in {checkpoint.format}"
    if not getattr(engine, "quantizes_while_loading", False) and is_packed_while_loading(checkpoint):
        return f"{checkpoint.quant} packs weights while they are loaded, which only the engine transformers does"
    if reason := engine.refusal(checkpoint):
        return reason
    if exit is not None and not isinstance(engine, SupportsEarlyExit):
        return f"--exit {exit.text} needs an engine that can leave a model's layers early, as transformers can"
    return None
