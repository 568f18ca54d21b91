"""Text and code metrics of one completion against its reference, and of a whole corpus of them.

Scales are those in which the field prints each metric: BLEU, ROUGE, CodeBLEU and exact match 0 ... 1 (GREEN-CODE),
chrF and CodeXGLUE's two line metrics 0 ... 100, Levenshtein in characters (lower is better).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import sacrebleu
from rapidfuzz.distance import Indel, Levenshtein

from passkwh.benchmarks.completion.codebleu import corpus_codebleu, pair_codebleu
from passkwh.benchmarks.completion.cut import plain_literals

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
MEANS = (*ROUGE, "exact_match", "levenshtein", "codexglue_exact_match", "codexglue_edit_similarity")
"""Metrics whose corpus value is the mean over pairs."""


def pair_metrics(reference: str, prediction: str, language: str) -> dict[str, float]:
    """Every metric of one pair.

    ``bleu`` is sacrebleu's sentence BLEU (13a tokens, exponential smoothing, effective order): most pairs of 15 tokens
    have no common 4-gram, and would all be 0 without.
    """
    rouge = _rouge().score(reference, prediction)
    return {
        "bleu": sacrebleu.sentence_bleu(prediction, [reference]).score / 100,
        "chrf": sacrebleu.sentence_chrf(prediction, [reference]).score,
        **{name: float(rouge[name].fmeasure) for name in ROUGE},
        **pair_codebleu(reference, prediction, language),
        "exact_match": float(prediction == reference),
        "levenshtein": float(Levenshtein.distance(prediction, reference)),
        "codexglue_exact_match": codexglue_exact_match(reference, prediction),
        "codexglue_edit_similarity": codexglue_edit_similarity(reference, prediction),
    }


def corpus_metrics(
    references: Sequence[str], predictions: Sequence[str], pairs: Sequence[dict[str, float]], language: str
) -> dict[str, float]:
    """Every metric of a corpus, from its texts and their ``pair_metrics`` in the same order; empty for no pairs.

    ``bleu`` is corpus BLEU-4 on 13a tokens, case-sensitive, without smoothing: what ``evaluate``'s "bleu" computes, by
    sacrebleu. ROUGE is the mean F-measure without stemming (``evaluate`` prints a bootstrap median around it).
    """
    if not pairs:
        return {}
    return {
        "bleu": sacrebleu.corpus_bleu(predictions, [references], smooth_method="none").score / 100,
        "chrf": sacrebleu.corpus_chrf(predictions, [references]).score,
        **corpus_codebleu(references, predictions, pairs, language),
        **{name: sum(pair[name] for pair in pairs) / len(pairs) for name in MEANS},
    }


def codexglue_exact_match(reference: str, prediction: str) -> float:
    """100 where prediction and reference have the same words, else 0 (CodeXGLUE's line-level evaluator)."""
    return 100.0 * (plain_literals(prediction).split() == plain_literals(reference).split())


def codexglue_edit_similarity(reference: str, prediction: str) -> float:
    """CodeXGLUE's edit similarity: ``fuzz.ratio`` of fuzzywuzzy, 0 ... 100, rounded to a whole number per pair.

    100 * (length of both - insertions and deletions between them) / length of both.
    """
    first, second = plain_literals(prediction), plain_literals(reference)
    length = len(first) + len(second)
    return float(round(100 * ((length - Indel.distance(first, second)) / length))) if length else 100.0


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # loads all of nltk, which corpus values do not need

    return RougeScorer(list(ROUGE), use_stemmer=False)
