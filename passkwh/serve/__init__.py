"""The completion endpoint for editors: a model of ours behind the interfaces that editors and clients speak."""
