"""Names of models -> checkpoints. Reads files and the hub's cache; loads no weights and needs no torch."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import embedded
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines import endpoint as openai
from passkwh.errors import UsageError

QUANTS = ("none", "gptq-int4", "gptq-int8", "awq")
"""Names of quantizations, as ``--quant`` takes them."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_CHAT_NAME = re.compile(r"(?i)(^|[-_.])(instruct|chat|it)([-_.]|$)")
_BASE_NAME = re.compile(r"(?i)[-_.](base|pt)$")


@dataclass(frozen=True)
class Model:
    """One model of the registry (``models.toml``)."""

    name: str
    id: str
    parameters: int
    family: str
    size: str
    tuning: str
    quantized: dict[str, str] = field(default_factory=dict)


@functools.cache
def _registry_file() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("models.toml").read_text("utf-8"))


@functools.cache
def registry() -> dict[str, Model]:
    """The models that have a name of their own, by that name."""
    return {name: Model(name, **entry) for name, entry in _registry_file()["models"].items()}


def published(hub_id: str, quant: str) -> str | None:
    """Hub id of the checkpoint published for ``hub_id`` with this quantization, by registry or naming habit."""
    model = _registered(hub_id)
    if model and quant in model.quantized:
        return model.quantized[quant]
    habit = _registry_file()["publishers"].get(hub_id.split("/")[0])
    tuning = model.tuning if model else ("instruct" if _CHAT_NAME.search(hub_id) else "base")
    if habit and habit["tuning"] == tuning and quant in habit["suffixes"]:
        return str(hub_id + habit["suffixes"][quant])
    return None


def resolve(model: str, quant: str = "none") -> Checkpoint:
    """The checkpoint that a name means: a registered name, a hub id, a local folder or ``openai:URL#MODEL``.

    With a ``quant``: the publisher's quantized checkpoint where one is known, the folder itself where it is already
    quantized so, otherwise one that ``passkwh.adapters.prepare`` will quantize here, into the cache.
    UsageError for an unknown name or quantization and for a folder that is no checkpoint.
    """
    if quant not in QUANTS:
        close = difflib.get_close_matches(quant, QUANTS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"unknown quantization {quant!r}: {hint}there are {', '.join(QUANTS)}")
    if openai.is_endpoint(model):
        return openai.resolve(model, quant)
    known = _registered(model)
    if known and known.id == "embedded":
        return _embedded(known, model, quant)
    if known:
        return _hub(known.id, model, quant)
    if Path(model).expanduser().is_dir() or _looks_like_a_path(model):
        return _local(Path(model).expanduser(), model, quant)
    if _HUB_ID.fullmatch(model):
        return _hub(model, model, quant)
    raise UsageError(unknown(model))


def unknown(name: str) -> str:
    """What to say to a name that means nothing, with the names that come close."""
    shelf = {
        label.lower(): label for entry in registry().values() for label in (entry.name, entry.id) if "/" not in name
    }
    shelf |= {entry.id.lower(): entry.id for entry in registry().values() if "/" in name}
    close = [shelf[match] for match in difflib.get_close_matches(name.lower(), shelf, n=3, cutoff=0.5)]
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"unknown model {name!r}: {hint}give a name of `bench list`, a hub id (owner/name) or a checkpoint folder"


def _registered(name: str) -> Model | None:
    wanted = name.lower()
    for model in registry().values():
        if wanted in (model.name, model.id.lower()) and wanted != "embedded":
            return model
    return None


def _looks_like_a_path(model: str) -> bool:
    return model.startswith((".", "~")) or "\\" in model or model.count("/") > 1 or Path(model).is_absolute()


# ---------------------------------------------------------------- the three sources


def _embedded(known: Model, name: str, quant: str) -> Checkpoint:
    revision = embedded.revision()
    folder = embedded.converted_folder(revision)
    ready = folder.is_dir()
    found = Checkpoint(
        name=name,
        source="embedded",
        location=embedded.gguf_file().name,
        path=folder if ready else None,
        revision=revision,
        chat=known.tuning == "instruct",
        pending=() if ready else ("convert the embedded GGUF file to safetensors (once, about 30 s)",),
        parameters=known.parameters,
        family=known.family,
        size=known.size,
        tuning=known.tuning,
    )
    return _quantized_here(found, quant)


def _local(folder: Path, name: str, quant: str) -> Checkpoint:
    folders.check(folder)
    folder = folder.resolve()
    origin = str(folders.config(folder).get("_name_or_path") or "")
    known = _registered(origin) or _registered(folder.name)
    has = folders.quantization(folder)
    found = Checkpoint(
        name=name,
        source="local",
        location=folder.name,
        path=folder,
        revision=folders.content_revision(folder),
        chat=_is_chat(folder.name, known, folder),
        quant=has,
        prequantized=has != "none",
        parameters=folders.count_parameters(folder),
        family=known.family if known else None,
        size=known.size if known else None,
        tuning=known.tuning if known else None,
    )
    return _quantized_here(found, quant)


def _hub(hub_id: str, name: str, quant: str) -> Checkpoint:
    known = _registered(hub_id)
    location = hub_id
    has = "none"
    if quant != "none" and (there := published(hub_id, quant)):
        location, has = there, quant
    folder = snapshot(location)
    if folder:
        has = folders.quantization(folder)
    found = Checkpoint(
        name=name,
        source="hub",
        location=location,
        path=folder,
        revision=folder.name if folder else None,
        chat=_is_chat(hub_id, known, folder),
        quant=has,
        prequantized=has != "none",
        pending=() if folder else (f"download {location} from the hub",),
        parameters=known.parameters if known else (folders.count_parameters(folder) if folder else None),
        family=known.family if known else None,
        size=known.size if known else None,
        tuning=known.tuning if known else None,
    )
    return _quantized_here(found, quant)


def _quantized_here(found: Checkpoint, quant: str) -> Checkpoint:
    """``found`` as it is where it already has the wanted quantization; else with the order to quantize it here."""
    if quant in ("none", found.quant):
        return found
    if found.prequantized:
        raise UsageError(f"{found.name} is already quantized ({found.quant}): --quant {quant} cannot be applied to it")
    from passkwh.adapters.quantization import make as quantize

    made = quantize.cached(found, quant)
    if made:
        return made
    todo = f"quantize {found.location} to {quant} on this machine, into the cache"
    return replace(found, quant=quant, pending=(*found.pending, todo))


def _is_chat(name: str, known: Model | None, folder: Path | None) -> bool:
    """Registry first; then the name, because base models come with chat templates too; then the template."""
    if known:
        return known.tuning == "instruct"
    if _BASE_NAME.search(name):
        return False
    if folder:
        return folders.has_chat_template(folder)
    return bool(_CHAT_NAME.search(name))


# ---------------------------------------------------------------- the hub's cache


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
