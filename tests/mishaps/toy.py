"""``bench`` with the toy engine and benchmark of ``examples/plugin``: the real program around a model of no weight."""

from __future__ import annotations

import sys
from pathlib import Path

import passkwh
from passkwh.cli.main import main

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "plugin" / "src"))

from passkwh_toy.benchmark import ToySums  # the path is set above
from passkwh_toy.engine import ENGINE

passkwh.register("engines", "toy", ENGINE)
passkwh.register("benchmarks", "toy-sums", ToySums)

if __name__ == "__main__":
    main()
