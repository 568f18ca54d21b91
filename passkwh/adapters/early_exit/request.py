"""What ``--exit`` names, read and checked: ``RULE[:ARGUMENT][,KEY=VALUE...]``.

    fixed:12            agent:0.9,agent=java          confidence:0.8,kv=propagated          oracle,exits=4+8+30

    draft:12,k=4        draft:agent:0.9,k=8       lookup:8                       draft:12,k=4,lookup=8

Options that every rule has: ``kv`` (where skipped keys and values come from: deferred or propagated), ``exits`` (the
layers after which a token may leave, joined by +), and, last because a folder's name may hold a comma, ``bundle`` (the
folder that ``bench train`` made, or none for the untrained model even where a bundle comes with it).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from passkwh.adapters import checkpoint as folders
from passkwh.adapters import models
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.early_exit.bundle import CARD, Bundle
from passkwh.adapters.early_exit.layout import ExitLayout, Skipped, default_layout
from passkwh.adapters.early_exit.rules.base import LOSS, ExitMethod, ModelContext, RuleSpec, listed
from passkwh.adapters.quantization import make as quantize
from passkwh.errors import UsageError
from passkwh.registry import EXIT_RULES

SHIPPED = Path(__file__).with_name("bundles")
"""Bundles that come with the package: a folder each, named as the model is in the registry."""
NO_BUNDLE = "none"
_SKIPPED: dict[str, Skipped] = {"deferred": "deferred", "propagated": "propagated"}


@dataclass(frozen=True)
class ExitRequest:
    """An ``--exit``, taken apart: read once, and carried to all that need it."""

    text: str
    spec: RuleSpec
    skipped: Skipped = "deferred"
    exits: tuple[int, ...] | None = None
    bundle: str | None = None
    """Folder of the bundle, ``none``, or None for the one that comes with the model."""

    def find_bundle(self, checkpoint: Checkpoint) -> Bundle | None:
        """The bundle asked for, else the one that comes with the model, else None."""
        if self.bundle == NO_BUNDLE:
            return None
        if self.bundle is not None:
            return Bundle.read(Path(self.bundle).expanduser())
        for file in sorted(SHIPPED.glob(f"*/{CARD}")):
            known = models.registry().get(file.parent.name)
            if checkpoint.name.lower() == file.parent.name or (known and known.id == checkpoint.location):
                bundle = Bundle.read(file.parent)
                # What is lossless must be so against the model that was named, not one that was fine-tuned from it.
                return None if _method(self.spec.name).lossless and bundle.changes_weights else bundle
        return None

    def rule(self, context: ModelContext) -> ExitMethod:
        """The rule or drafter for a model; UsageError where it does not fit."""
        method = _method(self.spec.name).make(self.spec, context)
        assert method is not None
        return method


def parse(text: str) -> ExitRequest:
    """Read an ``--exit`` and check all that can be checked without a model; UsageError for what is wrong with it."""
    head, comma, rest = text.partition(",")
    name, colon, argument = head.partition(":")
    if name not in EXIT_RULES:
        raise UsageError(f"--exit {text}: {EXIT_RULES.unknown(name)}: write for example {', '.join(examples())}")
    rule = _method(name)
    options = _options(text, rest) if comma else {}
    allowed = rule.allowed(argument if colon else None)
    for key in options:
        if key not in allowed:
            raise UsageError(f"--exit {text}: {name} has no option {key!r}: there are {', '.join(allowed)}")
    skipped = _SKIPPED.get(kind := options.pop("kv", "deferred"))
    if skipped is None:
        raise UsageError(f"--exit {text}: kv={kind}: write {' or '.join(_SKIPPED)}")
    exits = _exits(text, options.pop("exits", None))
    bundle = options.pop("bundle", None)
    spec = RuleSpec(name, argument if colon else None, options)
    rule.make(spec, None)
    if skipped != "deferred" and (argument or "").startswith(LOSS):
        raise UsageError(f"--exit {text}: losses are calibrated with kv=deferred: leave kv out, or give a threshold")
    return ExitRequest(text, spec, skipped, exits, bundle)


def examples() -> list[str]:
    """How each rule is written, for messages and help."""
    return [_method(name).example for name in EXIT_RULES.names()]


def _method(name: str) -> type[ExitMethod]:
    method: type[ExitMethod] = EXIT_RULES.get(name)
    return method


def _options(text: str, rest: str) -> dict[str, str]:
    options: dict[str, str] = {}
    while rest:
        part, _, after = rest.partition(",")
        key, equals, value = part.partition("=")
        if key == "bundle" and equals:
            value, after = rest.removeprefix("bundle="), ""
        if not (key and equals and value):
            raise UsageError(f"--exit {text}: {part!r} is no option: write KEY=VALUE")
        if key in options:
            raise UsageError(f"--exit {text}: {key} is given twice")
        options[key] = value
        rest = after
    return options


def _exits(text: str, joined: str | None) -> tuple[int, ...] | None:
    if joined is None:
        return None
    parts = joined.split("+")
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--exit {text}: exits={joined}: write layers joined by +, for example exits=4+8+12")
    return tuple(int(part) for part in parts)


# ---------------------------------------------------------------- against a model


def model_context(request: ExitRequest, checkpoint: Checkpoint, language: str, device: str = "cpu") -> ModelContext:
    """What a rule must know of a model whose weights are on this machine; UsageError where the bundle does not fit it.

    Reads the model's configuration, its bundle and nothing heavy.
    """
    assert checkpoint.path is not None
    config = folders.config(checkpoint.path)
    depth, width = int(config["num_hidden_layers"]), int(config["hidden_size"])
    bundle = request.find_bundle(checkpoint)
    if bundle is not None and (bundle.card.base.layers, bundle.card.base.hidden_size) != (depth, width):
        raise UsageError(_other_model(bundle, checkpoint, f"{depth} layers of width {width}"))
    exits = request.exits or (bundle.card.exits if bundle else default_layout(depth).exits)
    layout = ExitLayout(depth, exits)
    if bundle is not None and bundle.card.head == "shortcut" and not set(exits) <= set(bundle.card.exits):
        raise UsageError(
            f"--exit {request.text}: heads in {bundle.folder} are for exits {listed(bundle.card.exits)}: leave there"
        )
    return ModelContext(
        model=checkpoint.name,
        revision=bundle.card.base.revision if bundle else dense_revision(checkpoint),
        hidden_size=width,
        layout=layout,
        bundle=bundle,
        language=language,
        device=device,
    )


def check_base(bundle: Bundle, checkpoint: Checkpoint) -> None:
    """UsageError unless the bundle is for this checkpoint, or for the one that it is known to be quantized from."""
    revision = dense_revision(checkpoint)
    if revision is not None and revision != bundle.card.base.revision:
        raise UsageError(_other_model(bundle, checkpoint, f"revision {_short(revision)}"))


def dense_revision(checkpoint: Checkpoint) -> str | None:
    """Revision of a checkpoint's dense weights; None for one that was quantized elsewhere and does not tell."""
    if checkpoint.quant == "none":
        return checkpoint.revision
    made = quantize.read_manifest(checkpoint.path) if checkpoint.path else None
    return made.base_revision if made else None


def _other_model(bundle: Bundle, checkpoint: Checkpoint, seen: str) -> str:
    base = bundle.card.base
    return (
        f"{bundle.folder} was made for {base.model} ({base.layers} layers of width {base.hidden_size}, revision "
        f"{_short(base.revision)}), not for {checkpoint.name} ({seen}): make one for it with `bench train`"
    )


def _short(revision: str) -> str:
    return revision.removeprefix("sha256:")[:12]
