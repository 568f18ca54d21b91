"""What the report takes from the analysis: power over time, changes in families, domains, requirements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import MakeRun  # type: ignore[import-not-found]

from passkwh.analysis.bootstrap import draw
from passkwh.analysis.effects_vs_reference import effects_vs_reference
from passkwh.analysis.experiments import run_experiment
from passkwh.analysis.frames import load
from passkwh.analysis.granularity import by_domain
from passkwh.analysis.pooling import compare
from passkwh.analysis.power import power_timeline
from passkwh.analysis.requirements import requirements
from passkwh.analysis.tables import make_table, to_csv, to_latex
from passkwh.analysis.task_table import task_table
from passkwh.clean import cell
from passkwh.errors import UsageError

TASKS = tuple(f"BigCodeBench/{i}" for i in range(40))


def test_power_over_time_is_that_of_the_trace(make_run: MakeRun) -> None:
    """The trace holds 20 W while idle, 100 W at work and 30 W after; the uncounted channel draws 5 W throughout."""
    run = load([make_run("r", tasks=TASKS)]).runs[0]
    found = power_timeline(run, points=60)
    gpu = [(p.time_s, p.power_w) for p in found.points if p.channel == "gpu:0"]
    assert {round(w or 0) for t, w in gpu if t < 9} == {20}
    assert {round(w or 0) for t, w in gpu if 14 < t < 50} == {100}
    assert {round(w or 0) for t, w in gpu if t > 55} == {30}
    assert {p.channel for p in found.points} == {"gpu:0"}, "what is not counted would only dwarf what is"
    assert len(gpu) <= 62
    kinds = [stage.kind for stage in found.stages]
    assert kinds[0] == "idle_before"
    assert kinds[-1] == "idle_after"
    assert set(kinds) == {"idle_before", "generate", "score", "idle_after"}


def test_a_wrapped_counter_leaves_a_gap_and_not_a_negative_power(make_run: MakeRun) -> None:
    run = load([make_run("r", tasks=TASKS)]).runs[0]
    table = pq.read_table(run.path / "trace.parquet").to_pandas()
    later = (table["channel"] == "gpu:0") & (table["time_ns"] > 20 * 10**9)
    table.loc[later, "value"] -= 1000.0
    table.to_parquet(run.path / "trace.parquet")
    powers = [p.power_w for p in power_timeline(run, points=60).points if p.channel == "gpu:0"]
    assert powers.count(None) == 1
    assert all(w is None or w > 0 for w in powers)


def test_no_trace_says_so(make_run: MakeRun) -> None:
    run = load([make_run("r", tasks=TASKS)]).runs[0]
    (run.path / "trace.parquet").unlink()
    found = power_timeline(run)
    assert found.points == ()
    assert "no trace.parquet" in (found.reason or "")
    assert found.stages, "what the run did is known without its trace"


@pytest.mark.parametrize("name", ["samples.jsonl", "trace.parquet"])
def test_a_damaged_file_is_named_with_what_to_do(make_run: MakeRun, name: str) -> None:
    run = load([make_run("r", tasks=TASKS)]).runs[0]
    file = run.path / name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UsageError, match=rf"{name}.*(cannot be read|line 40: not a sample).*restore"):
        power_timeline(run)


@pytest.fixture
def family(make_run: MakeRun) -> list[Path]:
    rng = np.random.default_rng(3)
    base = np.exp(rng.normal(3, 0.4, 40))
    return [
        make_run(
            name, model="family/m-1B-Instruct", quant=quant, tasks=TASKS, energy_j=(base * cost).tolist(),
            scoring_j=0.0, passed=[i % 2 == 0 for i in range(40)],
        )
        for name, quant, cost in (("c", "gptq-int4", 0.25), ("a", "none", 1.0), ("b", "gptq-int8", 0.5))
    ]  # fmt: skip


def test_changes_are_against_the_unquantized_model(family: list[Path]) -> None:
    comparison = compare(load(family))
    table = task_table(comparison)
    found = effects_vs_reference(run_experiment("gptq", comparison), table, draw(table, 300), margin=0.02)
    assert [(c.label, c.reference) for c in found] == [
        ("m-1B-Instruct gptq-int8", "m-1B-Instruct"), ("m-1B-Instruct gptq-int4", "m-1B-Instruct"),
    ]  # fmt: skip
    for change, ratio in zip(found, (0.5, 0.25), strict=True):
        energy = change.contrast("energy_kwh").ratio
        assert energy.estimate == pytest.approx(ratio)
        assert energy.low == pytest.approx(ratio), "tasks are matched: the ratio is the same on all of them"
        assert change.tests.energy_ratio.estimate == pytest.approx(ratio)
        assert change.tests.energy_p_holm is not None
        assert change.tests.energy_p_holm < 1e-6
        assert change.tests.passing.reason == "no task separates the two"
        assert change.contrast("pass_at_1").difference.estimate == 0.0


def test_a_family_does_not_mix_exit_rules(make_run: MakeRun, family: list[Path]) -> None:
    early = make_run("e", model="family/m-1B-Instruct", quant="gptq-int4", tasks=TASKS, spec={"exit": "fixed:4"})
    (found,) = run_experiment("gptq", compare(load([*family, early]))).families
    assert found.title == "m 1b instruct"
    assert len(found.labels) == 3


def test_domain_intervals_hold_their_means(family: list[Path]) -> None:
    rows = by_domain(compare(load(family)), resamples=400)
    assert rows
    for row in rows:
        for value, bounds in ((row.joules_per_task, row.joules_per_task_range), (row.pass_at_1, row.pass_at_1_range),
                              (row.joules_per_token, row.joules_per_token_range)):  # fmt: skip
            if row.tasks == 1:
                assert bounds is None
            else:
                assert bounds is not None
                assert value is not None
                assert bounds[0] <= value * (1 + 1e-12)
                assert value <= bounds[1] * (1 + 1e-12)


def test_requirements_are_estimated_or_say_why_not(make_run: MakeRun, family: list[Path]) -> None:
    comparison = compare(load(family))
    (first, *_) = requirements(comparison, comparison.labels())
    assert first.estimate is None
    assert "none of a model of this name" in (first.reason or "")
    known = make_run("k", model="Qwen/Qwen2.5-7B-Instruct", quant="gptq-int4", tasks=TASKS)
    (without_gpu,) = requirements(compare(load([known])), ["Qwen2.5-7B-Instruct gptq-int4"])
    assert "without an accelerator" in (without_gpu.reason or "")
    manifest = json.loads((known / "manifest.json").read_text("utf-8"))
    manifest.pop("crc32", None)
    manifest["host"]["gpus"] = [{"uuid": "GPU-1", "name": "NVIDIA L40S"}]
    (known / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (found,) = requirements(compare(load([known])), ["Qwen2.5-7B-Instruct gptq-int4"])
    assert found.estimate is not None
    assert found.estimate.parameters == 7_615_616_512
    assert (found.estimate.workload.prompt_tokens, found.estimate.workload.quant) == (50, "gptq-int4")


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "  =1",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1",
        "\uff20x",
        "\u200b=1",
        '"=1',
        "\u2003-1",
    ],
)
def test_no_text_is_a_formula(text: str) -> None:
    assert cell(text).startswith("'")
    assert cell(f"a;{text}").startswith("a;'")
    table = make_table("x", "x", [(text, "text"), ("n", "number")], [(text, -1.5)])
    assert to_csv(table).count("'") == 2
    assert "-1.5" in to_csv(table)


def test_latex_rows_stay_rows() -> None:
    table = make_table("x", "two\n\nlines", [("a", "text"), ("b", "text")], [("[x]", "y\n% z"), ("p", "q")])
    latex = to_latex(table)
    assert r"{[}x] & y \% z \\" in latex
    assert r"\caption{two lines}" in latex
