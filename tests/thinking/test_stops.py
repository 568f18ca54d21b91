"""Chats end where the official tool ends them: by counts that bigcodebench 0.2.5 itself made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from passkwh.adapters import load, resolve
from tests.thinking import stopper

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "perf"))
import bigcodebench_tokens  # noqa: E402  (the script that made the counts)


def test_a_chat_generates_as_many_tokens_as_with_bigcodebenchs_own_backend(tmp_path: Path) -> None:
    golden = json.loads(Path(__file__).with_name("bigcodebench_tokens.json").read_text("utf-8"))
    model = load(resolve(str(stopper.write(tmp_path / "tiny-stopper"))), "cpu")
    made = bigcodebench_tokens.ours(model, golden["tasks"], golden["max_new_tokens"])
    assert {one["task"]: one["tokens"] for one in made} == golden["official_tokens"]
    assert len(made) == 20
