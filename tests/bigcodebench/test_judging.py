"""Ground truth, the cache of verdicts, missing libraries and `bench score`, on small tasks of our own."""

import json

import pytest

import passkwh.benchmarks as benchmarks
from passkwh.benchmarks.base import Candidate, Program
from passkwh.benchmarks.bigcodebench import environment
from passkwh.benchmarks.bigcodebench.benchmark import BigCodeBench
from passkwh.benchmarks.bigcodebench.preload_groups import preload_groups
from passkwh.cli.score import score
from passkwh.cli.setup import setup
from passkwh.cli.verify import verify
from passkwh.errors import UsageError
from passkwh.harness import summarise as summarise_module
from passkwh.harness.runs.table import SampleTable
from tests.bigcodebench.test_benchmark import ROW

SLOW = {**ROW, "task_id": "T/slow", "canonical_solution": "    import time\n    time.sleep(0.3)\n    return 2 * x"}
UNSOUND = {**ROW, "task_id": "T/unsound", "canonical_solution": "    return 3 * x"}
FOREIGN = {**ROW, "task_id": "T/foreign", "complete_prompt": "import not_to_be_found\n" + ROW["complete_prompt"]}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (ROW, SLOW, UNSOUND, FOREIGN)))
    return path


def opened(data, **options):
    return BigCodeBench({"data": str(data), "workers": 2, **options})


def last_json(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_ground_truth_sets_deadlines_and_is_remembered(data):
    first = opened(data)
    assert first.job("a", first.by_id["T/1"], "").timeout_s == 241.0
    verdicts = {score.key: score.verdict.status for score in opened(data).verify()}
    assert verdicts == {"T/1": "pass", "T/slow": "pass", "T/unsound": "fail", "T/foreign": "not_evaluated"}
    later = opened(data)
    assert later.known_reference("T/slow").seconds > 0.3
    assert later.known_reference("T/foreign") is None
    assert later.job("a", later.by_id["T/1"], "").timeout_s == 10.0
    assert later.job("a", later.by_id["T/1"], "").expected_tests == 1
    assert later.job("a", later.by_id["T/unsound"], "").timeout_s == 10.0, (
        "it fails, but it ran all its tests in no time"
    )
    assert later.job("a", later.by_id["T/foreign"], "").timeout_s == 241.0
    assert opened(data, official_timeout=True).job("a", later.by_id["T/1"], "").timeout_s == 241.0


def test_a_changed_task_has_no_ground_truth(data):
    list(opened(data).verify())
    data.write_text(json.dumps({**ROW, "canonical_solution": "    return x + x"}))
    assert opened(data).known_reference("T/1") is None


def test_tasks_whose_libraries_are_missing_are_not_evaluated(data):
    candidates = [
        Candidate("a", "T/foreign", "    return 2 * x", True),
        Candidate("b", "T/1", "    return 2 * x", True),
    ]
    scores = {found.key: found.verdict for found in opened(data).score(candidates)}
    assert scores["a"].status == "not_evaluated"
    assert "not_to_be_found" in scores["a"].detail
    assert "bench setup bigcodebench" in scores["a"].detail
    assert scores["b"].status == "pass"


def test_a_solution_that_imports_what_its_task_does_not_need_fails(data):
    candidate = Candidate("a", "T/1", "import not_to_be_found\n\ndef task_func(x):\n    return 2 * x", False)
    assert next(iter(opened(data).score([candidate]))).verdict.status == "fail"


def test_an_equal_program_is_not_run_again(data):
    candidates = [Candidate("a", "T/1", "    return 2 * x", True)]
    program = opened(data).program(candidates[0])
    first = next(opened(data).score_programs([("a", "T/1", program)]))
    second = next(opened(data).score_programs([("b", "T/1", program)]))
    anew = next(iter(opened(data).score(candidates)))
    assert (second.key, second.start_ns, second.verdict) == ("b", first.start_ns, first.verdict)
    assert anew.start_ns > first.start_ns
    other_deadline = next(opened(data, calibrated=False).score_programs([("a", "T/1", program)]))
    assert other_deadline.start_ns > first.start_ns


def test_the_summary_counts_trusted_passes_and_sound_tasks(data):
    from passkwh.records import Sample, Verdict, Window

    def sample(task_id, verdict):
        return Sample(
            key=task_id, task_id=task_id, sample_index=0, order=0, batch_id=0, batch_size=1, seed=0, prompt_tokens=1,
            completion_tokens=1, text="", finish_reason="stop", latency_s=0.0, verdict=verdict,
            generation=Window(kind="generate", session=0, start_ns=0, end_ns=1),
        )  # fmt: skip

    samples = [
        sample("T/1", Verdict(status="pass")),
        sample("T/slow", Verdict(status="pass", suspect=("early exit",))),
        sample("T/unsound", Verdict(status="fail")),
        sample("T/foreign", Verdict(status="not_evaluated")),
    ]
    benchmark = opened(data)
    assert benchmark.summarise(samples) == {}
    list(benchmark.verify())
    assert benchmark.summarise(samples) == {"pass_at_1_sound_tasks": 1.0}
    assert summarise_module._pass_at(SampleTable.of(samples).counts()) == {"1": pytest.approx(2 / 3)}
    assert summarise_module._pass_at(SampleTable.of(samples).counts(trusted=True)) == {"1": pytest.approx(1 / 3)}


def test_verify_names_what_does_not_pass(data, capsys):
    verify("bigcodebench", data=data, as_json=True)
    result = last_json(capsys)
    assert (result["tasks"], result["pass"], result["fail"], result["not_evaluated"]) == (4, 2, 1, 1)
    assert [failure["task_id"] for failure in result["failures"]] == ["T/unsound"]


def test_samples_of_the_official_tool_are_scored(data, tmp_path, capsys):
    samples = tmp_path / "samples.jsonl"
    lines = [
        {"task_id": "T/1", "solution": "def task_func(x):\n    return 2 * x"},
        {"task_id": "T/slow", "completion": "    return x"},
        {"task_id": "Elsewhere/1", "solution": ""},
    ]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "verdicts.jsonl"
    score(samples, data=data, workers=2, out=out, as_json=True)
    result = last_json(capsys)
    assert result["pass_at_k"] == {"1": 0.5}
    assert result["pass_at_k_trusted"] == {"1": 0.5}
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(verdict["task_id"], verdict["status"]) for verdict in verdicts] == [("T/1", "pass"), ("T/slow", "fail")]


