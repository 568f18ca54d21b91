"""The bundles that come with the package fit their models and stay small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from passkwh.adapters import embedded, models
from passkwh.adapters.early_exit.bundle import CARD, HEADS, Bundle
from passkwh.adapters.early_exit.heads import read_shortcuts
from passkwh.adapters.early_exit.policy import ExitPolicy
from passkwh.adapters.early_exit.request import SHIPPED
from passkwh.errors import UsageError
from perf import exits_card

FOLDERS = sorted(file.parent for file in SHIPPED.glob(f"*/{CARD}"))


def test_there_is_one_for_the_embedded_model() -> None:
    assert "smollm2-135m-instruct" in [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_its_parts_fit_each_other(folder: Path) -> None:
    bundle = Bundle.read(folder)
    card = bundle.card
    assert card.base.model == folder.name
    assert folder.name in models.registry()
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 10_000_000
    maps, candidates = read_shortcuts(folder / HEADS, card.exits[:-1], card.base.hidden_size)
    assert set(maps) == set(card.exits[:-1])
    assert card.candidates == (0 if candidates is None else len(candidates))
    for name in bundle.agents():
        policy, meta = ExitPolicy.load(bundle.agent(name))
        made_for = (meta.model, meta.revision, meta.exits, meta.head, meta.weights_hash)
        assert made_for == (card.base.model, card.base.revision, card.exits, card.head, bundle.weights_hash())
        assert policy.mean.numel() == card.base.hidden_size
        assert name in card.notes["agents"]
    # Its page states what its card does, and whose texts it was fitted to.
    licences = json.loads((folder / "licences.json").read_text("utf-8"))
    assert all(licences.values())
    stated = json.loads((folder / CARD).read_text("utf-8"))
    assert (folder / "README.md").read_text("utf-8") == exits_card.readme(stated, licences, folder)


def test_it_was_made_for_the_embedded_file() -> None:
    try:
        revision = embedded.revision()
    except UsageError as error:
        pytest.skip(str(error))
    assert Bundle.read(SHIPPED / "smollm2-135m-instruct").card.base.revision == revision
