"""Mutated inputs over every reader: `python perf/fuzz.py [--inputs 10000] [--seed 0]`. Prints one JSON line last.

Each input is a good one of its kind (a manifest, a summary, samples, a trace, a pack, a study, a file of tasks, an
answer of an endpoint) that was damaged: bytes flipped, cut, repeated or swapped, values replaced by what they cannot
be, names given twice. A reader takes it or says in one line what is wrong (UsageError); anything else counts as a
traceback, and more than 10 s as a hang.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from passkwh.adapters.engines.endpoint_client import Client
from passkwh.analysis.frames import load
from passkwh.benchmarks import open as open_benchmark
from passkwh.errors import UsageError
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.sweep.study import read as read_study
from passkwh.reports.leaderboard.pack import members_of, write_pack
from passkwh.reports.leaderboard.validate import validate
from perf import synthetic

HANG_S = 10
IMPOSSIBLE: list[Any] = [
    None, True, -1, 0, -0.0, 0.5, 1e308, -1e308, 10**30, float("nan"), float("inf"), "", "12", "\ud800", "\x00",
    "\x1b[2J", "x" * 70_000, [], {}, [[]], {"a": 1}, "9999-99-99", "1969-12-31T23:59:59+00:00", "measured", 2**63,
    -(2**63) - 1,
]  # fmt: skip
STUDY = """name = "s"
repeats = 2
[defaults]
model = "smollm2-135m-instruct"
benchmark = "bigcodebench"
limit = 2
meter = "simulated"
[matrix]
batch_size = [1, 2]
"""
TASK = {
    "task_id": "HumanEval/0", "prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f",
    "test": "def check(candidate):\n    assert candidate(1) == 1\n",
}  # fmt: skip
PIECES = [
    {"choices": [{"index": 0, "text": "a", "finish_reason": None}]},
    {"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes that were flipped, cut, repeated or swapped."""
    place, length = chance.randrange(len(content)), chance.randint(1, 64)
    kind = chance.randrange(5)
    if kind == 0:
        return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[: place + length] + content[place:]
    if kind == 3:
        return content[:place] + chance.randbytes(length) + content[place + length :]
    return content[place:] + content[:place]


def replaced(content: Any, chance: random.Random) -> Any:
    """JSON in which a value is one that it cannot be, is missing, or stands under another name."""
    content = json.loads(json.dumps(content))
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return content
        key = chance.choice(keys)
        if isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.7:
            place = place[key]
            continue
        if chance.random() < 0.15:
            del place[key]
        elif isinstance(place, dict) and chance.random() < 0.1:
            place["x" + str(key)] = place.pop(key)
        else:
            place[key] = chance.choice(IMPOSSIBLE)
        return content


