"""The reference libraries called directly: pairs as JSON on stdin, their scores per pair and as a corpus on stdout.

A program of its own because codebleu's data-flow part depends on Python's hash seed, which is fixed at start.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

sys.modules.update(dict.fromkeys(("scipy", "sklearn")))  # type: ignore[arg-type]  # nltk loads them, unused, for seconds

import sacrebleu  # noqa: E402
from codebleu import calc_codebleu  # noqa: E402
from rouge_score.rouge_scorer import RougeScorer  # noqa: E402

ROUGE = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


def codebleu(references: list[str], predictions: list[str], language: str) -> dict[str, float]:
    scores = calc_codebleu(references, predictions, language, weights=(0.25, 0.25, 0.25, 0.25), tokenizer=None)
    return {
        "codebleu": scores["codebleu"],
        "codebleu_ngram": scores["ngram_match_score"],
        "codebleu_weighted_ngram": scores["weighted_ngram_match_score"],
        "codebleu_syntax": scores["syntax_match_score"],
        "codebleu_dataflow": scores["dataflow_match_score"],
    }


def rouge(reference: str, prediction: str) -> dict[str, float]:
    scores = RougeScorer(ROUGE).score(reference, prediction)
    return {name: scores[name].fmeasure for name in ROUGE}


def main() -> None:
    logging.disable(logging.WARNING)
    question: dict[str, Any] = json.load(sys.stdin)
    language, references, predictions = question["language"], question["references"], question["predictions"]
    pairs = [
        {
            "bleu": sacrebleu.sentence_bleu(prediction, [reference]).score / 100,
            "chrf": sacrebleu.sentence_chrf(prediction, [reference]).score,
            **rouge(reference, prediction),
            **codebleu([reference], [prediction], language),
        }
        for reference, prediction in zip(references, predictions, strict=True)
    ]
    bleu = sacrebleu.metrics.BLEU(tokenize="13a", smooth_method="none", lowercase=False)
    chrf = sacrebleu.metrics.CHRF(char_order=6, word_order=0, beta=2)
    corpus = {
        "bleu": bleu.corpus_score(predictions, [references]).score / 100,
        "chrf": chrf.corpus_score(predictions, [references]).score,
        **{name: sum(pair[name] for pair in pairs) / len(pairs) for name in ROUGE},
        **codebleu(references, predictions, language),
    }
    json.dump({"pairs": pairs, "corpus": corpus}, sys.stdout)


if __name__ == "__main__":
    main()
