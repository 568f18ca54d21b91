"""The figures as a browser shows them: names of 25 configurations cover neither points nor one another."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import pandas as pd
import pytest

from passkwh.analysis.pareto import frontier
from passkwh.analysis.power import PowerPoint, PowerTimeline, Stage
from passkwh.reports.document.content import FigureBlock
from passkwh.reports.figures.plane import plane, staircase
from passkwh.reports.figures.power import power_over_time
from passkwh.reports.figures.render import Drawing, draw

from .conftest import synthetic

CORNERS = "found => found.map(e => (b => [b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))"


def thesis_plane(spread: bool) -> tuple[str, list[str]]:
    """The trade-off of the thesis's 25 configurations as SVG, and the names of those on the frontier.

    ``spread``: with energies in the same order, from 20 kWh on, at equal distances, and without intervals.
    """
    made, reach = list(synthetic.THESIS), 0.03
    if spread:
        reach = 0.0
        made.sort(key=lambda c: c.energy_kwh)
        made = [c._replace(energy_kwh=20.0 + place) for place, c in enumerate(made)]
    data = pd.DataFrame(
        {
            "configuration": [c.model if c.quant == "none" else f"{c.model} {c.quant}" for c in made],
            "energy": [c.energy_kwh for c in made],
            "energy_low": [(1 - reach) * c.energy_kwh for c in made],
            "energy_high": [(1 + reach) * c.energy_kwh for c in made],
            "accuracy": [c.pass_at_1 for c in made],
            "accuracy_low": [max(c.pass_at_1 - reach, 0.0) for c in made],
            "accuracy_high": [c.pass_at_1 + reach for c in made],
            "on": frontier([(c.energy_kwh, c.pass_at_1) for c in made], ["min", "max"]),
        }
    )
    block = FigureBlock(name="plane", title="Plane", caption="")
    drawing = plane(
        data, "accuracy", ("simulated energy, kWh", "pass@1"), alt.Color("configuration:N", legend=None), block
    )
    return draw(drawing).svg, [name.removeprefix("synthetic-") for name in data.loc[data["on"], "configuration"]]


@pytest.mark.parametrize("spread", [False, True])
def test_names_of_25_points_cover_nothing(browser: Any, spread: bool) -> None:
    """On a logarithmic axis, and on a linear one that is far from 0."""
    svg, best = thesis_plane(spread)
    page = browser.new_context(viewport={"width": 1000, "height": 700}).new_page()
    page.set_content(svg)
    names = page.locator(".mark-text.role-mark text")
    texts, boxes = names.all_text_contents(), names.evaluate_all(CORNERS)
    points = page.locator("[aria-roledescription=point], .mark-symbol.role-mark path").evaluate_all(CORNERS)
    assert len(points) == 25
    assert len(texts) >= 20
    assert {*best} <= {*texts}
    for i, box in enumerate(boxes):
        for other in [*boxes[:i], *points]:
            apart = box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
            assert apart, (texts[i], box, other)


def test_the_frontier_is_a_step_line() -> None:
    """What so much energy buys stays the same until the energy of the next point, and beyond the last."""
    assert staircase([(4.0, 0.5), (1.0, 0.1), (2.0, 0.3)], 9.0) == [
        (1.0, 0.1), (2.0, 0.1), (2.0, 0.3), (4.0, 0.3), (4.0, 0.5), (9.0, 0.5),
    ]  # fmt: skip
    assert staircase([], 9.0) == []


def idle_lines(idle_w: dict[str, float]) -> list[float]:
    """Where the dashed lines of a run at 100 W stand, in pixels from the panel's top."""
    timeline = PowerTimeline(
        points=tuple(PowerPoint(time_s=float(second), channel="gpu", power_w=100.0) for second in range(10)),
        stages=(Stage(kind="idle_before", start_s=0, end_s=2), Stage(kind="generate", start_s=2, end_s=9)),
        step_s=1.0,
    )
    drawing = power_over_time({"run": timeline}, "simulated", "A run", {"run": idle_w} if idle_w else {})
    assert isinstance(drawing, Drawing)
    dashed = re.findall(r"<line ([^>]*)stroke-dasharray=\"5,4\"", draw(drawing).svg)
    places = [re.search(r"translate\([\d.]+,([\d.]+)\)", line) for line in dashed]
    return [float(place.group(1)) for place in places if place]


def test_idle_power_is_a_dashed_line_at_its_height() -> None:
    """Figure 3.1 of the thesis has one, and net energy is net of it."""
    assert idle_lines({}) == []
    (at_0,), (at_25,), (at_50,) = (idle_lines({"gpu": watts}) for watts in (0.0, 25.0, 50.0))
    assert at_0 - at_50 == pytest.approx(2 * (at_0 - at_25))
    assert at_0 > at_25 > at_50 > 0
    assert idle_lines({"another channel": 50.0}) == []
