"""One early-exit configuration over its runs: where tokens left, quality, energy, time, calls of the rule."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field

from passkwh.analysis.frames import Run
from passkwh.analysis.results import Interval
from passkwh.measures import quality
from passkwh.records import Record, Sample

EnergyKind = Literal["gross", "net"]


class Savings(Record):
    """What a configuration saves and loses against one baseline: shares of the baseline's, per sample."""

    baseline: Annotated[str, Field(description="label of the configuration that it is compared with")]
    gross_saved: Annotated[float | None, Field(description="1 - gross energy of generating / the baseline's")]
    net_saved: float | None
    time_saved: float | None
    gross_j_saved_per_token: Annotated[float | None, Field(description="the baseline's gross J/token less its own")] = (
        None
    )
    net_j_saved_per_token: float | None = None
    quality_lost: Annotated[dict[str, float], Field(description="1 - metric / the baseline's, where that is not 0")]
    energy_saved_interval: Annotated[
        Interval | None, Field(description="the saved share of the energy that leads, over units of measurement")
    ] = None
    score_lost: Annotated[
        tuple[Interval, ...],
        Field(description="1 - the mean of tasks' own scores / the baseline's, by metric, over tasks"),
    ] = ()

    def energy_saved(self, kind: EnergyKind) -> float | None:
        """The share of gross or net energy saved."""
        return self.gross_saved if kind == "gross" else self.net_saved

    def lost(self, metric: str) -> Interval | None:
        """The share lost of the mean of tasks' own scores, with its interval."""
        return next((one for one in self.score_lost if one.measure == f"{metric}_lost"), None)

    def j_saved_per_token(self, kind: EnergyKind) -> float | None:
        """Joules of gross or net energy saved for each generated token."""
        return self.gross_j_saved_per_token if kind == "gross" else self.net_j_saved_per_token


class ExitSummary(Record):
    """One configuration, averaged over its repeats."""

    label: str
    runs: tuple[str, ...]
    model: str
    quant: str
    engine: str = "transformers"
    batch_size: int = 1
    weights: str
    """Revision of the weights that ran."""
    rule: str
    """fixed, agent, ...; ``none`` where all tokens go through all layers without a rule."""
    argument: float | None
    """The rule's layer or threshold, where it has one."""
    agent: str | None
    """Which of the bundle's agents the rule asks."""
    bundle: str = ""
    """``,bundle=FOLDER`` as ``--exit`` has it; empty without."""
    kv: str | None
    layers: int | None
    exits: tuple[int, ...]
    hindsight: bool
    lossless: bool = False
    """Its tokens are those of all layers, by construction: it decides what is computed, not what is written."""
    drafted_per_check: float | None = None
    """Tokens that a pass of the whole model checked on average; None without drafts."""
    acceptance: float | None = None
    """Share of drafted tokens that were right."""
    tokens_per_check: float | None = None
    """Tokens that a pass gave on average."""
    samples: int
    tokens: int
    """Generated in all runs."""
    quality: dict[str, float]
    mean_exit_layer: float | None
    """Over all generated tokens, layers counted from 1. The prompt's pass through all layers gives the first token of
    each completion, which raises the mean by (layers - mean of the others) / tokens of a completion."""
    mean_exit_layer_decoded: float | None
    """Without the first token of each completion: what the rule decided."""
    layers_skipped: float | None
    exit_shares: dict[int, float]
    """Share of decoded tokens that left at each exit."""
    calls_per_token: float | None = None
    """How often the rule was asked for a generated token: at every exit before the last that the token reached."""
    generation_net_j: float | None
    """Of one run."""
    generation_gross_j: float | None
    joules_per_token: float | None
    tokens_per_s: float | None
    """All tokens / all time of generating."""
    tokens_per_s_mean: float | None = None
    """Mean of each sample's own tokens / time: what GREEN-CODE prints. Where all samples have as many tokens it is
    never below the ratio of totals, since short times weigh more."""
    s_per_sample: float
    against_base: Savings | None = None
    """Against the unmodified model at full depth; None for that itself, and where it is not among the runs."""
    against_full_depth: Savings | None = None
    """Against the same (fine-tuned or quantized) weights at full depth; None for those, and where they did not run."""

    @property
    def rule_and_agent(self) -> str:
        """The rule, with the agent that it asks."""
        return self.rule if self.agent is None else f"{self.rule} {self.agent}"

    @property
    def is_base(self) -> bool:
        """The unmodified model: no rule, no quantization."""
        return self.rule == "none" and self.quant == "none"

    @property
    def is_full_depth(self) -> bool:
        """Every token goes through all layers, by no rule or by a fixed exit at the last."""
        return self.rule == "none" or (self.rule == "fixed" and self.argument == self.layers)

    @property
    def decides(self) -> bool:
        """A rule that is asked at exits and whose energy is that of early exit."""
        return self.rule not in ("none", "fixed") and not self.hindsight and not self.lossless

    def energy_j(self, kind: EnergyKind) -> float | None:
        """Gross or net energy of generating in one run."""
        return self.generation_gross_j if kind == "gross" else self.generation_net_j

    def energy_per_sample_j(self, kind: EnergyKind) -> float | None:
        """The same for one sample."""
        energy_j = self.energy_j(kind)
        return None if energy_j is None else energy_j * len(self.runs) / self.samples

    def energy_per_token_j(self, kind: EnergyKind) -> float | None:
        """The same for one generated token."""
        energy_j = self.energy_j(kind)
        return None if energy_j is None or not self.tokens else energy_j * len(self.runs) / self.tokens


