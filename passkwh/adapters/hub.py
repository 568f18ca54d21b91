"""The Hugging Face hub: what its cache holds, and downloads into it. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters.models import unknown
from passkwh.errors import UsageError


def snapshot(hub_id: str) -> Path | None:
    """The cached and whole snapshot of a hub model's main branch; its folder's name is the hub commit."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(hub_id, "config.json")
    if not isinstance(file, str):
        return None
    folder = Path(file).parent
    try:
        folders.check(folder)
    except UsageError:
        return None  # a download that was broken off
    return folder


def offline() -> bool:
    """The user has told Hugging Face's libraries to stay off the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def download(hub_id: str, begin: Callable[[], None] = lambda: None) -> Path:
    """The model's snapshot folder, downloaded unless it is in the hub's cache already; ``begin`` is called before that.

    UsageError when the hub cannot be asked (and how to get the model then), knows no such model or wants a licence
    accepted first.
    """
    if folder := snapshot(hub_id):
        return folder
    get = f"`hf download {hub_id}` where there is a network, or give --model a folder with the checkpoint"
    if offline():
        raise UsageError(f"{hub_id} is not in the hub's cache and HF_HUB_OFFLINE is set: unset it, run {get}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        for weights in ("*.safetensors", "pytorch_model*.bin"):
            kinds = [weights, "*.json", "*.jinja", "*.model", "*.txt"]
            snapshot_download(hub_id, allow_patterns=kinds, ignore_patterns=["*/*"])
            if folder := snapshot(hub_id):
                return folder
    except GatedRepoError:
        page = f"https://huggingface.co/{hub_id}"
        raise UsageError(f"{hub_id} is gated: accept its licence at {page} and run `hf auth login`") from None
    except RepositoryNotFoundError:
        raise UsageError(unknown(hub_id)) from None
    except Exception as error:  # of the client or its transport, whose exceptions change with every release
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UsageError(f"{hub_id} is not in the hub's cache and cannot be downloaded ({why}): run {get}") from error
    raise UsageError(f"{hub_id} has no weights that transformers reads: give --model a folder with the checkpoint")
