"""What early exit costs and saves, over runs: fixed-exit curves, exit histograms, threshold sweeps, the oracle.

Every run is compared with its baseline: a run of the same model, quantization and settings whose tokens go through all
layers, with the same weights where there is one (a fixed exit at the last layer), else without early exit. All runs
share benchmark, decoding, machine and meter (``pooling.check_agreement``); repeats of a configuration are averaged.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from passkwh.analysis.frames import Frames, Run
from passkwh.analysis.pooling import check_agreement, group
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.measures import quality
from passkwh.records import Record, Sample

DEFAULT_METRICS = ("rougeL", "codebleu", "exact_match")
"""Reported where the benchmark has them (GREEN-CODE, VI-A); a benchmark with verdicts has pass@1 instead."""


class ExitSummary(Record):
    """One configuration, averaged over its repeats."""

    label: str
    runs: tuple[str, ...]
    model: str
    quant: str
    engine: str = "transformers"
    weights: str
    """Revision of the weights that ran."""
    rule: str
    """fixed, agent, ...; ``none`` where all tokens go through all layers without a rule."""
    argument: float | None
    """The rule's layer or threshold, where it has one."""
    agent: str | None
    """Which of the bundle's agents the rule asks."""
    kv: str | None
    layers: int | None
    exits: tuple[int, ...]
    hindsight: bool
    lossless: bool = False
    """Its tokens are those of all layers: drafts, which the whole model checks."""
    drafted_per_check: float | None = None
    """Tokens that a pass of the whole model checked on average; None without drafts."""
    acceptance: float | None = None
    """Share of drafted tokens that were right."""
    tokens_per_check: float | None = None
    """Tokens that a pass gave on average."""
    samples: int
    quality: dict[str, float]
    mean_exit_layer: float | None
    """Over all generated tokens."""
    mean_exit_layer_decoded: float | None
    """Without the first token of each completion, which the prompt's pass through all layers gives."""
    layers_skipped: float | None
    exit_shares: dict[int, float]
    """Share of decoded tokens that left at each exit."""
    generation_net_j: float | None
    generation_gross_j: float | None
    joules_per_token: float | None
    tokens_per_s: float | None
    s_per_sample: float
    baseline: str | None = None
    """Label of the configuration that it is compared with; None for a baseline, or where there is none."""
    net_saved: float | None = None
    """1 - net generation energy a token / the baseline's."""
    gross_saved: float | None = None
    net_j_saved_per_token: float | None = None
    """Net energy of generating less than the baseline's, a token."""
    time_saved: float | None = None
    quality_lost: dict[str, float] = Field(default_factory=dict)
    """1 - metric / the baseline's."""

    @property
    def rule_and_agent(self) -> str:
        """The rule, with the agent that it asks."""
        return self.rule if self.agent is None else f"{self.rule} {self.agent}"


class OracleDistance(Record):
    """How far one rule is from the first exit that predicts what the last layer does."""

    label: str
    oracle: str
    mean_layers_above: float | None
    """Mean exit layer of decoded tokens less the oracle's. Their texts may differ."""
    same_texts: int
    """Completions that are the oracle's, word for word: only there can exits be compared token by token."""
    tokens: int
    """Their decoded tokens."""
    at: float | None
    """Share of those tokens that left where the oracle would."""
    later: float | None
    earlier: float | None
    """Share that left at an earlier exit than the oracle and yet wrote the same text."""


@dataclass(frozen=True)
class ExitStudy:
    """The exits analysis of some runs."""

    configurations: tuple[ExitSummary, ...]
    oracle: tuple[OracleDistance, ...]
    metrics: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: str
    """Of all energies: measured, estimated or simulated, or mixed."""

    def fixed(self) -> list[ExitSummary]:
        """Fixed exits by layer (fig. 1)."""
        return sorted((c for c in self.configurations if c.rule == "fixed"), key=lambda c: c.argument or 0)

    def lossless(self) -> list[ExitSummary]:
        """Configurations with drafts, by rule and by how many tokens they draft."""
        return sorted((c for c in self.configurations if c.lossless), key=lambda c: (c.rule, c.argument or 0, c.label))

    def sweeps(self) -> dict[str, list[ExitSummary]]:
        """Thresholds of every rule (and agent) that has them, rising (figs. 8-11)."""
        by_rule: dict[str, list[ExitSummary]] = {}
        for c in self.configurations:
            if c.rule not in ("none", "fixed", "oracle") and not c.lossless:
                by_rule.setdefault(c.rule_and_agent, []).append(c)
        return {rule: sorted(some, key=lambda c: c.argument or 0) for rule, some in by_rule.items()}

    def ordered(self) -> list[ExitSummary]:
        """All configurations: without early exit, drafts, fixed exits, sweeps, the oracle."""
        order = [c for c in self.configurations if c.rule == "none"] + self.lossless() + self.fixed()
        order += [c for some in self.sweeps().values() for c in some]
        return order + [c for c in self.configurations if c.rule == "oracle"]

    def content(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "configurations": [c.model_dump(mode="json") for c in self.configurations],
            "oracle": [d.model_dump(mode="json") for d in self.oracle],
            "metrics": list(self.metrics),
            "notes": list(self.notes),
        }


