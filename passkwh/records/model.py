"""The checkpoint that was run and how it was made callable."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from passkwh.records.base import Option, Record


class ModelInfo(Record):
    """The checkpoint that was run and how it was made callable."""

    name: Annotated[str, Field(description="as asked for")]
    adapter: Annotated[str, Field(description="base, instruct, gptq-int8, gptq-int4, awq, openai, openai-chat")]
    engine: Annotated[str, Field(description="name in the registry of engines")]
    chat: Annotated[bool, Field(description="prompts go through the model's chat template")]
    checkpoint: Annotated[str, Field(description="hub id, name of the local folder, or URL#MODEL of an endpoint")]
    revision: Annotated[str, Field(description="hub commit, content hash of a local folder, or unknown (an endpoint)")]
    quant: str = "none"
    quantization: Annotated[
        dict[str, Option], Field(description="bits, group size, method, tool version, kernel; empty when none")
    ] = {}
    early_exit: Annotated[
        dict[str, Option], Field(description="rule, exits, bundle and agent; empty where tokens run through all layers")
    ] = {}
    dtype: str
    device: str
    engine_info: Annotated[
        dict[str, Option],
        Field(description="version, command line and options of a server that the run started; empty without one"),
    ] = {}
    prompting: Annotated[
        dict[str, Option],
        Field(description="how chats are put to it: template date, thinking, the answer's beginning; empty for a base"),
    ] = {}
    parameters: Annotated[
        int | None,
        Field(ge=0, le=2**62, description="number of weights, before quantization packs them; None of an endpoint"),
    ]
    active_parameters: Annotated[
        int | None, Field(ge=0, description="weights that one token goes through, of a mixture of experts")
    ] = None
    context_tokens: Annotated[int | None, Field(ge=1, description="prompt and completion that it was made for")] = None
    end_tokens: Annotated[tuple[int, ...], Field(description="tokens that end a sequence")] = ()
    reasoning: Annotated[
        str | None, Field(description="the template's switch of its thinking phase, or always; None without a phase")
    ] = None
    read: Annotated[
        dict[str, str], Field(description="what says so, in words: of prompt form, quantization, LoRA")
    ] = {}
    overridden: Annotated[dict[str, str], Field(description="what was given instead of what the files say")] = {}
    guesses: Annotated[tuple[str, ...], Field(description="what the files left open")] = ()
    gpus: Annotated[
        tuple[str, ...] | None, Field(description="UUIDs of the GPUs that hold weights; None where that is not known")
    ] = None
    place: Annotated[
        Literal["process", "machine", "elsewhere"],
        Field(
            description="where it computes: in the run's processes, in another program on this machine, or elsewhere"
        ),
    ] = "process"

    @model_validator(mode="before")
    @classmethod
    def _engine_of_the_first_edition(cls, content: Any) -> Any:
        if isinstance(content, dict) and "engine" not in content:
            served = str(content.get("adapter", "")).startswith("openai")
            return {**content, "engine": "endpoint" if served else "transformers"}
        return content
