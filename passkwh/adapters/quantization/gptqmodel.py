"""Quantizations of GPTQModel, the library that makes and runs GPTQ and AWQ checkpoints."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from passkwh.adapters import device as devices
from passkwh.adapters.model_files import CONFIG, ModelFiles
from passkwh.adapters.quantization.base import Loading, Progress, Recipe
from passkwh.adapters.quantization.recognise import packed_as
from passkwh.errors import MissingExtra, UsageError
from passkwh.records import Option

DEFAULT_GROUP_SIZE = 128
"""Weights that share a scale and a zero point in published checkpoints."""
ATEN_GROUP_SIZES = (32, 64, 128, 256)
"""Of which torch's ``_weight_int4pack_mm_for_cpu`` knows."""

AWQ_OUTPUTS = 64
"""Outputs of a layer that AWQ takes together."""


@dataclass(frozen=True)
class GptqModelQuantization:
    """One format that GPTQModel reads and writes; it picks a kernel, which stands in the model's ``info``."""

    name: str
    summary: str
    method: str
    bits: int
    options: Mapping[str, Option] = field(default_factory=dict)
    """Settings of ``OPTIONS`` that were given for making one."""

    def with_options(self, options: Mapping[str, Option]) -> GptqModelQuantization:
        """The same, made with these settings (``OPTIONS``)."""
        return replace(self, options=checked_options(self.name, self.method, options))

    @property
    def bits_per_weight(self) -> float:
        """Packed bits, and of every group a scale in 16 bits and a zero point as wide as a weight."""
        size = int(self.options.get("group_size", DEFAULT_GROUP_SIZE))
        return self.bits + ((16 + self.bits) / size if size > 0 else 0.0)

    def missing(self) -> str | None:
        """The library's extra, where it is not installed."""
        if importlib.util.find_spec("gptqmodel") is None:
            return f"{self.name} needs pip install 'passkwh[quant]'"
        return None

    def recognises(self, packed: Mapping[str, Any]) -> bool:
        """By method and bits; AWQ has 4 where a file does not say."""
        bits = packed.get("bits", 4 if self.method == "awq" else None)
        return (packed.get("quant_method"), bits) == (self.method, self.bits)

    def load(self, folder: Path, how: Loading) -> Any:
        """The model that the library makes of transformers'. UsageError where no kernel of it runs these weights."""
        gptqmodel = library()
        place = {"device_map": dict(how.device_map)} if how.device_map else {"device": how.device}
        try:
            with _head_of_its_own(folder) as view:
                return gptqmodel.GPTQModel.load(
                    str(view),
                    backend=self._backend(gptqmodel, folder, how.device),
                    trust_remote_code=how.trust_remote_code,
                    **place,
                ).model
        except (ValueError, NotImplementedError, RuntimeError, AttributeError) as error:
            why = " ".join(str(error).split())[:240]
            raise UsageError(f"{folder} ({self.name}) cannot be run on {how.device} by gptqmodel: {why}") from error

    def describe(self, model: Any, folder: Path, device: str) -> dict[str, Option]:
        """Method, bits, group size, kernel and tool."""
        packed = packed_as(ModelFiles(folder)).config
        kernels = {type(part).__name__ for part in model.modules() if hasattr(part, "qweight") or hasattr(part, "bits")}
        about: dict[str, Option] = {
            "method": self.method,
            "bits": self.bits,
            "kernel": "+".join(sorted(kernels)) or "unknown",
            "tool": f"gptqmodel {library().__version__}",
        }
        size = packed.get("group_size", packed.get("q_group_size"))
        if size is not None:
            about["group_size"] = int(size)
        # What is usual is left out, so that keys of samples from before this was written hold.
        if packed.get("desc_act"):
            about["desc_act"] = True
        if packed.get("sym") is False and self.method == "gptq":
            about["sym"] = False
        if (form := str(packed.get("checkpoint_format") or packed.get("format") or "")) == "gptq_v2":
            about["format"] = form
        if packed.get("lm_head"):
            about["lm_head"] = True
        if self._rounded_again(folder, device):
            about["kernel_weights"] = "int8 per channel, rounded again from groups"
        return about

    def expected_s(self, source: Path) -> float | None:
        """About how long making it takes on this machine's processor; None with an accelerator, of unknown speed.

        From the number of weights, and what a product of matrices takes here now: calibration passes every text through
        every layer several times (AWQ: for each of its 20 scales), and GPTQ inverts a matrix for each layer.
        """
        return expected_s(source, self.method)

    def make(self, source: Path, target: Path, progress: Progress | None = None) -> Recipe:
        """Quantize on the standard library's own code (``calibration.py``), with the largest group size that fits."""
        import torch
        from transformers import AutoTokenizer

        from passkwh.adapters.quantization import calibration

        files = ModelFiles(source)
        size = int(self.options.get("group_size") or group_size(files.text_config))
        if self.method == "awq":
            check_awq_outputs(files.text_config)
        gptqmodel = library()
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        texts = calibration.standard_library(tokenizer, calibration.TEXTS[self.method])
        rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in texts.rows]
        settings = dict(self.options)
        if settings.get("desc_act") or size < 0:
            settings["act_group_aware"] = False  # the library's own way of ordering excludes this one
        if settings.get("lm_head") and files.text_config.get("tie_word_embeddings"):
            raise UsageError(
                f"--quant-option lm_head=true: {source.name} has one matrix for embeddings and head, which stays dense"
            )
        with scratch() as temporary:
            config = gptqmodel.QuantizeConfig(
                **(
                    settings
                    | {
                        "bits": self.bits,
                        "group_size": size,
                        "quant_method": self.method,
                        "offload_to_disk_path": str(temporary / "offload"),
                    }
                )
            )
            device = devices.pick("auto")
            # In float32 on every CPU, so that the same recipe gives the same weights; it is no slower than bfloat16.
            dtype = "float32" if device == "cpu" else devices.dtype_name(files.text_config, device)
            model = gptqmodel.GPTQModel.load(str(source), config, dtype=getattr(torch, dtype))
            if progress is not None:
                layers = int(files.text_config.get("num_hidden_layers", 0))
                model.layer_callback = _told(progress, layers)
                progress(0, layers)
            # By itself the library packs AWQ with a kernel for CUDA only.
            packing = gptqmodel.BACKEND.AWQ_TORCH if self.method == "awq" else gptqmodel.BACKEND.AUTO
            try:
                model.quantize(rows, batch_size=1, backend=packing)
                model.save(str(target))
            except (AssertionError, NotImplementedError, ValueError, RuntimeError) as error:
                why = " ".join(str(error).split())[:240] or "the widths of its layers do not fit"
                raise UsageError(f"{source.name} cannot be quantized to {self.name} by gptqmodel: {why}") from error
            del model
            gc.collect()
            _forget(target, str(temporary))
        if dtype != (stored := devices.stored_dtype(files.text_config)):
            _store_dense_parts_as(stored, target)
        tokenizer.save_pretrained(target)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return Recipe(
            method=self.method,
            tool=f"gptqmodel {gptqmodel.__version__}",
            group_size=size,
            calibration=texts.description,
            calibration_sha256=texts.sha256,
            libraries=("gptqmodel", "torch", "transformers"),
        )

    def _backend(self, gptqmodel: Any, folder: Path, device: str) -> Any:
        """Which kernel to ask for: the library's own choice, except on a CPU.

        For 8 bits its choice unpacks every weight for every token (about 1 token/s with SmolLM2 on 2 cores). Its int8
        kernel is faster than dense weights are, but has one scale a channel: weights are rounded to it once, at
        loading. For 4 bits its choice (of 7.7) is a kernel that it compiles first, for most of a minute on 2 cores;
        torch's own takes as long for a token (SmolLM2: 24 ms alone, 53 and 50 ms for six).
        """
        if self._rounded_again(folder, device):
            return gptqmodel.BACKEND.GPTQ_TORCH_INT8
        if device == "cpu" and self._fits_torchs_own(folder):
            return gptqmodel.BACKEND.GPTQ_TORCH_ATEN
        return gptqmodel.BACKEND.AUTO

    def _fits_torchs_own(self, folder: Path) -> bool:
        """Whether torch's product with 4 bits has the group size of these weights."""
        size = packed_as(ModelFiles(folder)).config.get("group_size")
        return (self.method, self.bits) == ("gptq", 4) and size in ATEN_GROUP_SIZES

    def _rounded_again(self, folder: Path, device: str) -> bool:
        """Whether its int8 kernel runs these weights: symmetric ones, in the first of the two formats."""
        on_cpu = device == "cpu" and sys.platform in ("linux", "win32")
        if not on_cpu or (self.method, self.bits) != ("gptq", 8):
            return False
        packed = packed_as(ModelFiles(folder)).config
        plain = packed.get("sym") is not False and not packed.get("desc_act") and not packed.get("lm_head")
        return plain and packed.get("checkpoint_format", packed.get("format")) != "gptq_v2"


