"""The corpora on the Hugging Face hub: ``google/code_x_glue_cc_code_completion_token``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from passkwh.benchmarks.completion.data import END, START, CodeFile, Files
from passkwh.errors import UsageError

DATASET = "google/code_x_glue_cc_code_completion_token"
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_ROWS = 64


def hub_files(language: str, split: str) -> Files:
    """A split of the hub's token-level data, downloaded unless it is in the hub's cache.

    Raises:
        UsageError: the hub cannot be reached and the split is not cached, or the corpus has no such split.
    """
    import logging

    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its words on a missing network are ours below
    pattern = f"{language}/{_HUB_SPLITS[split]}-*.parquet"
    try:
        snapshot = Path(snapshot_download(DATASET, repo_type="dataset", allow_patterns=[pattern]))
    except (HfHubHTTPError, OSError) as error:
        why = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UsageError(
            f"{DATASET} is not in the hub's cache and the hub cannot be reached ({why}): use data=embedded, or give "
            "data a file or folder in CodeXGLUE's form (`bench data codexglue` makes one)"
        ) from None
    paths = sorted(snapshot.glob(pattern))
    if not paths:
        raise UsageError(f"{DATASET} has no {split} split for {language}: its splits are train and test")
    return Files(f"{DATASET}@{snapshot.name}, {language}, {split}", lambda: read_parquet(paths))


def read_parquet(paths: list[Path]) -> Iterator[CodeFile]:
    """Files in the hub's form: one row each, ``code`` being its list of tokens with ``<s>`` and ``</s>``."""
    import pyarrow.parquet as parquet

    index = 0
    for path in paths:
        for batch in parquet.ParquetFile(path).iter_batches(_ROWS, columns=["code"]):
            for tokens in batch.column("code").to_pylist():
                words = [token for token in tokens if token.strip()]
                if words[:1] != [START] or words[-1:] != [END]:
                    raise UsageError(
                        f"{path}: row {index} is not {START} ... {END}: the hub's data has changed its form"
                    )
                yield CodeFile(index, " ".join(words[1:-1]))
                index += 1
