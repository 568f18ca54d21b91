"""A mixed model of log energy: configurations as fixed effects, tasks as random ones, fitted by REML.

y[task, i] = mean of its configuration + effect of its task + effect of the task in this configuration + noise.
Configurations are compared within tasks, and repeats of a task are not counted as new evidence about other tasks: what
a configuration does to one task is an effect of its own, so that exact copies of a run change nothing. With one
observation a task and configuration that effect is part of the noise. Repeats also tell how much whole runs differ;
that is in the standard errors, with Student's t (:mod:`passkwh.analysis.error_model`).

Ours, and not statsmodels' MixedLM: that one's default optimizers agree in 5 digits only; with BFGS at a gradient of
1e-12 in 13, but on 25 configurations x 1,140 tasks it takes 12 s where this takes 0.3 s, and its standard errors of
unbalanced data, from a Hessian of all parameters, are others in the fourth digit. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from passkwh.analysis.results import finite
from passkwh.records import Record


class FixedEffect(Record):
    """A configuration against the reference, in log energy; ``ratio`` is exp(estimate).

    ``z`` is the estimate over its standard error, and Student's t with ``df`` gives its p-value.
    """

    label: str
    estimate: float
    std_error: float
    z: float
    p_value: float
    low: float
    high: float
    ratio: float
    df: float | None = None


class MixedResult(Record):
    """A model of tasks as random effects."""

    reference: str
    n: int
    tasks: int
    effects: tuple[FixedEffect, ...] = ()
    intercept: float | None = None
    task_variance: Annotated[float | None, Field(description="between tasks, of log energy")] = None
    interaction_variance: Annotated[
        float | None, Field(description="task x configuration; None where it cannot be told from the residual")
    ] = None
    run_variance: Annotated[float | None, Field(description="of one run's mean, between repeats; None without")] = None
    residual_variance: Annotated[float | None, Field(description="within tasks and configurations")] = None
    icc: Annotated[float | None, Field(description="share of the variance that tasks account for, 0 ... 1")] = None
    log_likelihood: Annotated[float | None, Field(description="restricted")] = None
    reason: str | None = None


def with_stated_errors(model: MixedResult, se: Mapping[str, float], level: float = 0.95) -> MixedResult:
    """Standard errors of fixed effects with the errors of meter and idle, by label, where no repeats show them."""
    from scipy import stats

    if model.run_variance is not None or not any(se.values()):
        return model
    effects = []
    for effect in model.effects:
        own, stated = effect.std_error**2, se[effect.label] ** 2 + se[model.reference] ** 2
        total = own + stated
        df = total**2 / (own**2 / (effect.df or np.inf)) if own > 0 else np.inf
        z = effect.estimate / total**0.5
        half = float(stats.t.ppf((1 + level) / 2, df)) * total**0.5
        effects.append(effect.model_copy(update={
            "std_error": total**0.5, "z": z, "p_value": float(2 * stats.t.sf(abs(z), df)), "df": finite(df),
            "low": effect.estimate - half, "high": effect.estimate + half,
        }))  # fmt: skip
    return model.model_copy(update={"effects": tuple(effects)})


def mixed_model(
    outcome: ArrayLike, labels: Sequence[str], tasks: Sequence[str], runs: Sequence[int], level: float = 0.95
) -> MixedResult:
    """Tasks and task x configuration as random effects, and runs in the standard errors where there are repeats.

    The arguments have one entry per observation. Fixed effects and their errors follow from the means of each task in
    each configuration, which with as many observations in each is REML of the whole; the residual is what varies
    within them.
    """
    y = np.asarray(outcome, dtype=np.float64)
    names, task_names = list(dict.fromkeys(labels)), list(dict.fromkeys(tasks))
    cell = _codes(labels, names) * len(task_names) + _codes(tasks, task_names)
    used, inverse, size = np.unique(cell, return_inverse=True, return_counts=True)
    if len(used) == len(y) or not np.isfinite(y).all():
        return random_intercept(y, labels, tasks, level)
    means = np.bincount(inverse, y) / size
    cell_labels, cell_tasks = used // len(task_names), used % len(task_names)
    fitted = random_intercept(means, [names[i] for i in cell_labels], [task_names[i] for i in cell_tasks], level)
    if fitted.reason or fitted.residual_variance is None:
        return fitted.model_copy(update={"n": len(y)})
    free = len(y) - len(used)
    within = float(((y - means[inverse]) ** 2).sum()) / free
    per_cell = float(np.mean(1.0 / size))
    interaction = max(fitted.residual_variance - within * per_cell, 0.0)
    model = fitted.model_copy(update={"n": len(y), "interaction_variance": interaction, "residual_variance": within})
    return _with_runs(model, y, _codes(labels, names), np.asarray(runs), len(task_names), level)


def _with_runs(
    model: MixedResult,
    y: NDArray[np.float64],
    label_of: NDArray[np.intp],
    run: NDArray[np.int64],
    tasks: int,
    level: float,
) -> MixedResult:
    """Errors of fixed effects from the scatter of runs, which holds the noise, and task x configuration beside it."""
    from scipy import stats

    _, run = np.unique(run, return_inverse=True)
    mean = np.bincount(run, y) / np.bincount(run)
    of = np.zeros(len(mean), dtype=np.intp)
    of[run] = label_of
    count = np.bincount(of)
    free = len(mean) - len(count)
    if free < 1 or model.interaction_variance is None:
        return model
    variance = float(((mean - (np.bincount(of, mean) / count)[of]) ** 2).sum()) / free
    effects = []
    for i, effect in enumerate(model.effects, start=1):
        between, apart = variance * (1.0 / count[0] + 1.0 / count[i]), 2.0 * model.interaction_variance / tasks
        total = between + apart
        if not total > 0:
            effects.append(effect)
            continue
        se = total**0.5
        df = total**2 / (between**2 / free + apart**2 / max(tasks - 1, 1))
        t = effect.estimate / se
        half = float(stats.t.ppf((1 + level) / 2, df)) * se
        effects.append(effect.model_copy(update={
            "std_error": se, "z": t, "p_value": float(2 * stats.t.sf(abs(t), df)), "df": df,
            "low": effect.estimate - half, "high": effect.estimate + half,
        }))  # fmt: skip
    return model.model_copy(update={"effects": tuple(effects), "run_variance": variance})


def random_intercept(
    outcome: ArrayLike, labels: Sequence[str], tasks: Sequence[str], level: float = 0.95
) -> MixedResult:
    """Fit by REML. ``outcome``, ``labels`` and ``tasks`` have one entry per observation; the first label is reference.

    The likelihood is profiled over one number, the ratio of the two variances, from sums per task, so its cost does
    not grow with the size of tasks.
    """
    from scipy import optimize, stats

    y = np.asarray(outcome, dtype=np.float64)
    names = list(dict.fromkeys(labels))
    label_of, task_of = _codes(labels, names), _codes(tasks, list(dict.fromkeys(tasks)))
    n, groups, k = len(y), len(set(tasks)), len(names)
    reason = None
    if k < 2:
        reason = "a comparison needs two configurations or more"
    elif groups < 2:
        reason = "a random effect of tasks needs two tasks or more"
    elif n <= groups + k - 1:
        reason = "tasks and configurations leave no residual variance to estimate"
    elif not np.isfinite(y).all():
        reason = "an energy is missing or not above 0"
    if reason:
        return MixedResult(reference=names[0] if names else "", n=n, tasks=groups, reason=reason)
    x = np.zeros((n, k))
    x[np.arange(n), label_of] = 1.0
    x[:, 0] = 1.0
    sums = _Sums(y - y.mean(), x, task_of, groups)
    if sums.within_residual() <= 1e-12 * max(float(((y - y.mean()) ** 2).sum()), 1e-300):
        why = "configurations and tasks explain the energy exactly"
        return MixedResult(reference=names[0], n=n, tasks=groups, reason=why)
    # Search the intraclass correlation rather than the ratio: it is bounded, and 0 is a legitimate answer.
    optimum = optimize.minimize_scalar(
        lambda rho: -sums.restricted(rho / (1 - rho))[0], bounds=(0.0, 1 - 1e-9), method="bounded",
        options={"xatol": 1e-10, "maxiter": 500},
    )  # fmt: skip
    near = optimum.x / (1 - optimum.x)
    ratio = 0.0
    if sums.restricted(near)[0] > sums.restricted(0.0)[0]:
        # A maximum is flat, so searching it gives half the digits; the root of its slope gives all.
        low, high = near * 0.999, near * 1.001
        rooted = sums.slope(low) > 0 > sums.slope(high)
        ratio = float(optimize.brentq(sums.slope, low, high, xtol=1e-15 * near, rtol=1e-15)) if rooted else near
    log_likelihood, beta, covariance, sigma2 = sums.restricted(ratio)
    se = np.sqrt(np.diag(covariance))
    # Exact where every task was run in every configuration once; the normal is too sure of few tasks.
    df = n - groups - k + 1
    half = float(stats.t.ppf((1 + level) / 2, df))
    effects = tuple(
        FixedEffect(
            label=names[i],
            estimate=float(beta[i]),
            std_error=float(se[i]),
            z=float(beta[i] / se[i]),
            p_value=float(2 * stats.t.sf(abs(beta[i] / se[i]), df)),
            df=df,
            low=float(beta[i] - half * se[i]),
            high=float(beta[i] + half * se[i]),
            ratio=float(np.exp(beta[i])),
        )
        for i in range(1, k)
    )
    return MixedResult(
        reference=names[0], n=n, tasks=groups, effects=effects, intercept=float(beta[0] + y.mean()),
        task_variance=float(ratio * sigma2), residual_variance=float(sigma2), icc=float(ratio / (1 + ratio)),
        log_likelihood=float(log_likelihood),
    )  # fmt: skip


class _Sums:
    """Sums per task from which the restricted likelihood of any variance ratio follows."""

    def __init__(self, y: NDArray[np.float64], x: NDArray[np.float64], task: NDArray[np.intp], groups: int) -> None:
        self.n, self.k = x.shape
        self.size = np.bincount(task, minlength=groups).astype(np.float64)
        self.x_sum = np.column_stack([np.bincount(task, x[:, j], minlength=groups) for j in range(self.k)])
        self.y_sum = np.bincount(task, y, minlength=groups)
        self.xx, self.xy, self.yy = x.T @ x, x.T @ y, float(y @ y)

    def restricted(self, ratio: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64], float]:
        """REML log-likelihood, fixed effects, their covariance and residual variance for task / residual variance.

        The inverse covariance of a task's n observations is I - ratio / (1 + n ratio) J, up to the residual variance.
        """
        weight = ratio / (1.0 + self.size * ratio)
        xx = self.xx - (self.x_sum * weight[:, None]).T @ self.x_sum
        xy = self.xy - self.x_sum.T @ (weight * self.y_sum)
        yy = self.yy - float(weight @ self.y_sum**2)
        beta = np.linalg.solve(xx, xy).astype(np.float64)
        free = self.n - self.k
        sigma2 = max((yy - float(beta @ xy)) / free, 1e-300)
        log_det = float(np.log1p(self.size * ratio).sum()) + float(np.linalg.slogdet(xx)[1])
        log_likelihood = -0.5 * (free * (np.log(2 * np.pi * sigma2) + 1.0) + log_det)
        covariance = (sigma2 * np.linalg.inv(xx)).astype(np.float64)
        return float(log_likelihood), beta, covariance, sigma2

    def slope(self, ratio: float) -> float:
        """Derivative of the restricted log-likelihood with respect to the variance ratio."""
        weight = 1.0 / (1.0 + self.size * ratio)
        _, beta, covariance, sigma2 = self.restricted(ratio)
        residual_sums = (self.y_sum - self.x_sum @ beta) * weight
        columns = self.x_sum * weight[:, None]
        fitted = float((residual_sums**2).sum()) / sigma2
        lost = float(((columns @ (covariance / sigma2)) * columns).sum())
        return 0.5 * (fitted - float((self.size * weight).sum()) + lost)

    def within_residual(self) -> float:
        """Residual sum of squares with tasks as fixed effects: the limit of an infinite ratio."""
        xx = self.xx - (self.x_sum / self.size[:, None]).T @ self.x_sum
        xy = self.xy - self.x_sum.T @ (self.y_sum / self.size)
        yy = self.yy - float((self.y_sum**2 / self.size).sum())
        return yy - float(np.linalg.lstsq(xx, xy, rcond=None)[0] @ xy)


def _codes(values: Sequence[str], names: list[str]) -> NDArray[np.intp]:
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[v] for v in values], dtype=np.intp)
