"""`bench run --exit` and `bench exits` from the outside, and the exits analysis on runs whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh.analysis.exits import ExitStudy, ExitSummary, distance, study
from passkwh.analysis.frames import load
from passkwh.errors import UsageError
from passkwh.harness.plan import plan, refuse_problems
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Sample, Spec, Window
from tests.adapters.conftest import save
from tests.conftest import Bench, last_json

DEPTH = 12
TASKS = 4
LOSSLESS = ["lookup:4,match=1", "draft:4,k=2"]
RULES = ["none", "fixed:4", "fixed:12", "confidence:0.3", "oracle", *LOSSLESS]


@pytest.fixture(scope="module")
def runs(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny model under each rule."""
    model = save(
        tmp_path_factory.mktemp("models") / "twelve", "llama", num_hidden_layers=DEPTH, max_position_embeddings=8192
    )
    out = tmp_path_factory.mktemp("runs")
    summary = last_json(
        bench(
            "run", "--model", model, "--benchmark", "py150", "--limit", TASKS, "--batch-size", 2, "--max-new-tokens", 6,
            "--meter", "simulated:counter-50ms", "--idle-s", 0.2, "--out", out, "--json",
            *(part for rule in RULES for part in ("--exit", rule)),
        )
    )  # fmt: skip
    assert len(summary["runs"]) == len(RULES)
    return out


def by_rule(out: Path) -> dict[str, RunFolder]:
    return {(folder.manifest().spec.exit or "none"): folder for folder in map(RunFolder.open, sorted(out.iterdir()))}


def test_exit_layers_reach_samples_and_summary(runs: Path) -> None:
    found = by_rule(runs)
    assert set(found) == set(RULES)
    assert found["none"].summary().mean_exit_layer is None
    assert found["none"].manifest().model.early_exit == {}
    for rule, layer in (("fixed:4", 4), ("fixed:12", 12)):
        samples = found[rule].samples()
        for sample in samples:
            assert sample.exit_layers == (DEPTH,) + (layer,) * (sample.completion_tokens - 1)
        layers = [exit_ for sample in samples for exit_ in sample.exit_layers or ()]
        summary = found[rule].summary()
        assert summary.mean_exit_layer == pytest.approx(sum(layers) / len(layers))
        assert summary.layers_skipped == pytest.approx(1 - sum(layers) / len(layers) / DEPTH)
        assert f"-{rule.replace(':', '-')}-" in found[rule].path.name
    texts = {rule: [sample.text for sample in found[rule].samples()] for rule in RULES}
    assert texts["fixed:12"] == texts["none"] == texts["oracle"]
    assert texts["fixed:4"] != texts["none"]
    assert any("every token ran through all layers" in warning for warning in found["oracle"].summary().warnings)


@pytest.mark.parametrize("drafts", LOSSLESS)
def test_drafts_change_no_text_and_reach_samples_and_summary(runs: Path, drafts: str) -> None:
    found = by_rule(runs)
    run = found[drafts]
    assert [sample.text for sample in run.samples()] == [sample.text for sample in found["none"].samples()]
    assert run.manifest().model.early_exit["lossless"] is True
    counts = [sample.drafts for sample in run.samples()]
    for sample, own in zip(run.samples(), counts, strict=True):
        assert own is not None
        assert sample.exit_layers is None
        assert len(own.drafted) + sum(own.accepted) >= sample.completion_tokens - 1
    drafted, accepted = (
        [count for own in counts if own for count in getattr(own, name)] for name in ("drafted", "accepted")
    )
    summary = run.summary()
    assert summary.drafted_per_check == pytest.approx(sum(drafted) / len(drafted))
    assert summary.tokens_per_check == pytest.approx(1 + sum(accepted) / len(accepted))
    assert summary.draft_acceptance == (pytest.approx(sum(accepted) / sum(drafted)) if sum(drafted) else None)
    assert found["none"].summary().tokens_per_check is None


