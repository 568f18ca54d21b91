"""Early exit: where tokens leave, what it saves and what it loses (GREEN-CODE's figures 1, 3, 4, 6-11, table IV)."""

from __future__ import annotations

from collections.abc import Iterator

from passkwh.analysis.exits.study import ExitStudy
from passkwh.analysis.exits.summary import EnergyKind, ExitSummary, Savings
from passkwh.analysis.results import Interval
from passkwh.analysis.tables import Cell
from passkwh.errors import UsageError
from passkwh.reports.document.content import (
    Block,
    Bullets,
    Estimate,
    NotAvailable,
    Part,
    Sentence,
    TableBlock,
    Text,
    table_of,
)
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.document.section import Draft, Drawing, FunctionSection
from passkwh.reports.document.text import estimate_texts, quantity, scaled, sentence
from passkwh.reports.figures.exits import by_fixed_exit, by_threshold, exit_plane, where_tokens_leave
from passkwh.reports.figures.training import loss_weights, of_trainings

NEEDED_BY = (
    "GREEN-CODE's figure 1, figure 7, figures 8-11 and table IV (quality, energy and latency by fixed exit layer, "
    "where leaving would have been best, quality and resources by threshold and what the agent costs)"
)
BASE, SAME_WEIGHTS = "unmodified model", "same weights"
BASELINES = {
    BASE: "the unmodified model with every token through all layers",
    SAME_WEIGHTS: "the weights that the rule runs on, usually fine-tuned, with every token through all layers",
}
"""What savings are against. The first is the reference; the second is GREEN-CODE's."""
MOST_LOSSES = 2
"""So many metrics have a column of losses with intervals; all are in the JSON."""


def build(evidence: Evidence) -> Draft:
    """What these runs say about early exit; of what they do not hold, the reason."""
    try:
        study = evidence.exits
    except UsageError as error:
        return Draft((NotAvailable(what=NEEDED_BY, reason=str(error)), *of_trainings(evidence.training)))
    text = (
        "A token may leave the model before its last layer. Savings are against two baselines: "
        f"{BASELINES[BASE]}, the reference here and on the board; and {BASELINES[SAME_WEIGHTS]}, which GREEN-CODE's "
        "23-50 % are against. Energies are of generating only."
    )
    blocks: list[Block | Drawing] = [
        Text(sentence=(text,)),
        Bullets(items=tuple(_sentences(study))),
        exit_plane(study),
        by_fixed_exit(study),
        where_tokens_leave(study),
        by_threshold(study),
        _configurations(study),
        *_savings(study),
        *_losses(study),
        *_quality(study),
        *_drafts(study),
        *_shares(study),
        _overhead(study),
        *_oracle(study),
        *loss_weights(study, evidence.training),
        *of_trainings(evidence.training),
        Bullets(items=tuple((note,) for note in study.notes)),
    ]
    return Draft(tuple(b for b in blocks if not isinstance(b, Bullets) or b.items))


def _against(c: ExitSummary) -> Iterator[tuple[str, Savings]]:
    if c.against_base is not None:
        yield BASE, c.against_base
    if c.against_full_depth is not None and c.against_full_depth != c.against_base:
        yield SAME_WEIGHTS, c.against_full_depth


def _sentences(study: ExitStudy) -> Iterator[Sentence]:
    """Each configuration against its baselines, in a sentence."""
    for c in study.ordered():
        parts: list[Part] = []
        for name, against in _against(c):
            saved = against.energy_saved(study.energy)
            if saved is None:
                continue
            parts += ["; " if parts else " ", f"against the {name} ({against.baseline}): {study.energy} energy of "]
            parts += ["generating ", quantity(-saved * 100, "%", sign=True), *_changed(against.energy_saved_interval)]
            for metric in study.metrics[:2]:
                if metric in against.quality_lost:
                    parts += [f", {metric} ", quantity(-against.quality_lost[metric] * 100, "%", sign=True)]
        if parts and c.layers_skipped is not None:
            parts += ["; ", quantity(c.layers_skipped * 100, "%"), " of layers skipped"]
        if parts:
            yield sentence(c.label, parts, ".")


