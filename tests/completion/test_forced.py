"""Token-level accuracy: words counted by hand, answers against the model asked prefix by prefix, and a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from passkwh import adapters
from passkwh.adapters.engines.base import SupportsTeacherForcing
from passkwh.benchmarks.completion.benchmark import Py150
from passkwh.benchmarks.completion.forced import corpus_accuracy, count_words
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from tests.conftest import Bench, last_json


@pytest.mark.parametrize(
    ("text", "ends", "answers", "expected"),
    [
        ("ab cd", [2, 5], "-1", (1, 1)),  # nothing stands before the first word
        ("ab cd", [0, 2, 5], "-11", (2, 2)),  # but a start token does
        ("ab cd", [1, 2, 4, 5], "-110", (0, 1)),  # half a word is no word
        ("ab <EOL> cd", [0, 2, 8, 11], "-101", (2, 2)),  # ends of lines are not asked for
        ("ab  cd", [0, 2, 3, 6], "-100", (1, 2)),  # white space of its own belongs to no word
        ("ab cd", [0, 2, 3, 5], "-101", (2, 2)),
        ("abcd ef", [0, 2, 7], "-10", (0, 2)),  # a token of two words is wrong for both
        ("", [0], "-", (0, 0)),
    ],
)
def test_a_word_counts_where_all_its_tokens_were_right(
    text: str, ends: list[int], answers: str, expected: tuple[int, int]
) -> None:
    assert count_words(text, ends, answers) == expected


@given(st.text("ab \n", min_size=1), st.data())
def test_words_are_those_of_a_count_by_characters(text: str, data: st.DataObject) -> None:
    inner = data.draw(st.sets(st.integers(1, len(text)))) | {len(text)}
    ends = [0, *sorted(inner)]
    answers = "-" + "".join(data.draw(st.sampled_from("01")) for _ in ends[1:])
    right = [False] * len(text)
    for start, end, answer in zip(ends, ends[1:], answers[1:], strict=False):
        right[start:end] = [answer == "1"] * (end - start)
    words, place = [], 0
    for word in text.split():
        place = text.index(word, place)
        words.append(all(right[place : place + len(word)]))
        place += len(word)
    assert count_words(text, ends, answers) == (sum(words), len(words))


def test_answers_that_do_not_fit_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="3 answers for 2 tokens"):
        count_words("ab cd", [2, 5], "-11")


def test_a_corpus_counts_words_not_files() -> None:
    files = [{"words": 1.0, "words_predicted": 1.0}, {"words": 9.0, "words_predicted": 2.0}]
    assert corpus_accuracy(files) == {"words": 10.0, "token_accuracy": 0.3}
    assert corpus_accuracy([{"words": 0.0, "words_predicted": 0.0}]) == {"words": 0.0}


def test_one_pass_tells_what_asking_prefix_by_prefix_tells(tiny_llama: Path) -> None:
    adapter = adapters.load(adapters.prepare(adapters.resolve(str(tiny_llama), "none")))
    assert isinstance(adapter, SupportsTeacherForcing)
    model, tokenizer = adapter._model, adapter._tokenizer  # type: ignore[attr-defined]
    ids = tokenizer("for i in", return_tensors="pt")["input_ids"].to(model.device)
    written = model.generate(ids, max_new_tokens=40, do_sample=False)[0]
    texts = [tokenizer.decode(written), "def f(a, b):\n    return a"]
    for text, found in zip(texts, adapter.teacher_force(texts), strict=True):
        row = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
        with torch.inference_mode():
            guesses = [int(model(row[:, :end]).logits[0, -1].argmax()) for end in range(1, row.shape[1])]
        hits = [guess == int(token) for guess, token in zip(guesses, row[0, 1:], strict=True)]
        assert found.text == "-" + "".join("1" if hit else "0" for hit in hits)
        assert (found.prompt_tokens, found.completion_tokens) == (row.shape[1], 0)
        assert len(adapter.token_ends(text)) == len(found.text)
    assert "1" in adapter.teacher_force(texts[:1])[0].text, "the first text holds what the model wrote itself"
    with pytest.raises(UsageError, match=r"does not fit .* smaller max_context"):
        adapter.teacher_force(["a" * 5000])


def test_a_run_reads_every_file_once(bench: Bench, tiny_llama: Path, tmp_path: Path) -> None:
    options = ["--benchmark", "py150", "--task", "token", "--option", "max_context=300", "--limit", 3]
    meter = ["--meter", "simulated:steady", "--idle-s", 0.3, "--out", tmp_path, "--json"]
    summary = last_json(bench("run", "--model", tiny_llama, "--batch-size", 2, *options, *meter))
    samples = RunFolder.open(Path(summary["run_dir"])).samples()
    assert [sample.prompt_tokens for sample in samples] == [300] * 3
    assert all(len(sample.text) == 300 and sample.completion_tokens == 0 for sample in samples)
    asked = sum(sample.scores["words"] for sample in samples)
    hits = sum(sample.scores["words_predicted"] for sample in samples)
    assert summary["metrics"] == {"words": asked, "token_accuracy": hits / asked, "files_skipped": 0.0}
    assert set(summary["metrics_per_kwh"]) == {"token_accuracy"}
    assert summary["joules_per_token"] is None
    assert all(sample.generation_energy for sample in samples)


def test_words_cannot_be_forced() -> None:
    with pytest.raises(UsageError, match="leave tokens=words out"):
        Py150({"task": "token", "tokens": "words"}, None)
