"""How long the report takes: `python perf/report.py [--tasks N] [--interval-s S]`. Prints one JSON line last.

25 invented configurations in the thesis's shape (perf/synthetic.py), each 1,140 tasks with traces read every 20 ms over
the hours that the thesis's runs took, are written to a temporary place (not timed). Timed is the command as a user
calls it, start of Python included: `bench report RUNS --experiment all`, with all tables, figures as SVG and PNG, and
10,000 resamples. Python may keep compiled modules, as it does for users; the first round may have to compile them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import synthetic

TARGET_S = 15.0


def main() -> None:
    """Write runs, time the command, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1140)
    parser.add_argument("--interval-s", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs, out = Path(place, "runs"), Path(place, "report")
        synthetic.write_runs(runs, tasks=asked.tasks, interval_s=asked.interval_s)
        command = [
            sys.executable,
            "-m",
            "passkwh.cli.main",
            "report",
            str(runs),
            "--experiment",
            "all",
            "--out",
            str(out),
        ]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        seconds = []
        for _ in range(asked.rounds):
            start = time.perf_counter()
            subprocess.run(command, check=True, env=environment, capture_output=True)
            seconds.append(time.perf_counter() - start)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        files = [path for path in out.rglob("*") if path.is_file()]
        result = {
            "configurations": len(synthetic.THESIS),
            "tasks": asked.tasks,
            "seconds": seconds,
            "best_s": min(seconds),
            "cpu_s_per_report": (used.ru_utime + used.ru_stime) / asked.rounds,
            "peak_gib": used.ru_maxrss / 2**20,
            "files": len(files),
            "figures": len(list((out / "figures").glob("*.svg"))),
            "page_mb": (out / "report.html").stat().st_size / 1e6,
            "load_average": os.getloadavg()[0],
            "within_target": min(seconds) <= TARGET_S,
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
