"""Regressions against statsmodels, and the mixed model against closed forms and a likelihood written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import GLSAR, OLS
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.stattools import durbin_watson, jarque_bera, omni_normtest

from passkwh.analysis.mixed import random_intercept
from passkwh.analysis.regression import RegressionResult, fit, newey_west_lags, residuals_without_lag

EXACT = 1e-9
DOMAINS = ("Computation", "Cryptography", "Network", "System", "Time", "Visualization")


def samples(seed: int = 0, n: int = 300, runs: int = 1, ties: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for run in range(runs):
        tokens = rng.integers(50, 600, n)
        noise = np.zeros(n)
        for i in range(1, n):
            noise[i] = 0.6 * noise[i - 1] + rng.normal(0, 0.1)
        domains = {d: rng.integers(0, 2, n) for d in (*DOMAINS, "General")}
        energy = np.exp(3 + 0.002 * tokens + 0.1 * domains["System"] + noise)
        frame = {"run": run, "order": np.arange(n), "completion_tokens": tokens, **domains}
        frames.append(pd.DataFrame({**frame, "generation_gross_j": np.round(energy, 0) if ties else energy}))
    return pd.concat(frames, ignore_index=True)


def by_hand(data: pd.DataFrame, lag: bool, intercept: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y = np.log(data["generation_gross_j"].to_numpy())
    columns = [data["completion_tokens"].to_numpy(dtype=float)]
    if lag:
        columns.append(np.concatenate([[np.nan], y[:-1]]))
    columns += [data[d].to_numpy(dtype=float) for d in DOMAINS]
    if intercept:
        columns.insert(0, np.ones(len(y)))
    x = np.column_stack(columns)
    keep = ~np.isnan(x).any(axis=1)
    return y[keep], x[keep]


def same(found: RegressionResult, expected: object, centred: bool) -> None:
    model = expected
    estimates = [c.estimate for c in found.coefficients]
    assert np.allclose(estimates, model.params, rtol=EXACT, atol=1e-12)  # type: ignore[attr-defined]
    assert np.allclose([c.std_error for c in found.coefficients], model.bse, rtol=EXACT, atol=0)  # type: ignore[attr-defined]
    z = model.params / model.bse  # type: ignore[attr-defined]
    assert np.allclose([c.z for c in found.coefficients], z, rtol=1e-8, atol=0)
    assert np.allclose([c.p_value for c in found.coefficients], 2 * stats.norm.sf(np.abs(z)), rtol=1e-7, atol=1e-300)
    assert np.allclose([c.low for c in found.coefficients], model.params - stats.norm.ppf(0.975) * model.bse, rtol=1e-8)  # type: ignore[attr-defined]
    for name, value in (("r_squared", "rsquared"), ("adj_r_squared", "rsquared_adj"), ("log_likelihood", "llf"),
                        ("aic", "aic"), ("bic", "bic")):  # fmt: skip
        assert getattr(found, name) == pytest.approx(getattr(model, value), rel=EXACT), name
    residuals = model.wresid  # type: ignore[attr-defined]
    assert found.durbin_watson == pytest.approx(durbin_watson(residuals), rel=EXACT)
    assert (found.omnibus, found.omnibus_p_value) == pytest.approx(tuple(omni_normtest(residuals)), rel=1e-8)
    jb = jarque_bera(residuals)
    assert (found.jarque_bera, found.jarque_bera_p_value, found.skew, found.kurtosis) == pytest.approx(jb, rel=1e-8)
    assert found.centred == centred


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_thesis_regression(seed: int, ties: bool) -> None:
    data = samples(seed, ties=ties)
    y, x = by_hand(data, lag=True, intercept=False)
    expected = OLS(y, x).fit(cov_type="HC3")
    found = fit(data.sample(frac=1, random_state=seed), "thesis")
    same(found, expected, centred=False)
    assert [c.name for c in found.coefficients] == ["solution tokens", "log_energy_lag1", *DOMAINS]
    assert found.f_statistic == pytest.approx(expected.fvalue, rel=EXACT)
    assert found.condition_number == pytest.approx(expected.condition_number, rel=1e-8)
    assert found.n == len(data) - 1


def test_with_intercept_r_squared_is_about_the_mean() -> None:
    data = samples(3)
    y, x = by_hand(data, lag=True, intercept=True)
    expected = OLS(y, x).fit(cov_type="HC3")
    found = fit(data, "with intercept")
    same(found, expected, centred=True)
    assert found.f_statistic == pytest.approx(expected.fvalue, rel=EXACT)
    thesis = fit(data, "thesis").r_squared
    assert thesis is not None
    assert found.r_squared is not None
    assert thesis > 0.99 > found.r_squared, "without an intercept, R-squared flatters"


def test_newey_west() -> None:
    data = samples(4)
    y, x = by_hand(data, lag=False, intercept=True)
    assert newey_west_lags(300) == int(4 * 3 ** (2 / 9)) == 5
    expected = OLS(y, x).fit(cov_type="HAC", cov_kwds={"maxlags": 5})
    same(fit(data, "Newey-West"), expected, centred=True)


def test_newey_west_does_not_reach_across_runs() -> None:
    """The meat of two runs is the sum of what each contributes."""
    data = samples(5, n=150, runs=2)
    y, x = by_hand(data, lag=False, intercept=True)
    residuals = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    meat = np.zeros((x.shape[1], x.shape[1]))
    for rows in (slice(0, 150), slice(150, 300)):
        scores = x[rows] * residuals[rows, None]
        for i in range(150):
            for j in range(max(0, i - 5), min(150, i + 6)):
                meat += (1 - abs(i - j) / 6) * np.outer(scores[i], scores[j])
    inverse = np.linalg.inv(x.T @ x)
    expected = np.sqrt(np.diag(inverse @ meat @ inverse))
    assert np.allclose([c.std_error for c in fit(data, "Newey-West").coefficients], expected, rtol=1e-8)


def test_glsar() -> None:
    data = samples(6)
    y, x = by_hand(data, lag=False, intercept=True)
    model = GLSAR(y, x, rho=1)
    expected = model.iterative_fit(maxiter=500, rtol=1e-15)
    found = fit(data, "GLSAR")
    assert found.rho == pytest.approx(float(model.rho[0]), rel=1e-8)
    assert np.allclose([c.estimate for c in found.coefficients], expected.params, rtol=1e-7)
    assert np.allclose([c.std_error for c in found.coefficients], expected.bse, rtol=1e-7)
    assert found.rho == pytest.approx(0.6, abs=0.15)


def test_the_lag_stays_within_a_run() -> None:
    data = samples(7, n=100, runs=3)
    assert fit(data, "thesis").n == 3 * 99


def test_missing_energies_and_useless_predictors() -> None:
    data = samples(8)
    data.loc[[10, 20], "generation_gross_j"] = np.nan
    data["Time"] = 0
    data["Network"] = data["System"]
    found = fit(data, "thesis")
    assert found.n == 300 - 1 - 4, "a missing energy is missing as outcome and as lag"
    assert set(found.dropped) == {"Time", "System"}


def test_degenerate_regressions_say_why() -> None:
    data = samples(9, n=5)
    assert "too few" in str(fit(data, "thesis").reason)
    assert len(residuals_without_lag(data)) == 0
    constant = samples(9, n=60).assign(generation_gross_j=1.0)
    assert "exactly" in str(fit(constant, "with intercept").reason)
    single = fit(samples(9, n=1), "thesis")
    assert (single.n, single.coefficients) == (0, ())


def balanced(seed: int, tasks: int, repeats: int, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    effect = rng.normal(0, spread, tasks)
    rows = [
        (f"t{t}", label, 2 + effect[t] + 0.3 * c + rng.normal(0, 0.5))
        for c, label in enumerate(("a", "b", "c"))
        for t in range(tasks)
        for _ in range(repeats)
    ]
    return pd.DataFrame(rows, columns=["task", "label", "y"])


def test_mixed_model_of_balanced_data_is_anova() -> None:
    """Two-way ANOVA by hand: REML estimates of a balanced design are its mean squares'."""
    data = balanced(1, tasks=25, repeats=2)
    found = random_intercept(data["y"], data["label"].tolist(), data["task"].tolist())
    n, tasks, k = len(data), 25, 3
    fitted = (
        data.groupby("label")["y"].transform("mean") + data.groupby("task")["y"].transform("mean") - data["y"].mean()
    )
    ms_error = ((data["y"] - fitted) ** 2).sum() / (n - tasks - k + 1)
    ms_task = 6 * ((data.groupby("task")["y"].mean() - data["y"].mean()) ** 2).sum() / (tasks - 1)
    assert found.residual_variance == pytest.approx(ms_error, rel=EXACT)
    assert found.task_variance == pytest.approx((ms_task - ms_error) / 6, rel=EXACT)
    means = data.groupby("label")["y"].mean()
    assert [e.estimate for e in found.effects] == pytest.approx(
        [means["b"] - means["a"], means["c"] - means["a"]], rel=EXACT
    )
    assert found.effects[0].std_error == pytest.approx(np.sqrt(2 * ms_error / 50), rel=EXACT)
    assert found.intercept == pytest.approx(means["a"], rel=EXACT)


