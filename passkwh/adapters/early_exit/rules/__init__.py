"""When a token leaves: one file a rule. The contract is in ``base.py``, the names in ``EXIT_RULES``."""