@pytest.mark.parametrize("line", ["{", '{"task_id": "T/1"}', "[]"])
def test_a_line_that_is_no_sample_is_named(data, tmp_path, line):
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"task_id": "T/1", "solution": ""}\n' + line + "\n")
    with pytest.raises(UsageError, match=r"samples\.jsonl:2: (?:not a sample|not JSON|expected a JSON object)"):
        score(samples, data=data)


@pytest.mark.parametrize(
    ("command", "message"),
    [(setup, "py150 has no environment of its own"), (verify, "py150 has no reference solutions")],
)
def test_a_benchmark_that_lacks_what_a_command_needs_is_named(command, message):
    with pytest.raises(UsageError, match=message):
        command("py150")


def test_programs_for_a_benchmark_without_verdicts_are_refused(tmp_path):
    (tmp_path / "samples.jsonl").write_text('{"task_id": "x", "completion": "y"}\n')
    with pytest.raises(UsageError, match="py150 judges no programs of other harnesses"):
        score(tmp_path / "samples.jsonl", benchmark="py150")


def test_a_missing_environment_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="bench setup bigcodebench"):
        setup("bigcodebench", check=True)


def test_groups_preload_what_tasks_import_and_nothing_that_shows_a_window():
    found = preload_groups({"os", "os.path", "turtle", "numpy", "numpy.linalg", "tensorflow", "nltk"})
    assert [group.preload[:2] for group in found[:2]] == [("os", "os.path"), ("numpy", "numpy.linalg")]
    assert "nltk" in found[2].preload
    assert found[3].preload == ("tensorflow",)


def test_the_embedded_reference_solutions_pass_and_are_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("PASSKWH_CACHE", str(tmp_path))
    verdicts = {score.key: (score.verdict.status, score.verdict.suspect) for score in BigCodeBench({}).verify()}
    assert len(verdicts) == 36
    assert verdicts == dict.fromkeys(verdicts, ("pass", ()))


@pytest.mark.slow
@pytest.mark.skipif(environment.built() is None, reason="the environment is not built: bench setup bigcodebench")
def test_reference_solutions_pass_in_the_benchmarks_environment():
    from tests.bigcodebench.test_benchmark import REAL

    if not REAL.is_file():
        pytest.skip(f"{REAL} is not there")
    benchmark = benchmarks.open("bigcodebench", {"data": str(REAL)}, None)
    chosen = [benchmark.by_id[task.task_id] for task in benchmark.tasks[30:70:2]]
    programs = [(task.task_id, task.task_id, Program(task.reference)) for task in chosen]
    scores = list(benchmark.score_programs(programs, anew=True))
    assert {found.key: found.verdict.status for found in scores} == dict.fromkeys(
        [task.task_id for task in chosen], "pass"
    )
