"""The loss of LITE (GREEN-CODE, equation 1): a weighted mean of next-token losses at all exits, in chunks.

At nine exits the logits over a vocabulary of 50,000 take more memory than all the rest of a training step. Here one
chunk of one exit's logits stands at a time: its loss is worked out, its gradient with respect to the states taken at
once, and the logits are dropped. The decoder's own backward pass runs once, from the gradients collected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LmHead = Callable[[torch.Tensor], torch.Tensor]
"""Raw states [n, d] -> logits [n, vocabulary]: final norm and LM head."""

CHUNK = 128
"""Tokens whose logits stand in memory together. With a vocabulary of 50,000 that is 25 MB in 32 bits: from 32 MB on the
allocator of most Linux machines gives memory back after each chunk, and getting it again takes a third of the time."""


@dataclass(frozen=True)
class Held:
    """What holds the last layer to the model as it was: the divergence of its distribution from the original's."""

    weight: float
    """Beside the weighted mean loss, whose weights sum to 1."""
    states: torch.Tensor
    """The original's raw states after its last layer, [batch, tokens, d]."""
    lm_head: LmHead
    """The original's."""


def backward(
    states: Sequence[torch.Tensor],
    tokens: torch.Tensor,
    weights: Sequence[float],
    lm_head: LmHead,
    scale: float = 1.0,
    chunk: int = CHUNK,
    held: Held | None = None,
) -> list[float]:
    """Add to every parameter's gradient that of ``scale`` times the weighted mean loss; gives the loss of each exit.

    Args:
        states: for each exit, raw states [batch, tokens, d] with their graph.
        tokens: token ids [batch, tokens]; the state at a position predicts the next one.
        weights: of the exits; divided by their sum.
        scale: for gradient accumulation.
        held: adds a term that holds the last layer to the model as it was, where given.
    """
    targets = tokens[:, 1:].reshape(-1)
    total = sum(weights)
    flat = [state[:, :-1].reshape(-1, state.shape[-1]) for state in states]
    gradients, losses = [], []
    for state, weight in zip(flat, weights, strict=True):
        gradient = torch.empty_like(state)
        loss = torch.zeros((), dtype=torch.float64)
        original = held.states[:, :-1].reshape(-1, state.shape[-1]) if held and state is flat[-1] else None
        for begin in range(0, len(targets), chunk):
            part = state[begin : begin + chunk].detach().requires_grad_()
            logits = lm_head(part)
            some = _loss(logits, targets[begin : begin + chunk]) / len(targets)
            term = some * (weight / total)
            if original is not None and held is not None:
                with torch.no_grad():
                    wanted = held.lm_head(original[begin : begin + chunk])
                term = term + held.weight * _divergence(wanted, logits) / len(targets)
            (term * scale).backward()  # type: ignore[no-untyped-call]
            assert part.grad is not None
            gradient[begin : begin + chunk] = part.grad
            loss += some.detach().double().cpu()
        gradients.append(gradient)
        losses.append(float(loss))
    torch.autograd.backward(flat, gradients)
    return losses


def losses(states: Sequence[torch.Tensor], tokens: torch.Tensor, lm_head: LmHead, chunk: int = CHUNK) -> list[float]:
    """The mean next-token loss of each exit, without gradients; arguments as of ``backward``."""
    targets = tokens[:, 1:].reshape(-1)
    result = []
    with torch.no_grad():
        for state in states:
            parts = state[:, :-1].reshape(-1, state.shape[-1])
            sums = [
                float(_loss(lm_head(parts[begin : begin + chunk]), targets[begin : begin + chunk]))
                for begin in range(0, len(targets), chunk)
            ]
            result.append(sum(sums) / len(targets))
    return result


def _divergence(wanted: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Sum over tokens of the Kullback-Leibler divergence of the distribution of ``logits`` from the wanted one."""
    one, other = (
        torch.log_softmax(part if part.dtype == torch.float64 else part.float(), -1) for part in (logits, wanted)
    )
    return torch.nn.functional.kl_div(one, other, reduction="sum", log_target=True)


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(wide, targets, reduction="sum")
