"""Base classes and functions of the estimators: training, inference and composition.

This package may import `_parameters` and the layers below it, see pyproject.toml.
Start with `TrainingMixin._fit` in `training`.
"""
