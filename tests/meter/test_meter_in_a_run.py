"""A GPU that is lost in the middle of a real ``bench run``: the run goes on, and every figure says what it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passkwh.harness.store import RunFolder

GPUS = "0 period_ms 20\n1 period_ms 20\n"


@pytest.mark.slow
def test_a_gpu_lost_during_a_run_is_missing_and_not_zero(tiny_llama: Path, nvml_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "gpus.txt"
    config.write_text(GPUS)
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"LD_LIBRARY_PATH": str(nvml_folder), "FAKE_NVML": str(config)}
    out = tmp_path / "runs"
    arguments = [
        "run", "--model", str(tiny_llama), "--benchmark", "bigcodebench", "--subset", "sample", "--out", str(out),
        "--idle-s", "0.5", "--max-new-tokens", "40", "--batch-size", "2", "--limit", "24", "--meter", "auto", "--json",
    ]  # fmt: skip
    run = subprocess.Popen(
        [sys.executable, "-m", "passkwh.cli.main", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while run.poll() is None and not any(file.stat().st_size for file in out.glob("*/samples.jsonl")):
        time.sleep(0.01)
    config.write_text(GPUS + "1 all_error 15\n")
    stdout, stderr = run.communicate(timeout=300)
    assert run.returncode == 0, stderr
    assert "Traceback" not in stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["complete"]
    assert summary["provenance"] == "mixed"

    (path,) = out.iterdir()
    samples = RunFolder.open(path).samples()
    assert len(samples) == 24
    for sample in samples:
        for energies in (sample.generation_energy, sample.evaluation_energy):
            sound, lost = energies["gpu:GPU-00000000-fake"], energies["gpu:GPU-00000001-fake"]
            assert sound.gross_j is not None
            assert sound.gross_j > 0
            assert lost.gross_j is None or lost.gross_j > 0
            assert lost.gross_j is not None or "lost" in str(lost.reason)
    last = max(samples, key=lambda sample: sample.order)
    assert last.evaluation_energy["gpu:GPU-00000001-fake"].gross_j is None
    # A total that lacks a counted channel is missing, too, and says which and why.
    assert summary["gross_energy_j"] is None
    assert summary["pass_at_kwh"] is None
    assert any("lost" in warning for warning in summary["warnings"])
