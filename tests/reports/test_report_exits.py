"""Runs that leave early: figures 1 and 7-11 and table IV of GREEN-CODE from what the runs hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

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
        (run / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)) + "\n", "utf-8")
        summary = json.loads((run / "summary.json").read_text("utf-8"))
        summary.pop("crc32", None)
        for channel in summary["channels"]:
            for kind in ("gross_j", "net_j"):
                channel["generation"][kind] *= factor
        summary |= {"metrics": {"rougeL": quality}, "generation_s": summary["generation_s"] * factor}
        summary |= {"mean_exit_layer": float(layer) if rule else None}
        (run / "summary.json").write_text(json.dumps(summary), "utf-8")
    return Written(root / "out", call("report", root / "runs", "--experiment", "early-exit", "--out", root / "out"))


def test_each_rule_is_compared_with_the_same_weights(leaving: Written) -> None:
    table = next(t for t in leaving.blocks("table") if t["name"] == "exits")
    names = [c["name"] for c in table["columns"]]
    rows = {row[0]: dict(zip(names, row, strict=True)) for row in table["rows"]}
    assert len(rows) == len(RULES)
    agent = next(row for label, row in rows.items() if "agent:0.6" in label)
    assert "fixed:28" in agent["baseline"]
    assert agent["net saved"] == pytest.approx(1 - 1.1 * 8 / 28)
    assert agent["rougeL lost"] == pytest.approx(1 - 0.35 / 0.48)
    found = {c["label"]: c for c in leaving.content["results"]["exits"]["configurations"]}
    assert found[agent["configuration"]]["net_saved"] == agent["net saved"]
    text = leaving.texts("early-exit")
    assert f"against {agent['baseline']}: net energy of generating -68.57 %, rougeL -27.08 %" in text


def test_what_deciding_costs_comes_from_rules_that_never_left(leaving: Written) -> None:
    table = next(t for t in leaving.blocks("table") if t["name"] == "exit_overhead")
    assert len(table["rows"]) == 1
    assert "agent:1" in table["rows"][0][0]
    assert table["rows"][0][2:] == pytest.approx([0.1, 0.1, 0.1])


def test_figures_and_coverage(leaving: Written) -> None:
    assert {f["name"] for f in leaving.blocks("figure")} >= {"exits_fixed", "exits_where", "exits_thresholds"}
    where = {row[0]: row[2] for t in leaving.blocks("table") if t["name"] == "coverage" for row in t["rows"]}
    for item in ("figure 1", "figure 7", "figures 8-11"):
        assert where[f"GREEN-CODE, {item}"].startswith("figure "), item
    assert where["GREEN-CODE, table IV"].startswith("table ")
    assert where["GREEN-CODE, figure 6"] == "not computed"
    svg = (leaving.folder / "figures" / "exits_fixed.svg").read_text("utf-8")
    assert "rougeL — higher is better" in svg
    assert "net energy of generating (J) — lower is better" in svg
