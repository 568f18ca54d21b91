"""How long `bench --help` and completing a name take beside an interpreter that does nothing, and what is imported.

    python perf/startup.py [--rounds 20]

Runs them by turns and prints one JSON line last: median seconds of each (``import passkwh``
among them), the ratio of help to nothing, and which heavy packages help imported (should be none).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HEAVY = ("torch", "transformers", "pandas", "numpy", "pyarrow", "scipy", "altair", "zeus", "codecarbon")
PROBE = (
    "import sys; sys.argv = ['bench', '--help']\n"
    "from passkwh.cli.main import main\n"
    "try: main()\n"
    f"finally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
)


COMPLETE = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": "bench run --model qw", "COMP_CWORD": "3"}
ANSWER = "import sys; sys.argv = ['bench']; from passkwh.cli.main import main; main()"


def seconds(command: list[str], variables: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, **variables}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "help": ([sys.executable, "-m", "passkwh.cli.main", "--help"], {}),
        "complete": ([sys.executable, "-c", ANSWER], COMPLETE),
        "import": ([sys.executable, "-c", "import passkwh"], {}),
        "pass": ([sys.executable, "-c", "pass"], {}),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, (command, variables) in commands.items():
            taken_s = seconds(command, variables)
            if turn:  # the first turn warms the disk
                times[name].append(taken_s)
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        json.dumps(
            {
                "rounds": rounds,
                "help_s": round(medians["help"], 4),
                "complete_s": round(medians["complete"], 4),
                "import_s": round(medians["import"], 4),
                "pass_s": round(medians["pass"], 4),
                "ratio": round(medians["help"] / medians["pass"], 2),
                "extra_s": round(medians["help"] - medians["pass"], 4),
                "heavy_imports": json.loads(probe.stderr.strip().splitlines()[-1].replace("'", '"')),
            }
        )
    )


if __name__ == "__main__":
    main()
