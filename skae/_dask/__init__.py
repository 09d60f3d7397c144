"""Dask collections: training in a cluster, and methods that run partition by partition.

May import `_initialization` and the layers below it, see pyproject.toml.
Start with `trained` in `client`.
"""
