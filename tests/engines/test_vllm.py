"""A real vLLM, where `bench setup vllm` has been done or PASSKWH_VLLM_PYTHON names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from passkwh import adapters
from passkwh.adapters import embedded
from passkwh.adapters.engines import vllm
from passkwh.adapters.engines.base import Decoding
from passkwh.prompts import ChatPrompt, TextPrompt

PROMPTS = [ChatPrompt("Write add(a, b) in Python.", answer="```python\n"), TextPrompt("def fibonacci(n):\n")]


@pytest.mark.slow
def test_it_reads_the_same_prompts_as_transformers_and_writes_the_same(tmp_path: Path) -> None:
    if reason := vllm.ENGINE.missing():
        pytest.skip(reason)
    if not embedded.converted_folder(embedded.revision()).is_dir():
        pytest.skip("the embedded model has not been converted yet")
    checkpoint = adapters.resolve("smollm2-135m-instruct")
    reference = adapters.load(checkpoint)
    served = adapters.load(checkpoint, engine="vllm", parallel=2, max_tokens=128, log=tmp_path / "vllm.log")
    try:
        # More stop strings than the four that it takes by itself.
        decoding = Decoding(12, stop=tuple(f"<end{number}>" for number in range(9)))
        for prompt in PROMPTS:
            one, other = (model.generate([prompt], decoding, [0])[0] for model in (served, reference))
            assert served.render(prompt) == reference.render(prompt)
            assert (one.prompt_tokens, one.completion_tokens) == (other.prompt_tokens, other.completion_tokens)
            # Kernels round differently, so that after some tokens another one may be the most likely.
            assert one.text[:8] == other.text[:8]
            assert one.first_token_ns is not None
            assert one.cached_tokens in (0, None)
        both = served.generate(PROMPTS, decoding, [0, 0])
        assert [len(completion.text) > 0 for completion in both] == [True, True]
        assert served.info.place == "process"
        assert "--no-enable-prefix-caching" in str(served.info.engine_info["command"])
    finally:
        served.close()
        reference.close()
