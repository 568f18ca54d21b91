"""Regressions against their definitions written out, the mixed model against closed forms and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference  # type: ignore[import-not-found]
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from passkwh.analysis.mixed import random_intercept
from passkwh.analysis.regression import Method, RegressionResult, fit_regression, unit_dependence
from passkwh.analysis.regression_errors import newey_west_lags
from passkwh.analysis.time_order import time_order

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


def by_hand(
    data: pd.DataFrame, lag: bool, intercept: bool, prefix: str = ""
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln(J) with an intercept, and the thesis's ln(1 + Wh) without."""
    joules = data["generation_gross_j"].to_numpy()
    y = np.log(joules) if intercept else np.log1p(joules / 3600)
    columns = [data["completion_tokens"].to_numpy(dtype=float)]
    if lag:
        columns.append(np.concatenate([[np.nan], y[:-1]]))
    columns += [data[prefix + d].to_numpy(dtype=float) for d in DOMAINS]
    if intercept:
        columns.insert(0, np.ones(len(y)))
    x = np.column_stack(columns)
    keep = ~np.isnan(x).any(axis=1)
    return y[keep], x[keep]


def same(
    found: RegressionResult, estimates: NDArray[np.float64], errors: NDArray[np.float64], statistics: dict[str, float]
) -> None:
    z, half = estimates / errors, stats.norm.ppf(0.975) * errors
    expected = {"estimate": estimates, "std_error": errors, "z": z, "p_value": 2 * stats.norm.sf(np.abs(z)),
                "low": estimates - half, "high": estimates + half}  # fmt: skip
    for name, values in expected.items():
        rows = [getattr(c, name) for c in found.coefficients]
        assert np.allclose(rows, values, rtol=1e-7 if name == "p_value" else 1e-8, atol=1e-12), name
    for name, value in statistics.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-8), name


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_thesis_regression(seed: int, ties: bool) -> None:
    data = samples(seed, ties=ties)
    y, x = by_hand(data, lag=True, intercept=False)
    beta, residuals, inverse = reference.ols(y, x)
    covariance = reference.hc3(x, residuals, inverse)
    found = fit_regression(data.sample(frac=1, random_state=seed), "thesis")
    statistics = reference.regression_statistics(y, x, residuals, centred=False)
    same(found, beta, np.sqrt(np.diag(covariance)), statistics)
    assert not found.centred
    assert [c.name for c in found.coefficients] == ["solution tokens", "log_energy_lag1", *DOMAINS]
    assert found.f_statistic == pytest.approx(reference.wald_f(beta, covariance), rel=1e-8)
    assert found.omnibus == pytest.approx(stats.skewtest(residuals)[0] ** 2 + stats.kurtosistest(residuals)[0] ** 2)
    assert found.n == len(data) - 1


def test_with_intercept_r_squared_is_about_the_mean() -> None:
    data = samples(3)
    y, x = by_hand(data, lag=True, intercept=True)
    beta, residuals, inverse = reference.ols(y, x)
    covariance = reference.hc3(x, residuals, inverse)
    found = fit_regression(data, "with intercept")
    statistics = reference.regression_statistics(y, x, residuals, centred=True)
    same(found, beta, np.sqrt(np.diag(covariance)), statistics)
    assert found.centred
    assert found.f_statistic == pytest.approx(reference.wald_f(beta[1:], covariance[1:, 1:]), rel=1e-8)
    thesis = fit_regression(data, "thesis").r_squared
    assert thesis is not None
    assert found.r_squared is not None
    assert thesis > 0.9 > found.r_squared, "without an intercept, R-squared flatters"


def test_domains_that_add_up_to_one_do_not_stand_for_an_intercept() -> None:
    data = samples(10).assign(**dict.fromkeys(DOMAINS, 0))
    data["Network"] = np.arange(len(data)) % 2
    data["System"] = 1 - data["Network"]
    found = fit_regression(data, "thesis")
    assert not found.centred
    assert found.r_squared is not None
    assert found.r_squared > 0.9, "still measured from zero"


