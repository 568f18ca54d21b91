"""Time of extraction against the length of degenerate answers, beside ``sanitize`` of bigcodebench 0.2.5.

    python perf/extract.py [--python PYTHON] [--lines 80 320 1280] [--limit-s 20]

``--python`` is the interpreter of an environment that has bigcodebench; without it one is made in the cache. CPU
seconds of both, the official tool's up to the limit, over which it is ended and longer texts of that form are left out
(null). Every form is also taken as one line of 10,000 characters. Answers as models write them (the reference solutions
of the embedded tasks in markdown) are extracted by both, and must be equal. Prints one JSON line last.

``--record FOLDER`` instead writes what the official tool makes of these and of the answers in
``official_extractions.jsonl`` there, which the tests compare with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

from passkwh.benchmarks import extract
from passkwh.benchmarks.bigcodebench.benchmark import BigCodeBench
from passkwh.cache import cache_dir

REQUIREMENTS = ("tree-sitter", "tree-sitter-python", "tqdm", "pqdm", "bounded-pool-executor", "typing-extensions")
MORE = ("termcolor", "appdirs", "tempdir", "wget", "numpy")
CHARACTERS = 10_000
FORMS = {
    "(": ("(",), ")": (")",), "@a": ("@a",), "backslash": ("\\",), "x = (": ("x = (",), "quotes": ('"""',),
    "fences": ("```",), "try": ("try:", "    a"), "if": ("if x:",), "x = 1 \\": ("x = 1 \\",), "# a": ("# a",),
    "statements": ("x = 1",), "prose": ("some text here",),
}  # fmt: skip
TEXT = "some text here"

OFFICIAL = """
import json, sys, time, types
sys.modules["datasets"] = types.SimpleNamespace(load_dataset=None)  # never called here
from bigcodebench.sanitize import sanitize
print("ready", flush=True)
for line in sys.stdin:
    text, entry_point = json.loads(line)
    start = time.process_time()
    try:
        code = sanitize(text, entry_point)
    except Exception as error:
        code = None
    print(json.dumps([time.process_time() - start, code]), flush=True)
"""


class Official:
    """The official tool in its environment."""

    def __init__(self, python: Path, limit_s: float) -> None:
        self._python, self._limit_s = python, limit_s
        self._process: subprocess.Popen[str] | None = None

    def sanitize(self, text: str, entry_point: str) -> tuple[float | None, str | None]:
        """CPU seconds and what came of it; nothing of either where it took too long."""
        if self._process is None:
            pipe = subprocess.PIPE
            command = [str(self._python), "-W", "ignore", "-c", OFFICIAL]
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            assert self._process.stdout is not None
            if self._process.stdout.readline() != "ready\n":
                sys.exit(f"{self._python} cannot import bigcodebench")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([text, entry_point]) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], self._limit_s)[0]:
            self._process.kill()
            self._process.wait()
            self._process = None
            return None, None
        seconds, code = json.loads(self._process.stdout.readline())
        return seconds, code


def environment() -> Path:
    """An environment with bigcodebench and what its ``sanitize`` imports."""
    folder = cache_dir() / "perf" / "bigcodebench-0.2.5"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "bigcodebench==0.2.5", "tempdir", "pqdm"], check=True)
        subprocess.run([*pip, *REQUIREMENTS, *MORE], check=True)
        (folder / "ready").touch()
    return python


def ours(text: str, entry_point: str) -> tuple[float, str]:
    """CPU seconds of our extraction, and its code."""
    start = time.process_time()
    code = extract.official(text, entry_point)
    return time.process_time() - start, code


def texts(lines: tuple[str, ...], count: int) -> dict[str, str]:
    """A form of so many lines, alone and alternating with text."""
    alone = [lines[number % len(lines)] for number in range(count)]
    mixed = [line for line in alone[: count // 2] for line in (line, TEXT)]
    return {"alone": "\n".join(alone), "with text": "\n".join(mixed), "before text": "\n".join([*alone, TEXT])}


def degenerate(official: Official, counts: list[int]) -> dict[str, Any]:
    """Seconds by form, way and number of lines; of one long line by ``characters``."""
    results: dict[str, Any] = {}
    for name, lines in FORMS.items():
        ways: dict[str, dict[str, Any]] = {}
        for count in counts:
            for way, text in texts(lines, count).items():
                entry = ways.setdefault(way, {"ours_s": {}, "official_s": {}})
                entry["ours_s"][count] = ours(text, "task_func")[0]
                ended = None in entry["official_s"].values()
                entry["official_s"][count] = None if ended else official.sanitize(text, "task_func")[0]
        long = "\n" + (lines[0] * CHARACTERS)[:CHARACTERS] + "\n"
        ways["one line"] = {
            "ours_s": {CHARACTERS: ours(long, "task_func")[0]},
            "official_s": {CHARACTERS: official.sanitize(long, "task_func")[0]},
        }
        results[name] = ways
        for way, entry in ways.items():
            shown = "  ".join(f"{n}: {_s(s)} / {_s(entry['official_s'][n])}" for n, s in entry["ours_s"].items())
            print(f"{name:12s} {way:12s} {shown}", flush=True)
    return results


def _s(seconds: float | None) -> str:
    return "over the limit" if seconds is None else f"{seconds:.3f} s"


def normal(official: Official) -> dict[str, int]:
    """Of answers as models write them, how many both extract alike."""
    count = equal = too_long = 0
    for text, entry_point in embedded():
        _, code = official.sanitize(text, entry_point)
        too_long += code is None
        count += 1
        equal += code == ours(text, entry_point)[1]
    return {"answers": count, "equal": equal, "official_over_the_limit": too_long}


def embedded() -> list[tuple[str, str]]:
    """Answers with the solutions of the embedded tasks, and their entry points."""
    return [
        (
            f"Here it is:\n```python\n{task.code_prompt}{task.canonical_solution}\n```\nIt doesn't fail.",
            task.entry_point,
        )
        for task in BigCodeBench({}, None).by_id.values()
    ]


def record(official: Official, folder: Path) -> None:
    """Write what the official tool makes of normal answers."""
    digest = hashlib.sha256()
    for text, entry_point in embedded():
        digest.update((official.sanitize(text, entry_point)[1] or "").encode())
    (folder / "official_digest.json").write_text(json.dumps({"sha256": digest.hexdigest()}) + "\n")
    file = folder / "official_extractions.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for row in rows:
        row["sanitized"] = official.sanitize(row["answer"], row["entry_point"])[1]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path)
    parser.add_argument("--lines", type=int, nargs="+", default=[80, 320, 1280])
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    official = Official(options.python or environment(), options.limit_s)
    if options.record:
        record(official, options.record)
        return
    alike = normal(official)
    forms = degenerate(official, sorted(options.lines))
    slowest = max(s for ways in forms.values() for entry in ways.values() for s in entry["ours_s"].values())
    result = {"normal": alike, "slowest_of_ours_s": slowest, "limit_s": options.limit_s, "forms": forms}
    print(json.dumps({**result, "load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
