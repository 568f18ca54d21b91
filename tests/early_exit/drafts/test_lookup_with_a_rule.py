"""A rule with ``lookup``: what is looked up is checked by the whole model, every other token leaves by the rule."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from passkwh.adapters.early_exit.decode import Ending
from passkwh.adapters.early_exit.drafts.decode import DraftDecoder
from passkwh.adapters.early_exit.drafts.lookup import LookupDrafter
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.request import parse
from passkwh.adapters.early_exit.rules.base import Rule
from passkwh.adapters.engines.decoding import SeededSampling
from passkwh.errors import UsageError
from tests.early_exit.conftest import DEPTH, left_padded
from tests.early_exit.test_decode import ENDS, NEVER, Sometimes, decoder, generate

NOTHING = LookupDrafter(3, match=1000)
"""No text repeats so many tokens."""


@pytest.fixture(scope="module")
def exact(tiny: Any) -> Any:
    """In float64, in which one token and several in a pass choose the same."""
    return copy.deepcopy(tiny).double()


def looking_up(model: Any, rule: Rule, drafter: LookupDrafter) -> DraftDecoder:
    parts = model_parts(model)
    return DraftDecoder(parts, ExitHeads(parts), drafter, rule)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_where_nothing_is_looked_up_it_is_the_rule(exact: Any, rows: int, sampled: bool) -> None:
    ids, mask = left_padded(rows, 20, 2)
    ending = Ending(24, ENDS if rows > 1 else (), 0)

    def processors() -> list[Any]:
        return [SeededSampling(range(rows), ending.steps, 0.7, 0.9, ids.device)] if sampled else []

    tokens, exits = decoder(exact, Sometimes(0.0)).draw(ids, mask, ending, processors())
    own, counts = looking_up(exact, Sometimes(0.0), NOTHING).draw(ids, mask, ending, processors())
    assert torch.equal(own, tokens)
    assert [row.exits for row in counts] == exits
    assert len({layer for row in exits for layer in row}) > 1, "all tokens left at the same exit"
    assert not any(sum(row.drafted) for row in counts)


def test_under_a_rule_that_keeps_every_token_nothing_is_lost(exact: Any) -> None:
    ids, mask = left_padded(5, 20, 0)
    tokens, counts = looking_up(exact, Sometimes(NEVER), LookupDrafter(3, 1)).draw(ids, mask, Ending(32, ENDS, 0))
    assert torch.equal(tokens, generate(exact, ids, mask, 32))
    assert {layer for row in counts for layer in row.exits} == {DEPTH}
    assert sum(sum(row.accepted) for row in counts)


@pytest.mark.parametrize("sampled", [False, True])
def test_every_token_is_what_the_layer_it_left_after_says(exact: Any, sampled: bool) -> None:
    rows, steps, left, accepted = 4, 32, 0, 0
    for seed in range(3):
        ids, mask = left_padded(rows, 16, seed)
        sampling = [SeededSampling(range(rows), steps, 1e-6, 1.0, ids.device)] if sampled else []  # as cold as greedy
        tokens, counts = looking_up(exact, Sometimes(0.7), LookupDrafter(4, 1)).draw(
            ids, mask, Ending(steps, (), 0), sampling
        )
        for row in range(rows):
            prompt = ids[row][mask[row] == 1]
            expected = told_after(exact, prompt, tokens[row], counts[row].exits)
            assert torch.equal(tokens[row], expected)
            assert len(counts[row].drafted) + sum(counts[row].accepted) >= steps - 1
            left += sum(layer < DEPTH for layer in counts[row].exits)
            accepted += sum(counts[row].accepted)
    assert left
    assert accepted


@torch.inference_mode()
def told_after(model: Any, prompt: torch.Tensor, completion: torch.Tensor, exits: list[int]) -> torch.Tensor:
    """What each layer says in one pass over the text: keys and values are all the whole model's (``kv=deferred``)."""
    heads = ExitHeads(model_parts(model))
    output = model(torch.cat((prompt, completion))[None], output_hidden_states=True)
    places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
    logits = [
        output.logits[0, place] if layer == DEPTH else heads.logits(layer, output.hidden_states[layer][:, place])[0]
        for place, layer in zip(places, exits, strict=True)
    ]
    return torch.stack(logits).argmax(dim=-1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("confidence:0.9,lookup=0", r"confidence needs lookup=TOKENS, 1 or more, not '0': .* confidence:0.9,lookup=3"),
        ("fixed:6,lookup=3,kv=propagated", r"lookup=3 makes skipped keys and values by kv=deferred: leave kv out"),
        ("oracle,lookup=3", r"oracle has no option 'lookup': there are kv, exits, bundle"),
        ("lookup:3,lookup=3", r"lookup has no option 'lookup'"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(text)


def test_the_option_is_read_beside_the_rules_own() -> None:
    request = parse("confidence:0.9,candidates=64,lookup=3,exits=4+8+12")
    assert (request.lookup, request.exits, request.spec.options) == (3, (4, 8, 12), {"candidates": "64"})
    assert parse("draft:4,lookup=3").lookup is None  # there it is the drafter's own