def study(frames: Frames, metrics: Sequence[str] = ()) -> ExitStudy:
    """Analyse runs of one benchmark, with and without early exit.

    Raises:
        UsageError: no run leaves early, runs differ in tasks or in what must agree, or lack a metric that is asked for.
    """
    check_agreement(frames.runs)
    if not any(run.manifest.spec.exit for run in frames.runs):
        raise UsageError("none of these runs leaves early: make one with `bench run --exit fixed:12`")
    first = frames.runs[0]
    for run in frames.runs:
        if run.manifest.benchmark.sha256 != first.manifest.benchmark.sha256:
            raise UsageError(
                f"{run.path} and {first.path} are over other tasks: give runs with the same --limit and data"
            )
    chosen = _metrics(frames.runs, metrics)
    configurations: list[ExitSummary] = []
    samples: dict[str, list[Sample]] = {}
    groups = group(frames.runs)
    for label, configuration in zip(_labels([g.label for g in groups]), groups, strict=True):
        runs = [frames.runs[position] for position in configuration.runs]
        samples[label] = [sample for run in runs for sample in RunFolder.open(run.path).samples()]
        configurations.append(_summarise(label, runs, samples[label], chosen))
    compared = tuple(_compared(one, configurations) for one in configurations)
    distances = tuple(
        distance(one, other, samples[one.label], samples[other.label])
        for other in compared
        if other.hindsight
        for one in compared
        if one.exit_shares and not one.hindsight and (one.model, one.quant, one.weights, one.layers)
        == (other.model, other.quant, other.weights, other.layers)
    )  # fmt: skip
    provenances = {run.summary.provenance for run in frames.runs}
    provenance = provenances.pop() if len(provenances) == 1 else "mixed"
    return ExitStudy(compared, distances, chosen, tuple(_notes(compared)), provenance)


def _labels(labels: Sequence[str]) -> list[str]:
    """Labels without the bundle's folder, where they still differ."""
    short = [label.partition(",bundle=")[0].replace("exit=none", "all layers") for label in labels]
    return short if len(set(short)) == len(short) else list(labels)


def _metrics(runs: Sequence[Run], wanted: Sequence[str]) -> tuple[str, ...]:
    known = [set(run.summary.metrics) | ({"pass@1"} if "1" in run.summary.pass_at_k else set()) for run in runs]
    common = set.intersection(*known)
    for name in wanted:
        if name not in common:
            raise UsageError(f"--metric {name}: all of these runs have {', '.join(sorted(common)) or 'none'}")
    return tuple(wanted) or tuple(name for name in (*DEFAULT_METRICS, "pass@1") if name in common)


def _summarise(label: str, runs: Sequence[Run], samples: Sequence[Sample], metrics: Sequence[str]) -> ExitSummary:
    manifest = runs[0].manifest
    about = manifest.model.early_exit
    rule, argument = _rule(manifest.spec.exit)
    drafted = [count for sample in samples if sample.drafts for count in sample.drafts.drafted]
    accepted = [count for sample in samples if sample.drafts for count in sample.drafts.accepted]
    decoded = [layer for sample in samples for layer in (sample.exit_layers or ())[1:]]
    every = [layer for sample in samples for layer in sample.exit_layers or ()]
    tokens = sum(run.summary.completion_tokens for run in runs)
    seconds = sum(run.summary.generation_s for run in runs)
    net_j, gross_j = (_sum([_generation_j(run, kind) for run in runs]) for kind in ("net_j", "gross_j"))
    layers = int(about["layers"]) if about else None
    return ExitSummary(
        label=label,
        runs=tuple(str(run.path) for run in runs),
        model=manifest.model.name,
        quant=manifest.model.quant,
        engine=manifest.model.engine,
        weights=manifest.model.revision,
        rule=rule,
        argument=argument,
        agent=str(about["agent"]) if "agent" in about else None,
        kv=str(about["kv"]) if "kv" in about else None,
        layers=layers,
        exits=tuple(int(part) for part in str(about["exits"]).split("+")) if about else (),
        hindsight=bool(about.get("hindsight", False)),
        lossless=bool(about.get("lossless", False)),
        drafted_per_check=statistics.fmean(drafted) if drafted else None,
        acceptance=sum(accepted) / sum(drafted) if sum(drafted) else None,
        tokens_per_check=1 + statistics.fmean(accepted) if accepted else None,
        samples=len(samples),
        quality={name: statistics.fmean(quality(name).value(run.summary) or 0.0 for run in runs) for name in metrics},
        mean_exit_layer=statistics.fmean(every) if every else None,
        mean_exit_layer_decoded=statistics.fmean(decoded) if decoded else None,
        layers_skipped=1 - statistics.fmean(every) / layers if every and layers else None,
        exit_shares={layer: n / len(decoded) for layer, n in sorted(Counter(decoded).items())},
        generation_net_j=None if net_j is None else net_j / len(runs),
        generation_gross_j=None if gross_j is None else gross_j / len(runs),
        joules_per_token=gross_j / tokens if gross_j is not None and tokens else None,
        tokens_per_s=tokens / seconds if seconds > 0 else None,
        s_per_sample=seconds / len(samples),
    )


