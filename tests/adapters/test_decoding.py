"""Seeded sampling draws from the model's own distribution, cut to the nucleus."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from passkwh.adapters.engines.decoding import SeededSampling

CPU = torch.device("cpu")
SCORES = st.lists(st.floats(-20, 20, allow_nan=False), min_size=2, max_size=12)


def draw(scores: list[float], seeds: list[int], temperature: float = 1.0, top_p: float = 1.0) -> list[int]:
    """The token each seed draws from the same scores, at the first step."""
    sampling = SeededSampling(seeds, 1, temperature, top_p, CPU)
    chosen = sampling(torch.zeros(len(seeds), 1, dtype=torch.long), torch.tensor([scores] * len(seeds)))
    assert torch.isfinite(chosen).sum(dim=1).tolist() == [1] * len(seeds), "all tokens but one are ruled out"
    return [int(token) for token in chosen.argmax(dim=1)]


def nucleus(scores: list[float], temperature: float, top_p: float) -> set[int]:
    """The fewest most likely tokens that together reach ``top_p``, in plain Python."""
    probabilities = torch.softmax(torch.tensor(scores, dtype=torch.float64) / temperature, 0).tolist()
    kept: set[int] = set()
    mass = 0.0
    for token in sorted(range(len(scores)), key=lambda t: -probabilities[t]):
        kept.add(token)
        mass += probabilities[token]
        if mass >= top_p - 1e-9:
            break
    return kept


@given(SCORES, st.floats(0.2, 3), st.floats(0.05, 0.99), st.integers(0, 2**32 - 1))
def test_only_tokens_of_the_nucleus_are_drawn(scores: list[float], temperature: float, top_p: float, seed: int) -> None:
    scores = torch.tensor(scores).tolist()  # what float32 makes of them
    ties = {
        t for t, s in enumerate(scores) if any(abs(s - scores[u]) < 1e-4 for u in nucleus(scores, temperature, top_p))
    }
    assert draw(scores, [seed], temperature, top_p)[0] in ties


@given(SCORES, st.integers(0, 2**32 - 1))
def test_a_cold_temperature_is_greedy(scores: list[float], seed: int) -> None:
    top = max(torch.tensor(scores).tolist())
    assert torch.tensor(scores).tolist()[draw(scores, [seed], 1e-6)[0]] >= top - 1e-3


def test_frequencies_follow_softmax() -> None:
    scores = [2.0, 1.0, 0.0, -1.0, 1.0]
    for temperature, top_p in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.85)):
        rows = 20_000
        drawn = torch.bincount(torch.tensor(draw(scores, list(range(rows)), temperature, top_p)), minlength=5) / rows
        expected = torch.softmax(torch.tensor(scores) / temperature, 0)
        inside = nucleus(scores, temperature, top_p)
        expected = torch.tensor([p if t in inside else 0.0 for t, p in enumerate(expected.tolist())])
        expected /= expected.sum()
        # five standard errors of a frequency: wrong by chance in one of a million
        assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / rows).sqrt() + 1e-9).all()


def test_every_step_draws_anew() -> None:
    sampling = SeededSampling([3], 50, 1.0, 1.0, CPU)
    tokens = {int(sampling(torch.zeros(1, 1), torch.zeros(1, 1000)).argmax()) for _ in range(50)}
    assert len(tokens) > 30


def test_a_wide_nucleus_is_found_beyond_the_first_tokens_and_leaves_its_neighbour_alone() -> None:
    flat, steep = torch.linspace(0, 0.5, 3000).tolist(), torch.linspace(0, 60, 3000).tolist()
    sampling = SeededSampling([5, 6], 1, 1.0, 0.9, CPU)
    both = sampling(torch.zeros(2, 1), torch.tensor([flat, steep])).argmax(dim=1).tolist()
    assert both == [draw(flat, [5], top_p=0.9)[0], draw(steep, [6], top_p=0.9)[0]]
    drawn = set(draw(flat, list(range(400)), top_p=0.9))
    inside = nucleus(torch.tensor(flat).tolist(), 1.0, 0.9)
    assert len(inside) > 2500
    assert drawn <= inside
    assert min(drawn) < 1000, "the least likely third of the nucleus is drawn from, too"
