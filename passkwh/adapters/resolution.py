"""Names of models -> checkpoints. Reads files and the hub's cache; loads no weights and needs no torch."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import embedded, engines, gguf
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.engines.base import ResolvesNames
from passkwh.adapters.hub import snapshot
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.models import RegisteredModel, is_base_name, is_chat_name, published, registered, unknown
from passkwh.adapters.quantization import make as quantize
from passkwh.adapters.reasoning import read_reasoning
from passkwh.errors import UsageError
from passkwh.registry import ENGINES, QUANTIZATIONS

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(model: str, quant: str = "none", engine: str = engines.AUTO) -> Checkpoint:
    """The checkpoint that a name means: an engine's own (``openai:URL#MODEL``), a registered one, a hub id, a folder, a
    GGUF file.

    With a ``quant``: the publisher's quantized checkpoint where one is known, the folder itself where it is already
    quantized so, otherwise one that ``passkwh.adapters.prepare`` will quantize here, into the cache.
    UsageError for an unknown name, engine or quantization and for a folder that is no checkpoint.
    """
    if quant != "none" and quant not in QUANTIZATIONS:
        raise UsageError(f"{QUANTIZATIONS.unknown(quant)}, none")
    if checkpoint := _resolved_by_an_engine(model, quant, engine):
        return checkpoint
    known = registered(model)
    if known and known.id == "embedded":
        as_it_is = quant.startswith(gguf.PREFIX) or engines.reads(engine) == "gguf"
        return _embedded_file(known, model, quant) if as_it_is else _embedded(known, model, quant)
    if gguf.is_gguf(model):
        return gguf.resolve(model, quant)
    if quant.startswith(gguf.PREFIX):
        raise UsageError(QUANTIZATIONS.get(quant).missing())
    if known:
        return _hub(known.id, model, quant)
    if Path(model).expanduser().is_dir() or _looks_like_a_path(model):
        return _local(Path(model).expanduser(), model, quant)
    if _HUB_ID.fullmatch(model):
        return _hub(model, model, quant)
    raise UsageError(unknown(model))


def _resolved_by_an_engine(model: str, quant: str, engine: str) -> Checkpoint | None:
    for name in engines.names(engine):
        try:
            member = ENGINES.get(name)
        except UsageError:
            if engine != engines.AUTO:
                raise
            continue  # a package that cannot be imported keeps nobody from naming other models
        checkpoint = member.resolve(model, quant) if isinstance(member, ResolvesNames) else None
        if checkpoint is not None:
            return replace(checkpoint, source="engine", engine=name)
    return None


def _looks_like_a_path(model: str) -> bool:
    return model.startswith((".", "~")) or "\\" in model or model.count("/") > 1 or Path(model).is_absolute()


# ---------------------------------------------------------------- the three sources


def _embedded_file(known: RegisteredModel, name: str, quant: str) -> Checkpoint:
    """The embedded model as the package carries it, for engines that run GGUF files."""
    file = embedded.gguf_file()
    return gguf.of_file(name, file, "embedded", file.name, embedded.revision(), quant, known)


def _embedded(known: RegisteredModel, name: str, quant: str) -> Checkpoint:
    revision = embedded.revision()
    folder = embedded.converted_folder(revision)
    ready = folder.is_dir()
    checkpoint = Checkpoint(
        name=name,
        source="embedded",
        location=embedded.gguf_file().name,
        path=folder if ready else None,
        revision=revision,
        chat=known.tuning == "instruct",
        pending=() if ready else ("convert the embedded GGUF file to safetensors (once, about 30 s)",),
        parameters=known.parameters,
    )
    return _quantized_here(checkpoint, quant)


def _local(folder: Path, name: str, quant: str) -> Checkpoint:
    folders.check(folder)
    folder = folder.resolve()
    origin = str(folders.config(folder).get("_name_or_path") or "")
    known = registered(origin) or registered(folder.name)
    has = folders.quantization(folder)
    checkpoint = Checkpoint(
        name=name,
        source="local",
        location=folder.name,
        path=folder,
        revision=folders.content_revision(folder),
        chat=_is_chat(folder.name, known, folder),
        quant=has,
        prequantized=has != "none",
        parameters=folders.count_parameters(folder),
        reasoning=read_reasoning(ModelFiles(folder)),
    )
    return _quantized_here(checkpoint, quant)


def _hub(hub_id: str, name: str, quant: str) -> Checkpoint:
    known = registered(hub_id)
    location = hub_id
    has = "none"
    if quant != "none" and (packed := published(hub_id, quant)):
        location, has = packed, quant
    folder = snapshot(location)
    if folder:
        has = folders.quantization(folder)
    checkpoint = Checkpoint(
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
        reasoning=read_reasoning(ModelFiles(folder)) if folder else None,
    )
    return _quantized_here(checkpoint, quant)


def _quantized_here(checkpoint: Checkpoint, quant: str) -> Checkpoint:
    """The checkpoint as it is where it already has the wanted quantization; else with the order to quantize it here."""
    if quant in ("none", checkpoint.quant):
        return checkpoint
    if checkpoint.prequantized:
        raise UsageError(
            f"{checkpoint.name} is already quantized ({checkpoint.quant}): --quant {quant} cannot be applied to it"
        )
    made = quantize.cached(checkpoint, quant)
    if made:
        return made
    todo = f"quantize {checkpoint.location} to {quant} on this machine, into the cache"
    return replace(checkpoint, quant=quant, pending=(*checkpoint.pending, todo))


def _is_chat(name: str, known: RegisteredModel | None, folder: Path | None) -> bool:
    """Registry first; then the name, because base models come with chat templates too; then the template."""
    if known:
        return known.tuning == "instruct"
    if is_base_name(name):
        return False
    if folder:
        return ModelFiles(folder).chat_template is not None
    return is_chat_name(name)
