"""Whether scoring completions uses every core: the pool on all of them, the pool on one, the libraries in one process.

    python perf/metrics.py [--pairs 1000] [--words 15] [--language java] [--rounds 3]

Pairs are pieces of the embedded samples, half of them altered. ``wall_s`` includes starting the processes and loading
the libraries; ``window_s`` is from the first pair's start to the last one's end, which is what the meter sees. Rounds
are taken by turns, medians reported. Prints one JSON line last; ratios are one process / all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from itertools import islice

from passkwh.benchmarks.completion.data import embedded_files
from passkwh.benchmarks.completion.pool import Pair, score_pairs
from passkwh.benchmarks.sandbox import default_workers
from passkwh.units import ns_to_s

LIBRARIES_ALONE = """
import json, logging, sys, time
logging.disable(logging.WARNING)
pairs, language = json.load(sys.stdin)
start = time.monotonic()
import sacrebleu
from codebleu import calc_codebleu
from rapidfuzz.distance import Levenshtein
from rouge_score.rouge_scorer import RougeScorer
loaded = time.monotonic()
rouge = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"])
for reference, prediction in pairs:
    sacrebleu.sentence_bleu(prediction, [reference])
    sacrebleu.sentence_chrf(prediction, [reference])
    rouge.score(reference, prediction)
    calc_codebleu([reference], [prediction], language)
    Levenshtein.distance(reference, prediction)
end = time.monotonic()
print(json.dumps({"wall_s": end - start, "window_s": end - loaded}))
"""


def make_pairs(count: int, words: int, language: str) -> list[Pair]:
    """References of so many words and predictions in which every fourth word of every second pair is another."""
    rng = random.Random(0)
    files = [file.text.split() for file in islice(embedded_files(language, "test").read(), 30)]
    pairs = []
    for number in range(count):
        tokens = rng.choice(files)
        start = rng.randrange(max(1, len(tokens) - words))
        reference = tokens[start : start + words]
        prediction = [rng.choice(tokens) if number % 2 and rng.random() < 0.25 else word for word in reference]
        pairs.append(Pair(str(number), " ".join(reference), " ".join(prediction)))
    return pairs


def pool(pairs: list[Pair], language: str, workers: int) -> dict[str, float]:
    """Seconds and CPU seconds of scoring with ``workers`` processes."""
    start = time.monotonic()
    scores = list(score_pairs(pairs, language, workers))
    wall_s = time.monotonic() - start
    window_s = ns_to_s(max(score.end_ns for score in scores) - min(score.start_ns for score in scores))
    return {"wall_s": wall_s, "window_s": window_s, "cpu_s": sum(score.cpu_s or 0 for score in scores)}


def libraries(pairs: list[Pair], language: str) -> dict[str, float]:
    """Seconds of calling the libraries on every pair in one plain process."""
    question = json.dumps([[(pair.reference, pair.prediction) for pair in pairs], language])
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES_ALONE], input=question, capture_output=True, text=True, check=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--words", type=int, default=15)
    parser.add_argument("--language", choices=["python", "java"], default="java")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    pairs = make_pairs(options.pairs, options.words, options.language)
    cores = default_workers()
    ways = {
        "libraries_in_one_process": lambda: libraries(pairs, options.language),
        "pool_of_one": lambda: pool(pairs, options.language, 1),
        "pool_of_all_cores": lambda: pool(pairs, options.language, cores),
    }
    rounds = [{name: way() for name, way in ways.items()} for _ in range(options.rounds)]
    medians = {
        name: {unit: statistics.median(entry[name][unit] for entry in rounds) for unit in rounds[0][name]}
        for name in ways
    }
    for name, times in medians.items():
        print(f"{name:26s}", "  ".join(f"{unit} {value:6.2f}" for unit, value in times.items()))
    every, one = medians["pool_of_all_cores"], medians["pool_of_one"]
    result = {
        "pairs": options.pairs, "words": options.words, "language": options.language, "cores": cores,
        "load_average": os.getloadavg()[0], **medians,
        "ratio_window": one["window_s"] / every["window_s"],
        "ratio_wall": one["wall_s"] / every["wall_s"],
        "ratio_libraries_wall": medians["libraries_in_one_process"]["wall_s"] / every["wall_s"],
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
