"""Small samples of tasks in the forms of published benchmarks, for tests and tries: see README.md beside them."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).parent
