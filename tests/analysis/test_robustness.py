"""Whatever complete runs there are, an analysis ends with numbers or reasons, never with an exception."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from conftest import write_run  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st

from passkwh.analysis.frames import load
from passkwh.analysis.overview import AnalysisSettings, analyse
from passkwh.analysis.pooling import compare
from passkwh.analysis.result_tables import analysis_tables
from passkwh.analysis.tables import to_csv, to_latex
from passkwh.errors import UsageError


@given(
    st.integers(1, 14),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from(["varied", "ties", "constant", "missing"]),
    st.sampled_from(["varied", "constant"]),
    st.sampled_from(["some", "none", "all", "unjudged"]),
    st.integers(0, 99),
)
@settings(max_examples=25)
def test_any_runs_can_be_analysed(
    tasks: int, configurations: int, repeats: int, samples: int, joules: str, lengths: str, passes: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    count = tasks * samples
    with tempfile.TemporaryDirectory() as place:
        runs = []
        for c in range(configurations):
            for r in range(repeats):
                energy: list[float | None] = rng.lognormal(2, 1, count).tolist()
                if joules == "ties":
                    energy = [float(round(e or 0)) for e in energy]
                elif joules == "constant":
                    energy = [3.0] * count
                elif joules == "missing":
                    energy = [None if rng.random() < 0.3 else e for e in energy]
                verdicts: dict[str, list[bool | None]] = {
                    "some": (rng.random(count) < 0.5).tolist(), "none": [False] * count, "all": [True] * count,
                    "unjudged": [None] * count,
                }  # fmt: skip
                runs.append(
                    write_run(
                        Path(place) / f"c{c}r{r}", model=f"family/c{c}-1B", repeat=r, samples=samples,
                        tasks=[f"BigCodeBench/{i}" for i in range(tasks)], energy_j=energy, passed=verdicts[passes],
                        tokens=rng.integers(1, 500, count).tolist() if lengths == "varied" else [64] * count,
                    )
                )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                result, refusal = analyse(compare(load(runs)), AnalysisSettings(resamples=100)), None
            except UsageError as error:
                result, refusal = None, str(error)
    if result is None:
        assert joules == "missing"
        assert "no task has a verdict and an energy" in str(refusal)
        return
    json.loads(result.model_dump_json())
    for interval in result.intervals:
        assert interval.estimate is not None or interval.reason
        assert interval.low is not None or interval.reason
    for table in analysis_tables(result):
        assert to_csv(table)
        assert to_latex(table)
