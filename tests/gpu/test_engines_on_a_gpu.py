"""On a real NVIDIA GPU: vLLM against transformers on one model, with a ladder of requests in flight.

    PASSKWH_GPU_MODEL=Qwen/Qwen2.5-Coder-7B-Instruct pytest -m gpu tests/gpu/test_engines_on_a_gpu.py -s

Needs a GPU with an energy counter, `bench setup vllm` (or PASSKWH_VLLM_PYTHON), and the model's weights in the hub's
cache. PASSKWH_GPU_SAMPLES (72) and PASSKWH_GPU_IN_FLIGHT (1,2,4,8,16,32) change what is run, PASSKWH_GPU_OUT keeps the
run folders for `bench report`. Prints a JSON line for each run. What comes before the first run is tested everywhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from passkwh.adapters.engines import vllm
from passkwh.harness.plan import plan
from passkwh.records import Spec

SHOWN = (
    "engine", "concurrency", "tokens_per_s", "joules_per_token", "steady_tokens_per_s", "steady_joules_per_token",
    "ttft_p50_s", "ttft_p99_s", "tpot_p50_s", "tpot_p99_s", "latency_p90_s", "energy_kwh", "pass_at_k", "provenance",
)  # fmt: skip


def ladder(model: str, most: list[int], samples: int, meter: str = "auto") -> list[Spec]:
    """transformers in batches and vLLM with requests in flight, of the same sizes, greedily on the same tasks."""
    common = Spec(
        model=model, benchmark_options={"subset": "sample"}, limit=min(samples, 36), samples=-(-samples // 36),
        max_new_tokens=256, meter=meter,
    )  # fmt: skip
    batches = [{"engine": "transformers", "batch_size": number} for number in most]
    in_flight = [{"engine": "vllm", "concurrency": number} for number in most]
    return [common.model_copy(update=one) for one in (*batches, *in_flight)]


def test_the_ladder_is_planned_without_a_problem_but_a_missing_vllm(tiny_llama: Path, tmp_path: Path) -> None:
    for spec in ladder(str(tiny_llama), [1, 8], 8, "estimate"):
        report = plan(spec, tmp_path).report
        problems = [problem.text for problem in report.problems]
        if spec.engine == "vllm" and vllm.ENGINE.missing():
            assert all("bench setup vllm" in text for text in problems)
            assert problems
        else:
            assert problems == []
        assert report.tasks == 8


@pytest.mark.gpu
def test_vllm_against_transformers_with_a_ladder_of_requests_in_flight(tmp_path: Path) -> None:
    import torch

    from passkwh.harness.runner import run

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if reason := vllm.ENGINE.missing():
        pytest.skip(reason)
    model = os.environ.get("PASSKWH_GPU_MODEL", "smollm2-135m-instruct")
    most = [int(number) for number in os.environ.get("PASSKWH_GPU_IN_FLIGHT", "1,2,4,8,16,32").split(",")]
    out = Path(os.environ.get("PASSKWH_GPU_OUT", tmp_path))
    summaries = []
    for spec in ladder(model, most, int(os.environ.get("PASSKWH_GPU_SAMPLES", "72"))):
        folder = run(plan(spec, out))
        summary = folder.summary()
        summaries.append(summary)
        print(json.dumps({"run": folder.path.name, **summary.model_dump(mode="json", include=set(SHOWN))}))
        assert summary.provenance == "measured"
        assert summary.generation_energy_j is not None
        joules = [one.generation_energy for one in folder.samples()]
        counted = [channel.name for channel in folder.manifest().meter.channels if channel.counted]
        added = sum(energies[name].gross_j or 0.0 for energies in joules for name in counted)
        assert added == pytest.approx(summary.generation_energy_j, rel=0.005)
    served = [s for s in summaries if s.engine == "vllm"]
    assert all(s.steady_joules_per_token is not None for s in served if s.concurrency > 1)
    # More requests in flight share the reading of the weights: a token costs less.
    assert (served[-1].joules_per_token or 0.0) < (served[0].joules_per_token or 0.0)
