"""Teaches a model to be left early: fine-tuning, shortcut heads, recordings, and the agent trained on them."""
