"""Runs with and without early exit, analysed together: fixed exits, histograms, threshold sweeps, the oracle.

All runs share benchmark, decoding, machine and meter (``pooling.check_agreement``); repeats of a configuration are
averaged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from passkwh.analysis.exits.baselines import notes, with_savings
from passkwh.analysis.exits.intervals import with_intervals
from passkwh.analysis.exits.oracle import OracleDistance, distance
from passkwh.analysis.exits.overhead import Overhead, overheads
from passkwh.analysis.exits.summary import EnergyKind, ExitSummary, summarise
from passkwh.analysis.frames import Frames, Run
from passkwh.analysis.pooling import Comparison, check_agreement, group
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Sample

DEFAULT_METRICS = ("rougeL", "codebleu", "codebleu_syntax", "codebleu_dataflow", "bleu", "chrf", "exact_match")
"""Reported where the benchmark has them (GREEN-CODE, VI-A and figures 8-11); a benchmark with verdicts has pass@1."""


@dataclass(frozen=True)
class ExitStudy:
    """The exits analysis of some runs."""

    configurations: tuple[ExitSummary, ...]
    oracle: tuple[OracleDistance, ...]
    metrics: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: str
    """Of all energies: measured, estimated or simulated, or mixed."""
    energy: EnergyKind = "gross"
    """Which energy leads in tables, sentences and figures. GREEN-CODE's is gross."""
    overhead: tuple[Overhead, ...] = field(default=())

    def fixed(self) -> list[ExitSummary]:
        """Fixed exits by layer (fig. 1)."""
        return sorted((c for c in self.configurations if c.rule == "fixed"), key=lambda c: c.argument or 0)

    def lossless(self) -> list[ExitSummary]:
        """Configurations whose tokens are those of all layers, by rule and argument."""
        return sorted((c for c in self.configurations if c.lossless), key=lambda c: (c.rule, c.argument or 0, c.label))

    def sweeps(self) -> dict[str, list[ExitSummary]]:
        """Thresholds of every rule (and agent) that has them, rising (figs. 8-11)."""
        by_rule: dict[str, list[ExitSummary]] = {}
        for c in self.configurations:
            if c.rule not in ("none", "fixed", "oracle") and not c.lossless:
                by_rule.setdefault(c.rule_and_agent, []).append(c)
        return {rule: sorted(some, key=lambda c: c.argument or 0) for rule, some in by_rule.items()}

    def ordered(self) -> list[ExitSummary]:
        """All configurations: without early exit, lossless ones, fixed exits, sweeps, the oracle."""
        order = [c for c in self.configurations if c.rule == "none"] + self.lossless() + self.fixed()
        order += [c for some in self.sweeps().values() for c in some]
        return order + [c for c in self.configurations if c.rule == "oracle"]

    def content(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "energy": self.energy,
            "configurations": [c.model_dump(mode="json") for c in self.configurations],
            "overhead": [o.model_dump(mode="json") for o in self.overhead],
            "oracle": [d.model_dump(mode="json") for d in self.oracle],
            "metrics": list(self.metrics),
            "notes": list(self.notes),
        }


def study(frames: Frames, metrics: Sequence[str] = (), energy: EnergyKind = "gross") -> ExitStudy:
    """Analyse runs of one benchmark, with and without early exit; ``energy`` is the one that leads.

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
    rules = [frames.runs[g.runs[0]].manifest.spec.exit for g in groups]
    for label, configuration in zip(_labels([g.label for g in groups], rules), groups, strict=True):
        runs = [frames.runs[position] for position in configuration.runs]
        samples[label] = [sample for run in runs for sample in RunFolder.open(run.path).samples()]
        configurations.append(summarise(label, runs, samples[label], chosen))
    compared = with_intervals(
        [with_savings(one, configurations) for one in configurations],
        Comparison(frames, groups, tuple(dict.fromkeys(s.task_id for s in samples[configurations[0].label])), ()),
        samples,
        energy,
    )
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
    return ExitStudy(
        compared, distances, chosen, tuple(notes(compared)), provenance, energy, tuple(overheads(compared, energy))
    )


def _labels(labels: Sequence[str], rules: Sequence[str | None]) -> list[str]:
    """Labels without the bundle's folder and the revision, where they still differ, and with the rule also where all
    configurations have the same; full depth is ``all layers``.
    """
    short = [re.sub(r",bundle=.*| revision=\S+", "", label).replace("exit=none", "all layers") for label in labels]
    named = [
        label if re.search(" exit=| all layers", label) else f"{label} {_rule_named(rule)}"
        for label, rule in zip(short, rules, strict=True)
    ]
    return named if len(set(named)) == len(named) else list(labels)


def _rule_named(rule: str | None) -> str:
    return "all layers" if rule is None else f"exit={rule.partition(',bundle=')[0]}"


def _metrics(runs: Sequence[Run], wanted: Sequence[str]) -> tuple[str, ...]:
    known = [set(run.summary.metrics) | ({"pass@1"} if "1" in run.summary.pass_at_k else set()) for run in runs]
    common = set.intersection(*known)
    for name in wanted:
        if name not in common:
            raise UsageError(f"--metric {name}: all of these runs have {', '.join(sorted(common)) or 'none'}")
    return tuple(wanted) or tuple(name for name in (*DEFAULT_METRICS, "pass@1") if name in common)