def test_mixed_model_of_unbalanced_data() -> None:
    data = balanced(2, tasks=30, repeats=2).sample(frac=0.7, random_state=1).sort_values("label")
    found = random_intercept(data["y"], data["label"].tolist(), data["task"].tolist())
    x = np.column_stack([np.ones(len(data)), data["label"] == "b", data["label"] == "c"]).astype(float)
    y = data["y"].to_numpy()
    same_task = (data["task"].to_numpy()[:, None] == data["task"].to_numpy()).astype(float)
    assert found.residual_variance is not None
    assert found.task_variance is not None
    covariance = found.residual_variance * np.eye(len(y)) + found.task_variance * same_task
    inverse = np.linalg.inv(covariance)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y)
    residuals = y - x @ beta
    log_det = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    likelihood = -0.5 * ((len(y) - 3) * np.log(2 * np.pi) + log_det + residuals @ inverse @ residuals)
    assert found.log_likelihood == pytest.approx(likelihood, rel=EXACT)
    assert [e.estimate for e in found.effects] == pytest.approx(beta[1:].tolist(), rel=EXACT)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert [e.std_error for e in found.effects] == pytest.approx(errors[1:].tolist(), rel=EXACT)
    reference = MixedLM(y, x, groups=data["task"].to_numpy()).fit(reml=True, method=["lbfgs"])
    assert found.log_likelihood >= reference.llf - 1e-6, "no worse an optimum than statsmodels'"
    assert found.task_variance == pytest.approx(float(np.asarray(reference.cov_re)[0, 0]), rel=1e-3)


def test_mixed_model_degenerate() -> None:
    no_task_effect = balanced(4, tasks=20, repeats=1, spread=0.0)
    found = random_intercept(no_task_effect["y"], no_task_effect["label"].tolist(), no_task_effect["task"].tolist())
    assert found.icc is not None
    assert 0 <= found.icc < 0.3
    one = random_intercept([1.0, 2.0, 3.0], ["a"] * 3, ["t", "u", "v"])
    assert "two configurations" in str(one.reason)
    assert "two tasks" in str(random_intercept([1.0, 2.0], ["a", "b"], ["t", "t"]).reason)
    exact = random_intercept([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], ["a", "b"] * 3, list("ttuuvv"))
    assert "exactly" in str(exact.reason)
    missing = random_intercept([1.0, float("nan")] * 3, ["a", "b"] * 3, list("ttuuvv"))
    assert "missing" in str(missing.reason)
