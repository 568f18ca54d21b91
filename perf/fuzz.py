"""Mutated inputs over every reader: `python -m perf.fuzz [--inputs 10000] [--seed 0] [--pages 20]`.

Each input is a good one of its kind (a manifest, a summary, samples, a trace, whole or of a run that goes on, a pack, a
study, files of tasks of three benchmarks, samples of another harness, a model's answer, an answer of an endpoint, a
request to `bench serve`, headers of GGUF and safetensors files, a checkpoint's small files) that was damaged: bytes
flipped, cut, repeated or swapped, values replaced by what they cannot be, names given twice. A reader takes it or says
in one line what is wrong (UsageError, or a status from 400 to 499); anything else counts as a traceback, and more than
10 s as a hang. Of damaged runs that were taken, so many report pages are opened in Chromium, and a board of those whose
packs are valid: a script that runs in one counts. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from passkwh import adapters, benchmarks
from passkwh.adapters.engines.endpoint_client import Client
from passkwh.analysis.frames import load
from passkwh.benchmarks import extract
from passkwh.benchmarks.bigcodebench import tasks as embedded
from passkwh.benchmarks.samples import SAMPLES
from passkwh.cli.score import read_programs
from passkwh.errors import UsageError
from passkwh.harness.meter.trace import TRACE_SCHEMA
from passkwh.harness.runs.folder import RunFolder
from passkwh.harness.runs.trace_files import TraceWriter
from passkwh.harness.sweep.study import read as read_study
from passkwh.reports.leaderboard.pack import members_of, write_pack
from passkwh.reports.leaderboard.validate import validate
from passkwh.serve.access import Access
from passkwh.serve.app import make_app
from passkwh.serve.limits import Limits, Served
from passkwh.serve.service import Service
from perf import synthetic

HANG_S = 10
SCRIPT = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
IMPOSSIBLE: list[Any] = [
    None, True, -1, 0, -0.0, 0.5, 1e308, -1e308, 10**30, float("nan"), float("inf"), "", "12", "\ud800", "\x00",
    "\x1b[2J", SCRIPT, "x" * 70_000, [], {}, [[]], {"a": 1}, "9999-99-99", "1969-12-31T23:59:59+00:00", "measured",
    2**63, -(2**63) - 1,
]  # fmt: skip
DEEP = "[" * 50_000 + "]" * 50_000
"""Nested deeper than any reader can follow."""
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
MBPP_TASK = {
    "task_id": 11, "text": "Write a function to double a number.", "code": "def double(x):\n    return 2 * x\n",
    "test_list": ["assert double(1) == 2"], "test_setup_code": "", "challenge_test_list": [],
}  # fmt: skip
SAMPLE = {"task_id": "HumanEval/0", "solution": "def f(x):\n    return x\n"}
ANSWER = (
    "Here it is:\n```python\nimport os\n\nclass A:\n    def f(self, x=(1, [2])):\n        'Doc.'\n"
    "        return {1: x, \"a\": f'{x!r:>{3}}'} \\\n            or None\n\n@staticmethod\ndef task_func(x):\n"
    "    try:\n        return A().f(x)\n    except ValueError as error:\n        raise error\n```\nIt doesn't fail."
)
REQUESTS = {
    "/v1/completions": {"model": "toy", "prompt": "1 + 1 =", "max_tokens": 2, "temperature": 0.5, "stop": ["a"],
                        "seed": 1, "n": 1},
    "/v1/chat/completions": {"model": "toy", "messages": [{"role": "system", "content": "a"},
                             {"role": "user", "content": "1 + 1 ="}], "max_completion_tokens": 2, "temperature": 0},
    "/api/generate": {"model": "toy", "prompt": "1 + 1 =", "stream": False, "raw": True,
                      "options": {"num_predict": 2, "temperature": 0.2, "top_p": 0.95, "stop": ["a"]}},
    "/generate": {"inputs": "1 + 1 =", "parameters": {"max_new_tokens": 2, "do_sample": False, "stop": ["a"]}},
}  # fmt: skip
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 32, "eos_token_id": [2],
    "max_position_embeddings": 64, "torch_dtype": "float32", "tie_word_embeddings": True,
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False},
}  # fmt: skip
TOKENIZER = {
    "eos_token": {"content": "</s>"}, "bos_token": "<s>", "model_max_length": 64,
    "added_tokens_decoder": {"2": {"content": "</s>", "special": True}},
    "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
}  # fmt: skip
INDEX = {"metadata": {"total_size": 256}, "weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}
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
    if chance.random() < 0.03:
        text = text.replace(": ", f': {DEEP}, "y": ', 1)
    lines[number] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + (b"\n" if len(lines) > 1 else b"")


class Readers:
    """Good inputs in a folder, and for each kind how one is damaged and read."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self._root, self._chance = root, chance
        (self._good,) = synthetic.write_runs(root / "good", synthetic.THESIS[:1], tasks=4)
        write_pack(members_of(self._good), root / "good.pass")
        self._checkpoint = make_checkpoint(root / "checkpoint")
        self._app = _app()
        self._tasks_files = {
            "humaneval": TASK, "mbpp": MBPP_TASK,
            "bigcodebench": json.loads(embedded.SAMPLE.read_text("utf-8").splitlines()[0]),
        }  # fmt: skip
        for file in SAMPLES.glob("*.jsonl"):
            self._tasks_files[file.stem] = json.loads(file.read_text("utf-8").splitlines()[-1])
        (root / "humaneval.jsonl").write_text(json.dumps(TASK) + "\n")
        self._benchmark = benchmarks.open("humaneval", {"data": str(root / "humaneval.jsonl")}, None)
        self.taken: list[Path] = []
        """Damaged runs that were read as if nothing were wrong with them; kept for their pages."""
        self.kinds: dict[str, Callable[[], None]] = {
            "manifest": lambda: self._run("manifest.json"),
            "summary": lambda: self._run("summary.json"),
            "samples": lambda: self._run("samples.jsonl"),
            "trace": lambda: self._run("trace.parquet"),
            "resumed samples": lambda: self._resumed("samples.jsonl"),
            "resumed manifest": lambda: self._resumed("manifest.json"),
            "trace that goes on": self._unfinished_trace,
            "pack": self._pack,
            "study": self._study,
            "tasks": self._tasks,
            "samples of others": self._samples_of_others,
            "answer": self._answer,
            "stream": self._stream,
            "request": self._request,
            "gguf": lambda: self._model("model.gguf"),
            "safetensors": lambda: self._model("model.safetensors"),
            "config": lambda: self._model(
                self._chance.choice(["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
            ),
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
        if is_json and len(self.taken) < 200:
            kept = self._root / f"taken-{len(self.taken)}"
            shutil.copytree(run, kept)
            self.taken.append(kept)

    def _resumed(self, name: str) -> None:
        run = self._root / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self._good, run)
        (run / "summary.json").unlink()
        (run / name).write_bytes(mutated_json((run / name).read_bytes(), self._chance))
        folder = RunFolder.resume(run)
        try:
            folder.manifest()
            folder.samples()
        finally:
            folder.close()

    def _unfinished_trace(self) -> None:
        run = self._root / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        shutil.copy(self._good / "manifest.json", run)
        whole = RunFolder.open(self._good).trace().slice(0, 30)
        writer = TraceWriter(run / "trace-000.arrows", TRACE_SCHEMA)
        for start in range(0, len(whole), 10):
            writer.write(whole.slice(start, 10))
        writer.close()
        file = run / "trace-000.arrows"
        file.write_bytes(damaged(file.read_bytes(), self._chance))
        RunFolder.open(run).trace()

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
        content = (
            damaged(STUDY.encode(), self._chance) if self._chance.random() < 0.9 else f"{STUDY}a = {DEEP}".encode()
        )
        (self._root / "study.toml").write_bytes(content)
        read_study(str(self._root / "study.toml"))

    def _tasks(self) -> None:
        name = self._chance.choice(list(self._tasks_files))
        file = self._root / "tasks.jsonl"
        file.write_bytes(mutated_json(json.dumps(self._tasks_files[name]).encode() + b"\n", self._chance))
        benchmarks.open(name, {"data": str(file)}, None)

    def _samples_of_others(self) -> None:
        file = self._root / "solutions.jsonl"
        file.write_bytes(mutated_json(json.dumps(SAMPLE).encode() + b"\n", self._chance))
        list(read_programs(file, self._benchmark))

    def _answer(self) -> None:
        text = damaged(ANSWER.encode(), self._chance).decode("utf-8", "surrogateescape")
        extract.official(text * self._chance.choice([1, 1, 8]), "task_func")

    def _request(self) -> None:
        path = self._chance.choice(list(REQUESTS))
        body = mutated_json(json.dumps(REQUESTS[path]).encode(), self._chance)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.post(path, content=body, headers={"Content-Type": "application/json"})

        answer = asyncio.run(ask())
        if answer.status_code >= 500:
            raise AssertionError(f"{answer.status_code}: {answer.text[:300]}")
        if answer.status_code != 200:
            raise UsageError(answer.text)

    def _model(self, name: str) -> None:
        folder = self._root / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._checkpoint, folder)
        content = (folder / name).read_bytes()
        change = mutated_json if name.endswith(".json") else damaged
        (folder / name).write_bytes(change(content, self._chance))
        adapters.resolve(str(folder / name if name.endswith(".gguf") else folder))

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


def make_checkpoint(folder: Path) -> Path:
    """A folder with the files of which a model is known before its weights are loaded, and a GGUF file."""
    import gguf
    import tokenizers

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
    (folder / "model.safetensors.index.json").write_text(json.dumps(INDEX))
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<s>": 0, "</s>": 2, "a": 1}, unk_token="a"))
    core.save(str(folder / "tokenizer.json"))
    entries = {"dtype": "F32", "shape": [4, 8]}
    header = json.dumps({
        "__metadata__": {"format": "pt"}, "a": {**entries, "data_offsets": [0, 128]},
        "b": {**entries, "data_offsets": [128, 256]},
    }).encode()  # fmt: skip
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(256))
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(2)
    writer.add_head_count(2)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_token_list(["<s>", "</s>", "a"])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return folder


