"""Initialisation of the network: statistics of the table, PCA, bounds and initial weights.

This package may import `_networks` and the layers below it, see pyproject.toml.
Start with `first_network` in `initial_network`.
"""
