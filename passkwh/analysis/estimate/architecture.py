"""What a model's ``config.json`` says about its weights and caches.

Covers decoders of the Llama kind (Llama, Mistral, Qwen2, Qwen3, SmolLM, ...) with grouped-query attention and gated
feed-forward blocks, mixtures of experts (Mixtral, Qwen-MoE, DeepSeek), and DeepSeek's multi-head latent attention.
Counts are of the matrices and vectors these families have; they equal the checkpoints' to the last weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from passkwh.analysis.data_files import data_file
from passkwh.errors import UsageError

KNOWN_TYPES = (
    "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3", "smollm3",
)  # fmt: skip
_QKV_BIAS = ("qwen2", "qwen2_moe")
_QK_NORM = ("qwen3", "qwen3_moe")


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, section 2.1): keys and values are rebuilt from a small latent."""

    kv_rank: int
    q_rank: int | None
    nope_dim: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the feed-forward block of some layers."""

    routed: int
    per_token: int
    intermediate: int
    shared_intermediate: int
    """Total width of the experts every token goes through; 0 for none."""
    shared_gate: bool
    layers: int
    """How many layers have experts; the others are dense."""
    router_bias: bool = False


@dataclass(frozen=True)
class Architecture:
    """Sizes of a decoder."""

    name: str
    model_type: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    latent: LatentAttention | None
    experts: Experts | None
    notes: tuple[str, ...] = ()

    @property
    def embedding(self) -> int:
        """Weights of the input embedding, v m (thesis, eq. 3.4)."""
        return self.vocab * self.hidden

    @property
    def head(self) -> int:
        """Weights of the output layer, whether or not they are the embedding's (eq. 3.13 without a bias)."""
        return self.vocab * self.hidden

    @cached_property
    def attention_matrices(self) -> int:
        """Weights of the projections of one layer's attention (eq. 3.7, for grouped or latent keys and values)."""
        m, h = self.hidden, self.heads
        if self.latent is None:
            return m * self.head_dim * (2 * h + 2 * self.kv_heads)
        a = self.latent
        query_dim = h * (a.nope_dim + a.rope_dim)
        query = m * query_dim if a.q_rank is None else m * a.q_rank + a.q_rank * query_dim
        keys_values = m * (a.kv_rank + a.rope_dim) + a.kv_rank * h * (a.nope_dim + a.value_dim)
        return query + keys_values + h * a.value_dim * m

    @cached_property
    def attention_vectors(self) -> int:
        """Biases and norms inside one layer's attention."""
        if self.latent is not None:
            return self.latent.kv_rank + (self.latent.q_rank or 0)
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        return biases + (self.hidden if self.output_bias else 0) + (2 * self.head_dim if self.qk_norm else 0)

    def mlp(self, width: int) -> int:
        """Weights of a gated feed-forward block: three matrices (the thesis's eq. 3.9 has two, and squares them)."""
        return 3 * self.hidden * width

    def layer_matrices(self, expert: bool, experts_used: float | None = None) -> float:
        """Weights of one layer's matrices; of ``experts_used`` of its routed experts, all when None."""
        if not expert or self.experts is None:
            return self.attention_matrices + self.mlp(self.intermediate)
        e = self.experts
        used = e.routed if experts_used is None else experts_used
        router = self.hidden * e.routed + (self.hidden if e.shared_gate else 0)
        return self.attention_matrices + used * self.mlp(e.intermediate) + self.mlp(e.shared_intermediate) + router

    def body(self, experts_used: float | None = None, layers: float | None = None) -> float:
        """Matrix weights of the first ``layers`` layers (all when None), embedding and output layer not included."""
        depth = self.layers if layers is None else layers
        sparse = self.experts.layers if self.experts else 0
        dense = min(depth, self.layers - sparse)
        return dense * self.layer_matrices(False) + (depth - dense) * self.layer_matrices(True, experts_used)

    @property
    def vectors(self) -> int:
        """Biases and norm weights of the whole model."""
        biases = 2 * self.intermediate + self.hidden if self.mlp_bias else 0
        router = self.experts.layers * self.experts.routed if self.experts and self.experts.router_bias else 0
        return self.layers * (2 * self.hidden + self.attention_vectors + biases) + self.hidden + router

    @property
    def parameters(self) -> int:
        """All weights (eq. 3.19 and 3.22, corrected)."""
        return int(self.body()) + self.vectors + self.embedding + (0 if self.tied else self.head)

    @property
    def active_parameters(self) -> int:
        """Weights that one token meets: all of a dense model's, few of a mixture's."""
        used = self.experts.per_token if self.experts else None
        return int(self.body(used)) + self.vectors + self.embedding + (0 if self.tied else self.head)

    @property
    def cache_values(self) -> int:
        """Numbers the KV cache keeps per token (eq. 3.23 with layers, not parameters, and heads x head size)."""
        if self.latent is not None:
            return self.layers * (self.latent.kv_rank + self.latent.rope_dim)
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def attention_width(self) -> float:
        """Multiply-adds per layer and context token of scores and of mixing values."""
        if self.latent is not None:
            return self.heads * (self.latent.nope_dim + self.latent.rope_dim + self.latent.value_dim)
        return 2 * self.heads * self.head_dim


