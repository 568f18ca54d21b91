"""Is the difference real? `python examples/compare_configurations.py RUNS`."""

import sys

import passkwh

analysis = passkwh.load_runs(sys.argv[1]).analyse(resamples=2000)
for pair in analysis.pairs:
    print(f"{pair.a} against {pair.b}: energy p = {pair.energy_p_holm}, pass@1 p = {pair.passing_p_holm}")
for interval in analysis.intervals:
    print(interval.label, interval.measure, interval.estimate, interval.low, interval.high)
