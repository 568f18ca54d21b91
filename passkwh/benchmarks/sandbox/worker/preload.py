"""Importing libraries ahead of the fork, so that samples share them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import random
import sys
import warnings
from collections.abc import Iterable


def preload(modules: Iterable[str]) -> list[str]:
    """Import ``modules``; returns those that could not be imported. A name may also be an attribute of a module."""
    missing = []
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        for name in modules:
            parent, _, attribute = name.rpartition(".")
            if parent and (parent not in sys.modules or hasattr(sys.modules[parent], attribute)):
                continue
            if parent and not hasattr(sys.modules[parent], "__path__"):
                continue
            try:
                importlib.import_module(name)
            except BaseException:  # a library may even exit on import; the sample that needs it will say so
                missing.append(name)
    return missing


def warm() -> None:
    """Touch lazily loaded parts of matplotlib, pandas and seaborn; leaves no figure, seed or setting behind."""
    with contextlib.suppress(Exception):
        import numpy  # type: ignore[import-not-found,unused-ignore]

        state, numpy_state = random.getstate(), numpy.random.get_state()
        try:
            _draw()
        finally:
            random.setstate(state)
            numpy.random.set_state(numpy_state)


def _draw() -> None:
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]
    import pandas  # type: ignore[import-untyped,unused-ignore]

    plt.switch_backend("agg")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    axes.hist([1, 2, 2])
    axes.set_title("t")
    figure.savefig(io.BytesIO(), format="png")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0]})
    frame.describe()
    str(frame)
    frame.groupby("a").sum()
    pandas.read_csv(io.StringIO("a,b\n1,2\n"))
    frame.plot()
    plt.close("all")
    with contextlib.suppress(ImportError):
        import seaborn  # type: ignore[import-not-found,import-untyped,unused-ignore]

        seaborn.histplot(frame["b"], kde=True)
        plt.close("all")
        seaborn.heatmap(frame.corr())
    plt.close("all")