@contextmanager
def _head_of_its_own(folder: Path) -> Iterator[Path]:
    """The folder, or a view of it whose configuration does not tie a packed LM head to the embeddings.

    Such a head has tensors of its own; tying it, transformers would look for a dense weight that is not there.
    """
    files = ModelFiles(folder)
    tied = bool(files.text_config.get("tie_word_embeddings", files.config.get("tie_word_embeddings")))
    if not (tied and packed_as(files).config.get("lm_head")):
        yield folder
        return
    untied = {**files.config, "tie_word_embeddings": False}
    if isinstance(inner := untied.get("text_config"), dict):
        untied["text_config"] = {**inner, "tie_word_embeddings": False}
    with tempfile.TemporaryDirectory(prefix="passkwh-") as place:
        for file in folder.iterdir():
            if file.name != CONFIG:
                (Path(place) / file.name).symlink_to(file.resolve())
        (Path(place) / CONFIG).write_text(json.dumps(untied), "utf-8")
        yield Path(place)


def checked_options(name: str, method: str, options: Mapping[str, Option]) -> dict[str, Option]:
    """Settings of a quantization that is made here, checked. UsageError for one that is not known or cannot be."""
    checked: dict[str, Option] = {}
    for key, value in options.items():
        if key not in OPTIONS[method]:
            raise UsageError(f"--quant-option {key}: {name} takes {', '.join(OPTIONS[method])}")
        kind, meaning = OPTIONS[method][key]
        size = key == "group_size" and isinstance(value, int) and (value == -1 or (value > 0 and value % 32 == 0))
        choice = isinstance(kind, tuple) and value in kind
        if not (size or choice or (kind is bool and isinstance(value, bool))):
            raise UsageError(f"--quant-option {key}={value}: {meaning}")
        checked[key] = value
    return checked


