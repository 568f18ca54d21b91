"""The agent as it is used: a small network that says, from a hidden state, how sure it is that a token may leave.

Plain torch, without the library it was trained with. Two files: ``STEM.safetensors`` (weights, and the mean and
standard deviation of each feature of the state) and ``STEM.json`` (what it was trained for, and the network's shape).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from passkwh.errors import UsageError
from passkwh.records import Option, Record

FORMAT = 1
CONTINUE, EXIT = 0, 1
"""The policy's actions (GREEN-CODE, IV-C), in the order of its outputs."""

Activation = Literal["tanh", "relu"]
_ACTIVATIONS: dict[str, type[torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


class PolicyMeta(Record):
    """What an agent was trained for, and how: it only means something for that model and those exits."""

    model_config = ConfigDict(populate_by_name=True)  # bundles keep the hash under the name "taught"

    model: Annotated[str, Field(description="name or hub id of the base checkpoint")]
    revision: Annotated[str, Field(description="ModelInfo.revision of the base checkpoint")]
    hidden_size: Annotated[int, Field(ge=1)]
    layers: Annotated[int, Field(ge=1, description="depth of the model")]
    exits: Annotated[tuple[int, ...], Field(description="layers after which a token may leave; the last is the depth")]
    head: Annotated[Literal["none", "shortcut"], Field(description="what stood between the exits and the LM head")]
    weights_hash: Annotated[
        str, Field(alias="taught", description="hash over the heads and the fine-tuning it was trained with, or empty")
    ]
    language: Annotated[str, Field(description="programming language of the files it was trained on")]
    trained_steps: Annotated[int, Field(ge=0)]
    hyperparameters: dict[str, Option] = Field(default_factory=dict, description="of the training, by name")
    seed: int = 0


class _Network(Record):
    hidden: tuple[int, ...]
    activation: Activation


class ExitPolicy(torch.nn.Module):
    """Standardised hidden state -> hidden layers -> logits of continuing and of leaving (GREEN-CODE, IV-B and VI-B).

    A new policy has the identity as standardisation and random weights. Whoever trains one fills ``mean`` and ``std``
    (each [hidden_size]) and the linear layers of ``net`` (index 0, 2, ...; the last gives the two logits).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, hidden_size: int, hidden: Sequence[int] = (64, 64), activation: Activation = "tanh") -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.activation: Activation = activation
        self.register_buffer("mean", torch.zeros(hidden_size))
        self.register_buffer("std", torch.ones(hidden_size))
        widths = [hidden_size, *self.hidden]
        parts: list[torch.nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            parts += [torch.nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
        self.net = torch.nn.Sequential(*parts, torch.nn.Linear(widths[-1], 2))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[n, hidden_size] in any float type -> [n, 2] in the policy's own."""
        logits: torch.Tensor = self.net((states.to(self.mean.dtype) - self.mean) / self.std)
        return logits

    def exit_probability(self, states: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """[n, hidden_size] -> [n]: softmax probability of leaving, its logits divided by ``temperature`` first."""
        return torch.softmax(self(states) / temperature, dim=-1)[:, EXIT]

    def save(self, path_stem: Path, meta: PolicyMeta) -> None:
        """Write ``path_stem``.safetensors and .json; ValueError where the meta's hidden_size is not the policy's."""
        if meta.hidden_size != self.mean.numel():
            raise ValueError(f"a policy for states of width {self.mean.numel()} cannot say {meta.hidden_size}")
        path_stem.parent.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, _file(path_stem, "safetensors"))
        network = _Network(hidden=self.hidden, activation=self.activation)
        card: dict[str, Any] = {"format": FORMAT, "network": network.model_dump(), **meta.model_dump(by_alias=True)}
        _file(path_stem, "json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path_stem: Path) -> tuple[ExitPolicy, PolicyMeta]:
        """The policy and what it was trained for; UsageError when a file is missing, damaged or of another format."""
        card_file, weights_file = _file(path_stem, "json"), _file(path_stem, "safetensors")
        try:
            card = json.loads(card_file.read_text("utf-8"))
            if card.pop("format") != FORMAT:
                raise UsageError(f"{card_file} is of another format than {FORMAT}: train the agent again")
            network = _Network.model_validate(card.pop("network"))
            meta = PolicyMeta.model_validate(card)
            policy = cls(meta.hidden_size, network.hidden, network.activation)
            policy.load_state_dict(load_file(weights_file))
        except (OSError, SafetensorError, RecursionError) as error:
            raise UsageError(f"the agent at {path_stem} cannot be read: {error}") from None
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"]))
            raise UsageError(f"{card_file} is not an agent's card: {key}: {problem['msg']}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{card_file} is not an agent's card: {error!r}") from None
        except RuntimeError as error:  # tensors of other names or shapes
            why = str(error).splitlines()[-1].strip()
            raise UsageError(f"{weights_file} does not fit {card_file}: {why}") from None
        return policy.eval().requires_grad_(False), meta


def _file(path_stem: Path, suffix: str) -> Path:
    return path_stem.with_name(f"{path_stem.name}.{suffix}")
