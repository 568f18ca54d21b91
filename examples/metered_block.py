"""What a block of code draws: `python examples/metered_block.py [METER]`."""

import sys

import passkwh

with passkwh.measure(meter=sys.argv[1] if len(sys.argv) > 1 else "auto", idle_s=0.5) as m:
    sum(i * i for i in range(5_000_000))
print(f"{m.energy_j:.3f} J ± {m.se_j:.3f} ({m.provenance}) in {m.duration_s:.2f} s")
