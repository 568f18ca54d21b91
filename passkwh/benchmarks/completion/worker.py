"""A scoring process: answers each pair with its metrics.

Started by ``pool`` as ``python -m passkwh.benchmarks.completion.worker LANGUAGE``.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from passkwh.benchmarks.limited_worker import serve


def main(language: str) -> None:
    """Answer until stdin ends; all libraries are loaded before."""
    # codebleu warns for every pair whose reference has no data flow, which a line of code seldom has.
    logging.getLogger().setLevel(logging.ERROR)
    # rouge-score imports all of nltk, which imports these where it finds them; none of it is used here, and a process
    # that loads them needs five times as long to start.
    sys.modules.update(dict.fromkeys(("scipy", "sklearn")))  # type: ignore[arg-type]
    from passkwh.benchmarks.completion.metrics import pair_metrics

    pair_metrics("a = b", "a = c", language)  # the first call builds parsers and scorers

    def answer(pair: dict[str, Any]) -> dict[str, Any]:
        # An armed timer makes the clock of the process step with the kernel's ticks; that of its only thread does not.
        start_ns, start_cpu_s = time.monotonic_ns(), time.thread_time()
        scores = pair_metrics(pair["reference"], pair["prediction"], language)
        cpu_s = time.thread_time() - start_cpu_s
        return {"start_ns": start_ns, "end_ns": time.monotonic_ns(), "cpu_s": cpu_s, "scores": scores}

    serve(answer)


if __name__ == "__main__":
    main(sys.argv[1])
