"""The py150 and javacorpus benchmarks: which tasks they make of which data, and what they report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from test_completion_metrics import published_line_metrics
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from passkwh import benchmarks
from passkwh.benchmarks.base import Candidate, CutByTokens, HasMetrics, Score
from passkwh.benchmarks.completion import data
from passkwh.benchmarks.completion.benchmark import CompletionBenchmark, JavaCorpus, Py150
from passkwh.errors import MissingExtra, UsageError
from passkwh.records import Sample, Window
from passkwh.registry import BENCHMARKS

SHARED = Path(os.environ.get("PASSKWH_SHARED_DATA", Path(__file__).resolve().parents[2] / "../shared/data"))
REAL_LINES = SHARED / "py150-line-completion-100.jsonl"


def token_file(path: Path, *lengths: int) -> str:
    """Files of so many words, each word telling its file and place."""
    lines = [" ".join(["<s>", *(f"w{file}_{place}" for place in range(n)), "</s>"]) for file, n in enumerate(lengths)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


def as_samples(scores: Sequence[Score], texts: dict[str, str]) -> list[Sample]:
    window = Window(kind="generate", session=0, start_ns=0, end_ns=1)
    made = {"sample_index": 0, "order": 0, "batch_id": 0, "batch_size": 1, "seed": 0, "latency_s": 0.1}
    made |= {"prompt_tokens": 1, "completion_tokens": 1, "finish_reason": "length", "generation": window}
    return [
        Sample.model_validate(
            made | {"key": score.key, "task_id": score.key, "text": texts[score.key], "scores": score.scores}
        )
        for score in scores
    ]


def answers(benchmark: CompletionBenchmark, texts: dict[str, str]) -> list[Sample]:
    candidates = [Candidate(task_id, task_id, text, continues=True) for task_id, text in texts.items()]
    return as_samples(list(benchmark.score(candidates)), texts)


# ---------------------------------------------------------------- tasks


def test_contexts_and_references_are_cut_as_the_paper_cuts_them(tmp_path: Path) -> None:
    benchmark = Py150({"data": token_file(tmp_path / "test.txt", 100, 5000)}, None)
    short, long = benchmark.tasks
    assert short.request.text.split() == [f"w0_{place}" for place in range(20)]
    assert long.request.text.split() == [f"w1_{place}" for place in range(512)]
    right = {"py150/test/0": " ".join(f"w0_{n}" for n in range(20, 35)), "py150/test/1": "w1_512"}
    samples = {sample.task_id: sample for sample in answers(benchmark, right)}
    assert samples["py150/test/0"].scores["levenshtein"] == 1  # the space between context and reference
    assert samples["py150/test/0"].scores["rougeL"] == 1
    assert samples["py150/test/1"].scores["rougeL"] == pytest.approx(2 / 16)
    assert all(task.request.raw and not task.request.stop for task in benchmark.tasks)
    assert benchmark.default_max_new_tokens == 15


def test_short_files_are_skipped_and_counted_and_exactly_n_remain(tmp_path: Path) -> None:
    path = token_file(tmp_path / "test.txt", 3, 100, 0, 18, 19, 60, 70)
    benchmark = Py150({"data": path}, None)
    # of 18 tokens 3 are context, and 15 follow; of 19 tokens 3 are context, and 16 follow
    assert [task.task_id for task in benchmark.tasks] == [f"py150/test/{n}" for n in (1, 3, 4, 5, 6)]
    assert benchmark.summarise([]) == {"files_skipped": 2}
    limited = Py150({"data": path}, 3)
    assert [task.task_id for task in limited.tasks] == [task.task_id for task in benchmark.tasks[:3]]
    assert limited.info.tasks == 3
    assert limited.info.sha256 != benchmark.info.sha256


def test_a_thousand_files_are_taken_when_no_limit_is_given_and_no_more_are_read(tmp_path: Path) -> None:
    path = token_file(tmp_path / "test.txt", *[40] * 1000)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("this line would be an error\n")
    assert len(Py150({"data": path}, None).tasks) == 1000
    with pytest.raises(UsageError, match=r"test\.txt:1001: not a file"):
        Py150({"data": path}, 1001)


def test_options_change_what_is_cut(tmp_path: Path) -> None:
    path = token_file(tmp_path / "test.txt", 100)
    benchmark = Py150({"data": path, "fraction": "0.5", "max_context": "30", "new_tokens": 4, "tokens": "words"}, None)
    assert len(benchmark.tasks[0].request.text.split()) == 30
    assert benchmark.default_max_new_tokens == 16
    assert benchmark.info.options == {
        "task": "completion", "split": "test", "tokens": "words", "max_context": 30, "fraction": 0.5, "new_tokens": 4,
    }  # fmt: skip
    answer = " ".join(f"w0_{n}" for n in range(30, 40))
    (sample,) = answers(benchmark, {"py150/test/0": answer})
    assert sample.scores["rougeL"] == 1  # only the words that were asked for are compared


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A byte-level tokenizer of the kind code models have, trained on the embedded samples."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    built.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)  # type: ignore[call-arg]
    built.train_from_iterator((file.text for file in data.embedded_files("python", "train").read()), trainer)
    return built


def test_a_model_that_tells_its_tokens_gets_its_tasks_cut_in_them(tokenizer: Tokenizer) -> None:
    words = Py150({"data": "embedded"}, 10)
    assert isinstance(words, CutByTokens)
    assert words.info.options["tokens"] == "words"
    benchmark = words.cut_by(lambda text: [end for _, end in tokenizer.encode(text).offsets])
    assert benchmark.info.options["tokens"] == "model"
    assert benchmark.default_max_new_tokens == 15
    files = {f"py150/test/{file.index}": file.text for file in data.embedded_files("python", "test").read()}
    for task in benchmark.tasks:
        ids = tokenizer.encode(files[task.task_id]).ids
        context = min(512, int(0.2 * len(ids)))
        assert task.request.text == tokenizer.decode(ids[:context])
        reference = tokenizer.decode(ids[context : context + 15])
        (sample,) = answers(benchmark, {task.task_id: reference}) if task is benchmark.tasks[0] else (None,)
        assert sample is None or sample.scores["exact_match"] == 1
    assert words.info.options["tokens"] == "words"  # the one it was made from is as it was


def test_words_stay_words_where_they_are_asked_for(tokenizer: Tokenizer) -> None:
    words = Py150({"data": "embedded", "tokens": "words"}, 3)
    assert words.cut_by(lambda text: [end for _, end in tokenizer.encode(text).offsets]) is words


def test_embedded_samples_are_there_for_both_languages() -> None:
    python, java = Py150({"data": "embedded"}, None), JavaCorpus({"data": "embedded"}, None)
    assert len(python.tasks) + len(java.tasks) >= 60
    assert python.info.source == "embedded samples, python, test"
    assert java.info.source == "embedded samples, java, test"
    for language in ("python", "java"):
        for split in data.SPLITS:
            assert list(data.embedded_files(language, split).read())


def test_the_registry_knows_both_by_name() -> None:
    assert {"py150", "javacorpus"} <= set(BENCHMARKS.names())
    assert benchmarks.open("javacorpus", {"data": "embedded", "task": "line"}, 2).info.tasks == 2


# ---------------------------------------------------------------- the line task


def test_lines_are_cut_from_whole_files_at_a_seeded_place() -> None:
    first, again, other = (Py150({"data": "embedded", "task": "line", "seed": seed}, 20) for seed in (1, 1, 2))
    assert first.tasks == again.tasks
    assert first.tasks != other.tasks
    assert first.info.sha256 == again.info.sha256
    assert all(task.request.stop == ("<EOL>", "\n") for task in first.tasks)
    assert first.default_max_new_tokens == 100
    assert first.info.options["max_context"] == 924


def test_an_answer_counts_up_to_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    rows = [{"input": "<s> int x =", "gt": "1 ;"}, {"input": "<s> if ( x", "gt": ")"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    benchmark = JavaCorpus({"data": str(path), "task": "line"}, None)
    assert [task.request.text for task in benchmark.tasks] == ["int x =", "if ( x"]
    assert all(task.request.stop == () for task in benchmark.tasks)
    samples = answers(benchmark, {"javacorpus/test/0": " 1 ; int y = 2 ;", "javacorpus/test/1": " ) { return ;"})
    assert [sample.scores["codexglue_exact_match"] for sample in samples] == [100, 100]


@pytest.mark.skipif(not REAL_LINES.exists(), reason=f"CodeXGLUE's line samples are not at {REAL_LINES}")
def test_real_codexglue_lines_score_by_the_published_definition() -> None:
    benchmark = Py150({"data": str(REAL_LINES), "task": "line"}, None)
    rows = [json.loads(line) for line in REAL_LINES.read_text("utf-8").splitlines() if line.strip()]
    assert len(benchmark.tasks) == len(rows) == 100
    texts, expected = {}, []
    for number, (task, row) in enumerate(zip(benchmark.tasks, rows, strict=True)):
        assert row["input"].endswith(task.request.text)
        truth = row["gt"].split()
        guess = [*truth[: len(truth) - number % 3], *(["x"] if number % 5 == 0 else [])]
        texts[task.task_id] = f" {' '.join(guess)} <EOL> def more"
        expected.append(published_line_metrics(row["gt"], " ".join(guess)))
    metrics = benchmark.summarise(answers(benchmark, texts))
    assert metrics["codexglue_exact_match"] == pytest.approx(sum(exact for exact, _ in expected) / 100, abs=1e-9)
    assert metrics["codexglue_edit_similarity"] == pytest.approx(
        sum(similar for _, similar in expected) / 100, abs=1e-9
    )
    assert 10 < metrics["codexglue_exact_match"] < 90


# ---------------------------------------------------------------- the hub


def test_the_hubs_rows_are_read_like_files(tmp_path: Path) -> None:
    rows = [["<s>", "a", "=", "'<STR_LIT>'", "<EOL>", "b", "</s>"], ["<s>", "</s>"]]
    parquet.write_table(pa.table({"id": [0, 1], "code": rows}), tmp_path / "test-00000-of-00002.parquet")
    parquet.write_table(pa.table({"id": [2], "code": [["<s>", "c", "</s>"]]}), tmp_path / "test-00001-of-00002.parquet")
    files = list(data.read_parquet(sorted(tmp_path.glob("*.parquet"))))
    assert [(file.index, file.text) for file in files] == [(0, "a = '<STR_LIT>' <EOL> b"), (1, ""), (2, "c")]
    parquet.write_table(pa.table({"id": [0], "code": [["a", "b"]]}), tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match=r"bad\.parquet: row 0"):
        list(data.read_parquet([tmp_path / "bad.parquet"]))


def test_without_a_network_the_user_is_told_what_to_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="data=embedded"):
        Py150({"data": "hub"}, 1)


# ---------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "line"}, "no option 'tasks'"),
        ({"task": "word"}, "task of py150 is 'word': it should be 'completion', 'line' or 'token'"),
        ({"tokens": "bytes"}, "tokens of py150 is 'bytes'"),
        ({"fraction": "half"}, "fraction of py150 is 'half': it should be a valid number"),
        ({"fraction": 1.0}, "fraction of py150 is 1.0: it should be less than 1"),
        ({"max_context": 0}, "max_context of py150 is 0"),
        ({"new_tokens": 1.5}, "new_tokens of py150 is 1.5: it should be a valid integer"),
        ({"new_tokens": True}, "new_tokens of py150 is True: it should be a valid integer"),
        ({"data": 3}, "no data at 3"),
        ({"split": "valid"}, "split of py150 is 'valid'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str | int | float | bool], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Py150({"data": "embedded"} | options, None)


def test_data_without_a_usable_file_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "test.txt"
    empty.touch()
    with pytest.raises(UsageError, match=r"test\.txt has no file long enough .* no files are there"):
        Py150({"data": str(empty)}, None)
    with pytest.raises(UsageError, match=r"no file long enough .*: 2 files are there"):
        Py150({"data": token_file(empty, 3, 4)}, None)


def test_line_samples_need_the_line_task(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    path.write_text('{"input": "<s> a", "gt": "b"}\n', "utf-8")
    with pytest.raises(UsageError, match="add the option task=line"):
        Py150({"data": str(path)}, None)


def test_missing_libraries_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"passkwh\[completion\]"):
        Py150({"data": "embedded"}, None)


def test_every_metric_but_the_distance_is_quality_and_all_stand_in_the_summary() -> None:
    benchmark = Py150({"data": "embedded"}, 4)
    metrics = benchmark.summarise(answers(benchmark, {task.task_id: "x = 1" for task in benchmark.tasks}))
    assert set(benchmark.quality) == set(metrics) - {"levenshtein", "files_skipped"}
    assert isinstance(benchmark, HasMetrics)
