"""Dask collections: training in a cluster, and methods that are applied to each partition.

This package may import `_initialization` and the layers below it, see pyproject.toml. Its main
function is `trained` in `client`.
"""
