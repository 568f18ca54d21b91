"""What early exit saves, against two baselines that are never mixed.

The *base* is the unmodified model at full depth, the reference of all savings here, on the board and in reports.
GREEN-CODE's 23-50 % are against the *fine-tuned* model at full depth: beside the base stands the same comparison with
the weights that the rule runs on (``fixed:DEPTH`` with its bundle), which tells what leaving early does from what
fine-tuning does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.analysis.exits.summary import ExitSummary, Savings


def with_savings(one: ExitSummary, others: Sequence[ExitSummary]) -> ExitSummary:
    """The configuration against both baselines, as far as they are among ``others``."""
    base, full = base_of(one, others), full_depth_of(one, others)
    if one.hindsight:
        return one
    return one.model_copy(
        update={
            "against_base": None if base is None or base.label == one.label else savings(one, base),
            "against_full_depth": None if full is None or one.is_full_depth else savings(one, full),
        }
    )


def base_of(one: ExitSummary, others: Sequence[ExitSummary]) -> ExitSummary | None:
    """The unmodified model at full depth among ``others``; on the same engine where it ran on several."""
    bases = [c for c in others if c.is_base and _same_setting(one, c)]
    return min(bases, key=lambda c: c.engine != one.engine, default=None)


def full_depth_of(one: ExitSummary, others: Sequence[ExitSummary]) -> ExitSummary | None:
    """The same weights at full depth among ``others``; a fixed exit at the last layer rather than no rule."""
    same = [c for c in others if c.is_full_depth and _same_setting(one, c) and _same_weights(one, c)]
    return min(same, key=lambda c: (c.rule == "none", c.kv != one.kv), default=None)


def savings(one: ExitSummary, base: ExitSummary) -> Savings:
    """One configuration against another, per sample."""
    lost = {name: _saved(value, base.quality[name]) for name, value in one.quality.items()}
    return Savings(
        baseline=base.label,
        gross_saved=_saved(one.energy_per_sample_j("gross"), base.energy_per_sample_j("gross")),
        net_saved=_saved(one.energy_per_sample_j("net"), base.energy_per_sample_j("net")),
        gross_j_saved_per_token=_less(one.energy_per_token_j("gross"), base.energy_per_token_j("gross")),
        net_j_saved_per_token=_less(one.energy_per_token_j("net"), base.energy_per_token_j("net")),
        time_saved=_saved(one.s_per_sample, base.s_per_sample),
        quality_lost={name: share for name, share in lost.items() if share is not None},
    )


def _same_setting(one: ExitSummary, other: ExitSummary) -> bool:
    return (one.model, one.batch_size) == (other.model, other.batch_size)


def _same_weights(one: ExitSummary, other: ExitSummary) -> bool:
    return (one.engine, one.quant, one.weights) == (other.engine, other.quant, other.weights)


def _saved(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else 1 - value / base


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else base - value


def notes(configurations: Sequence[ExitSummary]) -> Iterator[str]:
    """Which baseline is missing, and the option that adds it: once for each model and for each set of weights."""
    asked: set[tuple[str, ...]] = set()
    for c in configurations:
        if c.hindsight or c.is_base:
            continue
        missing: list[tuple[tuple[str, ...], str, str]] = []
        if base_of(c, configurations) is None:
            key: tuple[str, ...] = ("base", c.model, str(c.batch_size))
            plain = "--exit none" if c.quant == "none" else "--exit none and without --quant"
            missing.append((key, "the unmodified model at full depth", plain))
        if not c.is_full_depth and full_depth_of(c, configurations) is None:
            quant = "" if c.quant == "none" else f" --quant {c.quant}"
            key = ("full depth", c.model, str(c.batch_size), c.quant, c.weights)
            missing.append((key, "its own weights at full depth", f"--exit fixed:{c.layers}{c.bundle}{quant}"))
        for key, what, option in missing:
            if key not in asked:
                asked.add(key)
                yield f"{c.label} is not compared with {what}, which is not among these runs: add one with {option}"
    for c in configurations:
        if c.hindsight:
            yield (
                f"{c.label} tells afterwards where tokens could have left: its energy and time are not those of early "
                "exit"
            )
