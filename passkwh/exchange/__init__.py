"""Runs in the forms of other programs, and samples of other programs as runs: a file a format.

Nothing here imports the libraries of those programs: their files are JSON, YAML, ZIP and tables, written and read with
what comes with Python and Arrow. The tests compare with the real packages (docs/exchange.md).
"""
