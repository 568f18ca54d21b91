"""The thesis's printed tables held against themselves: statistics recomputed from statistics, ratios from columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from passkwh.analysis.estimate.architecture import known_model
from passkwh.analysis.estimate.as_printed import as_printed
from passkwh.analysis.estimate.cost import Workload
from passkwh.analysis.estimate.devices import find_device
from passkwh.analysis.replications.printed import Range, exactly, printed, results_file, table
from passkwh.analysis.replications.verdicts import Check, Verdict, judge

TASKS = 1140
TESTED = {
    "Levene over time": "5.4",
    "Levene": "5.15 5.21 5.27 5.32 5.37",
    "Kruskal-Wallis": "5.16 5.22 5.28 5.33 5.38",
}
REGRESSIONS = tuple(f"5.{number}" for number in range(5, 14))
REQUIREMENTS = ("5.19", "5.25", "5.30", "5.35")
N_REGRESSION, PREDICTORS = TASKS, 8
"""Rows with a task before them, and coefficients: they reproduce every printed AIC and BIC."""
PROMPT_TOKENS = {"5.14": 256}
"""Of the estimates, inferred from them (docs/estimator.md): the thesis states none. 660 in the other tables."""


def table_checks() -> list[Check]:
    """Every recomputation of a printed table from the figures that are printed with it."""
    return [
        *_p_values(), *_dunn_against_kruskal_wallis(), *_regressions(), *_requirements(), *_ratios(),
        *_between_tables(),
    ]  # fmt: skip


# ---------------------------------------------------------------- tests


def levene_p(statistic: Range, groups: int, n: int) -> Range:
    """p of an F statistic of ``groups`` groups with ``n`` values in all."""
    from scipy import stats

    return Range(statistic.value, max(statistic.low, 0.0), statistic.high).through(
        lambda f: float(stats.f.sf(f, groups - 1, n - groups))
    )


def kruskal_p(statistic: Range, groups: int) -> Range:
    """p of a Kruskal-Wallis statistic."""
    from scipy import stats

    return statistic.through(lambda h: float(stats.chi2.sf(h, groups - 1)))


def _p_values() -> Iterator[Check]:
    for test, numbers in TESTED.items():
        for number in numbers.split():
            for row in table("thesis", number).records():
                groups, statistic = int(row["groups"]), printed(row["statistic"])
                if test == "Kruskal-Wallis":
                    p, law = kruskal_p(statistic, groups), f"chi-squared with {groups - 1} degrees of freedom"
                else:
                    n = TASKS if number == "5.4" else groups * TASKS
                    p, law = levene_p(statistic, groups, n), f"F with {groups - 1} and {n - groups} degrees of freedom"
                condition = f", {row['condition']}" if row.get("condition") else ""
                yield judge(
                    f"table {number}", f"{row['test']} of {row['subject']}{condition}: {row['statistic']}, p "
                                       f"{row['p']}",
                    f"its own statistic, {law}", row["p"], p, kind="test",
                )  # fmt: skip


def _dunn_against_kruskal_wallis() -> Iterator[Check]:
    """Dunn's z of three groups of one size: z13 = z12 + z23, and H = 2/3 of the sum of their squares.

    So two adjusted p-values determine the Kruskal-Wallis statistic, and tell Bonferroni's adjustment from Holm's.
    """
    from scipy import stats

    texts = {
        "Qwen-Coder2.5-7B-Instruct": ("0.0801", "0.0494", "21.2995"),
    }
    for model, (first, second, statistic) in texts.items():

        def h(a: float, b: float) -> float:
            x, y = (float(stats.norm.isf(p / 3 / 2)) for p in (a, b))
            return 2 / 3 * (x**2 + y**2 + (x + y) ** 2)

        a, b = printed(first), printed(second)
        yield judge(
            "section 4.2.2.1", f"Dunn's p of {model}: {first} and {second}; Kruskal-Wallis {statistic}", "each other",
            statistic, Range(h(a.value, b.value), h(a.high, b.high), h(a.low, b.low)),
            because="with Bonferroni's adjustment over three pairs, and groups of one size without ties", kind="test",
        )  # fmt: skip


# ---------------------------------------------------------------- regressions


def _regressions() -> Iterator[Check]:
    from scipy import stats

    half = float(stats.norm.ppf(0.975))
    for number in REGRESSIONS:
        place = f"table {number}"
        for row in table("thesis", number).records():
            b, se = printed(row["coefficient"]), printed(row["std_error"])
            z, name = printed(row["z"]), row["variable"]
            yield judge(
                place, f"{name}: z {row['z']}", "coefficient / standard error", row["z"], b / se, kind="regression"
            )
            magnitude = Range(abs(z.value), abs(z.value) - (z.high - z.value), abs(z.value) + (z.high - z.value))
            p = magnitude.through(lambda x: float(2 * stats.norm.sf(x)))
            yield judge(place, f"{name}: p {row['p']}", "its own z, normal law", row["p"], p,
                        kind="regression")  # fmt: skip
            for end, sign in (("low", -half), ("high", half)):
                bound = b + exactly(sign) * se
                yield judge(place, f"{name}: bound {row[end]}", "coefficient ± 1.96 errors", row[end], bound,
                            kind="regression")  # fmt: skip
        yield from _fit_statistics(number)


def _fit_statistics(number: str) -> Iterator[Check]:
    from scipy import stats

    place, n, k = f"table {number}", N_REGRESSION, PREDICTORS
    row = next(r for r in fit_rows() if r["table"] == number)
    likelihood = printed(row["log_likelihood"])
    yield judge(place, f"AIC {row['aic']}", "log-likelihood, 8 coefficients", row["aic"],
                exactly(2 * k) - exactly(2) * likelihood, kind="regression")  # fmt: skip
    if row["bic"]:
        yield judge(place, f"BIC {row['bic']}", "log-likelihood, 8 coefficients, n = 1,140", row["bic"],
                    exactly(k * math.log(n)) - exactly(2) * likelihood, kind="regression")  # fmt: skip
    explained = printed(row["r_squared"])
    yield judge(place, f"adjusted R² {row['adj_r_squared']}", "R², n, 8 coefficients", row["adj_r_squared"],
                exactly(1) - (exactly(1) - explained) * exactly(n / (n - k)), kind="regression")  # fmt: skip
    yield judge(place, f"p of F {row['f_p']}", "F with 8 and 1,131 degrees of freedom", row["f_p"],
                printed(row["f"]).through(lambda f: float(stats.f.sf(f, k, n - k))), kind="regression")  # fmt: skip
    if row["jarque_bera"]:
        skew, kurtosis = printed(row["skew"]), printed(row["kurtosis"])
        excess = kurtosis - exactly(3)
        squares = Range(
            skew.value**2, 0.0 if skew.low < 0 < skew.high else min(skew.low**2, skew.high**2),
            max(skew.low**2, skew.high**2),
        )  # fmt: skip
        statistic = exactly(n / 6) * (squares + excess * excess / exactly(4))
        yield judge(place, f"Jarque-Bera {row['jarque_bera']}", "skew, kurtosis, n", row["jarque_bera"], statistic,
                    kind="regression")  # fmt: skip
        p = printed(row["omnibus"]).through(lambda x: float(stats.chi2.sf(x, 2)))
        yield judge(place, f"p of omnibus {row['omnibus_p']}", "its own statistic", row["omnibus_p"], p,
                    kind="regression")  # fmt: skip


def fit_rows() -> list[dict[str, str]]:
    """The statistics of the printed regressions, a row a table."""
    import csv
    from importlib import resources

    place = resources.files("passkwh.analysis").joinpath("replications/data/thesis/regression_statistics.csv")
    return list(csv.DictReader(place.read_text("utf-8").splitlines()))


# ---------------------------------------------------------------- estimates


def _requirements() -> Iterator[Check]:
    for number in ("5.14", *REQUIREMENTS):
        for row in table("thesis", number).records():
            yield from _requirement(number, row)


def _requirement(number: str, row: dict[str, str]) -> Iterator[Check]:
    of_batch_size = number == "5.14"
    size, quant = _name(row["model"])
    model = known_model(size)
    assert model is not None
    tokens = PROMPT_TOKENS.get(number, 660)
    got = as_printed(
        model.architecture, model.nominal_parameters, find_device("L40S"),
        Workload(prompt_tokens=tokens, new_tokens=tokens, batch_size=1, quant=quant),
    )  # fmt: skip
    place, what = f"table {number}", row["model"]
    operations, latency = (1e9, 1e3) if of_batch_size else (1e12, 1.0)
    if of_batch_size:
        ttft, tpot = (printed(row[name]) for name in ("ttft", "tpot"))
        tgt = (ttft + exactly(tokens) * tpot) / exactly(1000.0)
    else:
        tgt = exactly(got.tgt_s_table_5_19)
    vram = got.vram_bytes_table_5_14 if of_batch_size else got.vram_bytes_table_5_19
    cells: tuple[tuple[str, str, Range, str], ...] = (
        ("prefill compute", "prefill_tflop", exactly(got.prefill_compute / 1e12), "eq. 3.27"),
        ("decode compute", "decode_gflop", exactly(got.decode_compute / operations), "eq. 3.29"),
        ("decode memory", "decode_memory", exactly(got.decode_memory / operations), "eq. 3.30"),
        ("TTFT", "ttft", exactly(got.ttft_s * latency), "eq. 3.31"),
        ("TPOT", "tpot", exactly(got.tpot_s * latency), "eq. 3.32"),
        ("TGT", "tgt_s", tgt, "eq. 3.33, its own TTFT and TPOT" if of_batch_size else f"{tokens + 1} x TPOT"),
        ("VRAM", "vram_gb", exactly(vram / 1e9), "1.2 x weights" if of_batch_size else "weights alone"),
    )
    notes = {
        "ttft": "the printed figure follows with the rates of an L40 in place of an L40S" if of_batch_size else "",
        "decode_memory": "the table has 4 n where eq. 3.28 and 3.30 have 2 n" if of_batch_size else "",
    }
    for label, column, value, equation in cells:
        yield judge(
            place, f"{label} of {what}: {row[column]}", equation, row[column], value,
            because=notes.get(column, ""), kind="estimate",
        )  # fmt: skip


def _name(text: str) -> tuple[str, str]:
    """The known model, and the quantization, that a row of requirements is of."""
    quants = {"AWQ": "awq", "GPTQ-Int8": "gptq-int8", "GPTQ-Int4": "gptq-int4"}
    quant = next((quants[end] for end in quants if text.endswith(end)), "none")
    names = {
        "Qwen2.5-Coder-7B": "Qwen2.5-7B", "Meta-Llama-3.1-8B": "Llama-3.1-8B",
        "DeepSeek-V2-Lite-16B": "DeepSeek-V2-Lite",
    }  # fmt: skip
    return names.get(text) or f"Qwen2.5-{text.split('-')[0]}", quant


# ---------------------------------------------------------------- results


def _ratios() -> Iterator[Check]:
    from passkwh.analysis.published import check_published, parse_published

    for ratio in check_published(parse_published(results_file("thesis"), "table 5.24")).ratios:
        if ratio.printed is not None:
            yield judge(
                f"table {ratio.table}", f"pass@kWh of {ratio.label}: {ratio.printed}", "pass@1 / kWh of its row",
                ratio.printed, Range(float(ratio.computed), ratio.low, ratio.high), decimals=2, kind="ratio",
            )  # fmt: skip


def _between_tables() -> Iterable[Check]:
    """One configuration in several tables, and rows that share figures that they cannot share."""
    from passkwh.analysis.published import check_published, parse_published

    report = check_published(parse_published(results_file("thesis"), "results"))
    names = {"latency_min": "latency", "throughput_tok_s": "throughput", "energy_kwh": "energy", "pass_at_1": "pass@1"}
    for conflict in report.conflicts:
        listed = [f"{value} (table {', '.join(tables)})" for value, tables in conflict.values.items()]
        yield Check(
            kind="tables",
            place="tables " + ", ".join(dict.fromkeys(t for own in conflict.values.values() for t in own)),
            says=f"{names[conflict.measure]} of {conflict.label}", against="each other",
            printed=" and ".join(conflict.values), computed="", verdict="conflicts", because=" against ".join(listed),
        )  # fmt: skip
    for text in report.oddities:
        verdict: Verdict = "conflicts"
        yield Check(
            kind="tables", place="tables 5.18 to 5.40", says=text, against="each other", printed="", computed="",
            verdict=verdict,
            because="figures that cannot all be right",
        )  # fmt: skip
