"""Drafts change what completions cost and never what they are: the tokens of ``generate``, whatever is drafted."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from passkwh.adapters.early_exit.decode import Ending
from passkwh.adapters.early_exit.drafts.base import Drafter, Frontier
from passkwh.adapters.early_exit.drafts.decode import DraftDecoder
from passkwh.adapters.early_exit.drafts.exit import ExitDrafter
from passkwh.adapters.early_exit.families import model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout
from passkwh.adapters.early_exit.request import parse
from passkwh.adapters.early_exit.rules.base import ModelContext
from passkwh.adapters.early_exit.rules.fixed import Fixed
from passkwh.adapters.engines.decoding import SeededSampling
from tests.early_exit.conftest import DEPTH, VOCABULARY, left_padded
from tests.early_exit.test_decode import ENDS, Sometimes, decoder, generate


@pytest.fixture(scope="module")
def exact(of_family: Any) -> Any:
    """In float64: the layers of these models amplify what rounding differs by between one token and several."""
    model = copy.deepcopy(of_family).double()
    model.set_experts_implementation("eager")  # the others have no kernels for float64
    return model


CONTEXT = ModelContext("tiny", None, 48, ExitLayout(DEPTH, (2, 3, 5, DEPTH)), None, "python")
DRAFTERS = ["lookup:5,match=1", "draft:3,k=3", "draft:sometimes", "draft:3,k=2,lookup=4"]


def drafting(model: Any, drafter: str | Drafter) -> DraftDecoder:
    parts = model_parts(model)
    if drafter == "draft:sometimes":  # tokens leave at different exits, and some not before the last
        drafter = ExitDrafter(Sometimes(0.0), 4, 0)
    made = parse(drafter).rule(CONTEXT) if isinstance(drafter, str) else drafter
    assert isinstance(made, Drafter)
    return DraftDecoder(parts, ExitHeads(parts), made)


class Prophet(Drafter):
    """Drafts what it is told each row is going to be, with every ``wrong``-th token replaced."""

    example = "prophet"

    def __init__(self, rows: Sequence[Sequence[int]], starts: Sequence[int], count: int, wrong: int) -> None:
        self._rows, self._starts, self._count, self._wrong = rows, starts, count, wrong

    @classmethod
    def make(cls, spec: Any, context: Any) -> Prophet:
        raise NotImplementedError

    def draft(self, frontier: Frontier) -> list[list[int]]:
        drafts = []
        for row, text, most in zip(frontier.rows, frontier.texts, frontier.most, strict=True):
            at = len(text) - self._starts[row]
            count = min(self._count + row, most)  # rows draft differently many
            future = self._rows[row][at : at + count]
            drafts.append([(t + 1) % VOCABULARY if (at + n) % self._wrong == 0 else t for n, t in enumerate(future)])
        return drafts


@pytest.mark.parametrize("drafter", DRAFTERS)
def test_greedy_tokens_are_those_of_generate(exact: Any, drafter: str) -> None:
    drafted = 0
    for seed, rows in ((0, 5), (1, 1)):
        ids, mask = left_padded(rows, 20, seed)
        tokens, counts = drafting(exact, drafter).draw(ids, mask, Ending(32, ENDS, 0))
        assert torch.equal(tokens, generate(exact, ids, mask, 32))
        assert all(taken <= made for row in counts for taken, made in zip(row.accepted, row.drafted, strict=True))
        drafted += sum(sum(row.drafted) for row in counts)
    assert drafted, "nothing was drafted, so nothing was checked"


@pytest.mark.parametrize("wrong", [1, 3, 1000])
def test_rows_run_ahead_as_far_as_their_drafts_are_right(tiny: Any, wrong: int) -> None:
    ids, mask = left_padded(4, 16, 3)
    expected = generate(tiny, ids, mask, 24, ends=None)
    prophet = Prophet(expected.tolist(), mask.sum(dim=1).tolist(), 3, wrong)
    tokens, counts = drafting(tiny, prophet).draw(ids, mask, Ending(24, (), 0))
    assert torch.equal(tokens, expected)
    for number, row in enumerate(counts):
        assert len(row.drafted) + sum(row.accepted) == 23  # each pass gives a token of its own, and those it accepts
        if wrong == 1:
            assert sum(row.accepted) == 0
        if wrong == 1000:
            assert row.accepted == row.drafted
            assert len(row.drafted) == -(-23 // (4 + number))


@pytest.mark.parametrize("prophet", [True, False])
def test_sampled_tokens_are_those_of_the_seed_without_drafts(exact: Any, prophet: bool) -> None:
    ids, mask = left_padded(4, 12, 11)
    ending = Ending(24, ENDS, 0)

    def sampling() -> list[Any]:
        return [SeededSampling([7, 8, 9, 10], ending.steps, 0.6, 0.9, ids.device)]

    plain, _ = decoder(exact, Fixed(DEPTH, DEPTH)).draw(ids, mask, ending, sampling())
    drafter = Prophet(plain.tolist(), mask.sum(dim=1).tolist(), 3, 4) if prophet else "draft:sometimes"
    tokens, counts = drafting(exact, drafter).draw(ids, mask, ending, sampling())
    assert torch.equal(tokens, plain)
    assert sum(sum(row.accepted if prophet else row.drafted) for row in counts)


def test_sampled_tokens_are_distributed_as_the_model_says() -> None:
    """Chi-square over the second and third token of 4,000 completions of one prompt, drafts and all."""
    from scipy import stats
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    size, count, steps = 6, 4000, 4
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.6,
        )
    ).eval()  # fmt: skip
    parts = model_parts(model)
    context = ModelContext("tiny", None, 16, ExitLayout(3, (1, 3)), None, "python")
    made = parse("draft:1,k=2,lookup=3").rule(context)
    assert isinstance(made, Drafter)
    ids = torch.tensor([[1, 2, 3, 1, 2]]).repeat(count, 1)
    sampling = SeededSampling(range(count), steps, 0.8, 1.0, ids.device)
    tokens, counts = DraftDecoder(parts, ExitHeads(parts), made).draw(
        ids, torch.ones_like(ids), Ending(steps, (), 0), [sampling]
    )
    assert sum(sum(row.accepted) for row in counts) > count / 10
    assert any(taken < made for row in counts for taken, made in zip(row.accepted, row.drafted, strict=True))
    with torch.inference_mode():
        for place in (1, 2):
            # Expected: over all beginnings of the completion, by their probabilities under the model alone.
            beginnings = torch.cartesian_prod(*[torch.arange(size)] * place).reshape(-1, place)
            text = torch.cat((ids[: len(beginnings)], beginnings), dim=1)
            probabilities = torch.softmax(model(text).logits.double() / 0.8, dim=-1)
            own = torch.ones(len(text), dtype=torch.float64)
            for at in range(place):
                own *= probabilities[:, ids.shape[1] - 1 + at].gather(1, beginnings[:, at, None])[:, 0]
            expected = (own[:, None] * probabilities[:, -1]).sum(dim=0)
            seen = torch.bincount(tokens[:, place], minlength=size)
            assert stats.chisquare(seen.numpy(), (expected * count).numpy()).pvalue > 1e-3


def test_criteria_see_every_column_once_and_end_rows_that_ran_ahead(tiny: Any) -> None:
    ids, mask = left_padded(3, 12, 4)
    expected = generate(tiny, ids, mask, 20, ends=None)
    seen: list[torch.Tensor] = []

    def stops(so_far: torch.Tensor, _: Any) -> torch.Tensor:
        seen.append(so_far[:, ids.shape[1] :].clone())
        return torch.tensor([so_far.shape[1] - ids.shape[1] == 4 + 3 * row for row in range(3)])

    prophet = Prophet(expected.tolist(), mask.sum(dim=1).tolist(), 6, 1000)
    tokens, _ = drafting(tiny, prophet).draw(ids, mask, Ending(20, (), 0, [stops]))
    assert [part.shape[1] for part in seen] == list(range(1, 11))
    for row in range(3):
        length = 4 + 3 * row
        assert tokens[row].tolist() == expected[row, :length].tolist() + [0] * (10 - length)
        assert all(part[row].tolist() == tokens[row, : part.shape[1]].tolist() for part in seen)