_SIZE = (int, "give a multiple of 32, or -1 for one scale a row")
OPTIONS: dict[str, dict[str, tuple[object, str]]] = {
    "gptq": {
        "group_size": _SIZE,
        "desc_act": (bool, "true quantizes columns in the order of their activations, false in their own"),
        "sym": (bool, "true for scales around zero, false with zero points"),
        "format": (("gptq", "gptq_v2"), "gptq, or gptq_v2, which keeps zero points as they are"),
        "lm_head": (bool, "true quantizes the LM head, too"),
    },
    "awq": {"group_size": _SIZE, "sym": (bool, "true for scales around zero, false with zero points")},
}
"""What can be set, by method: what it takes, and what to say to anything else."""


def expected_s(source: Path, method: str) -> float | None:
    """See ``GptqModelQuantization.expected_s``."""
    import time

    import torch

    from passkwh.adapters.quantization import calibration
    from passkwh.adapters.weights import size_of, tensors

    if torch.accelerator.is_available():
        return None
    parameters = size_of(tensors(source), ModelFiles(source), None).parameters
    if parameters is None:
        return None
    square = torch.ones(512, 512)
    square @ square
    start = time.perf_counter()
    for _ in range(4):
        square @ square
    flop_per_s = 4 * 2 * 512**3 / (time.perf_counter() - start)
    work_s = PASSES[method] * 2 * parameters * calibration.TEXTS[method] * calibration.TOKENS / flop_per_s
    return work_s + LAYER_S * int(ModelFiles(source).text_config.get("num_hidden_layers", 0))


LAYER_S = 2.0
"""What a layer costs whatever its width: taking it apart and packing it."""

PASSES = {"gptq": 6.0, "awq": 24.0}
"""Passes of the calibration texts through all weights that making one comes to, all its work counted (SmolLM2-135M on
two cores of an AMD EPYC)."""


