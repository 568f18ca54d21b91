"""The small files that come with a model's weights: what they say is read here, without weights and without torch."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from passkwh.errors import UsageError

CONFIG = "config.json"
SMALL_FILES = (
    CONFIG, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json",
    "model.safetensors.index.json", "pytorch_model.bin.index.json", "adapter_config.json",
)  # fmt: skip
"""What is fetched before a run is planned: some kilobytes that say what a model is."""


class ModelFiles:
    """A folder's small files, each read when it is first asked for.

    Raises:
        UsageError: a file is there and cannot be read, with its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; empty where there is no such file."""
        try:
            content = json.loads((self.folder / name).read_text("utf-8-sig"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(not_a_checkpoint(self.folder, f"its {name} cannot be read ({error})")) from None
        if not isinstance(content, dict):
            raise UsageError(not_a_checkpoint(self.folder, f"its {name} holds no JSON object"))
        return content

    def _table(self, content: dict[str, Any], name: str) -> dict[str, Any]:
        """An object inside a file's; empty where there is none. UsageError where something else stands there."""
        inner = content.get(name) or {}
        if not isinstance(inner, dict):
            raise UsageError(not_a_checkpoint(self.folder, f"{name} in its files is no JSON object"))
        return inner

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``; UsageError where it is missing or names no kind of model."""
        if not (self.folder / CONFIG).is_file():
            raise UsageError(not_a_checkpoint(self.folder, f"it has no {CONFIG}"))
        read = self.read(CONFIG)
        if "model_type" not in read:
            raise UsageError(not_a_checkpoint(self.folder, f"its {CONFIG} names no model_type"))
        return read

    @functools.cached_property
    def text_config(self) -> dict[str, Any]:
        """The configuration of the language model, which models of several kinds of input keep in a part of its own."""
        for key in ("text_config", "llm_config", "language_config", "thinker_config"):
            inner: Any = self.config.get(key)
            if isinstance(inner, dict):
                deeper = inner.get("text_config")
                return {**self.config, **inner, **(deeper if isinstance(deeper, dict) else {})}
        return self.config

    @functools.cached_property
    def index(self) -> dict[str, Any]:
        """The index of the weights' shards; empty where there is none."""
        return self.read("model.safetensors.index.json") or self.read("pytorch_model.bin.index.json")

    @functools.cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        """``tokenizer_config.json``."""
        return self.read("tokenizer_config.json")

    @functools.cached_property
    def chat_template(self) -> str | None:
        """The default chat template, in whichever of the three places; None where there is none."""
        try:
            return (self.folder / "chat_template.jinja").read_text("utf-8")
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise UsageError(
                not_a_checkpoint(self.folder, f"its chat_template.jinja cannot be read ({error})")
            ) from None
        for content in (self.tokenizer_config, self.read("chat_template.json")):
            template = content.get("chat_template")
            if isinstance(template, list):  # several, by name
                named = {str(entry.get("name")): entry.get("template") for entry in template if isinstance(entry, dict)}
                template = named.get("default") or next(iter(named.values()), None)
            if isinstance(template, str) and template:
                return template
        return None

    @functools.cached_property
    def tokens(self) -> dict[int, str]:
        """The tokens that the tokenizer's files name one by one (special and added ones): id -> text."""
        named = {}
        for number, entry in self._table(self.tokenizer_config, "added_tokens_decoder").items():
            if str(number).isdecimal() and (text := _text(entry)):
                named[int(number)] = text
        named |= {number: text for text, number in self.read("added_tokens.json").items() if isinstance(number, int)}
        return named

    @functools.cached_property
    def special_texts(self) -> frozenset[str]:
        """Texts of all tokens that the tokenizer's files name, as special, added or by a use of their own; those of
        ``tokenizer.json`` where it is here already."""
        named: list[Any] = []
        for content in (self.tokenizer_config, self.read("special_tokens_map.json")):
            for key in ("additional_special_tokens", "extra_special_tokens"):
                several = content.get(key) or ()
                named += several.values() if isinstance(several, dict) else several
            named += [entry for name, entry in content.items() if name.endswith("_token")]
        added = self.read("tokenizer.json").get("added_tokens")
        named += added if isinstance(added, list) else []
        return frozenset({*self.tokens.values(), *(text for one in named if (text := _text(one)))})

    @functools.cached_property
    def end_token_text(self) -> str | None:
        """The tokenizer's own end-of-sequence token."""
        return _text(self.tokenizer_config.get("eos_token")) or _text(
            self.read("special_tokens_map.json").get("eos_token")
        )

    @functools.cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """Tokens that end a sequence, as generation config and configuration name them, sorted."""
        named: set[int] = set()
        for content in (self.read("generation_config.json"), self.text_config):
            value = content.get("eos_token_id")
            named.update(entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, int))
        return tuple(sorted(named))

    @functools.cached_property
    def own_code(self) -> tuple[str, ...]:
        """Classes that the model's files bring as Python code of their own (``auto_map``), sorted; empty for most."""
        named: set[str] = set()
        for content in (self.read(CONFIG), self.tokenizer_config):
            for value in self._table(content, "auto_map").values():
                entries = value if isinstance(value, list) else [value]
                named.update(entry for entry in entries if isinstance(entry, str) and entry)
        return tuple(sorted(named))

    @functools.cached_property
    def context_tokens(self) -> int | None:
        """Tokens of prompt and completion that the model was made for; None where its configuration does not say."""
        for key in (
            "max_position_embeddings",
            "n_positions",
            "max_seq_len",
            "seq_length",
            "n_ctx",
            "max_sequence_length",
        ):
            value = self.text_config.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None


def not_a_checkpoint(folder: object, why: str) -> str:
    """What to say of a folder that lacks something."""
    return f"{folder} is not a checkpoint: {why}; save it with save_pretrained() or fetch it with `hf download`"


def _text(token: Any) -> str | None:
    """A token's text, written alone or as an object with its properties."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) and content else None
