"""Runs of one model in several quantizations, each a row of one report, with what its files say in the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import passkwh
from passkwh.harness.plan import plan
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Spec


def spec_of(folder: Path, **more: object) -> Spec:
    fields = {
        "model": str(folder), "benchmark_options": {"subset": "sample"}, "limit": 1, "max_new_tokens": 4, "idle_s": 0,
        "meter": "simulated",
    }  # fmt: skip
    return Spec.model_validate({**fields, **more})


@pytest.mark.slow
def test_each_quantization_is_a_row_of_one_report(tiny_chat: Path, tmp_path: Path, own_cache: Path) -> None:
    for library in ("gptqmodel", "bitsandbytes", "torchao"):
        pytest.importorskip(library)
    quants = ["none", "bnb-nf4", "bnb-int8", "torchao-int8", "gptq-int4"]
    for quant in quants:
        passkwh.run(spec_of(tiny_chat, quant=quant), out=tmp_path / "runs")
    grouped = passkwh.run(
        spec_of(tiny_chat, quant="gptq-int4", quant_options={"group_size": 32}), out=tmp_path / "runs"
    )
    assert grouped is not None
    runs = passkwh.load_runs(tmp_path / "runs")
    assert sorted(runs.runs["quant"]) == sorted([*quants, "gptq-int4"])
    page = runs.report(tmp_path / "report.html").read_text("utf-8")
    assert all(f">{quant}" in page or f"{quant}<" in page for quant in quants)
    models = [RunFolder.open(path).manifest().model for path in runs.paths]
    assert all(model.read["prompt"].startswith("its chat template ends turns") for model in models)
    assert {int(model.quantization["group_size"]) for model in models if model.quant == "gptq-int4"} == {32, 64}
    assert all(model.gpus == () and model.context_tokens == 512 and model.end_tokens for model in models)


def test_what_was_asked_stands_in_the_plan_and_changes_no_older_identity(tiny_chat: Path, tmp_path: Path) -> None:
    asked = plan(spec_of(tiny_chat, prompt="base"), tmp_path)
    plain = plan(spec_of(tiny_chat), tmp_path)
    assert asked.report.model is not None
    assert plain.report.model is not None
    assert (asked.report.model.prompt, asked.report.model.overridden) == ("base", {"prompt": "base"})
    assert (plain.report.model.prompt, plain.report.model.overridden, plain.report.model.guesses) == ("chat", {}, ())
    assert asked.report.run_id != plain.report.run_id
    dumped = json.loads(
        spec_of(tiny_chat).model_dump_json(exclude={"revision", "prompt", "lora", "quant_options", "devices"})
    )
    assert plan(Spec.model_validate(dumped), tmp_path).report.run_id == plain.report.run_id


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"devices": "0,0"}, "devices", "--devices 0,0: write auto, cpu, or GPUs"),
        ({"revision": "v1"}, "model", "--revision v1 is for models of the hub"),
        ({"quant": "torchao-fp8"}, "quant", "it would take an NVIDIA GPU of compute capability 8.9"),
        ({"quant": "bnb-nf4", "quant_options": {"bits": 3}}, "quant", "bnb-nf4 has no options"),
        ({"lora": "/nowhere"}, "model", "--lora /nowhere: no such folder"),
        ({"model": "openai:http://127.0.0.1:9/v1#m", "prompt": "base"}, "model", "127.0.0.1:9"),
    ],
)
def test_every_problem_of_what_was_asked_is_in_the_plan(
    fields: dict[str, object], field: str, said: str, tiny_chat: Path, tmp_path: Path
) -> None:
    problems = plan(spec_of(tiny_chat, **fields), tmp_path).report.problems
    assert any(problem.field == field and said in problem.text for problem in problems), problems