def _rule(text: str | None) -> tuple[str, float | None]:
    if text is None:
        return "none", None
    name, _, argument = text.partition(",")[0].partition(":")
    try:
        return name, float(argument)
    except ValueError:  # none, or one that is a rule in turn
        return name, None


def _generation_j(run: Run, kind: str) -> float | None:
    values = [getattr(c.generation, kind) for c in run.summary.channels if c.counted]
    return _sum(values) if values else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# ---------------------------------------------------------------- against the baseline


def _compared(one: ExitSummary, others: Sequence[ExitSummary]) -> ExitSummary:
    """The configuration with what it saves and loses against its baseline; unchanged where it has none."""
    if one.rule == "none" or one.hindsight:
        return one
    others = sorted((c for c in others if c.label != one.label), key=lambda c: c.rule == "none")
    base = next((c for c in others if _same(one, c, weights=True) and _goes_through(c)), None)
    base = base or next((c for c in others if _same(one, c, weights=False) and c.rule == "none"), None)
    if base is None:
        return one
    lost = {name: _saved(value, base.quality[name]) for name, value in one.quality.items()}
    return one.model_copy(
        update={
            "baseline": base.label,
            "net_saved": _saved(_per_sample(one, one.generation_net_j), _per_sample(base, base.generation_net_j)),
            "gross_saved": _saved(_per_sample(one, one.generation_gross_j), _per_sample(base, base.generation_gross_j)),
            "net_j_saved_per_token": _less(_per_token(one), _per_token(base)),
            "time_saved": _saved(one.s_per_sample, base.s_per_sample),
            "quality_lost": {name: share for name, share in lost.items() if share is not None},
        }
    )


def _same(one: ExitSummary, other: ExitSummary, *, weights: bool) -> bool:
    same = (one.model, one.quant, one.engine) == (other.model, other.quant, other.engine)
    return same and (one.weights == other.weights or not weights)


def _goes_through(c: ExitSummary) -> bool:
    """Every token goes through all layers, by no rule or by a fixed exit at the last."""
    return c.rule == "none" or (c.rule == "fixed" and c.argument == c.layers)


def _per_sample(c: ExitSummary, energy_j: float | None) -> float | None:
    return None if energy_j is None else energy_j * len(c.runs) / c.samples


def _per_token(c: ExitSummary) -> float | None:
    gross, net = c.generation_gross_j, c.generation_net_j
    return None if net is None or not gross or c.joules_per_token is None else c.joules_per_token * net / gross


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else base - value


def _saved(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else 1 - value / base


def _notes(configurations: Sequence[ExitSummary]) -> Iterator[str]:
    for c in configurations:
        if c.rule != "none" and not c.hindsight and not _goes_through(c) and c.baseline is None:
            ways = f"--exit none, or with --exit fixed:{c.layers}"
            yield f"{c.label} has no baseline among these runs: add one with {ways}"
    weights = {c.label: c.weights for c in configurations}
    for c in configurations:
        if c.baseline is not None and weights[c.baseline] != c.weights:
            yield (
                f"{c.label} runs other weights than {c.baseline}: add --exit fixed:{c.layers} to tell what early exit "
                "does from what fine-tuning does"
            )
    for c in configurations:
        if c.hindsight:
            yield (
                f"{c.label} tells afterwards where tokens could have left: its energy and time are not those of early "
                "exit"
            )


# ---------------------------------------------------------------- against the oracle


def distance(
    one: ExitSummary, oracle: ExitSummary, samples: Sequence[Sample], judged: Sequence[Sample]
) -> OracleDistance:
    """Compare exits token by token where a completion is the oracle's, and mean layers over all."""
    ideal = {(sample.task_id, sample.sample_index): sample for sample in judged}
    pairs: list[tuple[int, int]] = []
    same = 0
    for sample in samples:
        twin = ideal.get((sample.task_id, sample.sample_index))
        if twin is None or twin.text != sample.text or twin.completion_tokens != sample.completion_tokens:
            continue
        same += 1
        pairs += zip((sample.exit_layers or ())[1:], (twin.exit_layers or ())[1:], strict=True)
    means = one.mean_exit_layer_decoded, oracle.mean_exit_layer_decoded
    return OracleDistance(
        label=one.label,
        oracle=oracle.label,
        mean_layers_above=None if means[0] is None or means[1] is None else means[0] - means[1],
        same_texts=same,
        tokens=len(pairs),
        at=_share([left == needed for left, needed in pairs]),
        later=_share([left > needed for left, needed in pairs]),
        earlier=_share([left < needed for left, needed in pairs]),
    )


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
