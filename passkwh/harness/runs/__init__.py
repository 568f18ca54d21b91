"""Run folders: what a run leaves on disk, and its samples as one table."""