def _store_dense_parts_as(dtype: str, folder: Path) -> None:
    """Bring what is not packed into the base's own number format, where calibration computed in a wider one."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    kind = getattr(torch, dtype)
    size = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            metadata = file.metadata()
        packed = {name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")}
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and name.rpartition(".")[0] not in packed:
                tensors[name] = tensor.to(kind)
        beside = path.with_suffix(".new")  # tensors are read from the file itself for as long as it stands
        save_file(tensors, beside, metadata)
        beside.replace(path)
        size += sum(tensor.nbytes for tensor in tensors.values())
    for path in folder.glob("*.safetensors.index.json"):
        index = json.loads(path.read_text("utf-8"))
        index["metadata"]["total_size"] = size
        path.write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    for level in (config, config.get("text_config")):
        if isinstance(level, dict) and "dtype" in level:
            level["dtype"] = dtype
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _forget(folder: Path, place: str) -> None:
    """Take a temporary place out of the configurations: the same weights, made twice, must be of one revision."""
    for file in folder.glob("*.json"):
        content = json.loads(file.read_text("utf-8"))
        if place in json.dumps(content):
            file.write_text(json.dumps(_without(content, place), indent=2) + "\n", "utf-8")


def _without(content: Any, place: str) -> Any:
    if not isinstance(content, dict):
        return content
    kept = {name: value for name, value in content.items() if not (isinstance(value, str) and place in value)}
    return {name: _without(value, place) for name, value in kept.items()}


def _told(progress: Progress, layers: int) -> Any:
    """The library's callback of a layer that is done, as our progress."""
    done: set[int] = set()

    def layer_complete(layer_idx: int, submodule_finalized: bool) -> None:
        if layer_idx not in done:  # a layer is told of twice, when it is done and when its parts are packed
            done.add(layer_idx)
            progress(len(done), layers)

    return layer_complete


def group_size(config: dict[str, Any]) -> int:
    """The largest of 128, 64 and 32 that divides every width weights are grouped along; UsageError when none does."""
    widths = {int(config[key]) for key in ("hidden_size", "intermediate_size", "ffn_dim") if config.get(key)}
    for size in (128, 64, 32):
        if all(width % size == 0 for width in widths):
            return size
    raise UsageError(f"a model with widths {sorted(widths)} cannot be quantized: 32 must divide them")


def check_awq_outputs(config: Mapping[str, Any]) -> None:
    """UsageError for a width of outputs that is no multiple of 64.

    The library searches what to clip for 64 outputs at a time. With others it asserts in a thread of its own, and that
    ends the process.
    """
    named = ("hidden_size", "intermediate_size", "moe_intermediate_size", "ffn_dim")
    widths = {int(config[key]) for key in named if config.get(key)}
    heads = int(config.get("num_attention_heads") or 1)
    head_size = int(config.get("head_dim") or int(config.get("hidden_size") or 0) // heads)
    widths.add(head_size * int(config.get("num_key_value_heads") or heads))
    if wrong := sorted(width for width in widths if width % AWQ_OUTPUTS):
        raise UsageError(
            f"a model with layers of {', '.join(map(str, wrong))} outputs cannot be quantized to awq: {AWQ_OUTPUTS} "
            "must divide them: use gptq-int4"
        )


def library() -> Any:
    """The imported ``gptqmodel``; MissingExtra when it is not installed. Call within ``silence_libraries()``."""
    # On a machine with few cores it refuses to load unless told how many workers it may have.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count() or 1))
    # It would compile its packing first, for 20 to 30 s on 2 cores; in Python that gives the same, as fast.
    os.environ.setdefault("GPTQMODEL_DISABLE_PACK_EXT", "1")
    try:
        import gptqmodel
    except ImportError as error:
        if error.name and error.name.split(".")[0] not in ("gptqmodel", "logbar", "tokenicer", "device_smi"):
            raise
        raise MissingExtra("quantization with GPTQ or AWQ", "quant") from None
    return gptqmodel


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for what the library writes while quantizing: it would leave logs in the working directory."""
    from gptqmodel import DEVICE_THREAD_POOL
    from gptqmodel.looper import loop_processor

    with tempfile.TemporaryDirectory(prefix="passkwh-") as folder:
        before = loop_processor._PROJECT_LOG_DIR
        loop_processor._PROJECT_LOG_DIR = Path(folder) / "logs"
        try:
            yield Path(folder)
        finally:
            DEVICE_THREAD_POOL.wait()  # after a failure its threads still write there, and abort where they cannot
            loop_processor._PROJECT_LOG_DIR = before
