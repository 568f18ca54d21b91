"""What ``--model`` may name besides a registered model and a folder: hub ids with revision and file, hub URLs, GGUF."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from passkwh.errors import UsageError

_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*"
_NAME = re.compile(rf"(?P<id>{_ID})(?:@(?P<revision>[^:\s]+))?(?::(?P<rest>\S+))?")
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_PARTS = ("tree", "blob", "resolve", "raw", "commit")
_GGUF_QUANT = re.compile(r"(?i)(?:i?q\d\w*|f16|bf16|f32|mxfp4\w*)")
"""What llama.cpp's tools take after the colon: a name of its quantizations, as Q4_K_M."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".onnx")


@dataclass(frozen=True)
class HubName:
    """A model of the hub: ``owner/name[@revision][:file.gguf]``."""

    id: str
    revision: str | None = None
    """Branch, tag or commit; None for the main branch."""
    file: str | None = None
    """One GGUF file of the repository; None for a checkpoint of transformers."""

    def gguf(self) -> str:
        """The file as ``passkwh.adapters.gguf`` takes it: ``OWNER/NAME[@REVISION]:FILE.gguf``."""
        return f"{self.id}{'' if self.revision is None else f'@{self.revision}'}:{self.file}"


def parse(text: str) -> HubName | None:
    """Read ``owner/name``, ``owner/name@revision``, ``owner/name:revision``, ``owner/name[@revision]:file.gguf`` or a
    URL of the hub; None for other text.

    Raises:
        UsageError: another single file is named, or a URL that is no model's.

    Example:
        >>> parse("https://huggingface.co/Qwen/Qwen3-8B/tree/main")
        HubName(id='Qwen/Qwen3-8B', revision='main', file=None)
        >>> parse("owner/name@v1.0")
        HubName(id='owner/name', revision='v1.0', file=None)
    """
    if (url := _of_url(text)) is not None:
        return url
    match = _NAME.fullmatch(text.removeprefix("hf://").removeprefix("hf.co/"))
    if match is None:
        return None
    rest = match["rest"]
    if rest is None:
        return HubName(match["id"], match["revision"])
    if rest.lower().endswith(".gguf"):
        return HubName(match["id"], match["revision"], rest)
    if _GGUF_QUANT.fullmatch(rest):
        raise UsageError(
            f"{text}: name the file of that quantization, as OWNER/NAME:FILE.gguf; the hub's page lists them"
        )
    if rest.lower().endswith(_WEIGHTS):
        raise UsageError(f"{text}: transformers loads a checkpoint whole: leave out :{rest}")
    if match["revision"] is not None:
        raise UsageError(f"{text}: after the revision may stand only :FILE.gguf, not :{rest}")
    return HubName(match["id"], rest)


def short(text: str) -> str:
    """A model's name without owner, revision and place, for names of folders.

    Example:
        >>> short("https://huggingface.co/Qwen/Qwen3-8B/tree/main"), short("owner/name@refs/pr/3"), short("/a/b")
        ('Qwen3-8B', 'name', 'b')
    """
    if not Path(text).expanduser().exists():
        try:
            if (name := parse(text)) is not None and name.file is None:
                return name.id.split("/")[1]
        except UsageError:
            pass  # resolving it says what is wrong
    return Path(text.rpartition("#")[2]).name


def _of_url(text: str) -> HubName | None:
    """The model of a URL; None for what is no URL."""
    scheme, separator, _ = text.partition("://")
    if not separator or scheme not in ("http", "https"):
        return None
    from huggingface_hub import constants

    parts = urlsplit(text)
    if parts.netloc not in (*_HOSTS, urlsplit(constants.ENDPOINT).netloc):
        raise UsageError(f"{text} is no page of {constants.ENDPOINT}: name a model of the hub, or openai:URL#MODEL")
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    wanted = f"{text} is no model's page: write https://huggingface.co/OWNER/NAME or OWNER/NAME"
    if len(path) < 2 or path[0] in ("datasets", "spaces", "api", "papers") or not re.fullmatch(_ID, "/".join(path[:2])):
        raise UsageError(wanted)
    name, rest = "/".join(path[:2]), path[2:]
    if not rest:
        return HubName(name)
    if rest[0] not in _PARTS or len(rest) == 1:
        raise UsageError(wanted)
    # A revision is one part of a path, but for the hub's own refs/pr/3 and refs/convert/parquet.
    length = 3 if rest[1] == "refs" and len(rest) > 3 else 1
    revision, file = "/".join(rest[1 : 1 + length]), "/".join(rest[1 + length :])
    if file.lower().endswith(".gguf"):
        return HubName(name, None if revision == "main" else revision, file)
    return HubName(name, revision)
