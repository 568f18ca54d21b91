"""The loss of LITE (GREEN-CODE, equation 1): a weighted mean of next-token losses at all exits, in chunks.

At nine exits the logits over a vocabulary of 50,000 take more memory than all the rest of a training step. Here one
chunk of one exit's logits stands at a time: its loss is worked out, its gradient with respect to the states taken at
once, and the logits are dropped. The decoder's own backward pass runs once, from the gradients collected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

LmHead = Callable[[torch.Tensor], torch.Tensor]
"""Raw states [n, d] -> logits [n, vocabulary]: final norm and LM head."""

CHUNK = 128
"""Tokens whose logits stand in memory together. With a vocabulary of 50,000 that is 25 MB in 32 bits: from 32 MB on the
allocator of most Linux machines gives memory back after each chunk, and getting it again takes a third of the time."""


def backward(
    states: Sequence[torch.Tensor],
    tokens: torch.Tensor,
    weights: Sequence[float],
    lm_head: LmHead,
    scale: float = 1.0,
    chunk: int = CHUNK,
) -> list[float]:
    """Add to every parameter's gradient that of ``scale`` times the weighted mean loss; gives the loss of each exit.

    Args:
        states: for each exit, raw states [batch, tokens, d] with their graph.
        tokens: token ids [batch, tokens]; the state at a position predicts the next one.
        weights: of the exits; divided by their sum.
        scale: for gradient accumulation.
    """
    targets = tokens[:, 1:].reshape(-1)
    total = sum(weights)
    flat = [state[:, :-1].reshape(-1, state.shape[-1]) for state in states]
    gradients, losses = [], []
    for state, weight in zip(flat, weights, strict=True):
        gradient = torch.empty_like(state)
        loss = torch.zeros((), dtype=torch.float64)
        for begin in range(0, len(targets), chunk):
            part = state[begin : begin + chunk].detach().requires_grad_()
            some = _loss(lm_head(part), targets[begin : begin + chunk]) / len(targets)
            (some * (weight / total * scale)).backward()  # type: ignore[no-untyped-call]
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


def _loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(wide, targets, reduction="sum")
