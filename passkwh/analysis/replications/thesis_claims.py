"""What the thesis's text says of its figures, recomputed from its tables; the claims are data (claims.toml)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from passkwh.analysis.data_files import data_file
from passkwh.analysis.estimate.architecture import known_model
from passkwh.analysis.estimate.as_printed import AsPrinted, as_printed, parameters
from passkwh.analysis.estimate.cost import Workload
from passkwh.analysis.estimate.devices import find_device
from passkwh.analysis.pareto import frontier
from passkwh.analysis.published import PublishedRow, parse_published
from passkwh.analysis.replications.printed import (
    Range,
    claims_file,
    exactly,
    largest,
    mean_of,
    printed,
    reduction,
    results_file,
    table,
)
from passkwh.analysis.replications.thesis_tables import REGRESSIONS, TASKS, fit_rows, kruskal_p, levene_p
from passkwh.analysis.replications.verdicts import Check, disagreements, judge, judge_statement
from passkwh.analysis.scaling import interaction, size_exponent, tradeoff_shape

SIZES = ("0.5B", "1.5B", "3B", "7B", "14B")
KV_TOKENS = 32_768
"""At which the thesis's 0.67 GB for ten heads follows: a context of Qwen2.5. It states no length."""


@dataclass(frozen=True)
class Computed:
    """What the tables give of a quantity: a figure, or whether a statement holds; and against what it is held."""

    against: str
    figure: Range | None = None
    holds: bool | None = None
    shown: str = ""
    because: str = ""


def text_checks() -> list[Check]:
    """Every claim of the text with its verdict, and figures of one thing that differ between places."""
    checks = [judge_claim(claim, quantity_of(claim["quantity"])) for claim in claims_file("thesis")]
    return [*checks, *disagreements(checks)]


def judge_claim(claim: dict[str, str], got: Computed) -> Check:
    """The verdict on one claim of a text from what its tables give of its quantity."""
    figure, quantity = claim.get("figure", ""), claim["quantity"]
    if " to " in figure:
        return _judge_span(claim, figure, got)
    if figure:
        return judge(
            claim["place"], claim["says"], got.against, figure, got.figure, unit=claim.get("unit", "%"),
            because=got.because, quantity=quantity, about=bool(claim.get("about")),
        )  # fmt: skip
    return judge_statement(
        claim["place"], claim["says"], got.against, got.holds, got.shown, because=got.because, quantity=quantity
    )


def _judge_span(claim: dict[str, str], figure: str, got: Computed) -> Check:
    """A printed span against the smallest and largest figure of the tables, each rounded like the span's own end."""
    low, high = (printed(part) for part in figure.split(" to "))
    assert got.figure is not None
    holds = got.figure.low >= low.low and got.figure.high <= high.high
    return judge_statement(
        claim["place"], claim["says"], got.against, holds, got.shown, because=got.because, quantity=claim["quantity"]
    ).model_copy(update={"printed": figure})


def quantity_of(name: str) -> Computed:
    """A quantity by the name that claims give it."""
    for pattern, compute in _QUANTITIES.items():
        if match := re.fullmatch(pattern, name):
            return compute(*match.groups())
    raise KeyError(name)


# ---------------------------------------------------------------- results


@cache
def rows() -> tuple[PublishedRow, ...]:
    """All printed result rows."""
    return parse_published(results_file("thesis"), "results")


def _row(size: str, tuning: str, quant: str = "none", number: str = "") -> PublishedRow:
    """A configuration's row, of the table with this number, or the first that there is."""
    return next(
        r for r in rows()
        if (r.model, r.tuning, r.quant) == (f"Qwen2.5-{size}", tuning, quant) and r.table == (number or r.table)
    )  # fmt: skip


def _kwh(row: PublishedRow) -> Range:
    return printed(row.energy_kwh, 2)


def distinct() -> tuple[PublishedRow, ...]:
    """The 25 configurations of Qwen2.5, each once."""
    return tuple({r.label: r for r in rows() if r.model.startswith("Qwen2.5")}.values())


def _pair(technique: str, size: str) -> tuple[PublishedRow, PublishedRow]:
    number = _TABLES[technique]
    if technique == "fine-tuning":
        return _row(size, "base", number=number), _row(size, "instruct", number=number)
    return _row(size, "instruct", number=number), _row(size, "instruct", technique, number)


_TABLES = {"fine-tuning": "5.29", "awq": "5.34", "gptq-int8": "5.40", "gptq-int4": "5.40"}


