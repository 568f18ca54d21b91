"""A driver whose truth is known: the fake libnvidia-ml.so.1, compiled once and loaded by processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

Scripted = Callable[..., Any]


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fake libraries of the driver, for LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler to build the fake driver with")
    folder = tmp_path_factory.mktemp("nvml")
    for library, source in (("libnvidia-ml.so.1", "fake_nvml.c"), ("libcuda.so.1", "fake_cuda.c")):
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(folder / library), str(HERE / source)]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def with_gpus(nvml_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Scripted:
    """``with_gpus(config, script, **environment)`` runs a script that sees the fake GPUs; its last line is JSON.

    ``config`` are lines "GPU KEY VALUE" (fake_nvml.c); the script finds the file's path in ``FAKE_NVML``.
    """

    def run(config: str, script: str, **environment: str) -> Any:
        file = tmp_path_factory.mktemp("gpus") / "gpus.txt"
        file.write_text(config + "\n", encoding="utf-8")
        # gptqmodel, once imported in this process, sets an order.
        asked = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
        kept = {name: value for name, value in os.environ.items() if name not in asked}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=kept
            | {"LD_LIBRARY_PATH": str(nvml_folder), "FAKE_NVML": str(file), "PYTHONPATH": str(ROOT)}
            | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "the meter must not be noisy"
        return json.loads(done.stdout.splitlines()[-1])

    return run