def summarise(label: str, runs: Sequence[Run], samples: Sequence[Sample], metrics: Sequence[str]) -> ExitSummary:
    """A configuration from its runs and all of their samples."""
    manifest = runs[0].manifest
    about = manifest.model.early_exit
    rule, argument = _rule(manifest.spec.exit, about.get("threshold"))
    exits = tuple(int(part) for part in str(about["exits"]).split("+")) if about else ()
    decoded = [layer for sample in samples for layer in (sample.exit_layers or ())[1:]]
    drafted = [count for sample in samples if sample.drafts for count in sample.drafts.drafted]
    accepted = [count for sample in samples if sample.drafts for count in sample.drafts.accepted]
    every = [layer for sample in samples for layer in sample.exit_layers or ()]
    tokens = sum(run.summary.completion_tokens or 0 for run in runs)  # imported runs have no early exit
    seconds = sum(run.summary.generation_s or 0.0 for run in runs)
    net_j, gross_j = (_sum([_generation_j(run, kind) for run in runs]) for kind in ("net_j", "gross_j"))
    layers = int(about["layers"]) if about else None
    rates = [s.completion_tokens / s.latency_s for s in samples if s.latency_s and s.completion_tokens is not None]
    return ExitSummary(
        label=label,
        runs=tuple(str(run.path) for run in runs),
        model=manifest.model.name,
        quant=manifest.model.quant,
        engine=manifest.model.engine,
        batch_size=manifest.spec.batch_size,
        weights=manifest.model.revision,
        rule=rule,
        argument=argument,
        agent=str(about["agent"]) if "agent" in about else None,
        bundle="".join((manifest.spec.exit or "").partition(",bundle=")[1:]),
        kv=str(about["kv"]) if "kv" in about else None,
        layers=layers,
        exits=exits,
        hindsight=bool(about.get("hindsight", False)),
        lossless=bool(about.get("lossless", False)),
        drafted_per_check=statistics.fmean(drafted) if drafted else None,
        acceptance=sum(accepted) / sum(drafted) if sum(drafted) else None,
        tokens_per_check=1 + statistics.fmean(accepted) if accepted else None,
        samples=len(samples),
        tokens=tokens,
        quality={name: statistics.fmean(quality(name).value(run.summary) or 0.0 for run in runs) for name in metrics},
        mean_exit_layer=statistics.fmean(every) if every else None,
        mean_exit_layer_decoded=statistics.fmean(decoded) if decoded else None,
        layers_skipped=1 - statistics.fmean(every) / layers if every and layers else None,
        exit_shares={layer: n / len(decoded) for layer, n in sorted(Counter(decoded).items())},
        calls_per_token=sum(calls(decoded, exits)) / len(every) if every and rule not in ("none", "fixed") else None,
        generation_net_j=None if net_j is None else net_j / len(runs),
        generation_gross_j=None if gross_j is None else gross_j / len(runs),
        joules_per_token=gross_j / tokens if gross_j is not None and tokens else None,
        tokens_per_s=tokens / seconds if seconds > 0 else None,
        tokens_per_s_mean=statistics.fmean(rates) if rates else None,
        s_per_sample=seconds / len(samples),
    )


def calls(left: Sequence[int], exits: Sequence[int]) -> list[int]:
    """How often a rule is asked for tokens that left at the layers ``left``: at each exit before the last, up to there.

    Example:
        >>> calls([4, 8, 12], [4, 8, 12])
        [1, 2, 2]
    """
    return [sum(layer <= at for layer in exits[:-1]) for at in left]


def _rule(text: str | None, threshold: object) -> tuple[str, float | None]:
    """The rule's name, and its argument where that is a number, else the threshold that it came to."""
    if text is None:
        return "none", None
    name, _, argument = text.partition(",")[0].partition(":")
    for value in (argument, threshold):
        with suppress(ValueError, TypeError):
            return name, float(value)  # type: ignore[arg-type]  # what is no number is suppressed
    return name, None


def _generation_j(run: Run, kind: str) -> float | None:
    values = [getattr(c.generation, kind) for c in run.summary.channels if c.counted]
    return _sum(values) if values else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
