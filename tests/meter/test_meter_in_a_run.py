"""GPUs that fail in the middle of a real ``bench run``: the run goes on, and every figure says what it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from passkwh.harness.runs.folder import RunFolder

FAULTS = {
    1: ("all_error 15", "lost"),
    2: ("energy_error 4", "Permission"),
    3: ("energy_error 10", "Timeout"),
    4: ("base_mj {resets}000000", "reset"),
}
"""What happens to which GPU in mid-run, and what must be said of it."""
HIDDEN = 5
"""A GPU whose counter shows 0 from the start: its power is integrated instead."""
GPUS = "".join(f"{gpu} period_ms 20\n" for gpu in range(HIDDEN + 1)) + f"{HIDDEN} energy_error -1\n"


@pytest.mark.slow
def test_gpus_that_fail_during_a_run_are_missing_and_not_zero(
    tiny_llama: Path, nvml_folder: Path, tmp_path: Path
) -> None:
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
    for resets in range(1, 6):  # several: one may fall between two windows, where it is in nobody's way
        faults = "".join(f"{gpu} {fault.format(resets=resets)}\n" for gpu, (fault, _) in FAULTS.items())
        config.write_text(GPUS + faults)
        time.sleep(0.1)
    stdout, stderr = run.communicate(timeout=300)
    assert run.returncode == 0, stderr
    assert "Traceback" not in stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["complete"]
    assert summary["provenance"] == "estimated"

    (path,) = out.iterdir()
    samples = RunFolder.open(path).samples()
    assert len(samples) == 24
    reasons = dict.fromkeys(FAULTS, "")
    for sample in samples:
        for energies in (sample.generation_energy, sample.evaluation_energy):
            for gpu in (0, HIDDEN):
                sound = energies[name(gpu)].gross_j
                assert sound is not None
                assert sound > 0
            for gpu in FAULTS:
                failed = energies[name(gpu)]
                assert failed.gross_j is None or failed.gross_j > 0
                reasons[gpu] += str(failed.reason)
    for gpu, (_, reason) in FAULTS.items():
        assert reason in reasons[gpu], gpu
    # A counter that was set back counts on; from a device that does not answer nothing comes any more.
    last = max(samples, key=lambda sample: sample.order)
    assert [last.evaluation_energy[name(gpu)].gross_j is None for gpu in FAULTS] == [True, True, True, False]
    # The model is on the processor: no GPU holds a part of it, so that none of them counts and none is missed.
    channels = {channel.name: channel.counted for channel in RunFolder.open(path).manifest().meter.channels}
    assert [channels[name(gpu)] for gpu in range(HIDDEN + 1)] == [False] * (HIDDEN + 1)
    assert summary["gross_energy_j"] > 0


def name(gpu: int) -> str:
    return f"gpu:GPU-0000000{gpu}-fake"
