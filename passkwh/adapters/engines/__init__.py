"""Programs that compute: each engine says whether it can run a checkpoint and loads it into a model."""
