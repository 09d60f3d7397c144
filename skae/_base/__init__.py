"""Base classes of the estimators: inference, training, and fits of inner estimators.

This package may import `_parameters` and the layers below it, see pyproject.toml.
Start with `BaseAutoencoder._fit` in `training`.
"""
