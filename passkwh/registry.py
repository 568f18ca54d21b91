"""Registries: what can be named on a command line, who provides it, and where its code is.

A registry is a group of named things (engines, benchmarks, ...). Its built-in members are listed here, as
``"module:attribute"``; others come from installed packages through an entry-point group of the registry's name, or from
:func:`register` in this process. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from passkwh.errors import UsageError

OURS = "passkwh"
"""Who provides what is built in."""
THIS_PROCESS = "this process"
"""Who provides what :func:`register` added."""


class Registry:
    """Named things of one kind.

    Example:
        >>> BENCHMARKS.names()
        ['bigcodebench', 'humaneval', 'humaneval-infilling', 'humanevalpack', 'humanevalplus', 'javacorpus',
        'livecodebench', 'mbpp', 'mbppplus', 'py150']
        >>> BENCHMARKS.provider("mbpp")
        'passkwh'
    """

    def __init__(self, group: str, noun: str, built_in: Mapping[str, str]) -> None:
        """``group`` is that of the entry points; ``noun`` is what messages call a member."""
        self.group = group
        self.noun = noun
        self._built_in = dict(built_in)
        self._added: dict[str, Any] = {}

    def names(self) -> list[str]:
        """Names of all members, sorted."""
        return sorted({*self._built_in, *self._added, *_entry_points(self.group)})

    def by_preference(self) -> list[str]:
        """Names of all members: the built-in ones in the order in which they are listed here, then others, sorted."""
        return [*self._built_in, *(name for name in self.names() if name not in self._built_in)]

    def providers(self, name: str) -> list[str]:
        """Who has a member of this name: ``passkwh``, or a package with its version. More than one is a conflict."""
        packages = [_package(point) for point in _entry_points(self.group).get(name, ())]
        return [OURS] * (name in self._built_in) + [THIS_PROCESS] * (name in self._added) + packages

    def provider(self, name: str) -> str:
        """Who provides a member. Raises UsageError for a name that nobody has, or that several have (naming them)."""
        providers = self.providers(name)
        if not providers:
            raise UsageError(self.unknown(name))
        if len(providers) > 1:
            raise UsageError(
                f"{self.noun} {name!r} is provided by {' and by '.join(providers)}: uninstall all but one of them"
            )
        return providers[0]

    def get(self, name: str) -> Any:
        """The member of this name, imported now.

        Raises:
            UsageError: nobody has the name (with those that come close), several packages have it (naming them), or
                its package cannot be imported.
        """
        provider = self.provider(name)
        if name in self._built_in:
            return _load(self._built_in[name])
        if name in self._added:
            return self._added[name]
        (point,) = _entry_points(self.group)[name]
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"{self.noun} {name!r} of {provider} cannot be imported ({type(error).__name__}: {error}): "
                f"mend or uninstall that package"
            ) from error

    def unknown(self, name: str) -> str:
        """What to say to a name that nobody has, with the names that come close."""
        known = self.names()
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        return f"unknown {self.noun} {name!r}: {hint}there are {', '.join(known)}"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.providers(name))

    def add(self, name: str, member: Any) -> None:
        """A member for the rest of this process. Raises UsageError where the name is taken (naming by whom)."""
        if taken := self.providers(name):
            raise UsageError(f"{self.noun} {name!r} is already provided by {' and by '.join(taken)}: take another name")
        self._added[name] = member


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


@functools.cache
def _entry_points(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    points: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        same_name = points.get(point.name, ())
        if _package(point) not in map(
            _package, same_name
        ):  # a folder that is on the path twice lists its packages twice
            points[point.name] = (*same_name, point)
    return points


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


# ---------------------------------------------------------------- the nine groups

ENGINES = Registry(
    "passkwh.engines",
    "engine",
    {
        # In the order in which ``auto`` tries them.
        "endpoint": "passkwh.adapters.engines.endpoint:ENGINE",
        "transformers": "passkwh.adapters.engines.transformers:ENGINE",
        "llamacpp": "passkwh.adapters.engines.llamacpp:ENGINE",
        "vllm": "passkwh.adapters.engines.vllm:ENGINE",
        "sglang": "passkwh.adapters.engines.sglang:ENGINE",
    },
)
QUANTIZATIONS = Registry(
    "passkwh.quantizations",
    "quantization",
    {
        "auto-round": "passkwh.adapters.quantization.formats:AUTO_ROUND",
        "awq": "passkwh.adapters.quantization.awq:AWQ",
        "bnb-fp4": "passkwh.adapters.quantization.bitsandbytes:FP4",
        "bnb-int8": "passkwh.adapters.quantization.bitsandbytes:INT8",
        "bnb-nf4": "passkwh.adapters.quantization.bitsandbytes:NF4",
        "compressed-tensors": "passkwh.adapters.quantization.formats:COMPRESSED_TENSORS",
        "fp8": "passkwh.adapters.quantization.formats:FP8",
        "gguf-iq4_xs": "passkwh.adapters.quantization.gguf:IQ4_XS",
        "gguf-q2_k": "passkwh.adapters.quantization.gguf:Q2_K",
        "gguf-q3_k_l": "passkwh.adapters.quantization.gguf:Q3_K_L",
        "gguf-q3_k_m": "passkwh.adapters.quantization.gguf:Q3_K_M",
        "gguf-q3_k_s": "passkwh.adapters.quantization.gguf:Q3_K_S",
        "gguf-q4_0": "passkwh.adapters.quantization.gguf:Q4_0",
        "gguf-q4_1": "passkwh.adapters.quantization.gguf:Q4_1",
        "gguf-q4_k_m": "passkwh.adapters.quantization.gguf:Q4_K_M",
        "gguf-q4_k_s": "passkwh.adapters.quantization.gguf:Q4_K_S",
        "gguf-q5_0": "passkwh.adapters.quantization.gguf:Q5_0",
        "gguf-q5_1": "passkwh.adapters.quantization.gguf:Q5_1",
        "gguf-q5_k_m": "passkwh.adapters.quantization.gguf:Q5_K_M",
        "gguf-q5_k_s": "passkwh.adapters.quantization.gguf:Q5_K_S",
        "gguf-q6_k": "passkwh.adapters.quantization.gguf:Q6_K",
        "gguf-q8_0": "passkwh.adapters.quantization.gguf:Q8_0",
        "gptq-int2": "passkwh.adapters.quantization.gptq:INT2",
        "gptq-int3": "passkwh.adapters.quantization.gptq:INT3",
        "gptq-int4": "passkwh.adapters.quantization.gptq:INT4",
        "gptq-int8": "passkwh.adapters.quantization.gptq:INT8",
        "hqq": "passkwh.adapters.quantization.formats:HQQ",
        "mxfp4": "passkwh.adapters.quantization.formats:MXFP4",
        "nvfp4": "passkwh.adapters.quantization.formats:NVFP4",
        "torchao-fp8": "passkwh.adapters.quantization.torchao:FP8",
        "torchao-int4": "passkwh.adapters.quantization.torchao:INT4",
        "torchao-int8": "passkwh.adapters.quantization.torchao:INT8",
    },
)
BENCHMARKS = Registry(
    "passkwh.benchmarks",
    "benchmark",
    {
        "bigcodebench": "passkwh.benchmarks.bigcodebench.benchmark:BigCodeBench",
        "humaneval": "passkwh.benchmarks.humaneval:HumanEval",
        "humaneval-infilling": "passkwh.benchmarks.infilling:HumanEvalInfilling",
        "humanevalpack": "passkwh.benchmarks.humanevalpack:HumanEvalPack",
        "humanevalplus": "passkwh.benchmarks.humanevalplus:HumanEvalPlus",
        "javacorpus": "passkwh.benchmarks.completion.benchmark:JavaCorpus",
        "livecodebench": "passkwh.benchmarks.livecodebench:LiveCodeBench",
        "mbpp": "passkwh.benchmarks.mbpp:Mbpp",
        "mbppplus": "passkwh.benchmarks.mbppplus:MbppPlus",
        "py150": "passkwh.benchmarks.completion.benchmark:Py150",
    },
)
METERS = Registry(
    "passkwh.meters",
    "meter",
    {
        "auto": "passkwh.harness.meter.auto:METER",
        "estimate": "passkwh.harness.meter.estimate:METER",
        "http": "passkwh.harness.meter.endpoint:HTTP",
        "https": "passkwh.harness.meter.endpoint:HTTPS",
        "nvidia": "passkwh.harness.meter.nvidia:METER",
        "rapl": "passkwh.harness.meter.rapl:METER",
        "replay": "passkwh.harness.meter.replay:METER",
        "simulated": "passkwh.harness.meter.simulated:METER",
    },
)
EXIT_RULES = Registry(
    "passkwh.exit_rules",
    "exit rule",
    {
        "agent": "passkwh.adapters.early_exit.rules.agent:Agent",
        "confidence": "passkwh.adapters.early_exit.rules.distribution:Confidence",
        "draft": "passkwh.adapters.early_exit.drafts.exit:ExitDrafter",
        "entropy": "passkwh.adapters.early_exit.rules.distribution:Entropy",
        "fixed": "passkwh.adapters.early_exit.rules.fixed:Fixed",
        "lookup": "passkwh.adapters.early_exit.drafts.lookup:LookupDrafter",
        "oracle": "passkwh.adapters.early_exit.rules.oracle:Oracle",
    },
)
EXIT_FAMILIES = Registry(
    "passkwh.exit_families",
    "family of models that can be left early",
    {
        "gemma3_text": "passkwh.adapters.early_exit.families.rotary:GEMMA3",
        "llama": "passkwh.adapters.early_exit.families.rotary:LLAMA",
        "mistral": "passkwh.adapters.early_exit.families.rotary:MISTRAL",
        "mixtral": "passkwh.adapters.early_exit.families.rotary:MIXTRAL",
        "opt": "passkwh.adapters.early_exit.families.opt:opt",
        "phi3": "passkwh.adapters.early_exit.families.rotary:PHI3",
        "qwen2": "passkwh.adapters.early_exit.families.rotary:QWEN2",
        "qwen3": "passkwh.adapters.early_exit.families.rotary:QWEN3",
        "qwen3_moe": "passkwh.adapters.early_exit.families.rotary:QWEN3_MOE",
    },
)
REPORT_SECTIONS = Registry(
    "passkwh.report_sections",
    "report section",
    {
        "coverage": "passkwh.reports.sections.coverage:COVERAGE",
        "early-exit": "passkwh.reports.sections.exits:EXITS",
        "experiment-awq": "passkwh.reports.sections.experiments:AWQ",
        "experiment-batch-size": "passkwh.reports.sections.experiments:BATCH_SIZE",
        "experiment-fine-tuning": "passkwh.reports.sections.experiments:FINE_TUNING",
        "experiment-gptq": "passkwh.reports.sections.experiments:GPTQ",
        "experiment-model-size": "passkwh.reports.sections.experiments:MODEL_SIZE",
        "footprint": "passkwh.reports.sections.footprint:FOOTPRINT",
        "granularity": "passkwh.reports.sections.granularity:GRANULARITY",
        "hypotheses": "passkwh.reports.sections.hypotheses:HYPOTHESES",
        "latency": "passkwh.reports.sections.latency:LATENCY",
        "life-cycle": "passkwh.reports.sections.life_cycle:LIFE_CYCLE",
        "measured": "passkwh.reports.sections.measured:MEASURED",
        "paired": "passkwh.reports.sections.paired:PAIRED",
        "power": "passkwh.reports.sections.measured:POWER",
        "results": "passkwh.reports.sections.results:RESULTS",
        "summary": "passkwh.reports.sections.summary:SUMMARY",
        "thinking": "passkwh.reports.sections.thinking:THINKING",
        "threats": "passkwh.reports.sections.threats:THREATS",
    },
)
EXPORTS = Registry(
    "passkwh.exports",
    "export format",
    {
        "csv": "passkwh.exchange.tables:CSV",
        "eee": "passkwh.exchange.eee:EEE",
        "hf-eval": "passkwh.exchange.hub_results:HUB_RESULTS",
        "inspect": "passkwh.exchange.inspect_log:INSPECT",
        "mlperf": "passkwh.exchange.mlperf:MLPERF",
        "parquet": "passkwh.exchange.tables:PARQUET",
    },
)
IMPORTS = Registry(
    "passkwh.imports",
    "import format",
    {
        "bigcodebench": "passkwh.exchange.program_files:BIGCODEBENCH",
        "evalplus": "passkwh.exchange.program_files:EVALPLUS",
        "inspect": "passkwh.exchange.inspect_log:READER",
        "lm-eval": "passkwh.exchange.lm_eval:LM_EVAL",
    },
)

GROUPS = (ENGINES, QUANTIZATIONS, BENCHMARKS, METERS, EXIT_RULES, EXIT_FAMILIES, REPORT_SECTIONS, EXPORTS, IMPORTS)
_BY_NAME = {registry.group.removeprefix("passkwh."): registry for registry in GROUPS}


def register(group: str, name: str, member: Any) -> None:
    """Add a member to a group for the rest of this process: for notebooks and scripts.

    Runs in processes of their own (``bench sweep run``, a cluster) do not see it: there, install a package with an
    entry point in the group ``passkwh.<group>``.

    Args:
        group: engines, quantizations, benchmarks, meters, exit_rules, exit_families, report_sections, exports or
            imports.
        name: as it is given on a command line.
        member: what the group's contract asks for (docs/architecture.md, "Registries").

    Raises:
        UsageError: no such group, or the name is taken.

    Example:
        >>> register("meters", "mine", object())
        >>> METERS.provider("mine")
        'this process'
    """
    if group not in _BY_NAME:
        raise UsageError(f"there is no group {group!r}: there are {', '.join(_BY_NAME)}")
    _BY_NAME[group].add(name, member)
