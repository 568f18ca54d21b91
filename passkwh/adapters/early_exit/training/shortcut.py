"""Shortcut heads: the linear map from each exit's state to the final one, in closed form from one pass.

Yom Din et al. (2024), "Jump to conclusions", the paper's reference [37]. Nothing is trained by gradients: sums of
products of states are collected, and a ridge regression is solved for each exit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Candidates for the ridge, as a share of the mean variance of a state's features."""
HELD_OUT_EVERY = 10
"""Each tenth row of tokens chooses the ridge and is not fitted."""


class Moments:
    """Sums over weighted pairs (x, y) that a linear regression with intercept needs, in float64."""

    def __init__(self, width: int) -> None:
        self.weight = 0.0
        self.x = np.zeros(width)
        self.y = np.zeros(width)
        self.xx = np.zeros((width, width))
        self.xy = np.zeros((width, width))
        self.yy = 0.0

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Rows [n, d] of states at an exit and of the final states they belong to.

        A pair weighs 1 / mean square of its final state: the final norm takes that scale away before the LM head, and
        without it the few tokens with huge states (the first of a text above all) would be all that is fitted.
        """
        weights = 1.0 / np.maximum((y * y).mean(axis=1), 1e-12)
        weighted = x * weights[:, None]
        self.weight += float(weights.sum())
        self.x += weighted.sum(axis=0)
        self.y += (y * weights[:, None]).sum(axis=0)
        self.xx += weighted.T @ x
        self.xy += weighted.T @ y
        self.yy += float((weights * (y * y).sum(axis=1)).sum())

    def centred(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weighted covariances of x with itself and with y, [d, d] each."""
        xx = self.xx / self.weight - np.outer(self.x, self.x) / self.weight**2
        xy = self.xy / self.weight - np.outer(self.x, self.y) / self.weight**2
        return xx, xy

    def error(self, matrix: NDArray[np.float64], bias: NDArray[np.float64]) -> float:
        """Weighted mean of |W x + b - y|^2 / d, from the sums alone."""
        total = self.yy + self.weight * float(bias @ bias)
        total += float(np.einsum("ij,jk,ik->", matrix, self.xx, matrix))
        total += 2 * float(bias @ (matrix @ self.x)) - 2 * float(bias @ self.y)
        total -= 2 * float(np.einsum("ij,ji->", matrix, self.xy))
        return total / self.weight / len(bias)


@dataclass(frozen=True)
class Map:
    """One exit's map and how it was chosen."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    ridge: float
    covariance: NDArray[np.float64]
    """Of the states at the exit: says in which directions a smaller map may err."""

    def tensors(self, rank: int | None, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """As ``heads.Shortcut`` reads them; with a ``rank``, the low-rank form state + b a state + bias that differs
        least from the whole map on states like those seen.
        """
        if rank is None or rank >= len(self.bias):
            return {"weight": _tensor(self.weight, dtype), "bias": _tensor(self.bias, dtype)}
        root = np.linalg.cholesky(self.covariance)
        change = self.weight - np.eye(len(self.bias))
        left, sizes, right = np.linalg.svd(change @ root)
        b = left[:, :rank] * np.sqrt(sizes[:rank])
        a = np.sqrt(sizes[:rank])[:, None] * np.linalg.solve(root.T, right[:rank].T).T
        return {"a": _tensor(a, dtype), "b": _tensor(b, dtype), "bias": _tensor(self.bias, dtype)}


@dataclass
class Fit:
    """Collects states row by row, then solves."""

    exits: tuple[int, ...]
    width: int

    def __post_init__(self) -> None:
        self._fitted = {layer: Moments(self.width) for layer in self.exits[:-1]}
        self._held = {layer: Moments(self.width) for layer in self.exits[:-1]}
        self._rows = 0
        self.tokens = 0

    def add(self, states: list[NDArray[np.float64]]) -> None:
        """States of one row of tokens, [tokens, d], for each exit; the last are the final ones."""
        held = self._rows % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        for layer, state in zip(self.exits[:-1], states[:-1], strict=True):
            (self._held if held else self._fitted)[layer].add(state, states[-1])
        self._rows += 1
        self.tokens += len(states[-1])

    def solve(self) -> dict[int, Map]:
        """The map of each exit but the last; the ridge is that with the least error on the rows held out."""
        return {layer: _best(self._fitted[layer], self._held[layer]) for layer in self.exits[:-1]}


def _best(fitted: Moments, held: Moments) -> Map:
    xx, xy = fitted.centred()
    scale = float(np.trace(xx)) / len(xx)
    chooser = held if held.weight else fitted
    candidates = []
    for ridge in RIDGES:
        penalised = xx + ridge * scale * np.eye(len(xx))
        matrix = np.asarray(np.linalg.solve(penalised, xy).T, np.float64)
        bias = np.asarray((fitted.y - matrix @ fitted.x) / fitted.weight, np.float64)
        candidates.append((chooser.error(matrix, bias), Map(matrix, bias, ridge, penalised)))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _tensor(values: NDArray[np.float64], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)
