"""The one metered runner: run folders, the runner, the host, the meter."""