@pytest.mark.parametrize("runs", [1, 2])
def test_newey_west_stays_within_runs(runs: int) -> None:
    data = samples(4, n=300 // runs, runs=runs)
    y, x = by_hand(data, lag=False, intercept=True)
    beta, residuals, inverse = reference.ols(y, x)
    assert newey_west_lags(300) == int(4 * 3 ** (2 / 9)) == 5
    rows = [slice(start, start + 300 // runs) for start in range(0, 300, 300 // runs)]
    covariance = reference.newey_west(x, residuals, inverse, 5, rows)
    statistics = reference.regression_statistics(y, x, residuals, centred=True)
    same(fit_regression(data, "Newey-West"), beta, np.sqrt(np.diag(covariance)), statistics)


def test_newey_west_of_runs_shorter_than_its_lags() -> None:
    data = samples(5, n=3, runs=40)
    y, x = by_hand(data, lag=False, intercept=True)
    _, residuals, inverse = reference.ols(y, x)
    rows = [slice(start, start + 3) for start in range(0, 120, 3)]
    expected = np.sqrt(np.diag(reference.newey_west(x, residuals, inverse, newey_west_lags(120), rows)))
    found = fit_regression(data, "Newey-West")
    assert np.allclose([c.std_error for c in found.coefficients], expected, rtol=1e-8)
    single = samples(5, n=1, runs=40)
    single["generation_gross_j"] *= np.random.default_rng(5).lognormal(0, 0.2, 40)
    assert all(c.std_error for c in fit_regression(single, "Newey-West").coefficients), (
        "runs of one row have no lag at all"
    )


@pytest.mark.parametrize("runs", [1, 3])
def test_glsar_stays_within_runs(runs: int) -> None:
    data = samples(6, n=300 // runs, runs=runs)
    y, x = by_hand(data, lag=False, intercept=True)
    beta, errors, rho = reference.cochrane_orcutt(y, x, data["run"].to_numpy())
    found = fit_regression(data, "GLSAR")
    assert found.n == 300 - runs, "each run's first row is lost"
    assert found.rho == pytest.approx(rho, rel=EXACT)
    same(found, beta, errors, {})
    assert found.rho == pytest.approx(0.6, abs=0.15)


def test_a_row_that_alone_determines_a_coefficient_says_nothing_about_variance() -> None:
    data = samples(12)
    data["Time"] = (np.arange(len(data)) == 77).astype(int)
    rest = fit_regression(data.drop(columns="Time"), "with intercept")
    found = {c.name: c for c in fit_regression(data, "with intercept").coefficients}
    assert found["Time"].std_error is not None
    assert np.isfinite(found["Time"].std_error)
    assert found["System"].estimate == pytest.approx(
        next(c.estimate for c in rest.coefficients if c.name == "System"), rel=0.2
    )


def test_the_lag_stays_within_a_run() -> None:
    data = samples(7, n=100, runs=3)
    assert fit_regression(data, "thesis").n == 3 * 99


def test_missing_energies_and_useless_predictors() -> None:
    data = samples(8)
    data.loc[[10, 20], "generation_gross_j"] = np.nan
    data["Time"] = 0
    data["Network"] = data["System"]
    found = fit_regression(data, "thesis")
    assert found.n == 300 - 1 - 4, "a missing energy is missing as outcome and as lag"
    assert set(found.dropped) == {"Time", "System"}


def test_degenerate_regressions_say_why() -> None:
    data = samples(9, n=5)
    assert "too few" in str(fit_regression(data, "thesis").reason)
    assert time_order(data).durbin_watson.reason == "too few samples with energy"
    constant = samples(9, n=60).assign(generation_gross_j=1.0)
    assert "exactly" in str(fit_regression(constant, "with intercept").reason)
    single = fit_regression(samples(9, n=1), "thesis")
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
    fitted = MixedLM(y, x, groups=data["task"].to_numpy()).fit(reml=True, method=["bfgs"], gtol=1e-12)
    assert found.log_likelihood == pytest.approx(fitted.llf, rel=EXACT)
    assert found.task_variance == pytest.approx(float(np.asarray(fitted.cov_re)[0, 0]), rel=EXACT)
    assert found.residual_variance == pytest.approx(fitted.scale, rel=EXACT)


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


@pytest.mark.parametrize(("method", "prefix"), [("thesis", "text:"), ("thesis, by library", "")])
def test_the_thesis_regression_by_each_map_of_domains(method: Method, prefix: str) -> None:
    data = samples(14)
    rng = np.random.default_rng(14)
    data = data.assign(**{f"text:{d}": rng.integers(0, 2, len(data)) for d in DOMAINS})
    y, x = by_hand(data, lag=True, intercept=False, prefix=prefix)
    beta, residuals, inverse = reference.ols(y, x)
    found = fit_regression(data, method)
    same(found, beta, np.sqrt(np.diag(reference.hc3(x, residuals, inverse))), {})
    assert [c.name for c in found.coefficients] == ["solution tokens", "log_energy_lag1", *DOMAINS]


def test_without_an_intercept_a_domains_coefficient_depends_on_the_unit() -> None:
    data = samples(15)
    trap = unit_dependence(data)["Computation"]
    for unit, scale in (("ln J", 1.0), ("ln Wh", 3600.0), ("ln kWh", 3.6e6)):
        scaled = data.assign(generation_gross_j=data["generation_gross_j"] / scale)
        y, x = by_hand(scaled, lag=True, intercept=True)
        with_intercept = reference.ols(y, x)[0]
        without = reference.ols(y, x[:, 1:])[0]
        assert trap[unit] == pytest.approx(without[2], rel=1e-8)
        assert trap["with intercept"] == pytest.approx(with_intercept[3], rel=1e-8), "the same in every unit"
    signs = {unit: np.sign(trap[unit]) for unit in ("ln J", "ln kWh")}
    assert signs["ln J"] != signs["ln kWh"], "kilowatt-hours turn the sign of a domain that costs nothing"


def test_a_dummy_of_nearly_every_task_takes_the_place_of_the_intercept() -> None:
    data = samples(16, n=1200).assign(System=1, generation_gross_j=400.0)
    data["generation_gross_j"] *= np.random.default_rng(16).lognormal(0, 0.2, len(data))
    data.loc[:40, "System"] = 0
    (system,) = [c for c in fit_regression(data, "thesis, by library").coefficients if c.name == "System"]
    (sound,) = [c for c in fit_regression(data, "with intercept").coefficients if c.name == "System"]
    assert system.p_value is not None
    assert system.p_value < 1e-6, "as printed, a domain without any effect is highly significant"
    assert sound.p_value is not None
    assert sound.p_value > 0.01
