"""Options that several commands have, defined once: a command takes one as an annotation and states its default.

def compare(a: Path, level: Level = 0.95, as_json: AsJson = False) -> None: ...
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from passkwh.cli import complete
from passkwh.errors import UsageError

if TYPE_CHECKING:
    from passkwh.adapters.checkpoint import Overrides
    from passkwh.analysis.footprint import FootprintAssumptions
    from passkwh.analysis.overview import AnalysisSettings
    from passkwh.records import Option

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")]

ConventionName = Annotated[
    str | None,
    typer.Option(
        "--convention",
        help="Which energy leads: passkwh (gross, all counted channels, generation and scoring), thesis (net, GPU, "
        "both) or green-code (gross, GPU, generation). Default: the study's, else passkwh.",
        autocompletion=complete.conventions,
    ),
]
Energy = Annotated[
    str | None,
    typer.Option(
        help="gross, or net of idle power, in place of the convention's.",
        autocompletion=complete.one_of("gross", "net"),
    ),
]
ExitMetric = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", help="Quality to compare under early exit; repeat for several. Default: all of GREEN-CODE's."
    ),
]
Region = Annotated[str | None, typer.Option(help="Country whose grid's carbon intensity is used, as NLD.")]
Pue = Annotated[float, typer.Option(help="Building's energy over that of its computers, for carbon and cost.")]
Price = Annotated[float | None, typer.Option(help="Price of a kilowatt-hour, in any currency.")]
Margin = Annotated[float, typer.Option(help="Margin of pass@1 for 'no loss of accuracy'.")]
Resamples = Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")]
BootstrapSeed = Annotated[int, typer.Option(min=0, help="Of the bootstrap.")]
Level = Annotated[float, typer.Option(help="Confidence level.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse runs whose task sets differ.")]

Meter = Annotated[
    str, typer.Option("--meter", help="NAME or NAME:ARGUMENT, see `bench list`.", autocompletion=complete.meters)
]

Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Program that computes, see `bench list`; auto: the first that can.",
        autocompletion=complete.engines,
    ),
]

TaskData = Annotated[Path | None, typer.Option(help="Local file with the benchmark's tasks.")]
TaskIds = Annotated[
    str | None,
    typer.Option(
        "--task-ids",
        metavar="A,B,...",
        help="Only these tasks, or those of @FILE, an id a line; --limit then takes the first of them.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="DAY", help="Only tasks of this day and later, YYYY-MM-DD, where tasks have a day."),
]
Until = Annotated[str | None, typer.Option(metavar="DAY", help="Only tasks of this day and earlier.")]
TaskLimit = Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Prompts generated together.")]
Workers = Annotated[int, typer.Option(min=0, help="Programs at a time; 0 is one per core.")]
UnsafeEvaluation = Annotated[
    bool, typer.Option("--unsafe-evaluation", help="Go on where the kernel refuses a layer of the isolation.")
]


def out_folder(path: Path | None) -> Path | None:
    """``--out`` where it names a folder, checked before the work: a callback of typer's.

    Raises UsageError where the folder, or the one that it would be made in, is a file or may not be written to.
    """
    if path is None:
        return None
    above = next((place for place in (path, *path.absolute().parents) if os.path.lexists(place)), Path("/"))
    if not above.is_dir():
        inside = "" if above == path else f" cannot be made: {above}"
        raise UsageError(f"--out {path}{inside} is a file: name a folder, made if need be")
    if not os.access(above, os.W_OK | os.X_OK):
        inside = "" if above == path else f" in {above}"
        raise UsageError(f"--out {path}: you may not write{inside}: choose another folder")
    return path


def typed_values(pairs: Sequence[str] | None, option: str) -> dict[str, Option]:
    """``KEY=VALUE`` texts as a mapping; a value that reads as a whole number, a number or true or false is that.

    Raises UsageError for a text without ``=``, or a key that is given twice.

    Example:
        >>> typed_values(["n_threads=4", "swa_full=true", "rope_freq_base=1e4"], "--engine-option")
        {'n_threads': 4, 'swa_full': True, 'rope_freq_base': 10000.0}
    """
    values: dict[str, Option] = {}
    for text in pairs or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {text}: write KEY=VALUE")
        if key in values:
            raise UsageError(f"{option} {key} is given twice")
        values[key] = _typed(value)
    return values


def _typed(value: str) -> Option:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(value)
            return number if math.isfinite(number) else value
    return value


LORA_HELP = "LoRA adapter, a folder or hub id, merged into the model's weights."
CODE_HELP = "Let the model's own Python code run; read it first."
QUANT_OPTION_HELP = "Of a quantization that is made here, as group_size=32, desc_act=true; repeat for several."


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What is asked of a model besides its name; each left out is read from the model's files."""

    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            help="base (continue a text) or chat; default: by its files.",
            autocompletion=complete.one_of("base", "chat"),
        ),
    ] = None
    lora: Annotated[str | None, typer.Option(help=LORA_HELP)] = None
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help=CODE_HELP)] = False
    quant_option: Annotated[
        list[str] | None, typer.Option("--quant-option", metavar="KEY=VALUE", help=QUANT_OPTION_HELP)
    ] = None

    def spec_fields(self) -> dict[str, Any]:
        """As fields of a spec."""
        if self.prompt not in (None, "base", "chat"):
            raise UsageError(f"--prompt {self.prompt}: write base or chat")
        return {
            "revision": self.revision,
            "prompt": self.prompt,
            "lora": self.lora,
            "trust_remote_code": self.trust_remote_code,
            "quant_options": typed_values(self.quant_option, "--quant-option"),
        }

    def overrides(self, quant: str) -> Overrides:
        """As the adapters take them, for a quantization."""
        from passkwh.adapters.checkpoint import Overrides

        fields = self.spec_fields()
        return Overrides(**fields if quant != "none" else {**fields, "quant_options": {}})


