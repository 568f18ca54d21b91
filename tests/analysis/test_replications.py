"""The thesis and GREEN-CODE held against their own tables: known conflicts are computed, and nothing else is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passkwh.analysis.replications import green_code, printed, thesis_claims, thesis_tables
from passkwh.analysis.replications.printed import Range
from passkwh.analysis.replications.reproduction import reproduce
from passkwh.analysis.replications.verdicts import Check, judge
from passkwh.cli.main import _add_commands, app
from passkwh.errors import UsageError
from tests.analysis.conftest import MakeRun


@pytest.fixture(scope="module")
def thesis() -> list[Check]:
    return [*thesis_claims.text_checks(), *thesis_claims.equation_checks(), *thesis_tables.table_checks()]


def one(checks: list[Check], place: str, words: str) -> Check:
    (found,) = [c for c in checks if c.place == place and words in c.says]
    return found


@pytest.mark.parametrize(
    ("place", "words", "verdict", "computed"),
    [
        ("abstract", "AWQ reduces energy by up to 67", "follows", "67"),
        ("section 5", "AWQ: decreases of up to 51.11", "conflicts", "67.07"),
        ("abstract", "GPTQ-INT4 reduces energy by up to 67", "conflicts", "65.93"),
        ("section 5", "GPTQ 4-bit: decreases of up to 63.41", "conflicts", "65.93"),
        ("abstract", "GPTQ-INT8 reduces energy by up to 40", "conflicts", "41.48"),
        ("section 5", "GPTQ 8-bit: decreases of up to 41.48", "follows", "41.48"),
        ("abstract", "130.77", "follows", "130.77"),
        ("section 4.2.2.1", "134.22", "follows", "134.22"),
        ("table 5.4", "Levene over time of Meta Llama3.1-8B-Instruct, batch size 4", "within rounding", "0.7402"),
        ("section 4.1.2", "1.875 GB", "conflicts", "1.879"),
        ("section 4.1.2", "0.67 GB", "follows", "0.67"),
        ("section 4.2.3.2", "all Kruskal-Wallis p-values of fine-tuning", "conflicts", "3B 6.95"),
        ("section 4.2.4", "larger models have higher pass@kWh rates", "conflicts", "0.28"),
        ("section 4.2.4", "increases exponentially", "follows", "0.93"),
        ("section 4.2.3.1", "110.43 seconds", "follows", "110.43"),
        ("section 5", "Visualization and Cryptography consume significantly more", "cannot be checked", ""),
    ],
)
def test_known_verdicts_on_the_thesis(thesis: list[Check], place: str, words: str, verdict: str, computed: str) -> None:
    check = one(thesis, place, words)
    assert check.verdict == verdict
    assert computed in check.computed


def test_equations_that_are_misprinted_are_found(thesis: list[Check]) -> None:
    wrong = {c.place for c in thesis if c.kind == "equation" and c.verdict == "conflicts"}
    assert {"eq. 3.9", "eq. 3.10", "eq. 3.23", "eq. 3.24", "eq. 3.25"} <= wrong


def test_the_abstract_and_the_conclusion_disagree(thesis: list[Check]) -> None:
    apart = {c.quantity for c in thesis if c.place == "abstract and section 5"}
    assert {"largest reduction by awq", "largest reduction by gptq-int4", "largest reduction by gptq-int8"} <= apart


def test_every_statistic_of_the_printed_regressions_can_be_recomputed(thesis: list[Check]) -> None:
    own = [c for c in thesis if c.kind == "regression"]
    assert len(own) > 300
    assert not [c for c in own if c.verdict in ("conflicts", "cannot be checked")]
    (aic,) = [c for c in own if c.place == "table 5.5" and c.says.startswith("AIC")]
    assert (aic.printed, aic.verdict) == ("-2792", "follows")


def test_every_printed_pass_at_kwh_follows(thesis: list[Check]) -> None:
    own = [c for c in thesis if c.kind == "ratio"]
    assert [c.verdict for c in own] == ["follows"] * 40


def test_instruct_rows_that_took_over_the_base_models_times_are_found(thesis: list[Check]) -> None:
    both = [c.says for c in thesis if c.kind == "tables"]
    assert "latency of Qwen2.5-14B instruct" in both
    assert any("92.15 min" in text for text in both)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ("Llama on JavaCorpus saves 23 % of energy", "follows"),
        ("OPT saves at least 28 %", "follows"),
        ("energy is reduced by 23 to 50 %", "conflicts"),
        ("9 exit points", "follows"),
        ("10 exit points", "follows"),
        ("always below 1/5", "follows"),
        ("overhead on OPT is overall higher", "conflicts"),
    ],
)
def test_known_verdicts_on_green_code(words: str, verdict: str) -> None:
    (check,) = [c for c in green_code.text_checks() if words in c.says]
    assert check.verdict == verdict


def test_samples_of_the_published_runs_are_not_a_thousand() -> None:
    counts = [c.computed.split()[0] for c in green_code.text_checks() if c.quantity.startswith("samples of")]
    assert counts == ["1001", "992"]


def test_every_claim_has_a_quantity_that_is_computed() -> None:
    for work, module in (("thesis", thesis_claims), ("green-code", green_code)):
        for claim in printed.claims_file(work):  # type: ignore[arg-type]
            assert module.quantity_of(claim["quantity"]).against


def test_all_printed_tables_are_there_with_their_place() -> None:
    numbers = [table.number for table in printed.tables("thesis")]
    assert numbers == ["4.1", *(f"5.{n}" for n in range(1, 41))]
    assert all(table.rows and table.section and table.title for table in printed.tables("green-code"))


@given(st.decimals("0.01", 1000, places=2), st.decimals("0.01", 1000, places=2))
def test_a_ratio_of_rounded_figures_holds_every_ratio_that_rounds_to_them(a: object, b: object) -> None:
    ratio = printed.printed(str(a), 2) / printed.printed(str(b), 2)
    for top in (-0.0049, 0.0049):
        for bottom in (-0.0049, 0.0049):
            assert ratio.low <= (float(str(a)) + top) / (float(str(b)) + bottom) <= ratio.high


@pytest.mark.parametrize(
    ("figure", "computed", "verdict"),
    [
        ("0.75", Range(0.7402, 0.7346, 0.746), "within rounding"),
        ("0.74", Range(0.7402, 0.7346, 0.746), "follows"),
        ("0.76", Range(0.7402, 0.7346, 0.746), "conflicts"),
        ("< 0.001", Range(0.0004, 0.0002, 0.0008), "follows"),
        ("< 0.001", Range(0.0011, 0.0009, 0.0013), "within rounding"),
        ("< 0.001", Range(0.0084, 0.0083, 0.0085), "conflicts"),
        ("1", None, "cannot be checked"),
    ],
)
def test_verdicts(figure: str, computed: Range | None, verdict: str) -> None:
    assert judge("here", "it", "there", figure, computed).verdict == verdict


def run(*arguments: str) -> None:
    _add_commands()
    app([*arguments], standalone_mode=False)


def test_the_command_writes_one_page_and_puts_own_runs_beside(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = make_run("own", model="Qwen/Qwen2.5-7B-Instruct", quant="awq")
    other = make_run("other", model="Qwen/Qwen3-7B-Instruct")
    page = tmp_path / "page.html"
    run("reproduce", "thesis", "--runs", str(own), "--runs", str(other), "--out", str(page), "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["counts"]["conflicts"] == sum(c["verdict"] == "conflicts" for c in result["checks"])
    beside = [r for r in result["own_runs"] if r["run"] == "own" and r["measure"].startswith("energy")]
    assert [(r["printed_place"], r["printed"]) for r in beside] == [("table 5.34", "0.27")]
    assert [r["printed_place"] for r in result["own_runs"] if r["run"] == "other"] == [""]
    text = page.read_text()
    for words in ("conflicts", "51.11 %", "Table 5.40", "no printed row is of", "GPU channels only"):
        assert words in text


def test_an_unknown_work_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="thesis, green-code"):
        run("reproduce", "nature")


def test_green_code_reproduces_whole() -> None:
    result = reproduce("green-code")
    assert {table.number for table in result.tables} >= {"III", "IV", "runs"}
    assert sum(result.counts.values()) == len(result.checks)


def test_a_table_of_published_rows_is_no_run_and_the_message_names_what_checks_it(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(printed.results_file("thesis"))
    with pytest.raises(UsageError, match="bench reproduce thesis"):
        run("report", str(table))
