"""Both maps of table 5.1: the benchmark's own, and the search for names in text that gives the printed shares."""

from __future__ import annotations

import pytest

from passkwh.analysis.domains import task_domains
from passkwh.analysis.replications.printed import table

TASKS = [f"BigCodeBench/{number}" for number in range(1140)]


def test_the_text_map_gives_the_printed_shares_and_the_libraries_do_not() -> None:
    printed = {row["domain"]: float(row["usage"]) for row in table("thesis", "5.1").records()}
    by_text, by_library = (100 * task_domains(TASKS, by).mean() for by in ("text", "libraries"))
    for domain, usage in printed.items():
        assert by_text[domain] == pytest.approx(usage, abs=2.5), domain
    assert by_text["General"] == 100
    assert by_library["General"] == pytest.approx(44.2, abs=0.05)
    assert by_library["System"] == pytest.approx(29.6, abs=0.05)


def test_a_task_that_uses_a_library_has_its_name_in_its_text() -> None:
    by_text, by_library = task_domains(TASKS, "text"), task_domains(TASKS)
    for domain in ("Visualization", "Time", "Cryptography"):
        assert by_text[domain].mask(by_library[domain] == 0).dropna().mean() > 0.99, domain


def test_other_benchmarks_have_no_domains() -> None:
    assert task_domains(["HumanEval/0"], "text").empty
