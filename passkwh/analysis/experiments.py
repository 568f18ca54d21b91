"""The thesis's experiments by name, each from whatever set of runs is given.

An experiment varies one thing and keeps the rest: runs are put into families that differ in nothing else, and each
family is tested the thesis's way (Shapiro-Wilk, Levene, Kruskal-Wallis, Dunn) and as matched samples beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from passkwh.analysis.assumptions import levene, shapiro_wilk
from passkwh.analysis.conventions import EnergyKind
from passkwh.analysis.data_files import data_file
from passkwh.analysis.frames import Run
from passkwh.analysis.independent_tests import dunn, kruskal_wallis
from passkwh.analysis.paired_tests import conover, friedman
from passkwh.analysis.pooling import Comparison
from passkwh.analysis.results import PairwiseResult, TestResult, no_pairs, no_result
from passkwh.analysis.task_table import task_table
from passkwh.analysis.tasks import TaskTable
from passkwh.errors import UsageError
from passkwh.passk import pass_at_kwh
from passkwh.records import Record
from passkwh.units import joules_to_kwh

ExperimentName = Literal["batch-size", "model-size", "fine-tuning", "awq", "gptq"]

_SIZE = re.compile(r"(?<![a-z0-9.])\d+(?:\.\d+)?[bm](?![a-z0-9])", re.IGNORECASE)
_TUNED = re.compile(r"[-_ ](instruct|chat|it)\b", re.IGNORECASE)
_QUANT = re.compile(r"[-_ ](gptq|awq|int[48]|4bit|8bit|w[48]a16)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Traits:
    """What the experiments vary, read off one run."""

    family: str
    """Model name without its size, tuning and quantization."""
    size: str
    parameters: int | None
    tuning: Literal["base", "instruct"]
    quant: str
    batch_size: int


def traits(run: Run) -> Traits:
    """Family, size, tuning and quantization from a run's model name and records."""
    model = run.manifest.model
    name = model.name.rstrip("/").rsplit("/", 1)[-1]
    size = _SIZE.search(name)
    plain = _QUANT.sub("", _TUNED.sub("", _SIZE.sub("", name)))
    tuning: Literal["base", "instruct"] = "instruct" if model.chat or _TUNED.search(name) else "base"
    return Traits(
        family=re.sub(r"[-_ ]+", "-", plain).strip("-").lower(),
        size=size.group().lower() if size else f"{model.parameters}",
        parameters=model.parameters,
        tuning=tuning,
        quant=model.quant,
        batch_size=run.manifest.spec.batch_size,
    )


def technique(run: Run) -> str:
    """What figure 4.12 of the thesis tells configurations apart by: base, instruct, a quantization, or an exit rule."""
    own, exit_rule = traits(run), run.manifest.spec.exit
    if exit_rule:
        return exit_rule.partition(":")[0]
    return own.tuning if own.quant == "none" else own.quant


@dataclass(frozen=True)
class _ExperimentDesign:
    vary: str
    keep: tuple[str, ...]
    """Traits that members of a family have in common."""
    levels: tuple[object, ...]
    """The levels that take part, in order; any when empty."""
    needs: str

    def key(self, run: Run, own: Traits) -> tuple[object, ...]:
        """Equal for members of one family."""
        return (
            *(getattr(own, name) for name in self.keep),
            run.manifest.spec.exit or "none",
            run.manifest.spec.concurrency,
        )

    def order(self, level: object) -> float:
        if self.levels:
            return float(self.levels.index(level))
        return float(level) if isinstance(level, int) else 0.0


DESIGNS: dict[ExperimentName, _ExperimentDesign] = {
    name: _ExperimentDesign(d["vary"], tuple(d["keep"]), tuple(d.get("levels", ())), d["needs"])
    for name, d in data_file("experiments.toml").items()
}


class MetricsRow(Record):
    """A row of tables 5.18, 5.24, 5.29, 5.34 and 5.40."""

    label: str
    energy_kwh: float | None
    latency_min: float | None
    throughput_tok_s: float | None
    pass_at_1: float | None
    pass_at_kwh: float | None


