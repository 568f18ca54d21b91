"""CodeBLEU by the ``codebleu`` package, with the counts that make per-pair results add up to a corpus.

The package scores a corpus in one go and returns ratios. To score pairs in parallel and still report the corpus value,
each pair keeps how many syntax subtrees and data-flow edges its reference has: matched / total of a corpus is then the
sum over its pairs. n-gram parts are cheap and computed over the corpus by the package itself.

Two properties of codebleu 0.7.0 to know. Its data-flow part orders variables by Python's hash seed, so the same pair
can score differently from process to process: scoring runs under ``PYTHONHASHSEED=0`` (see ``pool``). And a data-flow
score of 0 enters the total as 1 (``dataflow or 1``), whether the reference has no data flow or the prediction misses
all of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from codebleu import bleu, calc_codebleu, codebleu, weighted_ngram_match
from codebleu.dataflow_match import dfg_function, get_data_flow, normalize_dataflow
from codebleu.parser import remove_comments_and_docstrings
from codebleu.utils import get_tree_sitter_language
from tree_sitter import Parser

WEIGHT = 0.25
"""Of each of the four parts (CodeBLEU's default, used by GREEN-CODE)."""


def pair_codebleu(reference: str, prediction: str, language: str) -> dict[str, float]:
    """CodeBLEU and its parts of one pair, all in 0 ... 1, and the two totals of its reference."""
    scores = calc_codebleu([reference], [prediction], language)
    subtrees, edges = _reference_totals(reference.strip(), language)
    return {
        "codebleu": float(scores["codebleu"]),
        "codebleu_ngram": float(scores["ngram_match_score"]),
        "codebleu_weighted_ngram": float(scores["weighted_ngram_match_score"]),
        "codebleu_syntax": float(scores["syntax_match_score"]),
        "codebleu_dataflow": float(scores["dataflow_match_score"]),
        "reference_subtrees": float(subtrees),
        "reference_dataflow_edges": float(edges),
    }


def corpus_codebleu(
    references: Sequence[str], predictions: Sequence[str], pairs: Sequence[dict[str, float]], language: str
) -> dict[str, float]:
    """CodeBLEU and its parts of a corpus from its texts and their ``pair_codebleu``: what ``calc_codebleu`` returns."""
    hypotheses = [prediction.split() for prediction in predictions]
    tokens = [reference.split() for reference in references]
    listed = (codebleu.PACKAGE_DIR / "keywords" / f"{language}.txt").read_text("utf-8").split("\n")
    keywords = {word.strip() for word in listed}
    weighted = [[[words, {word: 1 if word in keywords else 0.2 for word in words}]] for words in tokens]
    ngram = float(bleu.corpus_bleu([[words] for words in tokens], hypotheses))
    weighted_ngram = float(weighted_ngram_match.corpus_bleu(weighted, hypotheses))
    syntax = _ratio(pairs, "codebleu_syntax", "reference_subtrees")
    dataflow = _ratio(pairs, "codebleu_dataflow", "reference_dataflow_edges")
    return {
        "codebleu": WEIGHT * ngram + WEIGHT * weighted_ngram + WEIGHT * syntax + WEIGHT * (dataflow or 1),
        "codebleu_ngram": ngram,
        "codebleu_weighted_ngram": weighted_ngram,
        "codebleu_syntax": syntax,
        "codebleu_dataflow": dataflow,
    }


def _ratio(pairs: Sequence[dict[str, float]], score: str, total: str) -> float:
    """Matched / total over all pairs; 0 where no reference has any (as the package defines it)."""
    whole = sum(pair[total] for pair in pairs)
    return sum(round(pair[score] * pair[total]) for pair in pairs) / whole if whole else 0.0


def _reference_totals(reference: str, language: str) -> tuple[int, int]:
    """Syntax subtrees and data-flow edges of a reference, counted on the package's own trees."""
    with contextlib.suppress(Exception):  # what cannot be tokenized is taken as it is, as in the package
        reference = remove_comments_and_docstrings(reference, language)
    parser = Parser(get_tree_sitter_language(language))
    stack = [parser.parse(reference.encode()).root_node]
    subtrees = 0
    while stack:
        node = stack.pop()
        subtrees += 1
        stack.extend(child for child in node.children if child.children)
    edges = normalize_dataflow(get_data_flow(reference, [parser, dfg_function[language]]))
    return subtrees, len(edges)