def mutated_json(content: bytes, chance: random.Random) -> bytes:
    """A file of JSON, or of JSON lines, that was damaged."""
    if chance.random() < 0.4:
        return damaged(content, chance)
    lines = content.splitlines() if content.count(b"\n{") else [content]
    number = chance.randrange(len(lines))
    parsed = json.loads(lines[number])
    parsed.pop("crc32", None)
    text = json.dumps(replaced(parsed, chance), ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.1:
        text = text.replace("{", '{"schema_version": 2, "schema_version": 1, ', 1)
    lines[number] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + (b"\n" if len(lines) > 1 else b"")


class Readers:
    """Good inputs in a folder, and for each kind how one is damaged and read."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self._root, self._chance = root, chance
        (self._good,) = synthetic.write_runs(
            root / "good", synthetic.THESIS[:1], tasks=4, shorter=100.0, interval_s=0.5
        )
        write_pack(members_of(self._good), root / "good.pass")
        self.kinds: dict[str, Callable[[], None]] = {
            "manifest": lambda: self._run("manifest.json"),
            "summary": lambda: self._run("summary.json"),
            "samples": lambda: self._run("samples.jsonl"),
            "trace": lambda: self._run("trace.parquet"),
            "resumed samples": self._resumed,
            "pack": self._pack,
            "study": self._study,
            "tasks": self._tasks,
            "stream": self._stream,
        }

    def _run(self, name: str) -> None:
        run = self._root / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self._good, run)
        content = (run / name).read_bytes()
        is_json = name != "trace.parquet"
        (run / name).write_bytes(mutated_json(content, self._chance) if is_json else damaged(content, self._chance))
        load([run])
        RunFolder.open(run).trace()

    def _resumed(self) -> None:
        run = self._root / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self._good, run)
        (run / "summary.json").unlink()
        (run / "samples.jsonl").write_bytes(mutated_json((run / "samples.jsonl").read_bytes(), self._chance))
        folder = RunFolder.resume(run)
        try:
            folder.samples()
        finally:
            folder.close()

    def _pack(self) -> None:
        members = members_of(self._good)
        if self._chance.random() < 0.3:
            (self._root / "bad.pass").write_bytes(damaged((self._root / "good.pass").read_bytes(), self._chance))
        else:
            name = self._chance.choice(list(members))
            change = damaged if name.endswith(".parquet") else mutated_json
            write_pack({**members, name: change(members[name], self._chance)}, self._root / "bad.pass")
        validate(self._root / "bad.pass")

    def _study(self) -> None:
        (self._root / "study.toml").write_bytes(damaged(STUDY.encode(), self._chance))
        read_study(str(self._root / "study.toml"))

    def _tasks(self) -> None:
        file = self._root / "tasks.jsonl"
        file.write_bytes(mutated_json(json.dumps(TASK).encode() + b"\n", self._chance))
        open_benchmark("humaneval", {"data": str(file)}, None)

    def _stream(self) -> None:
        pieces = [json.dumps(p).encode() for p in PIECES]
        number = self._chance.randrange(len(pieces))
        pieces[number] = mutated_json(pieces[number], self._chance)
        body = b"".join(b"data: " + piece + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"
        if self._chance.random() < 0.2:
            body = damaged(body, self._chance)
        answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        client = Client("http://127.0.0.1:9/v1", None, direct=True)
        client._http = httpx.Client(transport=httpx.MockTransport(lambda request: answer))
        with client:
            client.complete("/completions", {"max_tokens": 5})


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError after so long on a processor, or six times as long by the clock: others are at work, too."""

    def over(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = {number: signal.signal(number, over) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(6 * seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def fuzz(inputs: int, seed: int = 0) -> dict[str, Any]:
    """Read so many damaged inputs; figures, and the first traceback of each kind."""
    chance = random.Random(seed)
    counts, refused, hangs, slowest_s = Counter[str](), Counter[str](), 0, 0.0
    tracebacks: dict[str, str] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        readers = Readers(Path(place), chance)
        for number in range(inputs):
            kind = list(readers.kinds)[number % len(readers.kinds)]
            counts[kind] += 1
            start_s = time.perf_counter()
            try:
                with within(HANG_S):
                    readers.kinds[kind]()
            except UsageError as error:
                refused[kind] += 1
                if "\n" in str(error).strip():
                    failed += 1
                    tracebacks.setdefault(f"{kind}: several lines", str(error)[:500])
            except TimeoutError:
                hangs += 1
            except Exception as error:
                failed += 1
                tracebacks.setdefault(f"{kind}: {type(error).__name__}", traceback.format_exc()[-1500:])
            slowest_s = max(slowest_s, time.perf_counter() - start_s)
    return {
        "inputs": inputs, "seed": seed, "by_reader": counts, "refused": refused, "tracebacks": failed, "hangs": hangs,
        "slowest_s": round(slowest_s, 3), "first_tracebacks": tracebacks,
    }  # fmt: skip


def main() -> None:
    """Fuzz as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps(fuzz(asked.inputs, asked.seed)))


if __name__ == "__main__":
    main()
