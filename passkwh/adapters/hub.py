"""The Hugging Face hub: what its cache holds, what a repository's small files say, and downloads. Needs no torch."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from passkwh.adapters import checkpoint as folders
from passkwh.adapters.model_files import CONFIG, SMALL_FILES, ModelFiles
from passkwh.adapters.models import unknown
from passkwh.adapters.quantization.recognise import packed_as
from passkwh.adapters.weights import Tensor, choose, size_of
from passkwh.cache import cache_dir
from passkwh.errors import UsageError
from passkwh.records import Record

ADAPTER_CONFIG = "adapter_config.json"
_TOKENIZERS = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".spm", ".bpe")
"""Endings of the files beside the weights that a model is loaded with."""
_AT_A_TIME = 4

Count = Callable[[int, int], None]
"""Of a download: bytes that are here, of all."""

T = TypeVar("T")


class HubUnreachable(UsageError):
    """The hub gives no answer."""


class Listing(Record):
    """What a repository holds at one commit; kept in the cache, so that it is known without a network, too."""

    files: Annotated[dict[str, int | None], Field(description="names -> bytes, where the hub says how many")]
    parameters: int | None
    active_parameters: int | None


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit: its small files are in ``folder``, its weights perhaps."""

    folder: Path
    commit: str
    whole: bool
    """All that is needed to run it is in ``folder``."""
    listing: Listing | None
    """None where the weights are there, and where the hub's answer is not known."""


def look(hub_id: str, revision: str | None = None) -> Snapshot:
    """A repository's small files, fetched unless all of it is in the hub's cache already.

    Raises:
        UsageError: the hub cannot be asked (and how to get the model then), knows no such model or revision, or wants
            a licence accepted first.
    """
    folder = cached(hub_id, revision)
    if folder is not None and _is_whole(folder):
        return Snapshot(folder, folder.name, True, None)
    from huggingface_hub import constants

    return _look(hub_id, revision, constants.ENDPOINT, constants.HF_HUB_CACHE, offline())


@functools.cache
def _look(hub_id: str, revision: str | None, endpoint: str, cache: str, is_offline: bool) -> Snapshot:
    """Asks once a process: many runs of one model are planned together."""
    known = cached(hub_id, revision)
    if is_offline:
        if known is not None:
            return Snapshot(known, known.name, False, _kept_listing(hub_id, known.name))
        raise UsageError(
            f"{_named(hub_id, revision)} is not in the hub's cache and HF_HUB_OFFLINE is set: unset it, run "
            f"{_get(hub_id, revision)}"
        )
    try:
        return _fetch_small_files(hub_id, revision)
    except HubUnreachable:
        if known is None:
            raise
        return Snapshot(known, known.name, False, _kept_listing(hub_id, known.name))


def _fetch_small_files(hub_id: str, revision: str | None) -> Snapshot:
    from huggingface_hub import HfApi, hf_hub_download

    def fetch() -> Snapshot:
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
        sizes = {entry.rfilename: entry.size for entry in info.siblings or ()}
        first = CONFIG if CONFIG in sizes else ADAPTER_CONFIG
        if first not in sizes:
            raise UsageError(_no_checkpoint(hub_id, sizes))
        with _without_progress_bars():
            # The first by the name of the revision, which the cache then knows; the others of the same commit.
            folder = Path(hf_hub_download(hub_id, first, revision=revision)).parent
            _download(hub_id, folder.name, [name for name in SMALL_FILES if name in sizes and name != first])
        return Snapshot(folder, folder.name, False, _list(hub_id, folder, sizes))

    return _asked(hub_id, revision, fetch)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Some kilobytes are no reason to draw bars for."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _list(hub_id: str, folder: Path, sizes: dict[str, int | None]) -> Listing:
    """What is in a repository, with its number of weights by the headers of its weight files; kept."""
    if (kept := _kept_listing(hub_id, folder.name)) is not None:
        return kept
    parameters = active = None
    if (folder / CONFIG).is_file():
        files = ModelFiles(folder)
        with suppress(UsageError):
            names = choose(sizes, files.index, hub_id)
            if headers := _headers(hub_id, folder.name, names):
                size = size_of(headers, files, packed_as(files).bits)
                parameters, active = size.parameters, size.active_parameters
    listing = Listing(files=sizes, parameters=parameters, active_parameters=active)
    if parameters is not None:
        place = _listing_file(hub_id, folder.name)
        with suppress(OSError):  # a cache that cannot be written is no reason not to run
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(listing.model_dump_json(), "utf-8")
    return listing


def _headers(hub_id: str, commit: str, names: list[str]) -> list[Tensor] | None:
    """The tensors of a repository's safetensors files, of which only the headers are fetched; None where that fails."""
    from huggingface_hub import HfApi

    if not all(name.endswith(".safetensors") for name in names):
        return None

    def read(name: str) -> list[Tensor]:
        header = HfApi().parse_safetensors_file_metadata(hub_id, name, revision=commit)
        return [Tensor(key, tuple(entry.shape), entry.dtype) for key, entry in header.tensors.items()]

    try:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return [tensor for part in pool.map(read, names) for tensor in part]
    except Exception:  # of the client, its transport or the format: the size is then unknown, and said to be
        return None


def _listing_file(hub_id: str, commit: str) -> Path:
    return cache_dir() / "hub" / f"{hub_id.replace('/', '--')}@{commit}.json"


def _kept_listing(hub_id: str, commit: str) -> Listing | None:
    try:
        return Listing.model_validate_json(_listing_file(hub_id, commit).read_text("utf-8"))
    except (OSError, ValidationError):
        return None