def _largest_reduction(technique: str) -> Computed:
    own = {size: reduction(*map(_kwh, _pair(technique, size))) for size in SIZES}
    where = max(own, key=lambda size: own[size].value)
    listed = ", ".join(f"{size} {value.value:.2f} %" for size, value in own.items())
    return Computed(
        f"table {_TABLES[technique]}", largest(own.values()), because=f"{listed}; the largest is at {where}"
    )


def _reduction(technique: str, size: str) -> Computed:
    before, after = _pair(technique, size)
    return Computed(
        f"table {_TABLES[technique]}", reduction(_kwh(before), _kwh(after)),
        because=f"{before.energy_kwh} to {after.energy_kwh} kWh",
    )  # fmt: skip


def _of_batches(model: str) -> list[Range]:
    return [_kwh(row) for row in rows() if row.table == "5.18" and row.model == model]


LLAMA, DEEPSEEK = "Meta Llama3.1-8B-Instruct", "DeepSeekCoder-V2-Lite-16B"


def _excess_at_one() -> Computed:
    a, b = _of_batches(LLAMA)[0], _of_batches(DEEPSEEK)[0]
    return Computed("table 5.18", exactly(-1) * reduction(b, a), because="0.90 against 0.39 kWh")


def _excess_of_means() -> Computed:
    a, b = printed("0.9055"), printed("0.3866")
    return Computed(
        "the averages in section 4.2.2.1", exactly(-1) * reduction(b, a),
        because="0.9055 against 0.3866 kWh, which the text says; table 5.18 prints two digits",
    )  # fmt: skip


def _mean_energy(model: str) -> Computed:
    return Computed("table 5.18", mean_of(_of_batches(model)), because="mean of three batch sizes of two digits")


def _small_batch_effect() -> Computed:
    spreads = {m: _of_batches(m) for m in dict.fromkeys(r.model for r in rows() if r.table == "5.18")}
    most = max(max(x.value for x in own) / min(x.value for x in own) - 1 for own in spreads.values())
    return Computed("table 5.18", holds=most < 0.05, shown=f"energies differ by at most {most:.1%} between batch sizes")


def _accuracy_kept() -> Computed:
    lost = {s: (a.pass_at_1, b.pass_at_1) for s in SIZES for a, b in [_pair("gptq-int8", s)]
            if float(b.pass_at_1) < float(a.pass_at_1)}  # fmt: skip
    half = 1.96 * (2 * 0.25 / TASKS) ** 0.5
    return Computed(
        "table 5.40", holds=not lost, shown=f"pass@1 is lower at {', '.join(lost) or 'no size'}",
        because="whether a loss is excluded cannot be said without verdicts of tasks: two shares of 1,140 tasks "
        f"at 0.5 are apart by chance by up to {half:.3f}",
    )  # fmt: skip


def _tuned_small() -> Computed:
    listed = {s: (a.pass_at_1, b.pass_at_1) for s in ("0.5B", "1.5B") for a, b in [_pair("fine-tuning", s)]}
    return Computed(
        "table 5.29", holds=all(float(b) >= float(a) for a, b in listed.values()),
        shown=", ".join(f"{s} {a} to {b}" for s, (a, b) in listed.items()),
    )  # fmt: skip


def _awq_throughput() -> Computed:
    own = {s: tuple(float(r.throughput_tok_s) for r in _pair("awq", s)) for s in SIZES}
    holds = all((after > before) != (s == "0.5B") for s, (before, after) in own.items())
    return Computed(
        "table 5.34", holds=holds, shown=", ".join(f"{s} {a:g} to {b:g} tokens/s" for s, (a, b) in own.items())
    )


# ---------------------------------------------------------------- size and trade-off


def _parameters(row: PublishedRow) -> float:
    model = known_model(row.model)
    assert model is not None
    return float(model.architecture.parameters)


def _pass_at_kwh_by_size() -> Computed:
    own = {s: _row(s, "base").pass_at_kwh for s in SIZES}
    values = [float(v) for v in own.values()]
    return Computed(
        "table 5.24", holds=values == sorted(values), shown=", ".join(f"{s} {v}" for s, v in own.items()),
        because="" if values == sorted(values) else "it falls with every step of size",
    )  # fmt: skip


def on_frontier() -> list[PublishedRow]:
    """The printed configurations that no other beats in both energy and pass@1."""
    own = distinct()
    on = frontier([(float(r.energy_kwh), float(r.pass_at_1)) for r in own], ["min", "max"])
    return [row for row, is_on in zip(own, on, strict=True) if is_on]


def technique_of(tuning: str, quant: str) -> str:
    """base, instruct, or the quantization of an instruct model: how figure 4.12 tells configurations apart."""
    return tuning if quant == "none" else quant


