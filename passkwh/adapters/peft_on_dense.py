"""PEFT's adapters on dense models, in an environment where GPTQModel is installed too.

Wherever it finds GPTQModel, PEFT looks whether a layer is packed, and for that wants yet another library (optimum), be
the model as dense as it may. Fine-tuning here is always of dense weights: so the question is answered for it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_QUESTION = "is_gptqmodel_available"


@contextmanager
def dense_only() -> Iterator[None]:
    """Within the block, PEFT takes no layer for a packed one. For adding and merging adapters; process-wide."""
    import peft  # noqa: F401  (its modules must be loaded to be changed)

    asking = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "peft"]
    answers = [(module, getattr(module, _QUESTION)) for module in asking if hasattr(module, _QUESTION)]
    for module, _ in answers:
        setattr(module, _QUESTION, lambda: False)
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers by a name that is on its way out; nobody who trains here can change that.
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            yield
    finally:
        for module, answer in answers:
            setattr(module, _QUESTION, answer)