def test_bench_exits_compares_and_draws(bench: Bench, runs: Path, tmp_path: Path) -> None:
    result = last_json(bench("exits", runs, "--out", tmp_path / "charts", "--json"))
    found = {c["label"].removeprefix("twelve ").removeprefix("exit="): c for c in result["configurations"]}
    assert set(found) == {"all layers", *RULES[1:]}
    assert found["fixed:4"]["baseline"] == found["fixed:12"]["label"]
    assert found["fixed:12"]["baseline"] == found["all layers"]["label"]
    assert found["fixed:4"]["exit_shares"] == {"4": 1.0}
    assert found["fixed:4"]["quality_lost"].keys() == set(result["metrics"]) - {
        name for name, value in found["fixed:12"]["quality"].items() if value == 0
    }
    saved = 1 - found["fixed:4"]["generation_net_j"] / found["fixed:12"]["generation_net_j"]
    assert found["fixed:4"]["net_saved"] == pytest.approx(saved)
    deep = next(d for d in result["oracle"] if d["label"] == found["fixed:12"]["label"])
    assert deep["same_texts"] == TASKS
    assert deep["earlier"] == 0
    assert deep["at"] + deep["later"] == pytest.approx(1)
    assert any("not those of early exit" in text for text in result["notes"])
    names = {Path(file).name for file in result["files"]}
    charts = ("exits_fixed", "exits_where", "exits_plane")
    assert names >= {"report.html", "report.json", "exits.csv"}
    assert names >= {f"{chart}.{kind}" for chart in charts for kind in ("svg", "png", "csv")}
    assert all(Path(file).stat().st_size > 50 for file in result["files"])
    for drafts in LOSSLESS:
        assert found[drafts]["lossless"]
        assert found[drafts]["baseline"] == found["fixed:12"]["label"]
        assert found[drafts]["tokens_per_check"] == by_rule(runs)[drafts].summary().tokens_per_check
    assert not found["fixed:4"]["lossless"]
    plane = (tmp_path / "charts" / "exits_plane.csv").read_text("utf-8")
    assert "lookup (lossless)" in plane
    assert "draft (lossless)" in plane
    shown = bench("exits", runs)
    assert shown.returncode == 0
    assert "against the oracle" in shown.stdout


def test_runs_that_leave_nowhere_or_differ_are_refused(runs: Path) -> None:
    found = by_rule(runs)
    with pytest.raises(UsageError, match="none of these runs leaves early"):
        study(load([found["none"].path]))
    with pytest.raises(UsageError, match="--metric speed: all of these runs have"):
        study(load([runs]), ["speed"])
    lonely = study(load([found["fixed:4"].path]))
    assert lonely.configurations[0].net_saved is None
    assert "has no baseline" in lonely.notes[0]


def sample(task: str, text: str, exits: tuple[int, ...]) -> Sample:
    window = Window(kind="generate", session=0, start_ns=0, end_ns=1, batch_id=0)
    return Sample(
        key=task, task_id=task, sample_index=0, order=0, batch_id=0, batch_size=1, seed=0, prompt_tokens=1,
        completion_tokens=len(exits), text=text, finish_reason="length", latency_s=1.0, exit_layers=exits,
        generation=window,
    )  # fmt: skip


def leaving(label: str, mean: float, agent: str | None = None) -> ExitSummary:
    return ExitSummary(
        label=label, runs=("r",), model="m", quant="none", weights="w", rule="agent", argument=0.9, agent=agent,
        kv="deferred", layers=8, exits=(4, 8), hindsight=False, samples=2, quality={}, mean_exit_layer=mean,
        mean_exit_layer_decoded=mean, layers_skipped=0.0, exit_shares={}, generation_net_j=None,
        generation_gross_j=None, joules_per_token=None, tokens_per_s=None, s_per_sample=1.0,
    )  # fmt: skip


def test_distance_counts_only_texts_that_are_the_oracles() -> None:
    mine = [sample("a", "x = 1", (8, 4, 6, 8)), sample("b", "y", (8, 4))]
    ideal = [sample("a", "x = 1", (8, 4, 4, 8)), sample("b", "z", (8, 4))]
    found = distance(leaving("agent", 5.5), leaving("oracle", 5.0), mine, ideal)
    assert (found.same_texts, found.tokens) == (1, 3)
    assert (found.at, found.later, found.earlier) == pytest.approx((2 / 3, 1 / 3, 0.0))
    assert found.mean_layers_above == pytest.approx(0.5)


def test_every_agent_has_a_sweep_of_its_own() -> None:
    told, rewarded = (leaving(name, 5.0, name) for name in ("told", "rewarded"))
    found = ExitStudy((told, rewarded, leaving("none", 5.0)), (), (), (), "estimated").sweeps()
    assert {name: [c.label for c in some] for name, some in found.items()} == {
        "agent told": ["told"], "agent rewarded": ["rewarded"], "agent": ["none"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("fixed:5", "twelve can be left after layers 4, 10, 12"),
        ("agent:0.9", "needs an agent, and none comes with"),
        ("agent:2", "needs a threshold from 0 to 1"),
        ("always", "unknown exit rule 'always'"),
        ("fixed:4,bundle=nowhere", "nowhere is no early-exit bundle"),
        ("fixed:4,exits=4+7", "do not fit a model of 12 layers"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(tmp_path: Path, rule: str, said: str) -> None:
    model = save(tmp_path / "twelve", "llama", num_hidden_layers=DEPTH)
    planned = plan(Spec(model=str(model), benchmark="py150", limit=1, exit=rule, meter="estimate"), tmp_path)
    assert {problem.field for problem in planned.report.problems} == {"exit"}
    with pytest.raises(UsageError, match=said) as caught:
        refuse_problems([planned])
    assert "\n" not in str(caught.value)


def test_a_bundle_without_a_rule_is_a_mistake_in_one_line(bench: Bench, tmp_path: Path) -> None:
    result = bench("run", "--model", "smollm2-135m-instruct", "--exit-bundle", tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "add the rule" in result.stderr
