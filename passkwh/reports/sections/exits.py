"""Early exit: where tokens leave, what it saves and what it loses (GREEN-CODE's figures 1 and 7-11, table IV)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.analysis.exits import ExitStudy, Leaving
from passkwh.analysis.tables import Cell
from passkwh.reports.document.content import Block, Bullets, Column, Missing, Part, Sentence, TableBlock, Text
from passkwh.reports.document.draft import Draft, Drawing
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.text import listed, number, sentence
from passkwh.reports.figures.exits import by_fixed_exit, by_threshold, where_tokens_leave

TITLE = "Early exit"
_WHAT = {
    "figure 1": "Quality, energy and latency by fixed exit layer",
    "figure 7": "Where leaving would have been best",
    "figures 8-11": "Quality and resources by threshold",
    "table IV": "What the agent costs",
}


def exits(evidence: Evidence) -> Draft:
    """What these runs say about leaving early; of what they do not hold, the reason."""
    if evidence.exits is None:
        reason = evidence.impossible["early-exit"]
        what = f"GREEN-CODE's {listed(list(_WHAT))} ({listed([w[0].lower() + w[1:] for w in _WHAT.values()])})"
        return Draft("early-exit", TITLE, (Missing(what=what, reason=reason), _training()))
    found = evidence.exits
    blocks: list[Block | Drawing] = [
        Text(
            sentence=(
                "A token may leave the model before its last layer. Each configuration is compared with its baseline: "
                "the same model and settings with every token through all layers, with the same weights where there is "
                "such a run. Energies here are of generating only.",
            )
        ),
        Bullets(items=tuple(_told(found))),
        by_fixed_exit(found),
        where_tokens_leave(found),
        by_threshold(found),
        _configurations(found),
        _overhead(found),
        *([_oracle(found)] if found.oracle else []),
        _training(),
    ]
    if found.notes:
        blocks.append(Bullets(items=tuple((note,) for note in found.notes)))
    return Draft("early-exit", TITLE, tuple(b for b in blocks if not isinstance(b, Bullets) or b.items))


def _told(found: ExitStudy) -> Iterator[Sentence]:
    """Each configuration that has a baseline, in a sentence."""
    for c in found.configurations:
        saved = c.net_saved if c.net_saved is not None else c.gross_saved
        if c.baseline is None or saved is None:
            continue
        kind = "net" if c.net_saved is not None else "gross"
        lost: list[Part] = [
            part
            for name, share in c.quality_lost.items()
            for part in (f", {name} ", number(-share * 100, "%", sign=True))
        ]
        layers: list[Part] = (
            [] if c.layers_skipped is None else [", ", number(c.layers_skipped * 100, "%"), " of layers skipped"]
        )
        yield sentence(
            c.label, " against ", c.baseline, f": {kind} energy of generating ", number(-saved * 100, "%", sign=True),
            lost, layers, ".",
        )  # fmt: skip


def _configurations(found: ExitStudy) -> TableBlock:
    rows: list[tuple[Cell, ...]] = []
    for c in found.configurations:
        rows.append(
            (
                c.label, c.rule, c.argument, c.mean_exit_layer, c.layers_skipped, c.generation_net_j,
                c.generation_gross_j, c.s_per_sample, c.tokens_per_s, *(c.quality.get(m) for m in found.metrics),
                c.baseline, c.net_saved, c.gross_saved, c.time_saved,
                *(c.quality_lost.get(m) for m in found.metrics),
            )
        )  # fmt: skip
    return TableBlock(
        name="exits",
        title="Leaving early against going through all layers",
        note="Saved and lost are shares of the baseline's. Means over repeats; the analysis gives these no intervals.",
        columns=(
            Column(name="configuration", style="text"), Column(name="rule", style="text"),
            Column(name="layer or threshold"), Column(name="mean exit layer"),
            Column(name="layers skipped", style="fixed2"), Column(name="net (J) ↓"), Column(name="gross (J) ↓"),
            Column(name="s a sample ↓"), Column(name="tokens/s ↑"), *(Column(name=f"{m} ↑") for m in found.metrics),
            Column(name="baseline", style="text"), Column(name="net saved", style="fixed2"),
            Column(name="gross saved", style="fixed2"), Column(name="time saved", style="fixed2"),
            *(Column(name=f"{m} lost", style="fixed2") for m in found.metrics),
        ),
        rows=tuple(rows),
    )  # fmt: skip


def _never_left(found: ExitStudy) -> Sequence[Leaving]:
    """Configurations whose rule was asked at every exit and kept every token to the last layer."""
    return [
        c for c in found.configurations
        if c.rule not in ("none", "fixed") and not c.hindsight and c.baseline is not None and c.layers is not None
        and c.mean_exit_layer_decoded == c.layers
    ]  # fmt: skip


def _overhead(found: ExitStudy) -> Block:
    kept = _never_left(found)
    if not kept:
        return Missing(
            what=_WHAT["table IV"],
            after="GREEN-CODE, table IV",
            reason="it takes a run whose rule is asked but never lets a token leave, beside one without a rule: what "
            "deciding costs cannot be told from what leaving saves otherwise",
        )
    return TableBlock(
        name="exit_overhead",
        title="What deciding costs: rules that kept every token to the last layer",
        thesis="GREEN-CODE, table IV",
        columns=(
            Column(name="configuration", style="text"), Column(name="baseline", style="text"),
            Column(name="net energy, share more"), Column(name="gross energy, share more"),
            Column(name="time, share more"),
        ),
        rows=tuple(
            (c.label, c.baseline, *(None if v is None else -v for v in (c.net_saved, c.gross_saved, c.time_saved)))
            for c in kept
        ),
    )  # fmt: skip


def _oracle(found: ExitStudy) -> TableBlock:
    return TableBlock(
        name="exit_oracle",
        title="How far rules are from the first exit that predicts what the last layer does",
        columns=(
            Column(name="configuration", style="text"), Column(name="oracle", style="text"),
            Column(name="mean layers above"), Column(name="same texts", style="integer"),
            Column(name="their tokens", style="integer"), Column(name="at its exit", style="fixed2"),
            Column(name="later", style="fixed2"), Column(name="earlier", style="fixed2"),
        ),
        rows=tuple(
            (o.label, o.oracle, o.mean_layers_above, o.same_texts, o.tokens, o.at, o.later, o.earlier)
            for o in found.oracle
        ),
    )  # fmt: skip


def _training() -> Missing:
    return Missing(
        what="Reward while the agent is trained",
        after="GREEN-CODE, figure 6",
        reason="a run measures a trained agent; rewards stand in the log of its training",
    )
