"""The early-exit loop against transformers' cached ``generate``, paired: same model, same prompts, taken by turns.

    python perf/early_exit.py [--model M] [--quant none] [--rounds 9] [--new-tokens 48] [--prompt-tokens 160]
                              [--batch-sizes 1 8] [--bundle DIR] [--clock wall]

For every batch size, per decoded token (the prompt's pass is left out), as medians over rounds in random order, in
which full depth runs right before and after each of the others:
  full_ratio       our loop at full depth / generate; the aim is at most 0.95
  agent_share      what asking an agent at every exit adds to a token at full depth, isolated (its calls alone, timed
                   over the same states) and paired (in a run that never leaves and asks it for every second token:
                   those tokens against the ones right before and after); the aim is at most 0.02. Without a trained
                   agent in --bundle it is one of the paper's larger size (two layers of 64) with random weights
  fixed            per fixed exit: time against full depth, and the share of the ideal saving that it realises. Ideal:
                   the time of all layers, from the first one's start to the last one's end in a turn at full depth, in
                   proportion to the layers skipped; the aim is at least 0.95
  deferred, propagated   a rule that leaves at random, with both ways to make skipped keys and values
Prints a table and, last, one JSON line. Times are wall-clock. On a machine that is shared, --clock cpu with
OMP_NUM_THREADS=1 counts the process's CPU seconds instead, which other work slows but does not stop.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from passkwh import adapters
from passkwh.adapters.early_exit.bundle import Bundle
from passkwh.adapters.early_exit.decode import Ending, ExitDecoder
from passkwh.adapters.early_exit.families import ModelParts, model_parts
from passkwh.adapters.early_exit.heads import ExitHeads
from passkwh.adapters.early_exit.layout import ExitLayout, Skipped, default_layout
from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.rules.agent import Agent
from passkwh.adapters.early_exit.rules.base import Decision, Rule, before_last
from passkwh.adapters.early_exit.rules.fixed import Fixed
from passkwh.adapters.early_exit.rules.oracle import Oracle
from passkwh.adapters.engines.decoding import FirstToken, synchronize
from passkwh.adapters.quantization.calibration import standard_library

ASKED_TOKENS = 128
"""Of a turn in which the agent is asked about every second."""

CLOCKS: dict[str, Callable[[], int]] = {"wall": time.monotonic_ns, "cpu": time.process_time_ns}


class Random(Rule):
    """Leaves with a fixed probability at every exit: costs nothing to ask, and makes every kind of gap."""

    def __init__(self, layout: ExitLayout, share: float) -> None:
        self.exits = before_last(layout)
        self._share = share
        self._random = random.Random(0)

    @classmethod
    def make(cls, asked: Any, context: Any) -> Random:
        raise NotImplementedError

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        return Decision([self._random.random() < self._share for _ in range(len(states))])


class EverySecond(Rule):
    """Asks another rule for every second token, and notes when each token was there."""

    def __init__(self, rule: Rule, clock: Callable[[], int]) -> None:
        self._rule, self._clock = rule, clock
        self.exits: frozenset[int] = frozenset()
        self.there_ns: list[int] = []

    @classmethod
    def make(cls, asked: Any, context: Any) -> EverySecond:
        raise NotImplementedError

    def leave(self, layer: int, states: torch.Tensor, heads: ExitHeads) -> Decision:
        return self._rule.leave(layer, states, heads)

    def __call__(self, ids: torch.Tensor, scores: Any) -> torch.Tensor:
        synchronize(ids.device)
        self.there_ns.append(self._clock())
        self.exits = frozenset() if self.exits else self._rule.exits
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def ratios(self) -> list[float]:
        """Time of each token that was asked about over the mean of its neighbours', which were not."""
        took = [after - before for before, after in itertools.pairwise(self.there_ns)]
        return [2 * took[at] / (took[at - 1] + took[at + 1]) for at in range(2, len(took) - 1, 2)]


