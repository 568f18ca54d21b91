"""How long a large board takes to build and to use: `python perf/leaderboard.py`. Prints one JSON line last.

Packs are synthetic (and named so): every run is made whole, from trace to summary, since the checks know a copy of a
run by its windows and hold it. No run has batches of one sample: windows of those are alike in all synthetic runs.
Writing packs is not timed. Then

1. a build with nothing cached: every pack is checked, its trace integrated again, every configuration resampled
   10,000 times. A leaderboard does this once for each pack that comes in;
2. a build of the same packs with all of that looked up, as it is on every later day;
3. the first page in Chromium: bytes that it loads, and how long sorting and filtering all rows take, to the layout.

Memory is the sum of resident sets over all processes of the build (pages they share are counted in each).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from passkwh.reports.leaderboard.pack import SUFFIX, members_of, write_pack
from tests.leaderboard.synthetic import write_run

QUANTS = ("none", "gptq-int8", "gptq-int4", "awq")


def make_pack(root: Path, tasks: int, number: int) -> None:
    """The pack of one run with an accuracy, a power and lengths of its own."""
    name = f"made-{number:05d}"
    run = write_run(
        root / "runs" / name, model=f"synthetic/{name}-7B-instruct", tasks=tasks,
        batch_size=(2, 4, 8, 16)[number % 4], quant=QUANTS[number % 4], accuracy=0.1 + 0.04 * (number % 20),
        work_w=150.0 + 9 * (number % 20), seed=number,
    )  # fmt: skip
    write_pack(members_of(run), root / "packs" / f"{name}{SUFFIX}")
    shutil.rmtree(run)


def build(packs: Path, site: Path, cache: Path) -> dict[str, Any]:
    """One build in a process of its own: seconds, CPU seconds, and peak memory of all its processes."""
    command = [sys.executable, "-m", "passkwh.cli.main", "leaderboard", "build", packs, "--out", site, "--cache", cache]
    start = time.perf_counter()
    before = os.times()
    # Into a file: a build that says more than a pipe holds would wait for us, and we for its end.
    said_to = site.with_suffix(".json")
    with said_to.open("w") as file:
        process = subprocess.Popen([*map(str, command), "--json"], stdout=file)
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, sum(p.memory_info().rss for p in [watched, *watched.children(recursive=True)]))
        except psutil.Error:  # a process ended while it was being asked
            continue
        time.sleep(0.1)
    after = os.times()
    said = json.loads(said_to.read_text().splitlines()[-1])
    assert not said["refused"], said["refused"][:3]
    return {
        "s": round(time.perf_counter() - start, 1),
        "cpu_s": round(after.children_user + after.children_system - before.children_user - before.children_system, 1),
        "peak_gib": round(peak / 2**30, 2),
        "from_cache": said["from_cache"],
        "rows": said["rows"],
    }


CHANGES = {
    "sort": ["{sort: 'energy_kwh', down: false}", "{sort: 'pass_at_1', down: true}", "{sort: 'model', down: false}"],
    "filter": ["{q: 'made-000'}", "{q: ''}", "{facets: {quant: 'awq'}}", "{facets: {}}"],
}
"""Changes of the view; a wall-clock time covers the change and the layout after it, CPU time painting, too."""
REPEATS = 8


def first_view(site: Path) -> dict[str, float]:
    """Bytes of the first page with all it loads, and milliseconds of sorting and filtering."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1366, "height": 900})
        loaded: list[str] = []
        page.on("request", lambda request: loaded.append(request.url))
        start = time.perf_counter()
        page.goto(f"file://{site / 'index.html'}")
        opened = time.perf_counter() - start
        page.wait_for_timeout(500)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def cpu_s() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

        times: dict[str, list[float]] = {}
        for kind, changes in CHANGES.items():
            for change in changes * REPEATS:
                before = cpu_s()
                taken = page.evaluate(
                    f"() => {{ const start = performance.now(); passkwh.set({change}); document.body.offsetHeight; "
                    "return performance.now() - start; }"
                )
                times.setdefault(f"{kind}_ms", []).append(taken)
                times.setdefault(f"{kind}_cpu_ms", []).append(1000 * (cpu_s() - before))
        chromium.close()
    files = [Path(url.removeprefix("file://")) for url in loaded]
    return {
        "first_view_mb": round(sum(file.stat().st_size for file in files) / 1e6, 3),
        "open_s": round(opened, 2),
        **{kind: round(statistics.median(values), 1) for kind, values in times.items()},
        **{f"{kind}_worst": round(max(values), 1) for kind, values in times.items()},
    }


def main() -> None:
    """Make packs, build twice, open the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1140)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="passkwh-perf-") as place:
        root = Path(place)
        (root / "packs").mkdir()
        # Spawned: a process that is forked beside the threads of the libraries imported here may wait for one forever.
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(partial(make_pack, root, asked.tasks), range(asked.configurations), chunksize=4))
        print(f"{asked.configurations} packs written", file=sys.stderr)
        first = build(root / "packs", root / "site", root / "cache")
        print(f"first build: {first}", file=sys.stderr)
        later = build(root / "packs", root / "site", root / "cache")
        print(f"later build: {later}", file=sys.stderr)
        size = sum(file.stat().st_size for file in (root / "site").rglob("*") if file.is_file())
        result = {
            "configurations": asked.configurations,
            "samples": asked.configurations * asked.tasks,
            "first_build": first,
            "later_build": later,
            "site_mb": round(size / 1e6, 1),
            **first_view(root / "site"),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
