"""What a run's figures are called, how they are written, and when they are missing: once for all tables."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from passkwh import measures
from passkwh.analysis.bootstrap import DIRECTIONS
from passkwh.measures import HEADLINES, KWH, MEASURES, WH, energy_unit, measure, metric, number, pass_at_k, quality
from passkwh.records import Summary

from .reports.conftest import synthetic


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    root = tmp_path_factory.mktemp("runs")
    synthetic.write_runs(root, synthetic.THESIS[:1], tasks=5, shorter=100.0, interval_s=0.5)
    content = (next(Path(root).glob("*/summary.json"))).read_bytes()
    return Summary.model_validate_json(content)


def test_examples_hold() -> None:
    assert doctest.testmod(measures).failed == 0


def test_the_analysis_names_and_judges_them_alike() -> None:
    assert list(DIRECTIONS) == list(HEADLINES)
    assert {name: MEASURES[name].better for name in HEADLINES} == DIRECTIONS


def test_every_measure_has_a_value_or_a_reason(summary: Summary) -> None:
    gone = summary.model_copy(
        update={
            "gross_energy_j": None, "net_energy_j": None, "energy_kwh": None, "generation_energy_j": None,
            "energy_reason": "a reading failed", "pass_at_k": {}, "solved": None, "pass_at_kwh": None,
            "solved_per_kwh": None, "joules_per_token": None, "tokens_per_s": None, "metrics": {"rougeL": 0.5},
        }
    )  # fmt: skip
    for run in (summary, gone):
        for one in (*MEASURES.values(), measure("pass_at_5"), metric("rougeL")):
            value = one.value(run)
            assert (value is None) == bool(one.reason(run)), one.name
            assert one.text(value) == ("—" if value is None else one.text(value))
    assert MEASURES["energy_kwh"].reason(gone) == MEASURES["pass_at_kwh"].reason(gone) == "a reading failed"
    assert MEASURES["pass_at_1"].reason(gone) == "samples have no verdicts"
    assert quality("pass@1").value(summary) == summary.pass_at_k["1"]
    assert quality("rougeL").value(gone) == 0.5


def test_pass_at_k_is_of_all_tasks_or_missing() -> None:
    assert pass_at_k([(5, 5), (5, 0)], 5) == (0.5, None)
    assert pass_at_k([(5, 5), (4, 4)], 5) == (None, "1 of 2 tasks have fewer than 5 evaluated samples")
    assert pass_at_k([(0, 0)], 1)[0] is None
    assert pass_at_k([], 1) == (None, "samples have no verdicts")


def test_energies_of_small_runs_are_watt_hours() -> None:
    assert energy_unit([None, 0.09]) == WH
    assert energy_unit([0.05, 4.2]) == energy_unit([]) == KWH


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.123456, "0.123"),
        (12345.6, "12346"),
        (999.6, "1000"),
        (3e-5, "0.00003"),
        (2e9, "2.00e+09"),
    ],
)
def test_numbers_have_no_exponents_where_they_can_be_read_without(value: float, text: str) -> None:
    assert number(value) == text