class First(FirstToken):
    """As ``FirstToken``, on any clock."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__()
        self._clock = clock

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        if self.ns is None:
            synchronize(input_ids.device)
            self.ns = self._clock()
        return super().__call__(input_ids, scores)


class Turns:
    """Decode time per token of variants, each beside that of full depth right before and right after it."""

    def __init__(self, full: Callable[[First], torch.Tensor], steps: int, clock: Callable[[], int]) -> None:
        self._full, self._steps, self._clock = full, steps, clock
        self.tokens: dict[str, torch.Tensor] = {}
        self.ms: dict[str, list[float]] = {"full": []}
        self.ratio: dict[str, list[float]] = {}
        """Of a variant's time to full depth's."""
        self._before_ms = self.time("full", full)

    def take(self, name: str, draw: Callable[[First], torch.Tensor], counted: bool) -> None:
        """Draw once with a variant."""
        own_ms, after_ms = self.time(name, draw), self.time("full", self._full)
        if counted:
            self.ms.setdefault(name, []).append(own_ms)
            self.ms["full"].append(after_ms)
            self.ratio.setdefault(name, []).append(2 * own_ms / (self._before_ms + after_ms))
        self._before_ms = after_ms

    def time(self, name: str, draw: Callable[[First], torch.Tensor]) -> float:
        """Milliseconds from the first token to the last over the tokens in between, of one draw."""
        first = First(self._clock)
        self.tokens[name] = tokens = draw(first)
        synchronize(tokens.device)
        assert first.ns is not None
        assert tokens.shape[1] == self._steps, f"{name} gave {tokens.shape[1]} tokens of {self._steps}"
        return (self._clock() - first.ns) / (self._steps - 1) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--quant", default="none")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--prompt-tokens", type=int, default=160)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    options = parser.parse_args()

    loaded: Any = adapters.load(adapters.prepare(adapters.resolve(options.model, options.quant)))
    model, tokenizer = loaded._model, loaded._tokenizer
    bundle = Bundle.read(options.bundle) if options.bundle else None
    parts = model_parts(model)
    heads = ExitHeads.load(parts, bundle)
    layout = bundle.card.layout if bundle else default_layout(parts.depth)
    agent, agent_name = agent_of(bundle, parts, layout)
    report: dict[str, Any] = {
        "model": options.model,
        "quant": options.quant,
        "dtype": str(parts.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "clock": options.clock,
        "rounds": options.rounds,
        "new_tokens": options.new_tokens,
        "exits": layout.exits,
        "agent": agent_name,
        "batches": {},
    }
    for size in options.batch_sizes:
        batch = prompts(tokenizer, size, options.prompt_tokens, parts.device)
        found = measure(
            model, parts, heads, layout, agent, batch, options.new_tokens, options.rounds, CLOCKS[options.clock]
        )
        report["batches"][size] = found
        show(size, found)
    print(json.dumps(report))


def prompts(tokenizer: Any, size: int, longest: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Beginnings of the standard library's modules, left-padded: the longest, and others down to half as long."""
    rows = standard_library(tokenizer, texts=size, tokens=longest).rows
    cut = [row[: longest - i * longest // (2 * size)] for i, row in enumerate(rows)]
    padded = tokenizer.pad({"input_ids": cut}, return_tensors="pt", padding_side="left")
    return {"input_ids": padded["input_ids"].to(device), "attention_mask": padded["attention_mask"].to(device)}


def agent_of(bundle: Bundle | None, parts: ModelParts, layout: ExitLayout) -> tuple[Agent, str]:
    """A trained agent where the bundle has one, made never to leave."""
    if bundle is not None and (names := bundle.agents()):
        policy, _ = ExitPolicy.load(bundle.agent(names[0]))
        return Agent(policy, 1.0, before_last(layout), str(parts.device)), names[0]
    torch.manual_seed(0)
    policy = ExitPolicy(parts.hidden_size, (64, 64))
    return Agent(policy, 1.0, before_last(layout), str(parts.device)), "random weights, two layers of 64"


def measure(
    model: Any,
    parts: ModelParts,
    heads: ExitHeads,
    layout: ExitLayout,
    agent: Agent,
    batch: dict[str, torch.Tensor],
    steps: int,
    rounds: int,
    clock: Callable[[], int],
) -> dict[str, Any]:
    model.generation_config.eos_token_id = None  # every row gets all its tokens, in both loops
    config = GenerationConfig(max_new_tokens=steps, do_sample=False, use_cache=True, pad_token_id=0)

    def generate(first: First) -> torch.Tensor:
        with torch.inference_mode():
            output: torch.Tensor = model.generate(
                **batch, generation_config=config, stopping_criteria=StoppingCriteriaList([first])
            )
        return output[:, batch["input_ids"].shape[1] :]

    def ours(rule: Rule, skipped: Skipped = "deferred") -> Callable[[First], torch.Tensor]:
        decoder = ExitDecoder(parts, heads, rule, skipped)

        def draw(first: First) -> torch.Tensor:
            tokens, _ = decoder.draw(batch["input_ids"], batch["attention_mask"], Ending(steps, (), 0, [first]))
            return tokens

        return draw

    chosen = sorted({layout.exits[0], layout.exits[len(layout.exits) // 2], layout.exits[-2]})
    full = ours(Fixed(parts.depth, parts.depth))
    variants: dict[str, Callable[[First], torch.Tensor]] = {
        "generate": generate,
        "oracle": ours(Oracle(layout)),
        "deferred": ours(Random(layout, 0.25), "deferred"),
        "propagated": ours(Random(layout, 0.25), "propagated"),
        **{f"fixed:{layer}": ours(Fixed(layer, parts.depth)) for layer in chosen},
    }
    turns = Turns(full, steps, clock)
    asking_ms: list[float] = []
    asking: list[float] = []
    shares: list[float] = []
    rows = len(batch["input_ids"])
    state = torch.randn(rows, parts.hidden_size, dtype=parts.dtype, device=parts.device)
    for turn in range(rounds + 1):  # the first warms up
        order = list(variants)
        random.Random(turn).shuffle(order)
        for name in order:
            turns.take(name, variants[name], counted=turn > 0)
        with layer_times(parts, clock) as spans:
            whole_ms = turns.time("full", full)
        second = EverySecond(agent, clock)
        ending = Ending(ASKED_TOKENS, (), 0, [second])
        ExitDecoder(parts, heads, second, "deferred").draw(batch["input_ids"], batch["attention_mask"], ending)
        if turn > 0:
            asking += second.ratios()
            shares.append(statistics.fmean(spans[1:]) / 1e6 / whole_ms)  # without the prompt's
            asking_ms.append(
                timed(lambda: [agent.leave(layer, state, heads) for layer in agent.exits], steps, parts.device, clock)
            )
    ms = {name: statistics.median(values) for name, values in turns.ms.items()}
    ratio = {name: statistics.median(values) for name, values in turns.ratio.items()}
    layers = statistics.median(shares)
    return {
        "ms_per_token": ms,
        "full_ratio": 1 / ratio["generate"],
        "layers_share": layers,
        "same_tokens": bool(torch.equal(turns.tokens["full"], turns.tokens["generate"])),
        "agent_share": {
            "isolated": statistics.median(asking_ms) / ms["full"],
            "paired": statistics.median(asking) - 1,
            "pairs": len(asking),
        },
        "fixed": {
            layer: {
                "time_ratio": ratio[f"fixed:{layer}"],
                "layers_skipped": 1 - layer / parts.depth,
                "realised": (1 - ratio[f"fixed:{layer}"]) / ((1 - layer / parts.depth) * layers),
            }
            for layer in chosen
        },
        "rounds": turns.ratio,
    }


@contextmanager
def layer_times(parts: ModelParts, clock: Callable[[], int]) -> Iterator[list[int]]:
    """Within the block: for every pass through the model, ns from the start of its first layer to the end of its last.

    Timed where they stand, with what the rest of a pass leaves in the caches: a loop without layers, or a head that is
    timed alone, finds the head's weights there and looks faster than it is.
    """
    spans: list[int] = []

    def start(*_: Any) -> None:
        synchronize(parts.device)
        spans.append(-clock())

    def end(*_: Any) -> None:
        synchronize(parts.device)
        spans[-1] += clock()

    hooks = parts.layers[0].register_forward_pre_hook(start), parts.layers[-1].register_forward_hook(end)
    try:
        yield spans
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def timed(call: Callable[[], Any], times: int, device: torch.device, clock: Callable[[], int]) -> float:
    """Milliseconds of one call, as the mean of so many."""
    call()
    synchronize(device)
    start_ns = clock()
    for _ in range(times):
        call()
    synchronize(device)
    return (clock() - start_ns) / times / 1e6


def show(size: int, found: dict[str, Any]) -> None:
    print(f"batch {size}: full depth takes {found['full_ratio']:.3f} of generate's time a token", end="")
    print(f"{' (same tokens)' if found['same_tokens'] else ' (other tokens: ties in 16 bits)'}")
    for name, ms in found["ms_per_token"].items():
        print(f"  {name:12s} {ms:8.2f} ms a token")
    share = found["agent_share"]
    print(f"  agent: {share['isolated']:.2%} of a token's time in isolation, {share['paired']:.2%} paired")
    for layer, fixed in found["fixed"].items():
        print(f"  fixed:{layer} realises {fixed['realised']:.1%} of the ideal saving")


if __name__ == "__main__":
    main()
