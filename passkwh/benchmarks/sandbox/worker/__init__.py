"""The part of the evaluator that runs in the benchmark's environment: standard library only, Python 3.9 or newer.

It is started by path, without installing anything there, and speaks JSON lines with the controller.
"""