def _configurations(study: ExitStudy) -> TableBlock:
    kinds: tuple[EnergyKind, EnergyKind] = ("gross", "net") if study.energy == "gross" else ("net", "gross")
    return table_of(
        "exits",
        "Early exit against going through all layers",
        {
            "configuration": "text", "rule": "text", "lossless": "text", "quantization": "text", "engine": "text",
            "layer or threshold": "number", "mean exit layer": "number",
            "decoded": "number", "layers skipped": "fixed2", **{f"{kind} (J) ↓": "number" for kind in kinds},
            "s a sample ↓": "number", "tokens/s ↑": "number", "tokens/s, mean ↑": "number",
        },
        [
            (
                c.label, c.rule, "yes" if c.lossless else None, c.quant, c.engine, c.argument, c.mean_exit_layer,
                c.mean_exit_layer_decoded, c.layers_skipped,
                *(c.energy_j(kind) for kind in kinds), c.s_per_sample, c.tokens_per_s, c.tokens_per_s_mean,
            )
            for c in study.ordered()
        ],
        note=f"Energies are {study.provenance}, of generating. Layers count from 1; the first token of each completion "
        "comes from the last layer, which raises the mean: decoded is without it. tokens/s is all tokens / all time; "
        "its mean is that of each sample's own rate, which GREEN-CODE prints. Means over repeats; intervals are those "
        "of what is saved and lost.",
    )  # fmt: skip


def _savings(study: ExitStudy) -> list[Block]:
    """A row for each configuration and baseline: energy and time saved, and the change of every metric."""
    rows: list[tuple[Cell | Estimate, ...]] = [
        (
            c.label, name, against.baseline, _saved(against, study.energy), against.time_saved,
            *(0.0 - against.quality_lost[m] if m in against.quality_lost else None for m in study.metrics),
        )
        for c in study.ordered()
        for name, against in _against(c)
    ]  # fmt: skip
    columns = {
        "configuration": "text", "against the": "text", "which is": "text", f"{study.energy} saved": "estimate",
        "time saved": "fixed2", **{f"{m}, change": "fixed2" for m in study.metrics},
    }  # fmt: skip
    note = (
        "Shares of the baseline's, a sample; no change is given where the baseline's is 0. Below energy saved stands "
        "its 95 % interval: a bootstrap over what was measured once, with the errors of runs."
    )
    title = "What is saved and lost against each baseline"
    return [table_of("exit_savings", title, columns, rows, note=note)] if rows else []


def _saved(against: Savings, energy: EnergyKind) -> Estimate:
    interval = against.energy_saved_interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    reason = None if interval is None else interval.reason
    return Estimate(value=against.energy_saved(energy), low=low, high=high, reason=reason)


def _changed(saved: Interval | None) -> list[Part]:
    """The interval of the change of energy, in brackets."""
    if saved is None or saved.low is None or saved.high is None:
        return []
    ends = [quantity(-share * 100, sign=True) for share in (saved.high, saved.low)]
    return [" [", ends[0], ", ", ends[1], "]"]


def _losses(study: ExitStudy) -> list[Block]:
    """What is lost of the mean of tasks' own scores, with intervals."""
    metrics = [
        metric for metric in study.metrics[:MOST_LOSSES]
        if any(against.lost(metric) for c in study.configurations for _, against in _against(c))
    ]  # fmt: skip
    rows: list[tuple[Cell | Estimate, ...]] = [
        (
            c.label, name, against.baseline,
            *(None if (lost := against.lost(metric)) is None else scaled(lost) for metric in metrics),
        )
        for c in study.ordered()
        for name, against in _against(c)
    ]  # fmt: skip
    columns = {
        "configuration": "text", "against the": "text", "which is": "text",
        **{f"{metric} lost, mean over tasks": "estimate" for metric in metrics},
    }  # fmt: skip
    note = (
        "Shares of the baseline's mean over tasks of each task's own score, with 95 % intervals over tasks (paired "
        "bootstrap). CodeBLEU, BLEU and chrF of a whole run are computed over all tasks at once: their change stands "
        "in the table above."
    )
    title = "What is lost, with intervals"
    return [table_of("exit_losses", title, columns, rows, note=note)] if rows and metrics else []