def _exponential() -> Computed:
    own = on_frontier()
    shape = tradeoff_shape([float(r.pass_at_1) for r in own], [float(r.energy_kwh) for r in own])
    assert shape is not None
    e, line = shape.exponential, shape.linear
    return Computed(
        "the frontier of tables 5.24 to 5.40", holds=shape.aic_difference > 2 and e.low > 0,
        shown=f"exponential R² {e.r_squared:.2f}, linear R² {line.r_squared:.2f}; AIC {shape.aic_difference:+.1f} for "
        f"exponential; kWh × {math.exp(e.estimate / 10):.2f} per 0.1 pass@1",
        because=f"a fit to {e.n} configurations of one family, whose sizes rise geometrically: sizes, not difficulty "
        "of tasks, may make the curve",
    )  # fmt: skip


def _gptq_on_frontier() -> Computed:
    own = [technique_of(r.tuning, r.quant) for r in on_frontier()]
    counts = {name: own.count(name) for name in dict.fromkeys(own)}
    gptq = counts.get("gptq-int4", 0) + counts.get("gptq-int8", 0)
    return Computed(
        "tables 5.24 to 5.40", holds=gptq * 2 >= len(own),
        shown=f"{len(own)} of {len(distinct())} on it: " + ", ".join(f"{n} {name}" for name, n in counts.items()),
    )  # fmt: skip


def _exponent() -> Computed:
    own = [_row(s, "base") for s in SIZES]
    fit = size_exponent([_parameters(r) for r in own], [float(r.energy_kwh) for r in own])
    assert fit is not None
    return Computed(
        "table 5.24", holds=fit.low <= 1 <= fit.high or abs(fit.estimate - 1) < 0.15,
        shown=f"energy grows as size to the power {fit.estimate:.2f} [{fit.low:.2f}, {fit.high:.2f}]",
        because="" if fit.low <= 1 <= fit.high else "nearly: the interval leaves 1 out, so it grows less than linearly",
    )  # fmt: skip


def _reductions_by_size() -> Computed:
    pairs = [(t, s, *_pair(t, s)) for t in _TABLES for s in SIZES]
    fit = interaction(
        [_parameters(before) for _, _, before, _ in pairs], [t for t, *_ in pairs],
        [float(after.energy_kwh) / float(before.energy_kwh) for _, _, before, after in pairs],
    )  # fmt: skip
    assert fit is not None
    return Computed(
        "tables 5.29, 5.34, 5.40", holds=fit.high < 0,
        shown=f"the energy ratio falls as size to the power {fit.estimate:.2f} [{fit.low:.2f}, {fit.high:.2f}]",
        because="one slope for fine-tuning, AWQ, Int8 and Int4, an intercept each",
    )  # fmt: skip


# ---------------------------------------------------------------- regressions and tests


def _coefficients(variable: str) -> Computed:
    own = [
        printed(r["coefficient"])
        for n in REGRESSIONS
        for r in table("thesis", n).records()
        if r["variable"] == variable
    ]
    return _span(own, "tables 5.5 to 5.13", REGRESSIONS)


def _statistics(name: str) -> Computed:
    return _span([printed(row[name]) for row in fit_rows()], "tables 5.5 to 5.13", REGRESSIONS)


def _span(own: Sequence[Range], against: str, numbers: Sequence[str]) -> Computed:
    values = [r.value for r in own]
    least, most = (numbers[values.index(f(values))] for f in (min, max))
    return Computed(
        against, Range(max(values), min(values), max(values)),
        shown=f"{min(values):g} (table {least}) to {max(values):g} (table {most})",
    )  # fmt: skip


def _most_p(variable: str, side: str) -> Computed:
    own = [float(r["p"]) for n in REGRESSIONS for r in table("thesis", n).records() if r["variable"] == variable]
    count = sum(p > 0.05 if side == "above" else p < 0.05 for p in own)
    return Computed("tables 5.5 to 5.13", holds=count * 2 > len(own), shown=f"{count} of {len(own)} are {side} 0.05")


def _all_p(number: str, limit: str) -> Computed:
    bad = []
    for row in table("thesis", number).records():
        groups, statistic = int(row["groups"]), printed(row["statistic"])
        p = (
            kruskal_p(statistic, groups)
            if row["test"] == "Kruskal-Wallis"
            else levene_p(statistic, groups, groups * TASKS)
        )
        if p.value >= float(limit):
            bad.append(f"{row['subject']} {row['statistic']}, p {p.value:.4f}")
    return Computed(f"table {number}", holds=not bad, shown=f"at or above {limit}: {'; '.join(bad) or 'none'}")


