"""Comparing configurations in the browser: where it has a statistic, it is that of the analysis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from passkwh.analysis.frames import load
from passkwh.analysis.pairs import compare_pairs
from passkwh.analysis.pooling import compare
from passkwh.analysis.task_table import task_table
from passkwh.reports.leaderboard.build import Site
from tests.leaderboard.reader import THESIS, Reader, alphas, thesis


def test_compared_by_the_tests_of_analysis(reader: Reader, site: Site, packs: list[Path]) -> None:
    page = reader.open()
    mine = alphas(site)
    wanted = [mine["none"], mine["gptq-int4"], mine["gptq-int8"]]
    for row in wanted:
        page.check(f"tr[data-id='{row.id}'] input")
    page.wait_for_selector("[data-pair]")
    found = {
        tuple(line.get_attribute("data-pair").split(",")): json.loads(line.get_attribute("data-result"))
        for line in page.locator("[data-pair]").all()
    }
    folder = packs[0].parents[1] / "runs"
    table = task_table(compare(load([folder / name for name in ("plain-r0", "plain-r1", "int4", "int8")])))
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert len(found) == 3
    for (i, j), expected in zip(pairs, compare_pairs(table, pairs, 0.05), strict=True):
        ours = found[wanted[i].id, wanted[j].id]
        assert ours["tasks"] == 60
        assert ours["passing_p"] == pytest.approx(expected.passing.p_value, rel=1e-6)
        assert ours["passing_p_holm"] == pytest.approx(expected.passing_p_holm, rel=1e-6)
        ratio = expected.energy_ratio
        assert ours["ratio"]["value"] == pytest.approx(ratio.estimate, rel=1e-9)
        # Batches of ten were measured, and the page has only tasks: it says nothing of chance.
        assert (ours["energy_p"], ours["energy_p_holm"]) == (None, None)
        assert (ours["ratio"]["low"], ours["ratio"]["high"]) == (None, None)
        assert ours["difference"]["value"] == pytest.approx(expected.accuracy.difference)
    text = page.locator("#compare .tests").text_content()
    assert "not tested here (batches of 10, 2 runs)" in text, "why, of the configuration that has repeats"
    assert "not tested here (batches of 10)" in text
    assert "bench compare A B" in text, "and what does"


STATISTICS = "([name, a, b, level]) => passkwh.stats[name](a, b, level)"


@pytest.mark.parametrize("seed", range(6))
def test_the_browsers_statistics_are_those_of_analysis(reader: Reader, seed: int) -> None:
    import numpy as np

    from passkwh.analysis.effects import geometric_mean_ratio
    from passkwh.analysis.equivalence import tango
    from passkwh.analysis.paired_tests import mcnemar, wilcoxon

    rng = np.random.default_rng(seed)
    n = (7, 12, 30, 51, 400, 1140)[seed]
    a, b = rng.lognormal(3, 0.4, n), rng.lognormal(3.1, 0.4, n)
    if seed in (1, 3):
        a, b = np.round(a / 8), np.round(b / 8) + 1e-9 * 0  # ties and zeros
    first, second = rng.random(n) < 0.6, rng.random(n) < 0.5
    page = reader.open()
    call = lambda *arguments: page.evaluate(STATISTICS, list(arguments))  # noqa: E731
    assert call("wilcoxon", a.tolist(), b.tolist())["p"] == pytest.approx(wilcoxon(a, b).p_value, rel=1e-9)
    assert call("mcnemar", first.tolist(), second.tolist())["p"] == pytest.approx(
        mcnemar(first, second).p_value, rel=1e-9
    )
    ratio = geometric_mean_ratio(a + 1, b + 1, "x", 0.95)
    found = call("energyRatio", (a + 1).tolist(), (b + 1).tolist(), 0.95)
    assert [found["low"], found["high"]] == pytest.approx([ratio.low, ratio.high], rel=1e-9)
    expected = tango(first, second, 0.05, alpha=0.025)
    found = call("passDifference", first.tolist(), second.tolist(), 0.95)
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high], abs=1e-9)


def test_published_rows_cannot_be_tested_and_say_so(reader: Reader, site: Site) -> None:
    rows = thesis(site)
    page = reader.open(f"index.html#group={THESIS}&with={rows[0].id},{rows[3].id}")
    assert "published rows come without their tasks" in page.locator("#compare .tests").text_content()
    assert page.locator("#compare table").count() == 1
