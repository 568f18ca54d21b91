"""Statistics over runs: pure functions on tables, from pass@k to intervals, tests, frontiers and estimates."""
