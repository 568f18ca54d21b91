"""Energy against accuracy as an SVG: `python examples/figure.py RUNS figure.svg`."""

import sys

import altair as alt

import passkwh

runs = passkwh.load_runs(sys.argv[1]).runs
points = alt.Chart(runs).mark_point(filled=True, size=90)
points.encode(x="gross_energy_j:Q", y="pass_at_1:Q", color="quant:N", shape="provenance:N").save(sys.argv[2])