# ---------------------------------------------------------------- the hub's cache


def cached(hub_id: str, revision: str | None = None) -> Path | None:
    """The cached snapshot of a repository, whole or not; its folder's name is the hub commit."""
    from huggingface_hub import try_to_load_from_cache

    for name in (CONFIG, ADAPTER_CONFIG):
        file = try_to_load_from_cache(hub_id, name, revision=revision)
        if isinstance(file, str):
            return Path(file).parent
    return None


def _is_whole(folder: Path) -> bool:
    if not (folder / CONFIG).is_file():
        return any(folder.glob("adapter_model.*"))
    try:
        folders.check(folder)
    except UsageError:
        return False  # only the small files, or a download that was broken off
    return True


def offline() -> bool:
    """The user has told Hugging Face's libraries to stay off the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


# ---------------------------------------------------------------- downloads


def download(
    hub_id: str,
    revision: str | None = None,
    code: bool = False,
    begin: Callable[[], None] = lambda: None,
    count: Count | None = None,
) -> Path:
    """The model's snapshot folder, downloaded unless it is in the hub's cache already; ``begin`` is called before that.

    Args:
        hub_id: of the repository.
        revision: branch, tag or commit; None for the main branch.
        code: with the model's own Python files.
        begin: called where something is downloaded.
        count: called with bytes that are here and all that are wanted, from several threads but one at a time; in
            place of the bars that the hub's library draws.

    Raises:
        UsageError: as :func:`look`, and where the repository has no weights that transformers reads.
    """
    snapshot = look(hub_id, revision)
    if snapshot.whole and (not code or any(snapshot.folder.glob("*.py"))):
        return snapshot.folder
    if offline():
        raise UsageError(
            f"{_named(hub_id, revision)} is in the hub's cache only in part and HF_HUB_OFFLINE is set: unset it, run "
            f"{_get(hub_id, revision)}"
        )
    if snapshot.listing is None:  # the weights are here, without the code that goes with them
        snapshot = _fetch_small_files(hub_id, revision)
    begin()
    sizes = snapshot.listing.files if snapshot.listing else {}
    if (snapshot.folder / CONFIG).is_file():
        weights = choose(sizes, ModelFiles(snapshot.folder).index, hub_id)
    else:
        weights = [name for name in sizes if name.startswith("adapter_model.")]
    endings = (*_TOKENIZERS, ".py") if code else _TOKENIZERS
    others = [name for name in sizes if "/" not in name and name.endswith(endings)]
    wanted = dict.fromkeys([*others, *weights])
    size_bytes = sum(sizes.get(name) or 0 for name in wanted)
    bars = None if count is None else counting_bars(count, size_bytes)
    _asked(hub_id, revision, lambda: _download(hub_id, snapshot.commit, wanted, bars))
    return snapshot.folder


def _download(hub_id: str, commit: str, names: Iterable[str], bars: Any = None) -> None:
    """Files of one commit into the hub's cache, several at a time."""
    from huggingface_hub import hf_hub_download

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for _ in pool.map(lambda name: hf_hub_download(hub_id, name, revision=commit, tqdm_class=bars), names):
            pass


def counting_bars(count: Count, of: int | None = None) -> Any:
    """A class of bars for the hub's library that draws nothing and counts bytes.

    ``of`` is the size of all files of a download together; None where there is one file, whose size its bar is told.
    """
    from tqdm import tqdm

    lock = threading.Lock()
    here_bytes = 0

    class Counting(tqdm):  # type: ignore[misc]
        """One for each file."""

        def __init__(self, *words: Any, **how: Any) -> None:
            super().__init__(*words, **{**how, "disable": True})
            self._all = of if of is not None else int(how.get("total") or 0)
            self.update(how.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            """So many more bytes are here."""
            nonlocal here_bytes
            with lock:
                here_bytes += int(n or 0)
                if self._all:
                    with suppress(Exception):  # a run that is to stop is told so again at its next step
                        count(min(here_bytes, self._all), self._all)

    return Counting


def _asked(hub_id: str, revision: str | None, request: Callable[[], T]) -> T:
    """What the hub answers; its refusals and those of the network as UsageError, each in a line with the way out."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return request()
    except UsageError:
        raise
    except GatedRepoError:
        page = f"https://huggingface.co/{hub_id}"
        raise UsageError(f"{hub_id} is gated: accept its licence at {page} and run `hf auth login`") from None
    except RevisionNotFoundError:
        raise UsageError(f"{hub_id} has no branch, tag or commit {revision!r}: see its page on the hub") from None
    except RepositoryNotFoundError:
        raise UsageError(unknown(hub_id)) from None
    except Exception as error:  # of the client or its transport, whose exceptions change with every release
        why = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise HubUnreachable(
            f"{_named(hub_id, revision)} is not in the hub's cache and the hub cannot be asked ({why}): run "
            f"{_get(hub_id, revision)}"
        ) from error


def _named(hub_id: str, revision: str | None) -> str:
    return hub_id if revision is None else f"{hub_id}@{revision}"


def _get(hub_id: str, revision: str | None) -> str:
    at = "" if revision is None else f" --revision {revision}"
    return f"`hf download {hub_id}{at}` where there is a network, or give --model a folder with the checkpoint"


def _no_checkpoint(hub_id: str, names: Iterable[str]) -> str:
    gguf = sorted(name for name in names if name.lower().endswith(".gguf"))
    if gguf:
        return f"{hub_id} holds GGUF files and no checkpoint of transformers: name one of them, {hub_id}:{gguf[0]}"
    return f"{hub_id} has no {CONFIG}: it is no checkpoint that transformers reads"
