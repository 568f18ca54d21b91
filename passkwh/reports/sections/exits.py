"""Early exit: where tokens leave, what it saves and what it loses (GREEN-CODE's figures 1 and 7-11, table IV)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from passkwh.analysis.exits import ExitStudy, ExitSummary
from passkwh.analysis.tables import Cell
from passkwh.errors import UsageError
from passkwh.reports.document.content import Block, Bullets, NotAvailable, Part, Sentence, TableBlock, Text, table_of
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection
from passkwh.reports.document.text import quantity, sentence
from passkwh.reports.figures.exits import by_fixed_exit, by_threshold, exit_plane, where_tokens_leave

NEEDED_BY = (
    "GREEN-CODE's figure 1, figure 7, figures 8-11 and table IV (quality, energy and latency by fixed exit layer, "
    "where leaving would have been best, quality and resources by threshold and what the agent costs)"
)


def build(evidence: Evidence) -> Draft:
    """What these runs say about early exit; of what they do not hold, the reason."""
    try:
        study = evidence.exits
    except UsageError as error:
        return Draft((NotAvailable(what=NEEDED_BY, reason=str(error)), _training()))
    text = (
        "A token may leave the model before its last layer. Each configuration is compared with its baseline: the same "
        "model and settings with every token through all layers, with the same weights where there is such a run. "
        "Energies here are of generating only."
    )
    blocks: list[Block | Drawing] = [
        Text(sentence=(text,)),
        Bullets(items=tuple(_sentences(study))),
        exit_plane(study),
        by_fixed_exit(study),
        where_tokens_leave(study),
        by_threshold(study),
        _configurations(study),
        *_drafts(study),
        *_shares(study),
        _overhead(study),
        *_oracle(study),
        _training(),
        Bullets(items=tuple((note,) for note in study.notes)),
    ]
    return Draft(tuple(b for b in blocks if not isinstance(b, Bullets) or b.items))


def _sentences(study: ExitStudy) -> Iterator[Sentence]:
    """Each configuration that has a baseline, in a sentence."""
    for c in study.configurations:
        saved = c.net_saved if c.net_saved is not None else c.gross_saved
        if c.baseline is None or saved is None:
            continue
        kind = "net" if c.net_saved is not None else "gross"
        parts: list[Part] = []
        for name, lost in c.quality_lost.items():
            parts += [f", {name} ", quantity(-lost * 100, "%", sign=True)]
        if c.layers_skipped is not None:
            parts += [", ", quantity(c.layers_skipped * 100, "%"), " of layers skipped"]
        change = quantity(-saved * 100, "%", sign=True)
        yield sentence(c.label, " against ", c.baseline, f": {kind} energy of generating ", change, parts, ".")


def _configurations(study: ExitStudy) -> TableBlock:
    return table_of(
        "exits",
        "Early exit against going through all layers",
        {
            "configuration": "text", "rule": "text", "lossless": "text", "quantization": "text", "engine": "text",
            "layer or threshold": "number", "mean exit layer": "number",
            "layers skipped": "fixed2", "net (J) ↓": "number", "gross (J) ↓": "number", "s a sample ↓": "number",
            "tokens/s ↑": "number", **{f"{m} ↑": "number" for m in study.metrics}, "baseline": "text",
            "net saved": "fixed2", "gross saved": "fixed2", "time saved": "fixed2",
            **{f"{m} lost": "fixed2" for m in study.metrics},
        },
        [
            (
                c.label, c.rule, "yes" if c.lossless else None, c.quant, c.engine, c.argument,
                c.mean_exit_layer, c.layers_skipped, c.generation_net_j,
                c.generation_gross_j, c.s_per_sample, c.tokens_per_s, *(c.quality.get(m) for m in study.metrics),
                c.baseline, c.net_saved, c.gross_saved, c.time_saved, *(c.quality_lost.get(m) for m in study.metrics),
            )
            for c in study.ordered()
        ],
        note=f"Energies are {study.provenance}. Saved and lost are shares of the baseline's. Means over repeats; the "
        "analysis gives these no intervals.",
    )  # fmt: skip


def _drafts(study: ExitStudy) -> list[Block]:
    """Lossless exits, by how many tokens they draft: what a pass of the whole model gives, and what that saves."""
    rows: list[tuple[Cell, ...]] = [
        (
            c.label, c.drafted_per_check, c.acceptance, c.tokens_per_check,
            None if c.tokens_per_check is None else 1 - 1 / c.tokens_per_check, c.net_saved, c.net_j_saved_per_token,
            c.baseline,
        )
        for c in study.lossless()
    ]  # fmt: skip
    columns = {
        "lossless configuration": "text", "drafted a pass": "number", "accepted": "fixed2", "tokens a pass": "number",
        "ideally saved": "fixed2", "net saved": "fixed2", "net J a token saved": "number", "baseline": "text",
    }  # fmt: skip
    note = (
        "The tokens are those of all layers. Ideally saved: where a pass over several tokens costs as much as one over "
        "a single token, and drafting nothing."
    )
    return (
        [table_of("exit_drafts", "Drafted tokens, checked by the whole model", columns, rows, note=note)]
        if rows
        else []
    )


def printed(table: TableBlock, study: ExitStudy) -> TableBlock:
    """A table of this section as ``bench exits`` prints it: of the configurations, the columns that tell most."""
    if table.name != "exits":
        return table
    wanted = (
        "configuration", "mean exit layer", "layers skipped", *(f"{m} ↑" for m in study.metrics),
        *(f"{m} lost" for m in study.metrics), "net (J) ↓", "net saved", "time saved", "tokens/s ↑",
    )  # fmt: skip
    places = [i for i, column in enumerate(table.columns) if column.name in wanted]
    return table.model_copy(
        update={
            "columns": tuple(table.columns[i] for i in places),
            "rows": tuple(tuple(row[i] for i in places) for row in table.rows),
        }
    )


def _shares(study: ExitStudy) -> list[Block]:
    """Shares of decoded tokens by exit; a fixed exit has only one."""
    shown = [c for c in study.configurations if len(c.exit_shares) > 1]
    layers = sorted({layer for c in shown for layer in (*c.exits, *c.exit_shares)})
    rows: list[tuple[Cell, ...]] = [(c.label, *(c.exit_shares.get(layer, 0.0) for layer in layers)) for c in shown]
    columns = {"configuration": "text", **{f"layer {layer}": "fixed4" for layer in layers}}
    return (
        [table_of("exit_shares", "Share of decoded tokens by the exit that they left at", columns, rows)]
        if rows
        else []
    )


def _never_left(study: ExitStudy) -> Sequence[ExitSummary]:
    """Configurations whose rule was asked at every exit and kept every token to the last layer."""
    return [
        c for c in study.configurations
        if c.rule not in ("none", "fixed") and not (c.hindsight or c.lossless) and c.baseline is not None
        and c.layers is not None and c.mean_exit_layer_decoded == c.layers
    ]  # fmt: skip


def _overhead(study: ExitStudy) -> Block:
    kept = _never_left(study)
    if not kept:
        return NotAvailable(
            what="What the agent costs",
            after="GREEN-CODE, table IV",
            reason="it needs a run whose rule is asked but never lets a token leave, beside one without a rule: what "
            "deciding costs cannot be told from what leaving saves otherwise",
        )
    columns = {
        "configuration": "text", "baseline": "text", "net energy, share more": "number",
        "gross energy, share more": "number", "time, share more": "number",
    }  # fmt: skip
    rows = [
        (c.label, c.baseline, *(None if v is None else -v for v in (c.net_saved, c.gross_saved, c.time_saved)))
        for c in kept
    ]
    title = "What deciding costs: rules that kept every token to the last layer"
    return table_of("exit_overhead", title, columns, rows, thesis="GREEN-CODE, table IV")


def _oracle(study: ExitStudy) -> list[Block]:
    columns = {
        "against the oracle": "text", "oracle": "text", "mean layers above": "number", "same texts": "integer",
        "their tokens": "integer", "at its exit": "fixed4", "later": "fixed4", "earlier": "fixed4",
    }  # fmt: skip
    rows = [
        (o.label, o.oracle, o.mean_layers_above, o.same_texts, o.tokens, o.at, o.later, o.earlier) for o in study.oracle
    ]
    title = "How far rules are from the first exit that predicts what the last layer does"
    return [table_of("exit_oracle", title, columns, rows)] if rows else []


def _training() -> NotAvailable:
    return NotAvailable(
        what="Reward while the agent is trained",
        after="GREEN-CODE, figure 6",
        reason="a run measures a trained agent; rewards stand in the log of its training",
    )


EXITS = FunctionSection(
    "early-exit",
    "Early exit",
    "exit layers, energy and quality by rule, against all layers and against the oracle",
    {"early-exit": 50, "all": 50, "exits": 50},
    build,
)
