"""Early exit over runs: each configuration, what it saves against which baseline, what deciding costs, the oracle."""