@dataclass(frozen=True)
class KnownModel:
    """A model whose configuration is part of this package."""

    name: str
    nominal_parameters: float
    """As its name says, which is what the thesis's tables compute with."""
    source: str
    architecture: Architecture


def find_architecture(model: str) -> tuple[Architecture, float | None]:
    """Architecture by name, or by path of a config.json or the folder of one; and the nominal parameters if known.

    Names may carry an organisation and a tuning (``Qwen/Qwen2.5-7B-Instruct``). Raises UsageError when unknown.
    """
    path = Path(model)
    file = path / "config.json" if path.is_dir() else path
    if file.is_file():
        return from_file(file), None
    known = known_model(model)
    if known is not None:
        return known.architecture, known.nominal_parameters
    names = ", ".join(dict.fromkeys(m.name for m in known_models().values()))
    raise UsageError(f"--model {model}: neither a config.json nor a model known here ({names})")


def known_model(name: str) -> KnownModel | None:
    """A model of the data file by its name, with or without an organisation and a tuning; None when it is not there."""
    plain = name.rstrip("/").rsplit("/", 1)[-1].lower()
    for tuning in ("-instruct", "-base", "-chat", "-it"):
        plain = plain.replace(tuning, "")
    return known_models().get(plain)


def known_models() -> dict[str, KnownModel]:
    """The models of the data file, by lower-case name and alias."""
    result: dict[str, KnownModel] = {}
    for entry in data_file("models.json"):
        architecture = from_config(entry["config"], entry["name"])
        model = KnownModel(entry["name"], entry["nominal_parameters"], entry["source"], architecture)
        result |= {name.lower(): model for name in (entry["name"], *entry["aliases"])}
    return result


def from_file(path: Path) -> Architecture:
    """Read a config.json. Raises UsageError when it is not one."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} holds no JSON object")
    return from_config(config, path.parent.name or path.name, str(path))


def from_config(config: Mapping[str, Any], name: str, where: str = "the configuration") -> Architecture:
    """Read a configuration. Raises UsageError naming the first key that is missing."""
    model_type = str(config.get("model_type", ""))

    def number(key: str) -> int:
        value = config.get(key)
        if not isinstance(value, int) or value <= 0:
            raise UsageError(f"{where} has no usable {key} ({value!r}); give a decoder's config.json")
        return value

    heads, hidden = number("num_attention_heads"), number("hidden_size")
    attention_bias = bool(config.get("attention_bias", False))
    notes = () if model_type in KNOWN_TYPES else (f"model_type {model_type!r} is not known: taken for Llama-like",)
    return Architecture(
        name=name,
        model_type=model_type,
        hidden=hidden,
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        intermediate=number("intermediate_size"),
        vocab=number("vocab_size"),
        context=int(config.get("max_position_embeddings") or 0),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=attention_bias or model_type in _QKV_BIAS,
        output_bias=attention_bias,
        mlp_bias=bool(config.get("mlp_bias", False)),
        qk_norm=model_type in _QK_NORM,
        latent=_latent(config),
        experts=_experts(config, model_type),
        notes=notes,
    )


def _latent(config: Mapping[str, Any]) -> LatentAttention | None:
    if not config.get("kv_lora_rank"):
        return None
    q_rank = config.get("q_lora_rank")
    return LatentAttention(
        kv_rank=int(config["kv_lora_rank"]),
        q_rank=None if q_rank is None else int(q_rank),
        nope_dim=int(config["qk_nope_head_dim"]),
        rope_dim=int(config["qk_rope_head_dim"]),
        value_dim=int(config["v_head_dim"]),
    )


def _experts(config: Mapping[str, Any], model_type: str) -> Experts | None:
    routed = config.get("n_routed_experts") or config.get("num_local_experts") or config.get("num_experts")
    if not routed:
        return None
    layers = int(config["num_hidden_layers"])
    width = int(config.get("moe_intermediate_size") or config["intermediate_size"])
    shared = int(config.get("n_shared_experts") or 0) * width or int(config.get("shared_expert_intermediate_size") or 0)
    first, step = int(config.get("first_k_dense_replace") or 0), int(config.get("moe_layer_freq") or 1)
    if model_type.endswith("_moe"):
        step = int(config.get("decoder_sparse_step") or 1)
        dense = set(config.get("mlp_only_layers") or [])
        sparse = sum(i not in dense and (i + 1) % step == 0 for i in range(layers))
    else:
        sparse = sum(i >= first and i % step == 0 for i in range(layers))
    return Experts(
        routed=int(routed),
        per_token=int(config.get("num_experts_per_tok") or 1),
        intermediate=width,
        shared_intermediate=shared,
        shared_gate=model_type == "qwen2_moe",
        layers=sparse,
        router_bias=model_type == "deepseek_v3",
    )