def _no_batch_differences() -> Computed:
    own = {r["subject"]: kruskal_p(printed(r["statistic"]), 3).value for r in table("thesis", "5.16").records()}
    low = {name: p for name, p in own.items() if p < 0.05}
    why = "the same section speaks of the MoE model alone, whose p is 0.28" if low else ""
    return Computed("table 5.16", holds=not low, shown=f"p below 0.05: {', '.join(low) or 'none'}", because=why)


def _normality() -> Computed:
    own = {r["subject"]: float(r["statistic"]) for r in table("thesis", "5.36").records()}
    wrong = [
        s for s in SIZES if not own[f"{s}-Instruct"] >= own[f"{s}-Instruct-GPTQ-Int8"] >= own[f"{s}-Instruct-GPTQ-Int4"]
    ]
    return Computed(
        "table 5.36", holds=not wrong,
        shown="; ".join(f"{s}: Int8 {own[s + '-Instruct-GPTQ-Int8']}, Int4 "
                        f"{own[s + '-Instruct-GPTQ-Int4']}" for s in wrong)
        or "it falls at every size",
    )  # fmt: skip


def _general() -> Computed:
    tasks = data_file("bigcodebench_domains.json")["tasks"]["General"]
    share = 100 * len(tasks) / TASKS
    return Computed(
        "BigCodeBench's own map from libraries to domains", holds=share > 99.5,
        shown=f"{share:.1f} % of the tasks use a library of General",
        because="names such as `re` and `os` stand in `return` and `position`: table 5.1 follows from a search for "
                "parts of "
        "words in prompt and solution (100, 93 and 64 % of General, System and Computation), not from libraries",
    )  # fmt: skip


# ---------------------------------------------------------------- estimates


def _printed_estimate(name: str, tokens: int = 660) -> AsPrinted:
    model = known_model(name)
    assert model is not None
    return as_printed(
        model.architecture, model.nominal_parameters, find_device("L40S"),
        Workload(prompt_tokens=tokens, new_tokens=tokens, batch_size=1),
    )  # fmt: skip


def _first_token_share() -> Computed:
    row = table("thesis", "5.14").records()[0]
    ratio = printed(row["ttft"]) / printed(row["tpot"])
    return Computed("table 5.14", holds=ratio.value < 1.5, shown=f"TTFT is {ratio.value:.2f} times TPOT")


def kv_row_bytes(tokens: int = KV_TOKENS) -> float:
    """Bytes of one row's KV cache of Qwen2.5-Coder-7B, 2 s l h_kv d p (eq. 3.25 corrected)."""
    model = known_model("Qwen2.5-Coder-7B")
    assert model is not None
    return model.architecture.cache_values * 2.0 * tokens


def _kv_row() -> Computed:
    row = kv_row_bytes()
    needed = 1.875e9 / kv_row_bytes(1)
    return Computed(
        "eq. 3.25 with layers in place of parameters", exactly(row / 1e9),
        because=f"at {KV_TOKENS:,} tokens, where the 0.67 GB of the same section follows; 1.875 GB would take "
                f"{needed:,.0f} "
        f"tokens, and the 128,000 of table 4.1 give {kv_row_bytes(128_000) / 1e9:.2f} GB. The section states no "
        "length. "
        "As printed, with the number of parameters, eq. 3.25 gives "
        f"{_printed_estimate('Qwen2.5-7B', 1).kv_bytes_per_token * KV_TOKENS / 1e18:.1f} EB",
    )  # fmt: skip


def _kv_heads() -> Computed:
    return Computed(
        "eq. 3.25 with layers in place of parameters", exactly(kv_row_bytes() / 28 * 10 / 1e9),
        because=f"28 heads share the cache of a row, at {KV_TOKENS:,} tokens",
    )  # fmt: skip


