"""Carbon and cost: what they are computed with is named, and energy is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from conftest import MakeRun  # type: ignore[import-not-found]
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from passkwh.analysis.footprint import FootprintAssumptions, Grid, describe, footprint_table, footprints, grid, grids
from passkwh.analysis.results import Interval
from passkwh.cli.analyze import analyze
from passkwh.errors import UsageError

app = typer.Typer()
app.command()(analyze)

HERE = Grid(region="AAA", name="Here", gco2e_per_kwh=250.0, source="a book", year=2020)
positive = st.floats(1e-9, 1e9)


def interval(estimate: float | None, low: float | None = None, high: float | None = None) -> Interval:
    reason = None if estimate is not None else "no energy"
    return Interval(measure="energy_kwh", label="m", estimate=estimate, low=low, high=high, level=0.95, reason=reason)


def test_codecarbons_table_is_read_with_source_and_year() -> None:
    netherlands = grid("NLD")
    assert netherlands == grid("nld") == grid("Netherlands")
    assert 100 < netherlands.gco2e_per_kwh < 500
    assert netherlands.year >= 2020
    assert "CodeCarbon" in netherlands.source
    assert len(grids()) > 150
    assert all(entry.gco2e_per_kwh > 0 for entry in grids().values())


@pytest.mark.parametrize(("asked", "near"), [("NLT", "NLD"), ("netherland", "NLD"), ("XQZ", "ISO 3166")])
def test_an_unknown_region_is_told_a_close_one(asked: str, near: str) -> None:
    with pytest.raises(UsageError, match=near):
        grid(asked)


@given(positive, positive, st.floats(1, 10), positive)
def test_carbon_and_cost_are_products(energy: float, price: float, pue: float, intensity: float) -> None:
    assumed = FootprintAssumptions(
        grid=HERE.model_copy(update={"gco2e_per_kwh": intensity}), pue=pue, price_per_kwh=price
    )
    (found,) = footprints([interval(energy, energy / 2, energy * 2)], assumed)
    assert found.gco2e is not None
    assert found.cost is not None
    assert found.gco2e.estimate == pytest.approx(energy * intensity * pue)
    assert found.gco2e.low == pytest.approx(energy / 2 * intensity * pue)
    assert found.cost.high == pytest.approx(energy * 2 * price * pue)


def test_what_is_not_known_stays_missing() -> None:
    (found,) = footprints([interval(None)], FootprintAssumptions(grid=HERE))
    assert found.cost is None, "no price was given"
    assert found.gco2e is not None
    assert found.gco2e.estimate is None
    assert found.gco2e.reason == "no energy"
    (row,) = footprint_table([found], FootprintAssumptions(grid=HERE)).rows
    assert row == ("m", None, None, None, None, None, None)


def test_the_sentence_names_source_and_year() -> None:
    text = describe(FootprintAssumptions(grid=HERE, pue=1.2, price_per_kwh=0.3))
    assert text.startswith("estimated")
    for part in ("PUE 1.2", "250 gCO2e/kWh", "Here", "2020", "a book", "0.3 per kWh"):
        assert part in text


def test_analyze_adds_them_and_leaves_energy_alone(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a-1B", model="family/a-1B", tasks=tuple(f"BigCodeBench/{i}" for i in range(8)))
    plain = _call(run)
    found = _call(run, "--region", "FRA", "--pue", "1.5", "--price", "0.2", "--out", tmp_path / "out")
    assert found["intervals"] == plain["intervals"]
    assert "footprint" not in plain
    energy = next(i for i in found["intervals"] if i["measure"] == "energy_kwh")
    (row,) = found["footprint"]["rows"]
    intensity = found["footprint"]["assumed"]["grid"]["gco2e_per_kwh"]
    assert row["gco2e"]["estimate"] == pytest.approx(energy["estimate"] * 1.5 * intensity)
    assert row["cost"]["low"] == pytest.approx(energy["low"] * 1.5 * 0.2)
    assert "gCO2e" in (tmp_path / "out" / "footprint.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pue", "0.5", "--region", "FRA"], "--pue 0.5: give a number from 1"),
        (["--price", "-1"], "--price -1: give the price"),
        (["--pue", "1.5"], "add --region or --price"),
        (["--region", "FRA", "--plan"], "leave --plan"),
    ],
)
def test_wrong_use_names_the_option(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        _invoke(tmp_path, *options)


def _invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--resamples", "100", "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def _call(*arguments: object) -> dict:  # type: ignore[type-arg]
    return dict(json.loads(_invoke(*arguments).splitlines()[-1]))
