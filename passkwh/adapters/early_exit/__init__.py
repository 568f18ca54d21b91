"""Models that may leave before their last layer: exit layout, heads, rules, decoding and training."""
