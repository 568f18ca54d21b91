"""Time: Durbin-Watson with an intercept and a p-value, regressions clustered by task, the nested mixed model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.stattools import durbin_watson

from passkwh.analysis.mixed import mixed_model, random_intercept
from passkwh.analysis.regression import fit_regression
from passkwh.analysis.time_order import time_order


def samples(n: int = 300, runs: int = 1, r: float = 0.0, drift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Energies that depend on tokens, follow themselves and drift; every run has the same tasks."""
    rng = np.random.default_rng(seed)
    tokens, task = rng.integers(50, 600, n), rng.normal(0, 0.3, n)
    frames = []
    for run in range(runs):
        noise = np.zeros(n)
        for i in range(1, n):
            noise[i] = r * noise[i - 1] + rng.normal(0, 0.1)
        logs = 3 + 0.002 * tokens + task + noise + drift * np.arange(n) / n
        frames.append(pd.DataFrame({
            "run": run, "order": np.arange(n), "batch_id": np.arange(n), "task_id": [f"t{i}" for i in range(n)],
            "completion_tokens": tokens, "generation_gross_j": np.exp(logs), "System": rng.integers(0, 2, n),
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_durbin_watson_is_of_the_fit_with_an_intercept_and_its_p_value_the_permutations() -> None:
    data = samples(60)
    x = np.column_stack([np.ones(60), data["completion_tokens"], data["System"]])
    fitted = OLS(np.log(data["generation_gross_j"].to_numpy()), x).fit()
    found = time_order(data).durbin_watson
    assert found.statistic == pytest.approx(durbin_watson(fitted.resid), rel=1e-9)
    rng = np.random.default_rng(0)  # errors that follow nothing, through the same design
    hat = x @ np.linalg.pinv(x)
    drawn = rng.normal(0, 1, (60, 20000))
    values = durbin_watson(drawn - hat @ drawn)
    assert found.statistic is not None
    away = abs(found.statistic - values.mean())
    assert found.p_value == pytest.approx(float((np.abs(values - values.mean()) >= away).mean()), abs=0.02)


def test_independent_energies_follow_nothing_and_others_do() -> None:
    alone = time_order(samples(400))
    assert alone.durbin_watson.p_value is not None
    assert alone.durbin_watson.p_value > 0.05
    assert alone.autocorrelation.low is not None
    assert alone.autocorrelation.high is not None
    assert alone.autocorrelation.low < 0 < alone.autocorrelation.high
    follows = time_order(samples(400, r=0.95))
    assert follows.durbin_watson.p_value is not None
    assert follows.durbin_watson.p_value < 0.01


def test_samples_of_a_task_are_one_observation_of_time() -> None:
    """Five samples of each task one after another are alike because of the task; in time nothing follows anything."""
    rng = np.random.default_rng(4)
    of_task = samples(120, seed=3)
    five = of_task.loc[of_task.index.repeat(5)].reset_index(drop=True)
    five["order"] = five["batch_id"] = np.arange(600)
    five["sample_index"] = np.tile(np.arange(5), 120)
    five["generation_gross_j"] *= np.exp(rng.normal(0, 0.02, 600))
    found = time_order(five)
    assert (found.durbin_watson.n, found.levene.n) == (120, 120)
    assert (found.durbin_watson.p_value or 0.0) > 0.05
    low, high = found.autocorrelation.low, found.autocorrelation.high
    assert low is not None
    assert high is not None
    assert low < 0 < high


def test_drift_over_a_run_is_estimated() -> None:
    found = time_order(samples(800, drift=0.5)).drift
    assert found.low is not None
    assert found.high is not None
    assert found.low < np.expm1(0.5) < found.high
    assert found.low > 0.2


def test_runs_are_looked_at_one_by_one() -> None:
    """The second run twice as dear: nothing within the runs, and nothing is found."""
    data = samples(200, runs=2)
    data.loc[data["run"] == 1, "generation_gross_j"] *= 2
    found = time_order(data)
    assert found.levene.n == 200
    assert found.durbin_watson.n == 200
    assert "adjusted" in str(found.levene.reason)
    single = time_order(data[data["run"] == 0])
    assert single.levene.reason is None


def test_repeats_are_clustered_by_task_as_statsmodels_does() -> None:
    data = samples(80, runs=3)
    found = fit_regression(data, "with intercept")
    ordered = data.sort_values(["run", "order"])
    logs = np.log(ordered["generation_gross_j"].to_numpy()).reshape(3, 80)
    y, lag = logs[:, 1:].ravel(), logs[:, :-1].ravel()
    rest = ordered[ordered["order"] > 0]
    x = np.column_stack([np.ones(len(y)), rest["completion_tokens"], lag, rest["System"]])
    groups = pd.factorize(rest["task_id"])[0]
    expected = OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}, use_t=True)
    assert np.allclose([c.std_error for c in found.coefficients], expected.bse, rtol=1e-8)
    assert np.allclose([c.p_value for c in found.coefficients], expected.pvalues, rtol=1e-6, atol=1e-12)
    assert "clustered" in found.errors


def test_copies_of_a_run_teach_a_regression_nothing() -> None:
    data = samples(100)
    copies = pd.concat([data.assign(run=run) for run in range(5)], ignore_index=True)
    once, five = (fit_regression(d, "Newey-West") for d in (data, copies))
    system = [next(c for c in r.coefficients if c.name == "System") for r in (once, five)]
    assert system[0].std_error is not None
    assert system[1].std_error is not None
    assert system[1].std_error > 0.9 * system[0].std_error


def test_levels_and_kinds_of_energy_are_followed() -> None:
    data = samples(100)
    data["generation_net_j"] = data["generation_gross_j"] * 0.5
    wide, narrow = (fit_regression(data, "with intercept", level=level) for level in (0.95, 0.8))
    assert (wide.coefficients[0].high or 0) > (narrow.coefficients[0].high or 0)
    net, gross = (fit_regression(data, "Newey-West", energy) for energy in ("net", "gross"))
    assert net.coefficients[0].estimate == pytest.approx(gross.coefficients[0].estimate + np.log(0.5))


def energies(repeats: int, seed: int = 1, copies: bool = False) -> tuple[np.ndarray, list[str], list[str], list[int]]:
    """Log energies of two configurations x 30 tasks, with task x configuration effects."""
    rng = np.random.default_rng(seed)
    task, apart = rng.normal(0, 1, 30), rng.normal(0, 0.2, (2, 30))
    y, labels, tasks, runs = [], [], [], []
    for c in range(2):
        first = rng.normal(0, 0.1, 30)
        for r in range(repeats):
            noise = first if copies else rng.normal(0, 0.1, 30)
            y += (2 + 0.1 * c + task + apart[c] + noise).tolist()
            labels += ["ab"[c]] * 30
            tasks += [f"t{i}" for i in range(30)]
            runs += [c * repeats + r] * 30
    return np.array(y), labels, tasks, runs


def test_copies_of_a_run_teach_the_mixed_model_nothing() -> None:
    once = random_intercept(*energies(1, copies=True)[:3]).effects[0]
    y, labels, tasks, runs = energies(5, copies=True)
    five = mixed_model(y, labels, tasks, runs)
    assert five.effects[0].z == pytest.approx(once.z, rel=1e-6), "z was 3 times as large"
    assert five.residual_variance == pytest.approx(0.0, abs=1e-20)


def test_the_mixed_model_tells_task_by_configuration_from_noise_as_anova_does() -> None:
    y, labels, tasks, runs = energies(4)
    found = mixed_model(y, labels, tasks, runs)
    cube = y.reshape(2, 4, 30)
    within = ((cube - cube.mean(axis=1, keepdims=True)) ** 2).sum() / (2 * 30 * 3)
    cells = cube.mean(axis=1)
    residual = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + cells.mean()
    between = (residual**2).sum() / 29
    assert found.residual_variance == pytest.approx(within, rel=1e-9)
    assert found.interaction_variance == pytest.approx(between - within / 4, rel=1e-9)
    means = cube.mean(axis=2)
    pooled = ((means - means.mean(axis=1, keepdims=True)) ** 2).sum() / 6
    assert found.run_variance == pytest.approx(pooled, rel=1e-9)
    expected = np.sqrt(pooled * (1 / 4 + 1 / 4) + 2 * (between - within / 4) / 30)
    assert found.effects[0].std_error == pytest.approx(expected, rel=1e-9)
