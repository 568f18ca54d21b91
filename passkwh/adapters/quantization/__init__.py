"""How weights are packed: one object a quantization (``base.py``), made once into the cache (``make.py``)."""
