"""The engine ``transformers``: weights in this process, on a GPU or a CPU. Its model is ``transformers_model.py``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from passkwh.adapters import memory
from passkwh.adapters.checkpoint import Checkpoint
from passkwh.adapters.device import bound_kernel_caches, listed
from passkwh.adapters.engines.base import LoadOptions
from passkwh.adapters.model_files import ModelFiles
from passkwh.adapters.quantization.base import ChecksDevices
from passkwh.adapters.quantization.lookup import quantization
from passkwh.adapters.quantization.recognise import packed_as
from passkwh.adapters.thinking import check, reasoning_of

if TYPE_CHECKING:
    from passkwh.adapters.early_exit.request import ExitRequest
    from passkwh.adapters.engines.transformers_model import TransformersModel


class TransformersEngine:
    """Dense checkpoints, base and instruct, and those of every quantization that is registered."""

    summary = "Hugging Face transformers in this process, on a GPU or a CPU; the only one that leaves layers early"

    quantizes_while_loading = True

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """It runs every checkpoint whose quantization's library is installed and whose kernels run on this machine."""
        if find_spec("torch") is None or find_spec("transformers") is None:
            return "transformers is not installed: pip install 'passkwh[run]'"
        if checkpoint.quant == "none":
            return None
        packing = quantization(checkpoint.quant)
        if missing := packing.missing():
            return missing
        if not isinstance(packing, ChecksDevices):
            return None
        packed = packed_as(ModelFiles(checkpoint.files)).config if checkpoint.files and checkpoint.prequantized else {}
        return packing.refusal(packed, listed("auto")[0])

    def check_exit(self, checkpoint: Checkpoint, exit: ExitRequest, language: str) -> None:
        """UsageError for a rule that does not fit the model, where its weights are here."""
        from passkwh.adapters import early_exit

        early_exit.check(exit, checkpoint, language)

    def check_thinking(self, checkpoint: Checkpoint, thinking: str) -> None:
        """UsageError for a model whose template has no such switch, where its files are here."""
        if checkpoint.path is not None or checkpoint.reasoning is not None:
            check(reasoning_of(checkpoint), thinking, checkpoint.name)

    def memory_needed(self, checkpoint: Checkpoint, batch_size: int, max_tokens: int, device: str) -> int:
        """Bytes for weights, key-value cache and margin."""
        return memory.memory_needed(checkpoint, batch_size, max_tokens, device)

    def load(self, checkpoint: Checkpoint, options: LoadOptions) -> TransformersModel:
        """The model on its device; with an early-exit rule, one whose tokens leave by that."""
        bound_kernel_caches()
        if options.exit is not None:
            from passkwh.adapters.early_exit.model import EarlyExitModel

            return EarlyExitModel(checkpoint, options.device, options.exit, options.language, options.thinking)
        from passkwh.adapters.engines.transformers_model import TransformersModel

        return TransformersModel(checkpoint, options.device, options.thinking)


ENGINE = TransformersEngine()
