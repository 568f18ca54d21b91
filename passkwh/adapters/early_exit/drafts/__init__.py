"""Lossless exits: tokens are drafted cheaply, and the whole model checks several of them in one pass."""