def equation_checks() -> list[Check]:
    """The equations that do not give what the tables, or the published checkpoints, have."""
    model = known_model("Qwen2.5-7B")
    assert model is not None
    a = model.architecture
    ffn = (a.intermediate * a.hidden) ** 2 + a.intermediate + a.hidden
    got = _printed_estimate("Qwen2.5-7B")
    kv = 2.0 * a.layers * a.kv_heads * a.head_dim * 2
    actual, name = float(a.parameters), "Qwen2.5-7B"
    equations = [
        ("eq. 3.9", f"feed-forward weights of a layer of {name}", ffn, float(a.mlp(a.intermediate)),
         "a squared product where a sum of matrices belongs"),
        ("eq. 3.10", f"feed-forward weights of {name}", ffn * a.layers, float(a.mlp(a.intermediate) * a.layers),
        "as 3.9"),
        ("eq. 3.19", f"parameters of {name}", parameters(a), actual, "through 3.10; table 4.1 prints 7B"),
        ("eq. 3.23", f"bytes of KV cache a token of {name}", got.kv_bytes_per_token, kv,
         "the number of parameters where that of layers belongs, and the model's width for the head's"),
        ("eq. 3.24", f"bytes of KV cache of a row of {name}", got.kv_bytes_per_token * KV_TOKENS, kv * KV_TOKENS,
        "as 3.23"),
        ("eq. 3.25", f"bytes of KV cache of {name} with shared heads", got.kv_bytes, kv * 1320, "as 3.23"),
        ("eq. 3.26", f"VRAM of {name} in bytes", got.vram_bytes, 2 * actual + kv * 1320, "through 3.25; table 5.19 "
                                                                                         "has 14 GB"),
        ("eq. 3.33", f"TGT of {name} in s", got.tgt_s, got.tgt_s_table_5_19, "table 5.19 has 661 x TPOT: 10.74 s"),
    ]  # fmt: skip
    return [
        judge_statement(
            place, what, "the published checkpoint" if place != "eq. 3.33" else "table 5.19",
            f"{value:.4g}" == f"{right:.4g}", f"{value:.4g}, and {right:.4g} is right" if place != "eq. 3.33"
            else f"{value:.4g}, printed {right:.4g}", because, kind="equation",
        )
        for place, what, value, right, because in equations
    ]  # fmt: skip


_QUANTITIES: dict[str, Callable[..., Computed]] = {
    r"largest reduction by (\S+)": _largest_reduction,
    r"reduction by (\S+) at (\S+)": _reduction,
    r"excess of Llama over DeepSeek, batch size 1": _excess_at_one,
    r"excess of Llama over DeepSeek, mean of batch sizes": _excess_of_means,
    r"mean energy of (.+)": _mean_energy,
    r"energies of batch sizes within 5 %": _small_batch_effect,
    r"no pass@1 of GPTQ-Int8 is below its Instruct model's": _accuracy_kept,
    r"fine-tuning lowers no pass@1 of the small models": _tuned_small,
    r"AWQ raises throughput except at 0.5B": _awq_throughput,
    r"pass@1 of 14B-Instruct-AWQ in per cent": lambda: Computed(
        "table 5.34",
        exactly(100) * printed(_row("14B", "instruct", "awq").pass_at_1),
        because="a share of 0.27 is 27 %",
    ),
    r"energy of Qwen2.5-14B": lambda: Computed(
        "table 5.24", _kwh(_row("14B", "base")), because="1.35 kWh is that of the Instruct model (table 5.29)"
    ),
    r"pass@kWh rises with size": _pass_at_kwh_by_size,
    r"frontier is exponential rather than linear": _exponential,
    r"GPTQ models on the frontier": _gptq_on_frontier,
    r"exponent of energy in size": _exponent,
    r"reductions grow with size": _reductions_by_size,
    r"coefficients of (.+)": _coefficients,
    r"statistic (\S+)": _statistics,
    r"most p of (\S+) (above|below) 0.05": _most_p,
    r"all p of table (\S+) below (\S+)": _all_p,
    r"no Kruskal-Wallis p of batch sizes below 0.05": _no_batch_differences,
    r"Shapiro-Wilk of table 5.36 falls with the bits": _normality,
    r"General holds every task of BigCodeBench": _general,
    r"a contrast with General is printed": lambda: Computed(
        "tables 5.5 to 5.13", because="General is no part of the regressions, and no contrast with it is printed"
    ),
    r"a measurement beside the software's is printed": lambda: Computed(
        "figure 3.1", because="no wall meter or second method is printed beside it"
    ),
    r"an energy of the CPU is printed": lambda: Computed("section 3.3", because="the CPU was not metered"),
    r"TGT of (Qwen2.5-72B)": lambda name: Computed(
        "661 x TPOT, as tables 5.19 to 5.35", exactly(_printed_estimate(name).tgt_s_table_5_19)
    ),
    r"VRAM of (Qwen2.5-72B)": lambda name: Computed(
        "weights alone, as tables 5.19 to 5.35", exactly(_printed_estimate(name).vram_bytes_table_5_19 / 1e9)
    ),
    r"TTFT over TPOT at one token": _first_token_share,
    r"KV cache of a batch row": _kv_row,
    r"KV cache of ten heads": _kv_heads,
}
