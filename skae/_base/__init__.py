"""What the estimators share: fit and partial_fit, inference, composition of estimators.

May import `_parameters` and the layers below it, see pyproject.toml.
Start with `TrainingMixin._fit` in `training`.
"""
