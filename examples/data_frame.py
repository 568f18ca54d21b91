"""Runs as data frames: `python examples/data_frame.py RUNS`."""

import sys

import passkwh

runs = passkwh.load_runs(sys.argv[1])
print(runs.runs[["quant", "repeat", "pass_at_1", "gross_energy_j", "joules_per_token", "provenance"]])
by_task = runs.samples.groupby("task_id")[["gross_j", "completion_tokens", "passed"]].mean()
print(by_task.sort_values("gross_j", ascending=False).head())
