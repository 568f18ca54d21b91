"""Names of models -> checkpoints, by what the models' own small files say. Loads no weights and needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import embedded, engines, gguf, hub, lora, model_name
from passkwh.adapters.checkpoint import Checkpoint, Overrides
from passkwh.adapters.engines.base import ResolvesNames
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.model_name import HubName
from passkwh.adapters.models import RegisteredModel, base_of, published, registered, unknown
from passkwh.adapters.prompt_form import Reading, read_form
from passkwh.adapters.quantization import make as quantize
from passkwh.adapters.quantization.base import QuantizesWhileLoading
from passkwh.adapters.quantization.lookup import configured
from passkwh.adapters.quantization.recognise import Packed, packed_as
from passkwh.adapters.reasoning import read_reasoning
from passkwh.adapters.weights import choose, size_of, tensors, weight_files
from passkwh.errors import UsageError
from passkwh.registry import ENGINES, QUANTIZATIONS


def resolve(
    model: str,
    quant: str = "none",
    engine: str = engines.AUTO,
    overrides: Overrides = Overrides(),  # noqa: B008
) -> Checkpoint:
    """The checkpoint that a name means: an engine's own (``openai:URL#MODEL``), a registered one, a hub id or URL, a
    folder, a GGUF file.

    What the model is (base or chat, how its weights are packed, how large it is, ...) is read from its small files,
    which are fetched where they are not here. With a ``quant``: the checkpoint as it is where it is packed so
    already, the publisher's where one exists, otherwise one that ``passkwh.adapters.prepare`` quantizes here, or that
    is quantized while it is loaded.

    Raises:
        UsageError: an unknown name, engine or quantization; files that are no checkpoint; a hub that cannot be asked.
    """
    if quant != "none" and quant not in QUANTIZATIONS:
        raise UsageError(f"{QUANTIZATIONS.unknown(quant)}, none")
    if checkpoint := _resolved_by_an_engine(model, quant, engine, overrides):
        return checkpoint
    place = Path(model).expanduser()
    known = registered(model)
    if known and known.id == "embedded":
        as_it_is = quant.startswith(gguf.PREFIX) or engines.reads(engine) == "gguf"
        _no_revision(overrides, model)
        if as_it_is:
            return _of_gguf(_embedded_file(known, model, quant), overrides)
        return _quantized(_with_lora(_embedded(known, model, overrides)), quant)
    is_path = known is None and (place.exists() or _looks_like_a_path(model))
    name = HubName(known.id) if known else None if is_path else model_name.parse(model)
    if name is not None and name.file is not None:
        wanted = replace(name, revision=_revision(name, model, overrides)).gguf()
        return _of_gguf(replace(gguf.resolve(wanted, quant), name=model), overrides)
    if gguf.is_gguf(model) and not place.is_dir():
        _no_revision(overrides, model)
        return _of_gguf(gguf.resolve(model, quant), overrides)
    if quant.startswith(gguf.PREFIX):
        raise UsageError(QUANTIZATIONS.get(quant).missing())
    if is_path:
        _no_revision(overrides, model)
        return _quantized(_with_lora(_local(place, model, overrides)), quant)
    if name is None:
        raise UsageError(unknown(model))
    return _quantized(_with_lora(_hub(name, model, overrides)), quant)


def _with_lora(checkpoint: Checkpoint) -> Checkpoint:
    return lora.attach(checkpoint) if checkpoint.overrides.lora else checkpoint


def _resolved_by_an_engine(model: str, quant: str, engine: str, overrides: Overrides) -> Checkpoint | None:
    for name in engines.names(engine):
        try:
            member = ENGINES.get(name)
        except UsageError:
            if engine != engines.AUTO:
                raise
            continue  # a package that cannot be imported keeps nobody from naming other models
        checkpoint = member.resolve(model, quant) if isinstance(member, ResolvesNames) else None
        if checkpoint is not None:
            if given := overrides.given():
                option = next(iter(given)).replace("_", "-")
                raise UsageError(f"--{option} cannot be applied to {model}: engine {name} has the model as it is")
            return replace(checkpoint, source="engine", engine=name)
    return None


def _looks_like_a_path(model: str) -> bool:
    outside = model.partition("@")[0].partition(":")[0]  # a revision may have slashes of its own
    return (
        model.startswith((".", "~"))
        or "\\" in model
        or ("://" not in model and not model.startswith("hf.co/") and outside.count("/") > 1)
        or Path(model).is_absolute()
    )


def _no_revision(overrides: Overrides, model: str) -> None:
    if overrides.revision is not None:
        raise UsageError(f"--revision {overrides.revision} is for models of the hub: {model} is on this machine")


def _revision(place: HubName, name: str, overrides: Overrides) -> str | None:
    """The revision that a name or ``--revision`` asks for. UsageError where they ask for two."""
    if place.revision is not None and overrides.revision not in (None, place.revision):
        raise UsageError(f"{name} names a revision and --revision {overrides.revision} another: give one of them")
    return place.revision or overrides.revision


# ---------------------------------------------------------------- the three sources


def _embedded_file(known: RegisteredModel, name: str, quant: str) -> Checkpoint:
    """The embedded model as the package carries it, for engines that run GGUF files."""
    file = embedded.gguf_file()
    return gguf.of_file(name, file, "embedded", file.name, embedded.revision(), quant, known)


def _of_gguf(checkpoint: Checkpoint, overrides: Overrides) -> Checkpoint:
    """The checkpoint of a GGUF file with what was asked of it. UsageError for what is only for dense weights."""
    for option in ("lora", "trust_remote_code", "quant_options"):
        if getattr(overrides, option):
            raise UsageError(
                f"--{option.replace('_', '-')} is for models in transformers' format, not for {checkpoint.name}"
            )
    asked = overrides.prompt
    guess = () if checkpoint.file or asked else ("prompt and quantization: by the file's name, until it is here",)
    return replace(
        checkpoint,
        chat=checkpoint.chat if asked is None else asked == "chat",
        read={} if asked is None else {"prompt": f"--prompt {asked}"},
        guesses=guess,
        overrides=overrides,
    )


def _embedded(known: RegisteredModel, name: str, overrides: Overrides) -> Checkpoint:
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
        overrides=overrides,
    )
    return _described(checkpoint, ModelFiles(folder) if ready else None, Packed(), known)


def _local(folder: Path, name: str, overrides: Overrides) -> Checkpoint:
    if folder.is_file():
        raise UsageError(f"{folder} is a file: give the folder that holds it, with its configuration and tokenizer")
    lora.refuse_alone(folder, name)
    folders.check(folder)
    folder = folder.resolve()
    files = ModelFiles(folder)
    origin = str(files.config.get("_name_or_path") or "")
    packed = packed_as(files)
    size = size_of(tensors(folder), files, packed.bits)
    checkpoint = Checkpoint(
        name=name,
        source="local",
        location=folder.name,
        path=folder,
        revision=folders.content_revision(folder),
        chat=False,
        parameters=size.parameters,
        active_parameters=size.active_parameters,
        weight_bytes=sum(file.stat().st_size for file in weight_files(folder)),
        overrides=overrides,
    )
    return _described(checkpoint, files, packed, registered(origin) or registered(folder.name))


def _hub(place: HubName, name: str, overrides: Overrides) -> Checkpoint:
    revision = _revision(place, name, overrides)
    snapshot = hub.look(place.id, revision)
    lora.refuse_alone(snapshot.folder, name)
    files = ModelFiles(snapshot.folder)
    packed = packed_as(files)
    listing = snapshot.listing
    if snapshot.whole:
        size = size_of(tensors(snapshot.folder), files, packed.bits)
        parameters, active = size.parameters, size.active_parameters
        weight_bytes: int | None = sum(file.stat().st_size for file in weight_files(snapshot.folder))
    else:
        parameters, active = (listing.parameters, listing.active_parameters) if listing else (None, None)
        weight_bytes = None
        if listing is not None:
            sizes = [listing.files.get(file) for file in choose(listing.files, files.index, place.id)]
            weight_bytes = None if None in sizes else sum(size or 0 for size in sizes)
    known = registered(place.id)
    checkpoint = Checkpoint(
        name=name,
        source="hub",
        location=place.id,
        path=snapshot.folder if snapshot.whole else None,
        revision=snapshot.commit,
        chat=False,
        pending=() if snapshot.whole else (f"download {place.id} from the hub",),
        parameters=parameters
        or (known.parameters if known else of[0].parameters if (of := base_of(place.id)) else None),
        active_parameters=active,
        weight_bytes=weight_bytes,
        overrides=replace(overrides, revision=revision),
    )
    return _described(checkpoint, files, packed, known)


def _described(
    checkpoint: Checkpoint, files: ModelFiles | None, packed: Packed, known: RegisteredModel | None
) -> Checkpoint:
    """With what the small files say: how it is asked, how it is packed, its context, end tokens and thinking phase."""
    overrides = checkpoint.overrides
    if files is not None and files.own_code and not overrides.trust_remote_code:
        raise UsageError(
            f"{checkpoint.name} brings Python code of its own ({files.own_code[0]}), which runs only where you allow "
            "it: read it, and add --trust-remote-code"
        )
    if overrides.prompt == "chat" and files is not None and files.chat_template is None:
        raise UsageError(f"--prompt chat: {checkpoint.name} has no chat template to ask it in")
    if overrides.prompt is not None:
        form = Reading(overrides.prompt == "chat", f"--prompt {overrides.prompt}")
    elif known is not None:
        form = Reading(known.tuning == "instruct", f"the registry of models: {known.name} is {known.tuning}")
    elif files is not None:
        form = read_form(files, checkpoint.location)
    else:
        form = Reading(checkpoint.chat, "the registry of models")
    read = {"prompt": form.why}
    if packed.label != "none":
        read["quantization"] = packed.file
    guesses: tuple[str, ...] = ()
    if form.guess:
        taken, other = ("chat", "base") if form.chat else ("base", "chat")
        guesses = (f"prompt: taken as {taken} ({form.why}); --prompt {other} takes the other",)
    checkpoint = replace(
        checkpoint,
        chat=form.chat,
        quant=packed.label,
        prequantized=packed.label != "none",
        read=read,
        guesses=guesses,
    )
    return checkpoint if files is None else with_facts(checkpoint, files)


def with_facts(checkpoint: Checkpoint, files: ModelFiles) -> Checkpoint:
    """The checkpoint with what its small files say of the model whatever form it is run in."""
    return replace(
        checkpoint,
        files=files.folder,
        context_tokens=files.context_tokens,
        end_tokens=files.end_tokens,
        reasoning=read_reasoning(files),
    )


# ---------------------------------------------------------------- the wanted quantization


def _quantized(checkpoint: Checkpoint, quant: str) -> Checkpoint:
    """The checkpoint as it is where it is packed so; else the publisher's, or with the order to quantize it."""
    options = checkpoint.overrides.quant_options
    if quant == "none" or quant == checkpoint.quant:
        if options:
            why = "its weights are packed already" if checkpoint.prequantized else "give --quant with it"
            raise UsageError(f"--quant-option {next(iter(options))} is for a quantization that is made here: {why}")
        return checkpoint
    if checkpoint.prequantized:
        raise UsageError(
            f"{checkpoint.name} is already quantized ({checkpoint.quant}): --quant {quant} cannot be applied to it"
        )
    quantization = configured(quant, options)
    if isinstance(quantization, QuantizesWhileLoading):
        return replace(checkpoint, quant=quant)
    known = (
        not options and checkpoint.source == "hub" and not (checkpoint.overrides.revision or checkpoint.overrides.lora)
    )
    if known and (packed := _published(checkpoint, quant)) is not None:
        return packed
    if made := quantize.cached(checkpoint, quant):
        return made
    if not hasattr(quantization, "make"):
        raise UsageError(
            f"--quant {quant} cannot be made here from {checkpoint.location}: name a checkpoint that is packed so"
        )
    todo = f"quantize {checkpoint.location} to {quant} on this machine, into the cache"
    return replace(checkpoint, quant=quant, pending=(*checkpoint.pending, todo))


def _published(dense: Checkpoint, quant: str) -> Checkpoint | None:
    """The checkpoint that a publisher made of ``dense``, by registry or habit, where it exists and is packed so."""
    hub_id = published(dense.location, quant, "instruct" if dense.chat else "base")
    if hub_id is None:
        return None
    try:
        packed = _hub(HubName(hub_id), dense.name, dense.overrides)
    except UsageError:
        return None  # a name by habit that nobody published, or that cannot be asked for: quantize here
    if packed.quant != quant:
        return None
    return replace(packed, chat=dense.chat, read={**packed.read, "prompt": dense.read["prompt"]}, guesses=dense.guesses)
