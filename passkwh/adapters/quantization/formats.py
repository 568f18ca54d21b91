"""The formats that publishers pack checkpoints in and that transformers loads (``loaded.py``)."""

from __future__ import annotations

from passkwh.adapters.quantization.loaded import LoadedFormat

FP8 = LoadedFormat(
    "fp8", "8-bit floats, as DeepSeek and Qwen publish them; loaded, not made", "fp8",
    wants="an NVIDIA GPU of compute capability 8.9 or more (Ada, Hopper, Blackwell) or an Intel GPU",
)  # fmt: skip
MXFP4 = LoadedFormat(
    "mxfp4", "4-bit floats in blocks of 32, as gpt-oss is published; loaded, not made", "mxfp4",
    wants="pip install kernels, and Triton 3.4 on an NVIDIA GPU of compute capability 7.5 or more",
)  # fmt: skip
NVFP4 = LoadedFormat(
    "nvfp4", "4-bit floats in blocks of 16, as NVIDIA ModelOpt writes them; loaded, not made", "nvfp4",
    wants="an NVIDIA GPU of compute capability 10 or more (Blackwell)",
)  # fmt: skip
COMPRESSED_TENSORS = LoadedFormat(
    "compressed-tensors", "what llm-compressor writes, labelled by its scheme, as -w4a16; loaded, not made",
    package="compressed-tensors",
)  # fmt: skip
AUTO_ROUND = LoadedFormat(
    "auto-round", "what Intel's AutoRound writes, labelled by its bits, as -int4; loaded, not made",
    package="auto-round",
)  # fmt: skip
HQQ = LoadedFormat(
    "hqq", "half-quadratic quantization; loaded, not made", "hqq", package="hqq", wants="an NVIDIA GPU",
)  # fmt: skip