class FamilyResult(Record):
    """Configurations that differ in one thing only."""

    title: str
    labels: tuple[str, ...]
    metrics: tuple[MetricsRow, ...]
    shapiro_wilk: tuple[TestResult, ...]
    levene: TestResult
    kruskal_wallis: TestResult
    dunn: PairwiseResult
    friedman: TestResult
    conover: PairwiseResult


class Experiment(Record):
    """A named experiment over all families found."""

    name: ExperimentName
    energy: EnergyKind
    families: tuple[FamilyResult, ...]


def run_experiment(name: ExperimentName, comparison: Comparison, energy: EnergyKind = "gross") -> Experiment:
    """Find the experiment's families among the configurations and test each.

    Raises:
        UsageError: when no family has two levels, saying what the experiment needs.
    """
    design = DESIGNS[name]
    families = members(name, comparison)
    table = task_table(comparison, energy)
    results = []
    for key, own in families.items():
        ordered = sorted(own, key=lambda pair: design.order(pair[0]))
        results.append(_test(_title(key), table.select([label for _, label in ordered])))
    return Experiment(name=name, energy=energy, families=tuple(results))


def members(name: ExperimentName, comparison: Comparison) -> dict[tuple[object, ...], list[tuple[object, str]]]:
    """The experiment's families, each with the levels and labels of its members.

    Raises:
        UsageError: when no family has two levels, saying what the experiment needs.
    """
    design = DESIGNS[name]
    by_key: dict[tuple[object, ...], list[tuple[object, str]]] = {}
    for configuration in comparison.configurations:
        run = comparison.frames.runs[configuration.runs[0]]
        own = traits(run)
        level = getattr(own, design.vary)
        if level is not None and (not design.levels or level in design.levels):
            by_key.setdefault(design.key(run, own), []).append((level, configuration.label))
    families = {key: own for key, own in by_key.items() if len({level for level, _ in own}) > 1}
    if not families:
        have = ", ".join(comparison.labels())
        raise UsageError(f"experiment {name} needs runs of {design.needs}; these are {have}")
    return families


def metrics(table: TaskTable) -> tuple[MetricsRow, ...]:
    """Energy, latency, throughput, pass@1 and pass@kWh of each configuration, over one run's tasks."""
    rates = table.pass_rates()
    rows = []
    for i, label in enumerate(table.labels):
        energy_j, seconds, tokens = (float(v[i].sum()) for v in (table.energy_j, table.generation_s, table.tokens))
        rate = float(rates[i].mean()) if len(table.task_ids) else float("nan")
        known_rate, known_energy = (None if rate != rate else rate), (None if energy_j != energy_j else energy_j)
        rows.append(
            MetricsRow(
                label=label,
                energy_kwh=None if known_energy is None else joules_to_kwh(known_energy),
                latency_min=seconds / 60.0,
                throughput_tok_s=tokens / seconds if seconds > 0 else None,
                pass_at_1=known_rate,
                pass_at_kwh=pass_at_kwh(known_rate, known_energy),
            )
        )
    return tuple(rows)


def _test(title: str, table: TaskTable) -> FamilyResult:
    metered = table.metered()
    groups, unlike = table.groups(metered)
    per_unit, apart = table.matched_energies(metered)
    return FamilyResult(
        title=title,
        labels=table.labels,
        metrics=metrics(table),
        shapiro_wilk=tuple(shapiro_wilk(values) for values in table.energies().values()),
        levene=no_result("Levene", 0, unlike) if unlike else levene(groups),
        kruskal_wallis=no_result("Kruskal-Wallis", 0, unlike) if unlike else kruskal_wallis(groups),
        dunn=no_pairs("Dunn", "bonferroni", metered, unlike) if unlike else dunn(groups),
        friedman=no_result("Friedman", 0, apart) if apart else friedman(per_unit),
        conover=no_pairs("Conover", "holm", metered, apart) if apart else conover(per_unit, metered),
    )


def _title(key: tuple[object, ...]) -> str:
    """A family in words: a name without a size has its number of parameters, which reads as 15.7B."""
    return " ".join(_in_billions(str(part)) for part in key if part not in ("none", 1))


def _in_billions(part: str) -> str:
    if not part.isdigit() or len(part) < 7:
        return part
    count = int(part)
    return f"{count / 1e9:.3g}B" if count >= 1e9 else f"{count / 1e6:.3g}M"
