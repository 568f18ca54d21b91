"""The loop against transformers: same tokens at full depth, same states at exits, whatever tokens skipped before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from passkwh.adapters.early_exit.batch_positions import BatchPositions
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.families import ModelParts, model_parts
from passkwh.adapters.early_exit.families.rotary import RotaryFamily
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout, Skipped
from passkwh.adapters.early_exit.rules.base import Decision, Rule
from passkwh.adapters.early_exit.rules.fixed import Fixed
from passkwh.adapters.early_exit.rules.oracle import Oracle
from passkwh.adapters.engines.decoding import SeededSampling
from passkwh.errors import UsageError
from passkwh.registry import EXIT_FAMILIES
from tests.early_exit.conftest import DEPTH, MODELS, VOCABULARY, left_padded, with_layers_that_matter

EXITS = (2, 3, 5)
ENDS = tuple(range(1, VOCABULARY, 8))
MODES: list[Skipped] = ["propagated", "deferred"]


class Sometimes(Rule):
    """Leaves where a wave over one number of the state is above a bound, so that tokens differ; notes what it saw."""

    def __init__(self, bound: float, exits: tuple[int, ...] = EXITS) -> None:
        self.bound = bound
        self.exits = frozenset(exits)
        self.seen: list[tuple[int, torch.Tensor]] = []

    @classmethod
    def make(cls, asked: Any, context: Any) -> Sometimes:
        raise NotImplementedError

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        self.seen.append((layer, states.clone()))
        return Decision(((20 * states[:, layer]).sin() > self.bound).tolist())


NEVER = float("inf")


def decoder(model: Any, rule: Rule, skipped: Skipped = "deferred") -> ExitDecoder:
    parts = model_parts(model)
    return ExitDecoder(parts, ExitHeads(parts), rule, skipped)


def generate(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, steps: int, ends: tuple[int, ...] | None = ENDS
) -> torch.Tensor:
    from transformers import GenerationConfig

    config = GenerationConfig(
        max_new_tokens=steps, do_sample=False, use_cache=True, eos_token_id=ends and list(ends), pad_token_id=0
    )
    with torch.inference_mode():
        output: torch.Tensor = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    return output[:, ids.shape[1] :]


@torch.inference_mode()
def states_without_cache(
    parts: ModelParts, ids: torch.Tensor, depths: list[int], skipped: Skipped
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """One row, all positions at once: raw states after every layer, and the token that each position predicts.

    ``depths`` says after how many layers each position left. What later positions see of it in deeper layers is its
    state there (deferred) or the state it left with (propagated).
    """
    states = parts.embed(ids, torch.arange(ids.shape[1])[None])
    left = torch.tensor(depths)[None, :, None]
    given = BatchPositions(parts, torch.ones_like(ids), ids.shape[1]).given(0, ids.shape[1])
    each, final = [states], states
    for number, layer in enumerate(parts.layers, start=1):
        out = layer(states, **given[parts.kind_of[number - 1]])
        final = torch.where(left >= number, out, final)
        states = final if skipped == "propagated" else out
        each.append(states)
    return each, parts.head(parts.finish(final)).argmax(dim=-1)[0]


@pytest.mark.parametrize("skipped", MODES)
def test_full_depth_gives_the_tokens_of_generate_on_50_prompts(tiny: Any, skipped: Skipped) -> None:
    continues = decoder(tiny, Sometimes(NEVER), skipped)
    ended = 0
    for seed in range(10):
        ids, mask = left_padded(5, 20, seed)
        tokens, exits = continues.draw(ids, mask, Ending(24, ENDS, 0))
        assert torch.equal(tokens, generate(tiny, ids, mask, 24))
        for row, depths in zip(tokens.tolist(), exits, strict=True):
            length = next((place + 1 for place, token in enumerate(row) if token in ENDS), len(row))
            ended += length < len(row)
            assert depths == [DEPTH] * length
    assert ended, "no row ended before the others, so nothing was said about rows that do"


@pytest.mark.parametrize("skipped", MODES)
@pytest.mark.parametrize("bound", [-0.5, 0.0, 0.5])
def test_a_row_alone_sees_the_states_that_a_pass_without_cache_gives(tiny: Any, skipped: Skipped, bound: float) -> None:
    rule = Sometimes(bound)
    ids, mask = left_padded(1, 9, 5)
    sampling = SeededSampling([4], 40, 1.0, 1.0, ids.device)  # greedy decoding soon repeats itself
    likeliest: list[int] = []

    def noting(so_far: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        likeliest.append(int(scores.argmax()))
        return sampling(so_far, scores)

    tokens, (depths,) = decoder(tiny, rule, skipped).draw(ids, mask, Ending(40, (), 0), [noting])
    if bound == 0.0:
        assert len(set(depths[1:])) > 1, "all tokens left at one exit, so nothing ever caught up"
    text = torch.cat((ids, tokens), dim=1)
    ran = [DEPTH] * ids.shape[1] + depths[1:]
    each, predicted = states_without_cache(model_parts(tiny), text[:, :-1], ran, skipped)
    seen = iter(rule.seen)
    for position, depth in enumerate(ran[ids.shape[1] :], start=ids.shape[1]):
        for layer in [exit_ for exit_ in EXITS if exit_ <= depth]:
            asked_at, state = next(seen)
            assert asked_at == layer
            torch.testing.assert_close(state[0], each[layer][0, position], rtol=1e-4, atol=1e-4)
    assert predicted[ids.shape[1] - 1 :].tolist() == likeliest


def test_states_at_exits_are_the_hidden_states_of_transformers(tiny: Any) -> None:
    rule = Sometimes(0.0)
    ids, mask = left_padded(1, 9, 6)
    tokens, (depths,) = decoder(tiny, rule, "deferred").draw(ids, mask, Ending(30, (), 0))
    with torch.inference_mode():
        hidden = tiny(torch.cat((ids, tokens), dim=1)[:, :-1], output_hidden_states=True).hidden_states
    asked = [(place, layer) for place, depth in enumerate(depths[1:]) for layer in EXITS if layer <= depth]
    assert len(asked) == len(rule.seen)
    for (place, layer), (_, state) in zip(asked, rule.seen, strict=True):
        torch.testing.assert_close(state[0], hidden[layer][0, ids.shape[1] + place], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("skipped", MODES)
@pytest.mark.parametrize("bound", [-0.5, 0.5, 0.9])
def test_each_row_of_a_batch_leaves_as_it_would_alone(tiny: Any, skipped: Skipped, bound: float) -> None:
    ids, mask = left_padded(6, 16, 8)
    ending = Ending(20, ENDS, 0)
    tokens, exits = decoder(tiny, Sometimes(bound), skipped).draw(ids, mask, ending)
    for row in range(len(ids)):
        own = ids[row : row + 1, mask[row] == 1]
        alone, (depths,) = decoder(tiny, Sometimes(bound), skipped).draw(own, torch.ones_like(own), ending)
        assert tokens[row, : len(depths)].tolist() == alone[0].tolist()
        assert exits[row] == depths


def test_a_fixed_exit_speaks_with_that_layers_state(tiny: Any) -> None:
    ids, mask = left_padded(3, 12, 9)
    tokens, exits = decoder(tiny, Fixed(3, DEPTH)).draw(ids, mask, Ending(10, (), 0))
    assert exits == [[DEPTH] + [3] * 9] * 3
    row = 0  # the one without padding
    with torch.inference_mode():
        hidden = tiny(torch.cat((ids, tokens), dim=1)[row : row + 1, :-1], output_hidden_states=True).hidden_states
        parts = model_parts(tiny)
        said = parts.head(parts.finish(hidden[3][0, ids.shape[1] :])).argmax(dim=-1)
    assert said.tolist() == tokens[row, 1:].tolist()


def test_the_oracle_changes_no_token_and_names_the_first_exit_that_agrees(tiny: Any) -> None:
    ids, mask = left_padded(4, 12, 10)
    parts = model_parts(tiny)
    oracle = Oracle(ExitLayout(DEPTH, (*EXITS, DEPTH)))
    tokens, exits = decoder(tiny, oracle).draw(ids, mask, Ending(16, ENDS, 0))
    assert torch.equal(tokens, generate(tiny, ids, mask, 16))
    length = ids.shape[1]
    with torch.inference_mode():
        hidden = tiny(torch.cat((ids, tokens), dim=1)[:1], output_hidden_states=True).hidden_states
        for place, depth in enumerate(exits[0][1:], start=length):
            said = {layer: int(parts.head(parts.finish(hidden[layer][0, place])).argmax()) for layer in EXITS}
            wanted = int(tokens[0, place + 1 - length])
            assert depth == next((layer for layer in EXITS if said[layer] == wanted), DEPTH)


def test_sampling_draws_the_same_tokens_in_any_batch(tiny: Any) -> None:
    ids, mask = left_padded(4, 12, 11)
    ending = Ending(15, ENDS, 0)

    def sampling(seeds: list[int]) -> list[Any]:
        return [SeededSampling(seeds, ending.steps, 1.0, 0.9, ids.device)]

    tokens, exits = decoder(tiny, Sometimes(0.5)).draw(ids, mask, ending, sampling([7, 8, 9, 10]))
    greedy, _ = decoder(tiny, Sometimes(0.5)).draw(ids, mask, ending)
    assert not torch.equal(tokens[:, :5], greedy[:, :5])
    for row in range(4):
        own = ids[row : row + 1, mask[row] == 1]
        alone, (depths,) = decoder(tiny, Sometimes(0.5)).draw(own, torch.ones_like(own), ending, sampling([7 + row]))
        assert tokens[row, : len(depths)].tolist() == alone[0].tolist()
        assert exits[row] == depths


def test_a_family_that_is_not_supported_is_told_those_that_are() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2))
    with pytest.raises(
        UsageError,
        match=r"family 'gpt2': there are gemma3_text, .*entry point gpt2 in the group passkwh\.exit_families",
    ):
        model_parts(model)


def test_a_family_of_a_third_party_is_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another package would describe a family whose modules are named as Llama's."""
    monkeypatch.setattr(EXIT_FAMILIES, "_added", {"ours": RotaryFamily(siblings=())})
    model = with_layers_that_matter(MODELS["llama"])
    model.config.model_type = "ours"
    ids, mask = left_padded(2, 9, 1)
    tokens, _ = decoder(model, Fixed(DEPTH, DEPTH)).draw(ids, mask, Ending(6, (), 0))
    assert torch.equal(tokens, generate(model, ids, mask, 6, ends=None))


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_change_with_the_text_are_refused(kind: str) -> None:
    model = MODELS["llama"]()
    model.config.rope_parameters = {"rope_type": kind, "rope_theta": 1e4}
    with pytest.raises(UsageError, match=f"'{kind}' rotary ones change"):
        model_parts(model)


def test_every_family_has_the_tokens_of_generate_and_leaves_at_an_exit(of_family: Any) -> None:
    ids, mask = left_padded(4, 20, 2)
    tokens, exits = decoder(of_family, Sometimes(NEVER)).draw(ids, mask, Ending(24, ENDS, 0))
    assert torch.equal(tokens, generate(of_family, ids, mask, 24))
    tokens, exits = decoder(of_family, Fixed(3, DEPTH)).draw(ids[:1], mask[:1], Ending(12, (), 0))
    assert exits == [[DEPTH] + [3] * 11]
    parts = model_parts(of_family)
    _, predicted = states_without_cache(parts, torch.cat((ids[:1], tokens), dim=1)[:, :-1], [3] * 31, "deferred")
    assert predicted[ids.shape[1] :].tolist() == tokens[0, 1:].tolist()
