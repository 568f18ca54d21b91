"""Every metric against the library or the published definition it stands for, on real code and on what models break."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.benchmarks.completion.data import embedded_files
from passkwh.benchmarks.completion.metrics import (
    codexglue_edit_similarity,
    codexglue_exact_match,
    corpus_metrics,
)
from passkwh.benchmarks.completion.pool import Pair, score_pairs

BROKEN = [
    "",
    " ",
    "(((",
    "'",
    '"""',
    "def f(:",
    "class {",
    "é = 'ü' + '漢字' ; 🎉",
    "\x00",
    "/* open",
    "# only",
    "\\",
    "\t\n\n",
]
PAIRS = 100
"""Of each language."""


def make_pairs(language: str) -> tuple[list[str], list[str]]:
    """References from real files; predictions that are right, near, far, cut off, empty and broken."""
    rng = random.Random(language)
    files = [file.text.split(" ") for file in islice(embedded_files(language, "test").read(), 30)]
    references, predictions = [], []
    for number in range(PAIRS):
        words, other = rng.choice(files), rng.choice(files)
        length = rng.choice([3, 15, 15, 40, 120])
        start = rng.randrange(max(1, len(words) - length))
        reference = words[start : start + length]
        changed = [rng.choice(other) if rng.random() < 0.2 else word for word in reference]
        prediction = [
            " ".join(reference), " ".join(changed), " ".join(changed[: length // 2]), " ".join(changed),
            " ".join(other[start : start + length]), "\n".join(changed), rng.choice(BROKEN),
            " ".join(reference) + rng.choice(BROKEN), " ".join(changed).replace(" ", ""), " ".join(changed),
        ][number % 10]  # fmt: skip
        references.append(" " + " ".join(reference).replace("<EOL>", "\n"))
        predictions.append(prediction)
    return references, predictions


@pytest.mark.parametrize("language", ["python", "java"])
def test_every_metric_equals_its_reference_library(language: str) -> None:
    references, predictions = make_pairs(language)
    asked = {"language": language, "references": references, "predictions": predictions}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("reference_metrics.py"))],
        input=json.dumps(asked), capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": "0"},
    )  # fmt: skip
    expected: dict[str, Any] = json.loads(done.stdout)
    pairs = [Pair(str(n), *texts) for n, texts in enumerate(zip(references, predictions, strict=True))]
    scores = {score.key: score.scores for score in score_pairs(pairs, language)}
    ours = [scores[pair.key] for pair in pairs]
    for pair, mine, theirs in zip(pairs, ours, expected["pairs"], strict=True):
        for name, value in theirs.items():
            assert mine[name] == pytest.approx(value, abs=1e-9), (name, pair)
    corpus = corpus_metrics(references, predictions, ours, language)
    for name, value in expected["corpus"].items():
        assert corpus[name] == pytest.approx(value, abs=1e-9), name
    assert 0.2 < corpus["bleu"] < 0.9  # pairs that are neither all right nor all wrong
    assert 0.2 < corpus["codebleu_dataflow"] < 0.9
    assert 0.2 < corpus["codebleu_syntax"] < 0.9


# ---------------------------------------------------------------- definitions recomputed here


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            last, row[j] = row[j], min(last + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def common_subsequence(a: str, b: str) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        last = 0
        for j, y in enumerate(b, start=1):
            last, row[j] = row[j], last + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def published_line_metrics(truth: str, prediction: str) -> tuple[int, int]:
    """Exact match and edit similarity of one line, written anew from CodeXGLUE's description: literals go back to
    source; words are compared; fuzzywuzzy's ratio is twice the matching characters over all, in whole per cent.
    """

    def source(code: str) -> str:
        code = code.replace("<NUM_LIT>", "0").replace("<STR_LIT>", "").replace("<CHAR_LIT>", "")
        return re.sub(r"<(?:STR|NUM|CHAR)_LIT:(.*?)>", lambda literal: literal[1], code, flags=re.DOTALL)

    truth, prediction = source(truth), source(prediction)
    both = len(truth) + len(prediction)
    ratio = 2 * common_subsequence(truth, prediction) / both if both else 1
    return 100 * (truth.split() == prediction.split()), round(100 * ratio)


TEXT = st.text(st.sampled_from("ab (<EOL>=é\n'"), max_size=30) | st.sampled_from(
    ["<STR_LIT:a>", "x = <NUM_LIT>", "'<STR_LIT>'", "<CHAR_LIT:'>", "f ( )"]
)  # fmt: skip


@settings(max_examples=200)
@given(truth=TEXT, prediction=TEXT)
def test_line_metrics_equal_the_published_definition(truth: str, prediction: str) -> None:
    expected = published_line_metrics(truth, prediction)
    assert (codexglue_exact_match(truth, prediction), codexglue_edit_similarity(truth, prediction)) == expected


def test_levenshtein_and_verbatim_match_are_counted_in_characters() -> None:
    texts = [("x = 1", "x = 1"), ("x = 1", "x =  1"), ("", "abc"), ("größe", "große"), ("return a", "retrun b ")]
    pairs = [Pair(str(n), *texts) for n, texts in enumerate(texts)]
    scores = {score.key: score.scores for score in score_pairs(pairs, "python", workers=1)}
    for pair in pairs:
        assert scores[pair.key]["levenshtein"] == levenshtein(pair.reference, pair.prediction)
        assert scores[pair.key]["exact_match"] == (pair.reference == pair.prediction)


# ---------------------------------------------------------------- the pool


def test_every_pair_is_scored_once_on_several_processes_with_its_own_window() -> None:
    pairs = [Pair(f"k{n}", f"x = {n} + y", f"x = {n % 3} + y") for n in range(50)]
    scores = list(score_pairs(pairs, "java", workers=2))
    assert sorted(score.key for score in scores) == sorted(pair.key for pair in pairs)
    assert all(score.end_ns > score.start_ns and score.cpu_s is not None and score.cpu_s > 0 for score in scores)
    alone = {score.key: score.scores for score in score_pairs(pairs, "java", workers=1)}
    assert {score.key: score.scores for score in scores} == alone


def test_a_lone_surrogate_in_an_answer_is_scored() -> None:
    (score,) = score_pairs([Pair("k", "x = 1", "x = '\ud800'")], "python")
    assert 0 < score.scores["chrf"] < 100


def test_no_pairs_need_no_process() -> None:
    before = children()
    scores = score_pairs([], "python")
    assert list(scores) == []
    assert children() == before
    assert corpus_metrics([], [], [], "python") == {}


def test_a_process_that_dies_is_told_with_its_pair_and_its_last_words() -> None:
    with pytest.raises(RuntimeError, match=r"ended while starting with code 1: .*klingon"):
        list(score_pairs([Pair("k", "a", "b")], "klingon"))


def test_a_process_that_is_killed_loses_one_pair() -> None:
    scores = score_pairs([Pair(str(n), "x = 1", "x = 2") for n in range(800)], "python", workers=1)
    first = next(scores)
    os.kill(max(children()), signal.SIGKILL)
    every = [first, *scores]
    lost = [score.verdict.detail for score in every if score.verdict]
    assert len({score.key for score in every}) == 800
    assert lost == ["no metrics could be computed: the process ended with signal 9"]


def test_stopping_early_ends_the_processes() -> None:
    before = children()
    scores = score_pairs([Pair(str(n), "x = 1", "x = 2") for n in range(400)], "python", workers=2)
    next(scores)
    assert children() > before
    scores.close()
    assert children() == before


def children() -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}
