"""Fits of energy by size and accuracy, payback of making, and requirements along one axis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from passkwh.adapters import memory
from passkwh.analysis.estimate.architecture import find_architecture
from passkwh.analysis.estimate.cost import Workload
from passkwh.analysis.estimate.devices import find_device
from passkwh.analysis.estimate.scaling import VARIED, Varied, scale
from passkwh.analysis.frames import load
from passkwh.analysis.life_cycle import making as making_of
from passkwh.analysis.life_cycle import paybacks
from passkwh.analysis.scaling import interaction, size_exponent, tradeoff_shape
from passkwh.cli.main import _add_commands, app
from tests.analysis.conftest import MakeRun


def test_a_power_law_gives_its_exponent() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([0.5, 1.5, 3, 7, 14])
    fit = size_exponent(sizes.tolist(), (sizes**0.9 * np.exp(rng.normal(0, 0.01, 5))).tolist())
    assert fit is not None
    assert fit.low <= 0.9 <= fit.high
    assert not fit.low <= 1 <= fit.high


@pytest.mark.parametrize("exponential", [True, False])
def test_the_shape_of_a_tradeoff(exponential: bool) -> None:
    accuracy = np.linspace(0.05, 0.55, 12)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.02, 12))
    energy = (np.exp(5 * accuracy) if exponential else 1 + 8 * accuracy) * noise
    shape = tradeoff_shape(accuracy.tolist(), energy.tolist())
    assert shape is not None
    assert (shape.aic_difference > 2) == exponential


def test_interaction_is_the_common_slope_of_groups_with_levels_of_their_own() -> None:
    sizes, groups, ratios = [], [], []
    for name, level in (("awq", 0.5), ("int8", 0.8)):
        for size in (0.5, 1.5, 3.0, 7.0, 14.0):
            sizes.append(size)
            groups.append(name)
            ratios.append(level * size**-0.2)
    fit = interaction(sizes, groups, ratios)
    assert fit is not None
    assert fit.estimate == pytest.approx(-0.2)
    assert fit.high < 0
    assert interaction(sizes[:3], ["a", "b", "c"], ratios[:3]) is None


def making(folder: Path, joules: float) -> Path:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["model"]["quantization"] = {"making_j": joules, "making_provenance": "measured"}
    path.write_text(json.dumps(manifest))
    return folder


def with_solved(folder: Path, solved: float) -> Path:
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary |= {"solved": solved, "solved_per_kwh": solved / summary["energy_kwh"]}
    path.write_text(json.dumps(summary))
    return folder


def test_making_is_paid_back_by_what_a_solved_task_saves(make_run: MakeRun) -> None:
    plain = with_solved(make_run("plain", energy_j=[100.0] * 4), 2.0)  # 200 J a solved task
    packed = with_solved(making(make_run("packed", quant="gptq-int4", energy_j=[50.0] * 4), 3000.0), 2.0)  # 100 J
    dearer = with_solved(making(make_run("dearer", quant="awq", energy_j=[200.0] * 4), 3000.0), 2.0)
    unknown = with_solved(make_run("unknown", quant="gptq-int8", energy_j=[50.0] * 4), 2.0)
    runs = load([plain, packed, dearer, unknown]).runs
    rows = {row.label: row for row in paybacks(["plain", "packed", "dearer", "unknown"], runs)}
    assert set(rows) == {"packed", "dearer", "unknown"}
    assert rows["packed"].solved_to_pay_back == pytest.approx(3000 / (200 - 100))
    assert rows["packed"].reference == "plain"
    assert rows["dearer"].solved_to_pay_back is None
    assert "not paid back" in str(rows["dearer"].reason)
    assert rows["unknown"].making_j is None
    assert "not known" in str(rows["unknown"].reason)


def test_making_is_all_that_was_made_or_not_known(make_run: MakeRun) -> None:
    model = load([make_run("plain")]).runs[0].manifest.model
    packed = {"making_j": 3000.0, "making_provenance": "measured"}
    trained = {"making_j": 500.0, "making_provenance": "estimated"}

    def of(quantization: dict[str, object], early_exit: dict[str, object]) -> tuple[float, str] | None:
        made = making_of(model.model_copy(update={"quantization": quantization, "early_exit": early_exit}))
        return None if made is None else (made.energy_j, made.provenance)

    assert of(packed, trained) == (3500.0, "mixed")
    assert of(packed, {}) == (3000.0, "measured")
    assert of({"bits": 4}, trained) is None
    assert of({}, {}) is None


@pytest.mark.parametrize("varied", VARIED)
def test_requirements_along_an_axis_meet_the_models_own(varied: Varied) -> None:
    model = find_architecture("Qwen2.5-Coder-7B")[0]
    result = scale(model, find_device("L40S"), Workload(), varied)
    values = [p.value for p in result.points]
    assert len(values) == len(set(values)) > 2
    own = {"layers": 28, "hidden": 3584, "heads": 28, "batch": 1, "precision": 16}.get(varied)
    if own is not None:
        (point,) = [p for p in result.points if p.value == own]
        assert point.parameters == 7_615_616_512
    caches = [p.kv_cache_bytes for p in result.points]
    if varied in ("layers", "heads", "batch"):
        slopes = np.diff(caches) / np.diff(values)
        assert np.allclose(slopes, slopes[0]), "linear"
        assert caches[0] / values[0] == pytest.approx(slopes[0]), "from zero"


def test_vary_draws_a_figure_and_notes_the_printed_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _add_commands()
    figure = tmp_path / "batch.svg"
    common = ["estimate", "--model", "Qwen2.5-Coder-7B", "--gpu", "L40S", "--vary", "batch"]
    app([*common, "--out", str(figure), "--json"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert "1.879 GB" in err
    assert "0.671 GB" in err
    assert len(json.loads(out)["points"]) == 6
    assert figure.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("model", "quant", "published_gb"),
    [
        ("qwen2.5-14b-instruct", "gptq-int4", 9.99),
        ("qwen2.5-14b-instruct", "awq", 9.98),
        ("qwen2.5-14b-instruct", "gptq-int8", 16.3),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "none", 5.58),
        ("qwen2.5-14b", "none", 29.5),
        ("qwen2.5-72b-instruct", "none", 145.4),
    ],
)
def test_packed_checkpoints_that_are_not_here_are_reckoned_by_their_bits(
    model: str, quant: str, published_gb: float
) -> None:
    """Against the sizes of the published weight files."""
    got = memory.reckoned(model, quant)
    assert got is not None
    assert (got - 600 * 2**20) / 1.1 == pytest.approx(published_gb * 1e9, rel=0.03)


def test_nothing_is_reckoned_of_an_unknown_model() -> None:
    assert memory.reckoned("someone/else", "awq") is None
