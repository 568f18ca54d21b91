"""A scoring process: reads pairs as JSON lines from stdin, answers each with its metrics on stdout.

Started by ``pool`` as ``python -m passkwh.benchmarks.completion.worker LANGUAGE``.
"""

from __future__ import annotations

import json
import logging
import sys
import time


def main(language: str) -> None:
    """Answer until stdin ends. The first line out is ``ready``: all libraries are loaded by then."""
    # codebleu warns for every pair whose reference has no data flow, which a line of code seldom has.
    logging.getLogger().setLevel(logging.ERROR)
    # rouge-score imports all of nltk, which imports these where it finds them; none of it is used here, and a process
    # that loads them needs five times as long to start.
    sys.modules.update(dict.fromkeys(("scipy", "sklearn")))  # type: ignore[arg-type]
    from passkwh.benchmarks.completion.metrics import pair_metrics

    pair_metrics("a = b", "a = c", language)  # the first call builds parsers and scorers
    print("ready", flush=True)
    for line in sys.stdin:
        pair = json.loads(line)
        start_ns, start_cpu_s = time.monotonic_ns(), time.process_time()
        scores = pair_metrics(pair["reference"], pair["prediction"], language)
        cpu_s = time.process_time() - start_cpu_s
        answer = {"start_ns": start_ns, "end_ns": time.monotonic_ns(), "cpu_s": cpu_s, "scores": scores}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
