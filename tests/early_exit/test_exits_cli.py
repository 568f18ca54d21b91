"""`bench run --exit` and `bench exits` from the outside, and the exits analysis on runs whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh.analysis.exits.baselines import notes, with_savings
from passkwh.analysis.exits.oracle import distance
from passkwh.analysis.exits.overhead import overheads
from passkwh.analysis.exits.study import ExitStudy, study
from passkwh.analysis.exits.summary import ExitSummary, calls
from passkwh.analysis.frames import load
from passkwh.errors import UsageError
from passkwh.harness.plan import plan, refuse_problems
from passkwh.harness.runs.folder import RunFolder
from passkwh.records import Sample, Spec, Window
from passkwh.reports.document.evidence import Evidence
from passkwh.reports.sections.summary import _without_verdicts
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
    for name, base in (("against_base", "all layers"), ("against_full_depth", "fixed:12")):
        against = found["fixed:4"][name]
        assert against["baseline"] == found[base]["label"]
        zero = {metric for metric, value in found[base]["quality"].items() if value == 0}
        assert against["quality_lost"].keys() == set(result["metrics"]) - zero
        for kind in ("gross", "net"):
            saved = 1 - found["fixed:4"][f"generation_{kind}_j"] / found[base][f"generation_{kind}_j"]
            assert against[f"{kind}_saved"] == pytest.approx(saved)
        unit = against["energy_saved_interval"]  # four tasks in batches of two are two measurements
        assert (unit["low"], unit["high"]) == (None, None)
        assert "three units of measurement" in unit["reason"]
        lost = {one["measure"].removesuffix("_lost"): one for one in against["score_lost"]}
        assert lost.keys() >= {"rougeL", "codebleu"} - zero
        assert all(one["reason"] or one["low"] <= one["estimate"] <= one["high"] for one in lost.values())
        assert lost["codebleu"]["reason"] is None
        same = {(one["low"], one["high"]) for one in found["lookup:4,match=1"]["against_base"]["score_lost"]}
        assert same == {(0.0, 0.0)}  # the same texts lose nothing
    assert found["fixed:12"]["against_base"]["baseline"] == found["all layers"]["label"]
    assert found["fixed:12"]["against_full_depth"] is None
    assert found["all layers"]["against_base"] is None
    assert result["energy"] == "gross"
    assert found["fixed:4"]["exit_shares"] == {"4": 1.0}
    assert {"bleu", "rougeL", "codebleu", "codebleu_syntax", "codebleu_dataflow", "exact_match", "chrf"} == set(
        result["metrics"]
    )
    assert not any("fixed:12" in note for note in result["notes"])  # full depth is there: nobody is told to add it
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
        assert found[drafts]["against_base"]["baseline"] == found["all layers"]["label"]
        assert found[drafts]["tokens_per_check"] == by_rule(runs)[drafts].summary().tokens_per_check
    assert not found["fixed:4"]["lossless"]
    (data,) = (Path(file) for file in result["files"] if Path(file).name == "exits_plane.csv")
    plane = data.read_text("utf-8")
    assert "lookup (lossless)" in plane
    assert "draft (lossless)" in plane
    shown = bench("exits", runs)
    assert shown.returncode == 0
    assert "against the oracle" in shown.stdout


def test_runs_that_share_a_rule_are_named_by_it(runs: Path) -> None:
    found = by_rule(runs)
    for rule in ("fixed:4", LOSSLESS[0]):
        (alone,) = study(load([found[rule].path])).configurations
        assert alone.label == f"twelve exit={rule}"


def test_nobody_is_best_where_all_are_nothing(runs: Path) -> None:
    evidence = Evidence(load([runs]), "early-exit")
    assert {run.summary.metrics["exact_match"] for run in evidence.runs} == {0.0}
    text = "".join(part if isinstance(part, str) else part.text for s in _without_verdicts(evidence) for part in s)
    assert "best chrf " in text
    assert "exact_match 0" not in text
    assert "Nobody is best by" in text
    assert "exact_match" in text.partition("Nobody is best by")[2]


def test_runs_that_leave_nowhere_or_differ_are_refused(runs: Path) -> None:
    found = by_rule(runs)
    with pytest.raises(UsageError, match="none of these runs leaves early"):
        study(load([found["none"].path]))
    with pytest.raises(UsageError, match="--metric speed: all of these runs have"):
        study(load([runs]), ["speed"])
    lonely = study(load([found["fixed:4"].path]))
    assert lonely.configurations[0].against_base is None
    assert lonely.configurations[0].against_full_depth is None
    assert [note.rpartition(": add one with ")[2] for note in lonely.notes] == ["--exit none", "--exit fixed:12"]


def sample(task: str, text: str, exits: tuple[int, ...]) -> Sample:
    window = Window(kind="generate", session=0, start_ns=0, end_ns=1, batch_id=0)
    return Sample(
        key=task, task_id=task, sample_index=0, order=0, batch_id=0, batch_size=1, seed=0, prompt_tokens=1,
        completion_tokens=len(exits), text=text, finish_reason="length", latency_s=1.0, exit_layers=exits,
        generation=window,
    )  # fmt: skip


def leaving(label: str, mean: float, agent: str | None = None, **more: object) -> ExitSummary:
    values: dict[str, object] = {
        "label": label, "runs": ("r",), "model": "m", "quant": "none", "weights": "w", "rule": "agent",
        "argument": 0.9, "agent": agent, "kv": "deferred", "layers": 8, "exits": (4, 8), "hindsight": False,
        "samples": 2, "tokens": 30, "quality": {}, "mean_exit_layer": mean, "mean_exit_layer_decoded": mean,
        "layers_skipped": 0.0,
        "exit_shares": {}, "generation_net_j": None, "generation_gross_j": None, "joules_per_token": None,
        "tokens_per_s": None, "s_per_sample": 1.0,
    }  # fmt: skip
    return ExitSummary.model_validate(values | more)


BASE = leaving("base", 8.0, rule="none", argument=None, kv=None, layers=None, exits=(), weights="base",
               generation_gross_j=100.0, generation_net_j=50.0,
               quality={"rougeL": 0.5, "exact_match": 0.0})  # fmt: skip
TUNED = leaving("tuned", 8.0, rule="fixed", argument=8.0, bundle=",bundle=b", generation_gross_j=110.0,
                generation_net_j=55.0, tokens_per_s=10.0, quality={"rougeL": 0.4, "exact_match": 0.0})  # fmt: skip
EARLY = leaving("early", 4.0, bundle=",bundle=b", generation_gross_j=55.0, generation_net_j=40.0, tokens_per_s=20.0,
                s_per_sample=0.5, calls_per_token=1.0, quality={"rougeL": 0.3, "exact_match": 0.1})  # fmt: skip
KEPT = leaving(
    "kept",
    8.0,
    argument=1.0,
    bundle=",bundle=b",
    generation_gross_j=121.0,
    generation_net_j=60.5,
    tokens_per_s=8.0,
    s_per_sample=1.25,
    calls_per_token=2.0,
    quality={"rougeL": 0.4, "exact_match": 0.0},
)


def test_savings_are_against_the_unmodified_model_and_beside_it_against_the_fine_tuned_one() -> None:
    found = with_savings(EARLY, [KEPT, EARLY, TUNED, BASE])
    assert found.against_base is not None
    assert found.against_full_depth is not None
    base, full = found.against_base, found.against_full_depth
    assert (base.baseline, full.baseline) == ("base", "tuned")
    assert (base.energy_saved("gross"), base.energy_saved("net")) == pytest.approx((0.45, 0.2))
    assert (full.energy_saved("gross"), full.time_saved) == pytest.approx((0.5, 0.5))
    assert base.quality_lost == pytest.approx({"rougeL": 0.4})  # nothing is lost against a 0
    other = BASE.model_copy(update={"batch_size": 8})
    assert with_savings(EARLY, [other, TUNED]).against_base is None  # another setting is no baseline


def test_notes_name_the_run_that_is_missing_and_none_that_is_there() -> None:
    assert list(notes([BASE, TUNED, EARLY, KEPT])) == []
    (note,) = notes([BASE, EARLY, KEPT])
    assert note.endswith("add one with --exit fixed:8,bundle=b")
    (note,) = notes([TUNED, EARLY])
    assert note.endswith("add one with --exit none")
    packed = EARLY.model_copy(update={"quant": "awq", "weights": "q"})
    assert next(iter(notes([BASE, packed]))).endswith("--exit fixed:8,bundle=b --quant awq")


def test_what_deciding_costs_is_calls_times_the_measured_cost_of_one() -> None:
    early, kept = overheads([BASE, TUNED, EARLY, KEPT], "gross")
    assert (early.label, kept.label, early.full_depth) == ("early", "kept", "tuned")
    tokens = 10.0  # of a sample: 10 a second, for a second
    assert early.call_j == pytest.approx((121 - 110) / 2 / tokens / 2)
    assert early.call_s == pytest.approx((1 / 8 - 1 / 10) / 2)
    assert early.energy_of_run == pytest.approx(1.0 * early.call_j / (55 / 2 / tokens))
    assert early.energy_of_full == pytest.approx(1.0 * early.call_j / (110 / 2 / tokens))
    assert (kept.time_of_run, kept.time_of_full) == pytest.approx((0.2, 0.25))
    assert overheads([BASE, EARLY, KEPT], "gross") == []  # without the full depth nothing is known
    assert overheads([BASE, TUNED, EARLY], "gross") == []


def test_a_rule_is_asked_at_each_exit_up_to_where_the_token_left_but_not_at_the_last() -> None:
    assert calls([4, 6, 8, 12], (4, 8, 12)) == [1, 1, 2, 2]


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
        ("fixed:5", "twelve can be left after layers 4, 6, 10, 12"),
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
