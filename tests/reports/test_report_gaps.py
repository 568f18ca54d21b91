"""What cannot be computed is said with its reason; threats are filled in from the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passkwh.errors import UsageError
from passkwh.stored import unseal

from .conftest import Written, call


def change(path: Path, **fields: Any) -> None:
    """Overwrite fields of a JSON file; dotted names with __ reach inside."""
    content = json.loads(unseal(path.read_bytes()))
    for name, value in fields.items():
        place = content
        *way, last = name.split("__")
        for part in way:
            place = place[part]
        place[last] = value
    path.write_text(json.dumps(content), "utf-8")


def change_samples(run: Path, update: dict[str, Any], every: int = 1) -> None:
    """Overwrite fields of samples."""
    lines = (run / "samples.jsonl").read_bytes().splitlines()
    changed = [
        json.dumps({**json.loads(unseal(line)), **(update if i % every == 0 else {})}) for i, line in enumerate(lines)
    ]
    (run / "samples.jsonl").write_text("\n".join(changed) + "\n", "utf-8")


def written(folder: Path, *runs: Path) -> Written:
    return Written(folder, call("report", *runs, "--experiment", "all", "--out", folder))


def missing(found: Written) -> dict[str, str]:
    return {b["what"]: b["reason"] for b in found.blocks("not_available")}


def test_one_configuration_is_not_compared(one_run: Path, tmp_path: Path) -> None:
    found = written(tmp_path / "r", one_run)
    assert missing(found)["Any comparison between configurations"].startswith("only one configuration was given")
    assert found.content["results"]["impossible"].keys() == {
        "batch-size", "model-size", "fine-tuning", "awq", "gptq", "early-exit",
    }  # fmt: skip
    assert "cannot be said: a comparison needs two configurations" in found.texts("summary")


def test_no_verdicts_no_domains_no_trace(one_run: Path, tmp_path: Path) -> None:
    lines = [json.loads(unseal(line)) for line in (one_run / "samples.jsonl").read_bytes().splitlines()]
    changed = [{**s, "task_id": f"py150/{i}", "verdict": None, "scores": {"edit": 0.5}} for i, s in enumerate(lines)]
    (one_run / "samples.jsonl").write_text("\n".join(map(json.dumps, changed)) + "\n", "utf-8")
    change(one_run / "summary.json", metrics={"rouge_l": 0.41}, metrics_per_kwh={"rouge_l": 12.0}, pass_at_k={})
    (one_run / "trace.parquet").unlink()
    found = written(tmp_path / "r", one_run)
    said = missing(found)
    assert said["Power over time"] == "the run folder has no trace.parquet"
    assert "no configuration has both" in said["Energy against accuracy with the efficient frontier"]
    assert said["pass@k for k above 1"] == "samples have no verdicts"
    assert said["Tasks by domain"] == "it needs runs of BigCodeBench, and these tasks have no domains"
    metrics = next(t for t in found.blocks("table") if t["name"] == "metrics")
    assert metrics["rows"][0][-1] == 0.41
    summary = found.texts("summary")
    assert "has no pass@1 here: completions were not run" in summary
    assert "benchmark's own metrics" in summary
    assert "rouge_l 0.41" in summary
    assert "divide by zero" not in found.page
    assert "no verdicts: nothing is said about what their code does" in found.texts("threats")
    assert "div" not in found.page.split("<body>")[0]


def test_no_energy_at_all(one_run: Path, tmp_path: Path) -> None:
    lost = {"gross_j": None, "net_j": None, "reason": "the reading failed"}
    channels = [c["name"] for c in json.loads((one_run / "manifest.json").read_text("utf-8"))["meter"]["channels"]]
    change_samples(one_run, {"generation_energy": dict.fromkeys(channels, lost)})
    change(one_run / "summary.json", gross_energy_j=None, energy_kwh=None, energy_reason="the reading failed")
    found = written(tmp_path / "r", one_run)
    assert missing(found)["Energy per task"] == "no configuration has energies"
    results = next(t for t in found.blocks("table") if t["name"] == "results")
    assert results["rows"][0][2]["value"] is None
    assert "missing" in results["rows"][0][2]["reason"]
    assert results["rows"][0][1]["value"] is not None, "accuracy is still there"
    energies = next(t for t in found.blocks("table") if t["name"] == "energies")
    assert energies["rows"][0][-1] == "the reading failed"


def test_threats_follow_the_data(one_run: Path, tmp_path: Path) -> None:
    manifest = json.loads((one_run / "manifest.json").read_text("utf-8"))
    manifest.pop("crc32", None)
    manifest["meter"]["name"] = "auto"
    manifest["meter"]["channels"][1]["provenance"] = "estimated"
    manifest["sessions"] = [
        {**manifest["sessions"][0], "busy": 0.6},
        {"index": 1, "started_at": "2026-01-02T00:00:00Z"},
    ]
    (one_run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    change_samples(one_run, {"finish_reason": "length"}, every=2)
    summary = json.loads((one_run / "summary.json").read_text("utf-8"))
    summary.pop("crc32", None)
    summary["channels"][0]["idle_after"]["mean_w"] = 90.0
    summary["channels"][1]["provenance"] = "estimated"
    summary |= {"generation_s": 3.0, "evaluation_s": 1.0, "not_evaluated": 2, "provenance": "mixed",
                "pass_at_k": {"1": 0.5}, "pass_at_k_trusted": {"1": 0.25}, "warnings": ["a full moon"]}  # fmt: skip
    (one_run / "summary.json").write_text(json.dumps(summary), "utf-8")
    found = written(tmp_path / "r", one_run)
    threats = found.texts("threats")
    for said in (
        "cpu:0 of every configuration is estimated", "is simulated", "metered for less than 10 s",
        "the shortest for 4 s",
        "Idle power moved", "not ours alone", "Interrupted and resumed", "have no verdict and count neither way",
        "without them pass@1 is lower by up to 0.2500", "50 % of completions were cut", "One run each",
    ):  # fmt: skip
        assert said in threats, said
    assert "a full moon" in found.texts("measured")
    plain = written(tmp_path / "plain", tmp_path / "run")
    assert plain.texts("threats") == threats


def test_sound_runs_are_not_accused(everything: Written) -> None:
    threats = everything.texts("threats")
    for said in ("Short windows", "Idle power moved", "not ours alone", "resumed", "no verdict", "suspicion", "cut at"):
        assert said not in threats, said
    assert "Windows are long enough" in threats


def test_a_run_that_lost_a_sample_is_not_reported(one_run: Path, tmp_path: Path) -> None:
    lines = (one_run / "samples.jsonl").read_text("utf-8").splitlines(keepends=True)
    (one_run / "samples.jsonl").write_text("".join(lines[1:]), "utf-8")
    for kind in ([], ["--experiment", "all"]):
        with pytest.raises(UsageError, match=f"holds {len(lines) - 1} samples and its summary is of {len(lines)}"):
            call("report", one_run, *kind, "--out", tmp_path / "r")
