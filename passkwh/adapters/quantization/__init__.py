"""How weights are packed: one object a quantization, with how it is loaded and how it is made."""