def analysis_settings(
    by: str,
    energy: str | None,
    resamples: int,
    seed: int,
    level: float,
    margin: float,
    budget_kwh: float | None = None,
    floor: float | None = None,
    deadline_s: float | None = None,
) -> AnalysisSettings:
    """The options of an analysis by a convention, checked. Raises UsageError naming the first that cannot be."""
    from passkwh.analysis.conventions import convention
    from passkwh.analysis.overview import AnalysisSettings

    own = convention(by).energy
    if energy not in (None, "gross", "net"):
        raise UsageError(f"--energy {energy}: write gross or net")
    if not 0.5 < level < 1:
        raise UsageError(f"--level {level}: give a number between 0.5 and 1, for example 0.95")
    if not 0 < margin < 1:
        raise UsageError(f"--margin {margin}: give a difference of pass@1 between 0 and 1, for example 0.02")
    if budget_kwh is not None and not budget_kwh > 0:
        raise UsageError(f"--budget-kwh {budget_kwh:g}: give kilowatt-hours above 0")
    if floor is not None and not 0 <= floor <= 1:
        raise UsageError(f"--floor {floor:g}: give a pass@1 from 0 to 1")
    if deadline_s is not None and not 0 < deadline_s < math.inf:
        raise UsageError(f"--deadline-s {deadline_s:g}: give seconds above 0")
    return AnalysisSettings(
        convention=by, energy=own if energy is None else "net" if energy == "net" else "gross", resamples=resamples,
        seed=seed, level=level, margin=margin, budget_kwh=budget_kwh, accuracy_floor=floor, deadline_s=deadline_s,
    )  # fmt: skip


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose options stand in groups: of a parameter that is a dataclass, each field becomes an option.

    @dataclass(frozen=True)
    class Decoding:
        temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0

    @app.command()
    @grouped
    def run(model: Model, decoding: Decoding) -> None: ...
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, list[str]] = {}
    options: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not dataclasses.is_dataclass(hints[name]):
            options.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        of_fields = get_type_hints(hints[name], include_extras=True)
        groups[name] = [entry.name for entry in dataclasses.fields(hints[name])]
        for entry in dataclasses.fields(hints[name]):
            default = inspect.Parameter.empty if entry.default is dataclasses.MISSING else entry.default
            options.append(
                inspect.Parameter(
                    entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=of_fields[entry.name]
                )
            )

    @functools.wraps(command)
    def call(**values: Any) -> None:
        made = {
            name: hints[name](**{field: values.pop(field) for field in fields if field in values})
            for name, fields in groups.items()
        }
        command(**made, **values)

    call.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call


def footprint_assumptions(region: str | None, pue: float, price: float | None) -> FootprintAssumptions | None:
    """What carbon and cost are computed with; None where neither was asked for."""
    from passkwh.analysis.footprint import FootprintAssumptions, grid

    if not 1 <= pue <= 10:
        raise UsageError(f"--pue {pue:g}: give a number from 1 (computers only) to 10; data centres have 1.1 to 2")
    if price is not None and not 0 <= price < 1e6:
        raise UsageError(f"--price {price:g}: give the price of a kilowatt-hour, 0 or more")
    if region is None and price is None:
        if pue != 1:
            raise UsageError("--pue changes carbon and cost: add --region or --price")
        return None
    return FootprintAssumptions(grid=grid(region) if region is not None else None, pue=pue, price_per_kwh=price)