def _quality(study: ExitStudy) -> list[Block]:
    columns = {"configuration": "text", **{f"{m} ↑": "number" for m in study.metrics}}
    rows: list[tuple[Cell, ...]] = [(c.label, *(c.quality.get(m) for m in study.metrics)) for c in study.ordered()]
    return [table_of("exit_quality", "Quality", columns, rows)] if study.metrics else []


def _drafts(study: ExitStudy) -> list[Block]:
    """Lossless exits, by how many tokens they draft: what a pass of the whole model gives, and what that saves."""
    rows: list[tuple[Cell | Estimate, ...]] = [
        (
            c.label, c.drafted_per_check, c.acceptance, c.tokens_per_check,
            None if c.tokens_per_check is None else 1 - 1 / c.tokens_per_check,
            None if against is None else _saved(against, study.energy),
            None if against is None else against.j_saved_per_token(study.energy),
            None if against is None else against.baseline,
        )
        for c in study.lossless()
        for against in (c.against_base or c.against_full_depth,)
    ]  # fmt: skip
    columns = {
        "lossless configuration": "text", "drafted a pass": "number", "accepted": "fixed2", "tokens a pass": "number",
        "ideally saved": "fixed2", f"{study.energy} saved": "estimate",
        f"{study.energy} J a token saved": "number", "baseline": "text",
    }  # fmt: skip
    note = (
        "The tokens are those of all layers. Ideally saved: where a pass over several tokens costs as much as one over "
        "a single token, and drafting nothing."
    )
    title = "Drafted tokens, checked by the whole model"
    return [table_of("exit_drafts", title, columns, rows, note=note)] if rows else []


def printed(table: TableBlock) -> TableBlock:
    """A table of this section as ``bench exits`` prints it: without columns that its labels say, or that are empty,
    and with an interval in the cell of its estimate.
    """
    hidden = {"rule", "layer or threshold", "which is", "quantization", "engine", "lossless"}
    places = [
        i for i, column in enumerate(table.columns)
        if column.name not in hidden and any(_in_one_cell(row[i]) is not None for row in table.rows)
    ]  # fmt: skip
    return table.model_copy(
        update={
            "columns": tuple(
                column.model_copy(update={"style": "text"}) if column.style == "estimate" else column
                for column in (table.columns[i] for i in places)
            ),
            "rows": tuple(tuple(_in_one_cell(row[i]) for i in places) for row in table.rows),
        }
    )


def _in_one_cell(cell: Cell | Estimate) -> Cell:
    if not isinstance(cell, Estimate):
        return cell
    value, low, high = estimate_texts(cell)
    if low is not None:
        return f"{value} [{low}, {high}]"
    return None if cell.value is None else value


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


def _overhead(study: ExitStudy) -> Block:
    what, after = "What the agent costs", "GREEN-CODE, table IV"
    if not study.overhead:
        return NotAvailable(
            what=what, after=after,
            reason="it needs a run whose rule is asked but never lets a token leave (--exit agent:1) beside the same "
            "weights without a rule (--exit fixed:DEPTH): what deciding costs cannot be told from what leaving saves "
            "otherwise",
        )  # fmt: skip
    columns = {
        "configuration": "text", "calls a token": "number",
        "energy of a call (J)": "number", "time of a call (s)": "number",
        "energy, of this run": "fixed4", "time, of this run": "fixed4",
        "energy, of the full model": "fixed4", "time, of the full model": "fixed4", "measured by": "text",
    }  # fmt: skip
    rows = [
        (o.label, o.calls_per_token, o.call_j, o.call_s, o.energy_of_run, o.time_of_run, o.energy_of_full,
         o.time_of_full, f"{o.kept} less {o.full_depth}")
        for o in study.overhead
    ]  # fmt: skip
    note = (
        f"Calls a token × what a call costs, in {study.energy} energy and time, as shares of what this run and the "
        "full model took. A call costs what the run that was asked at every exit and kept every token took more than "
        "the same weights without a rule, divided by its calls: in place, where the paper times the agent by itself. "
        "Below 0, the difference is less than the noise of two runs."
    )
    title = "What deciding costs, by threshold"
    return table_of("exit_overhead", title, columns, rows, thesis=after, note=note)


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


EXITS = FunctionSection(
    "early-exit",
    "Early exit",
    "exit layers, energy and quality by rule, against all layers and against the oracle",
    {"early-exit": 50, "all": 50, "exits": 50},
    build,
)
