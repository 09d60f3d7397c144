"""The network before training: statistics of the table, PCA, bounds and the first weights.

May import `_networks` and the layers below it, see pyproject.toml.
Start with `first_network` in `initial_network`.
"""