def _app() -> Any:
    """The application of ``bench serve``, with the toy model."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "plugin" / "src"))
    from passkwh_toy.engine import ENGINE, ToyModel

    checkpoint = ENGINE.resolve("toy:2", "none")
    assert checkpoint is not None
    service = Service(
        ToyModel(checkpoint), Served(("toy",), Limits()), rule=None, meter="simulated:steady", idle_s=0,
        always_usage=False,
    )  # fmt: skip
    return make_app(service, Access())


def pages(taken: list[Path], root: Path) -> dict[str, int]:
    """Open the report page of each run, and the board of each that is valid, in Chromium; a page
    whose script ran changes its title. A common board would hold all damaged copies of one run."""
    from playwright.sync_api import sync_playwright

    from passkwh.cli import main as program

    def bench(*arguments: object) -> int:
        sys.argv = ["bench", *map(str, arguments)]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                program.main()
            except SystemExit as end:
                return int(end.code or 0)
        return 0

    opened, refused, boards, files = 0, 0, 0, []
    for number, run in enumerate(taken):
        file = root / f"page-{number}.html"
        if bench("report", run, "--out", file) == 0:
            files.append(file)
        else:
            refused += 1
        packs, site = root / f"packs-{number}", root / f"site-{number}"
        bench("leaderboard", "pack", run, "--out", packs)
        if packs.is_dir() and bench("leaderboard", "build", packs, "--out", site) == 0:
            files += sorted(site.rglob("*.html"))
            boards += 1
    ran = 0
    with sync_playwright() as playwright:
        executable = os.environ.get("PASSKWH_CHROMIUM") or shutil.which("chromium")
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = chromium.new_page()
        for file in files:
            page.goto(file.as_uri())
            page.wait_for_timeout(200)
            opened += 1
            ran += page.title() == "pwned"
        chromium.close()
    return {"pages": opened, "boards": boards, "runs_refused": refused, "scripts": ran}


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


def fuzz(inputs: int, seed: int = 0, opened: int = 0) -> dict[str, Any]:
    """Read so many damaged inputs, and open so many pages; figures, and the first traceback of each kind."""
    chance = random.Random(seed)
    counts, refused, hangs, slowest_cpu_s = Counter[str](), Counter[str](), 0, 0.0
    tracebacks: dict[str, str] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        readers = Readers(Path(place), chance)
        for number in range(inputs):
            kind = list(readers.kinds)[number % len(readers.kinds)]
            counts[kind] += 1
            start_s = time.process_time()  # of reading: a client that asks again waits for up to half a minute
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
            slowest_cpu_s = max(slowest_cpu_s, time.process_time() - start_s)
        with_scripts = [run for run in readers.taken if any(b"onerror" in file.read_bytes() for file in run.iterdir())]
        others = [run for run in readers.taken if run not in with_scripts]
        in_pages = pages([*with_scripts, *others][:opened], Path(place)) if opened else {}
    return {
        "inputs": inputs, "seed": seed, "by_reader": counts, "refused": refused, "tracebacks": failed, "hangs": hangs,
        "slowest_cpu_s": round(slowest_cpu_s, 3), "first_tracebacks": tracebacks, **in_pages,
    }  # fmt: skip


def main() -> None:
    """Fuzz as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pages", type=int, default=20)
    asked = parser.parse_args()
    print(json.dumps(fuzz(asked.inputs, asked.seed, asked.pages)))


if __name__ == "__main__":
    main()
