"""Texts to quantize on: Python code that every machine has, the standard library's own source."""

from __future__ import annotations

import hashlib
import random
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = {"gptq": 12, "awq": 24}
"""Calibration texts, by method. SmolLM2-135M in gptq-int4 has a perplexity of 11.0 with 12 of them and 11.1 with 24, on
11,521 tokens of other Python files."""
TOKENS = 512
"""Tokens of each text."""


@dataclass(frozen=True)
class Calibration:
    """Tokenized texts and what they are."""

    rows: list[list[int]]
    description: str
    sha256: str


def standard_library(tokenizer: Any, texts: int, tokens: int = TOKENS) -> Calibration:
    """The first ``tokens`` tokens of ``texts`` modules of the standard library that have as many.

    The modules are the library's own top-level ones in an order shuffled with a fixed seed, so that the same Python
    gives the same texts; the hash, over names and tokens, tells whether two machines had the same.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(folder.glob("*.py"))
    random.Random(0).shuffle(files)
    rows: list[list[int]] = []
    digest = hashlib.sha256()
    for file in files:
        if len(rows) == texts:
            break
        text = file.read_text("utf-8", errors="replace")[: tokens * 12]  # code is about 3 characters a token
        row = tokenizer(text, truncation=True, max_length=tokens)["input_ids"]
        if len(row) == tokens:
            rows.append(row)
            digest.update(f"{file.name} {row}\n".encode())
    version = ".".join(str(part) for part in sys.version_info[:3])
    described = f"{len(rows)} modules of Python {version}'s standard library, their first {tokens} tokens"
    return Calibration(rows, described, digest.hexdigest())
