"""Runs that leave early: figures 1 and 7-11 and table IV of GREEN-CODE from what the runs hold."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from passkwh.adapters.early_exit.training.log import LossStep, TrainingLog, moving_rewards
from passkwh.cli.exits import exits
from passkwh.errors import UsageError
from passkwh.reports.figures.axes import padded
from passkwh.stored import unseal

from .conftest import Written, call

DEPTH, EXITS = 28, "4+8+12+20+28"
RULES = (
    (None, None, 28, 0.50), ("fixed:12", 12.0, 12, 0.30), ("fixed:28", 28.0, 28, 0.48), ("agent:0.6", 0.6, 8, 0.35),
    ("agent:0.9", 0.9, 20, 0.45), ("agent:1", 1.0, 28, 0.48), ("oracle", None, 12, 0.48),
)  # fmt: skip
"""Rule, its argument, the layer all decoded tokens ran through, and the run's ROUGE-L."""


@pytest.fixture(scope="module")
def leaving(invented: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The same run under several rules, cheaper where tokens leave earlier; the agent costs a tenth."""
    root = tmp_path_factory.mktemp("leaving")
    for i, (rule, _, layer, quality) in enumerate(RULES):
        run = root / "runs" / f"{i}"
        shutil.copytree(invented / "00-r0", run)
        manifest = json.loads((run / "manifest.json").read_text("utf-8"))
        manifest.pop("crc32", None)
        manifest["spec"]["exit"] = rule
        if rule:
            manifest["model"]["revision"] = "1" * 40
            manifest["model"]["early_exit"] = {
                "rule": rule, "layers": DEPTH, "exits": EXITS, "kv": "propagate", "hindsight": rule == "oracle",
            }  # fmt: skip
        (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        factor = layer / DEPTH * (1.1 if rule and rule.startswith("agent") else 1.0)
        samples = [json.loads(unseal(line)) for line in (run / "samples.jsonl").read_bytes().splitlines()]
        for sample in samples:
            sample["exit_layers"] = [DEPTH, *[layer] * (sample["completion_tokens"] - 1)] if rule else None
            for energy in sample["generation_energy"].values():
                energy |= {kind: energy[kind] * factor for kind in ("gross_j", "net_j")}
        (run / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)) + "\n", "utf-8")
        summary = json.loads((run / "summary.json").read_text("utf-8"))
        summary.pop("crc32", None)
        for channel in summary["channels"]:
            for kind in ("gross_j", "net_j"):
                channel["generation"][kind] *= factor
        summary |= {
            "metrics": {"rougeL": quality, "exact_match": 0.0, "codebleu": 0.2563},
            "generation_s": summary["generation_s"] * factor,
        }
        summary |= {"mean_exit_layer": float(layer) if rule else None}
        (run / "summary.json").write_text(json.dumps(summary), "utf-8")
    (root / "training" / "lite").mkdir(parents=True)
    (root / "training" / "python").mkdir()
    exits = tuple(map(int, EXITS.split("+")))
    losses = tuple(LossStep(step=n, weighted=3 / n, exits=(4 / n, 3 / n, 2 / n, 1 / n, 0.5 / n)) for n in range(1, 30))
    lite = TrainingLog(kind="lite", model="a model", languages=("python",), exits=exits, losses=losses)
    lite.write(root / "training" / "lite")
    agent = TrainingLog(
        kind="agent", model="a model", languages=("python",), exits=exits, optimal_exits={4: 30, 12: 10},
        rewards=moving_rewards([n / 100 for n in range(300)]),
    )  # fmt: skip
    agent.write(root / "training" / "python")
    return Written(
        root / "out",
        call("report", root / "runs", root / "training", "--experiment", "early-exit", "--out", root / "out"),
    )


def test_each_rule_is_compared_with_the_same_weights(leaving: Written) -> None:
    table = next(t for t in leaving.blocks("table") if t["name"] == "exits")
    names = [c["name"] for c in table["columns"]]
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in table["rows"]}
    assert len(rows) == len(RULES)
    agent = next(row for label, row in rows.items() if "agent:0.6" in label)
    table = next(t for t in leaving.blocks("table") if t["name"] == "exit_savings")
    names = [c["name"] for c in table["columns"]]
    own = [dict(zip(names, row, strict=True)) for row in table["rows"] if row[0] == agent["configuration"]]
    assert [row["against the"] for row in own] == ["unmodified model", "same weights"]
    assert "fixed:28" in own[1]["which is"]
    for row, reference in zip(own, (0.50, 0.48), strict=True):
        saved = row["gross saved"]
        assert saved["value"] == pytest.approx(1 - 1.1 * 8 / 28)
        assert saved["low"] < saved["value"] < saved["high"] < saved["low"] + 0.02  # the same share of every task
        assert row["rougeL, change"] == pytest.approx(0.35 / reference - 1)
        assert row["exact_match, change"] is None
    found = {c["label"]: c for c in leaving.content["results"]["exits"]["configurations"]}
    one = found[agent["configuration"]]
    assert one["against_base"]["gross_saved"] == own[0]["gross saved"]["value"]
    assert one["against_base"]["quality_lost"]["rougeL"] == pytest.approx(1 - 0.35 / 0.50)
    assert one["against_full_depth"]["quality_lost"]["rougeL"] == pytest.approx(1 - 0.35 / 0.48)
    text = leaving.texts("early-exit")
    change = r"gross energy of generating -68\.57 % \[-68\.[\d]+, -68\.[\d]+\], rougeL "
    assert re.search(change + "-30 %, codebleu 0 %; against the same weights", text)
    assert re.search(change + r"-27\.08 %, codebleu 0 %; ", text)


def test_what_deciding_costs_is_told_for_each_threshold_by_both_denominators(leaving: Written) -> None:
    table = next(t for t in leaving.blocks("table") if t["name"] == "exit_overhead")
    names = [c["name"] for c in table["columns"]]
    rows = {row[0].rpartition(" ")[2].partition("=")[2] or row[0]: dict(zip(names, row, strict=True))
            for row in table["rows"]}  # fmt: skip
    by_threshold = {next(t for t in ("0.6", "0.9", "agent:1") if t in label): row for label, row in rows.items()}
    assert set(by_threshold) == {"0.6", "0.9", "agent:1"}
    kept = by_threshold["agent:1"]
    for denominator, share in (("this run", 0.1 / 1.1), ("the full model", 0.1)):
        assert kept[f"energy, of {denominator}"] == pytest.approx(share)
        assert kept[f"time, of {denominator}"] == pytest.approx(share)
    for threshold, layer, asked in (("0.6", 8, 2), ("0.9", 20, 4)):  # exits 4 8 12 20 | 28: asked up to where it left
        row = by_threshold[threshold]
        of_full = asked / 4 * 0.1
        assert row["energy, of the full model"] == pytest.approx(of_full)
        assert row["energy, of this run"] == pytest.approx(of_full / (1.1 * layer / DEPTH))


def test_figures_and_coverage(leaving: Written) -> None:
    assert {f["name"] for f in leaving.blocks("figure")} >= {"exits_fixed", "exits_where", "exits_thresholds"}
    where = {row[0]: row[2] for t in leaving.blocks("table") if t["name"] == "coverage" for row in t["rows"]}
    for item in ("figure 1", "figure 3", "figure 4", "figure 6", "figure 7", "figures 8-11"):
        assert where[f"GREEN-CODE, {item}"].startswith("figure "), item
    assert where["GREEN-CODE, table IV"].startswith("table ")


def test_every_exit_and_both_baselines_are_drawn_and_named(leaving: Written) -> None:
    svg = (leaving.folder / "figures" / "exits_fixed.svg").read_text("utf-8")
    for title in ("rougeL — higher is better", "simulated gross energy of generating (J) — lower is better"):
        assert title in svg
    for name in ("unmodified model, all layers", "fine-tuned weights of the rule, all layers"):
        assert f">{name}</text>" in svg
    for layer in EXITS.split("+"):  # also those that no run left at
        assert f">{layer}</text>" in svg
    for dash in ("9,4", "2,3"):  # each baseline has a style of its own
        assert f'stroke-dasharray="{dash}"' in svg
    for figure, most in (("exits_where", 40), ("training_optimal_2", 5)):
        data = (leaving.folder / "figures" / f"{figure}.csv").read_text("utf-8")
        shares = [line.split(",") for line in data.splitlines()[1:]]
        assert {layer for row in shares for layer in row if layer in EXITS.split("+")} == set(EXITS.split("+"))
        assert len(shares) <= most
        assert any(row[-1] in ("0", "0.0") or "0.0" in row for row in shares)


def test_a_flat_series_is_not_drawn_at_a_tick_of_another_value(leaving: Written) -> None:
    """CodeBLEU is 0.2563 in every run: the axis has room on both sides, and its ticks are told apart."""
    data = (leaving.folder / "figures" / "exits_fixed.csv").read_text("utf-8")
    assert "codebleu" in data
    svg = (leaving.folder / "figures" / "exits_fixed.svg").read_text("utf-8")
    panel = svg[svg.index("codebleu — higher is better") - 6000 : svg.index("codebleu — higher is better")]
    ticks = [float(text) for text in re.findall(r">(0\.2\d+)</text>", panel)]
    assert len(set(ticks)) >= 2
    assert min(ticks) < 0.2563 < max(ticks)


@pytest.mark.parametrize(
    ("option", "said"),
    [(["--metric", "bleu"], "--metric belongs to the report on early exit"), (["TRAINING"], "a training's folder")],
)
def test_what_belongs_to_early_exit_alone_is_refused_elsewhere(leaving: Written, option: list[str], said: str) -> None:
    training = str(leaving.folder.parent / "training")
    arguments = [training if part == "TRAINING" else part for part in option]
    with pytest.raises(UsageError, match=said):
        call("report", leaving.folder.parent / "runs", *arguments)


def test_the_metrics_and_the_energy_that_are_asked_for_lead(leaving: Written) -> None:
    command = typer.Typer()
    command.command()(exits)
    runs = str(leaving.folder.parent / "runs")
    shown = CliRunner().invoke(command, [runs, "--metric", "rougeL", "--energy", "net", "--json"])
    result = json.loads(shown.stdout.splitlines()[-1])
    assert (result["energy"], result["metrics"]) == ("net", ["rougeL"])
    assert set(result["configurations"][1]["against_base"]["quality_lost"]) == {"rougeL"}
    shown = CliRunner().invoke(command, [runs, "--metric", "bleu"])
    assert "--metric bleu: all of these runs have codebleu, exact_match, pass@1, rougeL" in str(shown.exception)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_axes_leave_room_on_both_sides(values: list[float]) -> None:
    low, high = padded(values)
    assert low < min(values) <= max(values) < high
