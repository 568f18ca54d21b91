"""Families of models that can be left early, a file a description. A new one is a file and a registry line."""

from passkwh.adapters.early_exit.families.base import AttentionKind, ModelParts, Rotation, model_parts

__all__ = ["AttentionKind", "ModelParts", "Rotation", "model_parts"]
