"""Rows of X: input checks, minibatches, corruption, targets, and validation splits.

This package may import `_runtime` and the layers below it, see pyproject.toml. Its main class is
`Table` in `table`.
"""
