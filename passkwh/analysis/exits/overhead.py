"""What deciding costs, threshold by threshold (GREEN-CODE, table IV).

A rule that is asked at every exit and never lets a token leave (``agent:1``), less the same weights at full depth
without a rule, is what its calls cost: divided by the number of calls, the cost of one. At another threshold a token is
asked about as often as its exit says, so calls times that cost are the overhead. Both runs are whole runs under the
meter, so the cost is that of a call in its place between layers. The paper times the agent by itself; both divide by
what the run with early exit took, and by what the full model took.
"""

from __future__ import annotations

from collections.abc import Sequence

from passkwh.analysis.exits.baselines import full_depth_of
from passkwh.analysis.exits.summary import EnergyKind, ExitSummary
from passkwh.records import Record


class Overhead(Record):
    """The share of one configuration's energy and time that its decisions took."""

    label: str
    kept: str
    """The configuration whose rule never let a token leave."""
    full_depth: str
    """The same weights at full depth, without a rule."""
    calls_per_token: float
    call_j: float | None
    """Energy of one call. Below 0 where the difference of the two runs is less than their noise."""
    call_s: float
    energy_of_run: float | None
    """Calls x cost / what this configuration took."""
    time_of_run: float
    energy_of_full: float | None
    """Calls x cost / what the full model took."""
    time_of_full: float


def overheads(configurations: Sequence[ExitSummary], kind: EnergyKind) -> list[Overhead]:
    """Every threshold of each rule that also has a run in which no token left early, and its full depth."""
    rows = []
    for kept in configurations:
        full = full_depth_of(kept, configurations)
        if full is None or not kept.decides or kept.mean_exit_layer_decoded != kept.layers or not kept.calls_per_token:
            continue
        rows += [_overhead(c, kept, full, kind) for c in configurations if _same_rule(c, kept)]
    return rows


def _same_rule(one: ExitSummary, kept: ExitSummary) -> bool:
    def key(c: ExitSummary) -> tuple[object, ...]:
        return c.model, c.quant, c.weights, c.batch_size, c.rule_and_agent, c.kv, c.exits

    return key(one) == key(kept) and bool(one.calls_per_token)


def _overhead(one: ExitSummary, kept: ExitSummary, full: ExitSummary, kind: EnergyKind) -> Overhead:
    calls, all_calls = one.calls_per_token or 0.0, kept.calls_per_token or 0.0
    call_s = (_s_per_token(kept) - _s_per_token(full)) / all_calls
    own_j, kept_j, full_j = (_j_per_token(c, kind) for c in (one, kept, full))
    call_j = None if kept_j is None or full_j is None else (kept_j - full_j) / all_calls
    return Overhead(
        label=one.label,
        kept=kept.label,
        full_depth=full.label,
        calls_per_token=calls,
        call_j=call_j,
        call_s=call_s,
        energy_of_run=_share(calls, call_j, own_j),
        time_of_run=calls * call_s / _s_per_token(one),
        energy_of_full=_share(calls, call_j, full_j),
        time_of_full=calls * call_s / _s_per_token(full),
    )


def _s_per_token(c: ExitSummary) -> float:
    assert c.tokens_per_s, "a configuration that was asked has generated tokens"
    return 1 / c.tokens_per_s


def _j_per_token(c: ExitSummary, kind: EnergyKind) -> float | None:
    energy_j = c.energy_per_sample_j(kind)
    return None if energy_j is None else energy_j / (c.s_per_sample * (c.tokens_per_s or 1))


def _share(calls: float, call_j: float | None, whole_j: float | None) -> float | None:
    return None if call_j is None or not whole_j else calls * call_j / whole_j
