"""In which order the runs of a study are carried out: an experimental design, so that drift is not taken for an effect.

A machine warms up, other users come and go. Were one configuration always run first, that would be part of its energy.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from passkwh.harness.sweep.study import Study, StudySettings
from passkwh.records import Spec

T = TypeVar("T")


def ordered(study: Study) -> list[Spec]:
    """Every repeat of every configuration, in the order to run them; the same for the same file and seed."""
    settings = study.settings
    rows = arrange([configuration.spec for configuration in study.configurations], settings)
    return [spec.model_copy(update={"repeat": repeat}) for repeat, spec in rows]


def arrange(items: Sequence[T], settings: StudySettings) -> list[tuple[int, T]]:
    """(repeat, item) pairs in order: ``latin`` makes each repeat a row of a square, ``random`` shuffles all."""
    chance = random.Random(settings.seed)
    labels = list(items)
    chance.shuffle(labels)
    if settings.order == "latin":
        square = balanced_square(len(labels))
        return [(repeat, labels[i]) for repeat in range(settings.repeats) for i in square[repeat % len(square)]]
    pairs = [(repeat, item) for repeat in range(settings.repeats) for item in labels]
    chance.shuffle(pairs)
    return pairs


def balanced_square(n: int) -> list[list[int]]:
    """A Latin square of ``n`` treatments balanced for carry-over: each follows each other one equally often.

    Each treatment stands once in every row, and over the square equally often in every place. For odd ``n`` the square
    needs its mirror image too, so there are 2 n rows. (E. J. Williams, Aust. J. Sci. Res. A 2, 149, 1949.)
    """
    first = [0]
    for step in range(1, n):
        first.append((step + 1) // 2 if step % 2 else n - step // 2)
    rows = [[(value + shift) % n for value in first] for shift in range(n)]
    return rows + [row[::-1] for row in rows] if n % 2 and n > 1 else rows
