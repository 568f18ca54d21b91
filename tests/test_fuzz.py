"""No damaged input ends in a traceback or a hang; ``perf/fuzz.py`` reads ten thousand."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.errors import UsageError
from passkwh.harness.sweep.study import read as read_study
from perf.fuzz import DEEP, STUDY, fuzz, make_checkpoint


@pytest.mark.parametrize("inputs", [204, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_inputs_are_taken_or_refused_in_a_line(inputs: int) -> None:
    if inputs > 1000 and not os.environ.get("PASSKWH_FUZZ"):
        pytest.skip("takes minutes: set PASSKWH_FUZZ=1")
    seen = fuzz(inputs, seed=1)
    assert (seen["tracebacks"], seen["hangs"]) == (0, 0), seen["first_tracebacks"]
    assert set(seen["refused"]) >= set(seen["by_reader"]) - {"pack", "answer"}  # a pack is refused by its findings


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("fuzz") / "checkpoint")


def gguf_with(value: bytes, pairs: int = 1, tensors: int = 0) -> bytes:
    """A GGUF file of one value under the key k."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + struct.pack("<Q", 1) + b"k" + value


DEEP_JSON = f'{{"a": {DEEP}}}'.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.gguf", gguf_with(struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50_000)),
        ("model.gguf", gguf_with(struct.pack("<IIQ", 9, 4, 2**62))),
        ("model.gguf", gguf_with(struct.pack("<IQ", 8, 2**40))),
        ("model.gguf", gguf_with(struct.pack("<I", 2**31), pairs=0, tensors=1)),
        ("config.json", DEEP_JSON),
        ("tokenizer_config.json", DEEP_JSON),
        ("model.safetensors.index.json", DEEP_JSON),
        ("tokenizer_config.json", b'{"added_tokens_decoder": 0.5}'),
        ("model.safetensors", len(DEEP_JSON).to_bytes(8, "little") + DEEP_JSON),
        ("model.safetensors", (2**50).to_bytes(8, "little") + b"{}"),
        ("model.safetensors", b""),
    ],
    ids=lambda part: part if isinstance(part, str) else f"{len(part)} bytes",
)
def test_files_of_a_checkpoint_that_lead_nowhere_are_refused_in_a_line(
    checkpoint: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "damaged")
    adapters.resolve(str(folder))
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        adapters.resolve(str(folder / name if name.endswith(".gguf") else folder))
    assert "\n" not in str(refusal.value)


def test_a_study_nested_too_deeply_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(f"{STUDY}a = {DEEP}\n")
    with pytest.raises(UsageError, match=r"study\.toml"):
        read_study(str(tmp_path / "study.toml"))
