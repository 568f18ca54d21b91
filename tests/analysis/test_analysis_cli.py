"""bench analyze, compare and estimate as users call them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from conftest import MakeRun  # type: ignore[import-not-found]
from typer.testing import CliRunner

from passkwh.analysis.tables import cell_text, make_table, to_csv, to_latex, write_parquet
from passkwh.cli.analyze import analyze
from passkwh.cli.compare import compare
from passkwh.cli.estimate import estimate
from passkwh.errors import UsageError

app = typer.Typer()
app.command()(analyze)
app.command()(compare)
app.command()(estimate)

TASKS = tuple(f"BigCodeBench/{i}" for i in range(60))


def call(*arguments: object) -> Any:
    """The JSON object a command prints last."""
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--json")])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def pair(make_run: MakeRun) -> list[Path]:
    rng = np.random.default_rng(1)
    difficulty = rng.normal(0, 0.5, 60)
    return [
        make_run(
            name, model=f"family/{name}", tasks=TASKS, energy_j=np.exp(3 + cost + difficulty).tolist(),
            passed=(rng.random(60) < chance).tolist(), tokens=rng.integers(50, 400, 60).tolist(),
        )
        for name, cost, chance in (("a-1B", 0.0, 0.5), ("b-3B", 0.7, 0.6))
    ]  # fmt: skip


def test_analyze_answers_and_writes_tables(pair: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = call("analyze", *pair, "--resamples", 500, "--out", out, "--budget-kwh", 1, "--floor", 0)
    assert found["tasks"] == 60
    headline = {(i["measure"], i["label"]): i for i in found["intervals"]}
    assert headline["energy_kwh", "a-1B"]["low"] < headline["energy_kwh", "a-1B"]["estimate"]
    assert found["pairs"][0]["energy"]["p_value"] < 1e-6
    assert found["kruskal_wallis"]["p_value"] > found["friedman"]["p_value"], "matching pays"
    assert found["tradeoff"]["best_under_budget"] in ("a-1B", "b-3B")
    assert found["tradeoff"]["cheapest_above_floor"] == "a-1B"
    assert any("not measured" in note for note in found["notes"])
    assert found == {**json.loads((out / "analysis.json").read_text()), "written": found["written"]}
    for path in found["written"]:
        assert Path(path).stat().st_size > 0
    with (out / "headlines.csv").open() as file:
        rows = list(csv.DictReader(file))
    parquet = pq.read_table(out / "headlines.parquet").to_pylist()
    assert [float(r["estimate"]) for r in rows] == [r["estimate"] for r in parquet], "all digits in both"
    tidy = pq.read_table(out / "samples.parquet")
    assert tidy.num_rows == 120
    assert set(tidy["configuration"].to_pylist()) == {"a-1B", "b-3B"}
    assert len((out / "runs.csv").read_text().splitlines()) == 3
    latex = (out / "regression_01_thesis.tex").read_text()
    assert r"\toprule" in latex
    assert "R-squared (uncentered)" in latex


def test_one_configuration_says_what_needs_two(pair: list[Path]) -> None:
    found = call("analyze", pair[0], "--resamples", 200)
    assert found["pairs"] == []
    assert "two configurations" in found["friedman"]["reason"]
    assert "two configurations" in found["mixed"]["reason"]
    assert any("two configurations" in f["text"] for f in found["findings"])
    assert len(found["intervals"]) == 6
    with pytest.raises(UsageError, match="two configurations"):
        call("analyze", pair[0], "--plan")


def test_a_benchmark_without_verdicts_still_has_energies(make_run: MakeRun) -> None:
    runs = [make_run(f"{m}-1B", model=f"family/{m}-1B", tasks=TASKS, passed=[None] * 60) for m in "ab"]
    found = call("analyze", *runs, "--resamples", 200)
    headline = {(i["measure"], i["label"]): i for i in found["intervals"]}
    assert headline["energy_kwh", "a-1B"]["low"] is not None
    assert headline["pass_at_1", "a-1B"]["estimate"] is None
    assert headline["pass_at_kwh", "a-1B"]["reason"]
    assert found["tradeoff"] is None
    assert found["pairs"][0]["passing"]["reason"] == "no matched verdicts"
    ranking = next(r for r in found["rankings"] if r["measure"] == "pass_at_1")
    assert (ranking["ranked"], ranking["left_out"]) == ([], ["a-1B", "b-1B"])


def test_runs_without_any_energy_or_common_task_to_judge(make_run: MakeRun) -> None:
    dark = [make_run(f"{m}-1B", model=f"family/{m}-1B", tasks=TASKS, energy_j=[None] * 60) for m in "ab"]
    found = call("analyze", *dark, "--resamples", 200)
    headline = {(i["measure"], i["label"]): i for i in found["intervals"]}
    assert headline["energy_kwh", "a-1B"]["estimate"] is None
    assert headline["pass_at_1", "a-1B"]["low"] is not None
    assert found["friedman"]["reason"] == "no configuration has an energy on every task"
    assert found["configurations"][0]["shapiro_wilk"]["reason"]
    halves = [[True] * 30 + [None] * 30, [None] * 30 + [True] * 30]
    apart = [make_run(f"h{i}-1B", model=f"family/h{i}-1B", tasks=TASKS, passed=h) for i, h in enumerate(halves)]
    with pytest.raises(UsageError, match="no task has a verdict"):
        call("analyze", *apart)


def test_net_energy_and_another_idle(pair: list[Path]) -> None:
    gross, net = (call("analyze", *pair, "--resamples", 200, "--energy", e) for e in ("gross", "net"))
    one, other = (next(i for i in f["intervals"] if i["measure"] == "energy_kwh") for f in (gross, net))
    assert other["estimate"] == pytest.approx(0.75 * one["estimate"])
    moved = call("analyze", *pair, "--resamples", 200, "--energy", "net", "--idle", "none")
    assert next(i for i in moved["intervals"] if i["measure"] == "energy_kwh")["estimate"] == pytest.approx(
        60 * 100.0 / 3.6e6, rel=1e-3
    )


def test_experiments_by_name(pair: list[Path], make_run: MakeRun, tmp_path: Path) -> None:
    small = make_run("a-3B", model="family/a-3B", tasks=TASKS)
    found = call("analyze", pair[0], small, "--experiment", "model-size", "--out", tmp_path / "e")
    assert found["families"][0]["labels"] == ["a-1B", "a-3B"]
    assert (tmp_path / "e" / "model_size_kruskal_wallis.tex").exists()
    granular = call("analyze", pair[0], "--experiment", "granularity", "--resamples", 200)
    assert {r["domain"] for r in granular["domains"]} >= {"Computation", "System"}
    with pytest.raises(UsageError, match="there is none of that name"):
        call("analyze", *pair, "--experiment", "alchemy")


def test_plan(pair: list[Path]) -> None:
    found = call("analyze", *pair, "--plan", "--effect", 0.1)
    assert {p["measure"] for p in found["plans"]} == {"energy", "pass@1", "pass@kWh"}
    assert [p["goal"] for p in found["plans"]] == ["difference"] * 3 + ["non-inferiority"]
    assert all(p["rows"][0]["tasks"] >= 10 for p in found["plans"])


def test_published_rows(shared_data: Path) -> None:
    found = call("analyze", "--published", shared_data / "thesis-results.csv", "--family", "Qwen2.5-")
    assert len(found["configurations"]) == 25
    assert found["conflicts"]


def test_what_printed_figures_show_and_what_they_do_not(tmp_path: Path) -> None:
    head = "table,model,tuning,quant,batch_size,energy_kwh,latency_min,throughput_tok_s,pass_at_1,pass_at_kwh"
    rows = tmp_path / "rows.csv"
    rows.write_text(
        f"{head}\n1,a,base,none,,0.50,1,2,0.30,\n1,b,base,none,,0.40,1,2,0.45,\n1,c,base,none,,0.40,1,2,0.44,\n"
    )
    found = call("analyze", "--published", rows, "--tasks", 1140)["conclusions"]
    assert any("which rounding does not tell from" in text for text in found)
    assert any("not shown to differ from c base (" in text for text in found), "0.44 of 1,140; and a differs"
    unknown = call("analyze", "--published", rows)["conclusions"]
    assert any("of how many tasks is not printed" in text for text in unknown)
    rows.write_text(f"{head}\n1,a,base,none,1,0.00,1,2,0.30,1.0\n")
    with pytest.raises(UsageError, match=r"line 2: energy_kwh is 0\.00, which may be 0"):
        call("analyze", "--published", rows)


def test_compare(pair: list[Path], make_run: MakeRun) -> None:
    found = call("compare", *pair, "--resamples", 500)
    energy = next(c for c in found["contrasts"] if c["measure"] == "energy_kwh")
    assert energy["ratio"]["low"] < energy["ratio"]["estimate"] < energy["ratio"]["high"] < 0.6
    text = CliRunner().invoke(app, ["compare", *map(str, pair), "--resamples", "500"]).stdout
    assert "no loss of accuracy beyond 0.02" in text
    again = make_run("again", model="family/a-1B", tasks=TASKS, repeat=1)
    with pytest.raises(UsageError, match="same configuration"):
        call("compare", pair[0], again)


def test_compare_refuses_mixtures(pair: list[Path], make_run: MakeRun) -> None:
    make_run("side/one", tasks=TASKS)
    make_run("side/two", model="family/other-3B", tasks=TASKS)
    with pytest.raises(UsageError, match="several configurations"):
        call("compare", pair[0], pair[0].parent / "side")


def test_estimate() -> None:
    found = call("estimate", "--model", "Qwen/Qwen2.5-7B-Instruct", "--gpu", "L40S", "--idle-w", 40)
    assert found["parameters"] == 7_615_616_512
    assert found["provenance"] == "estimated"
    assert found["net_energy_j"] < found["energy_j"]
    printed = call("estimate", "--model", "Llama-3.1-8B", "--gpu", "L40", "--as-printed")
    assert round(printed["ttft_s"] * 1e3, 2) == 41.14


def test_estimate_fitted_to_runs(make_run: MakeRun) -> None:
    run = make_run("q", model="Qwen/Qwen2.5-3B-Instruct")
    found = call("estimate", "--model", "Qwen2.5-7B", "--gpu", "T4", "--fit", run)
    assert found["fit"]["runs"][0]["time_error"] == pytest.approx(0.0, abs=1e-12)
    assert found["power_w"] == pytest.approx(found["fit"]["power_w"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--energy", "total"], "--energy total"),
        (["--level", "2"], "--level 2"),
        (["--margin", "0"], "--margin 0"),
        (["--idle", "mean"], "add --energy net"),
        (["--power", "3"], "--power 3"),
    ],
)
def test_wrong_options(pair: list[Path], arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call("analyze", *pair, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quant", "int3"], "--quant int3"),
        (["--exit-layer", "0"], "--exit-layer 0"),
        (["--as-printed", "--exit-layer", "3"], "neither"),
    ],
)
def test_wrong_estimates(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call("estimate", "--model", "Qwen2.5-7B", "--gpu", "L40S", *arguments)


def test_the_program_itself(pair: list[Path]) -> None:
    """A process of its own: JSON is the last line of stdout, notes go to stderr, and a mistake is one line."""
    command = [sys.executable, "-m", "passkwh.cli.main", "analyze"]
    done = subprocess.run([*command, *map(str, pair), "--resamples", "200", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["tasks"] == 60
    assert "not measured" in done.stderr
    wrong = subprocess.run([*command, "no/such/run"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "bench run" in wrong.stderr


def test_tables_keep_digits_for_machines_and_round_for_people(tmp_path: Path) -> None:
    table = make_table(
        "x", "50 % & more", [("name", "text"), ("p", "p"), ("value", "number"), ("n", "integer")],
        [("a_b", 0.00001, 1 / 3, 4), ("c", None, None, None)],
    )  # fmt: skip
    assert to_csv(table).splitlines()[1] == f"a_b,1e-05,{1 / 3!r},4"
    latex = to_latex(table)
    assert r"a\_b & $<$ 0.001 & 0.3333 & 4 \\" in latex
    assert r"50 \% \& more" in latex
    assert "c & --- & --- & ---" in latex
    assert cell_text(0.0123, "p") == "0.012"
    write_parquet(table, tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").to_pylist()[0] == {"name": "a_b", "p": 1e-05, "value": 1 / 3, "n": 4}
