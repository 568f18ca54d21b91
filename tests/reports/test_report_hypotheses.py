"""The thesis's questions in the report of all experiments: hypotheses, savings, regression, conventions."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.conftest import write_run

from .conftest import Written, call


def test_the_four_hypotheses_and_the_largest_savings_stand_in_one_section(everything: Written) -> None:
    text = everything.texts("hypotheses")
    for number in (1, 2, 3, 4):
        assert f"Hypothesis {number}" in text
    for technique in ("AWQ", "GPTQ-Int8", "GPTQ-Int4"):
        assert f"{technique} saves up to" in text or f"{technique} saves energy nowhere" in text


def test_the_traps_of_the_regression_are_told_with_both_units_and_domains(everything: Written) -> None:
    assert "Two traps of the fit as printed" in everything.texts("granularity")
    (units,) = [t for t in everything.blocks("table") if t["name"] == "regression_units"]
    heads = [column["name"] for column in units["columns"]]
    assert heads[1:] == ["ln(1 + Wh)", "ln J", "ln Wh", "ln kWh", "with intercept, any unit"]
    assert any(row[2] != row[4] for row in units["rows"])
    assert "Domains at equal tokens" in everything.texts("summary")


def test_what_made_configurations_is_in_the_life_cycle_or_the_reason_why_not(everything: Written) -> None:
    (table,) = [t for t in everything.blocks("table") if t["name"] == "life_cycle"]
    assert {row[1] for row in table["rows"]} == {"quantizing"}
    assert "not known" in str([row[2] for row in table["rows"]])


def test_table_4_1_and_the_energy_of_making_are_outputs(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / q, model="Qwen/Qwen2.5-0.5B-Instruct", quant=q) for q in ("none", "awq")]
    out = Written(tmp_path / "r", call("report", *folders, "--experiment", "awq", "--out", tmp_path / "r"))
    (table,) = [t for t in out.blocks("table") if t["thesis"] == "4.1"]
    assert [row[:3] for row in table["rows"]] == [["Qwen2.5-0.5B", 494_032_768, 24]]
    (making,) = [t for t in out.blocks("table") if t["name"] == "life_cycle"]
    assert making["rows"][0][1] == "quantizing"


def test_every_page_states_its_convention(everything: Written, invented: Path, tmp_path: Path) -> None:
    assert "by the convention passkwh: gross energy" in everything.page
    page = tmp_path / "short.html"
    call("report", invented, "--convention", "thesis", "--out", page)
    text = page.read_text("utf-8")
    assert "by the convention thesis: net energy" in text
    assert "GPU channels only" in text
