"""Training: losses, optimisers, plans, the compiled loop, and runs over validation splits.

This package may import `_initialization` and the layers below it, see pyproject.toml.
Start with `run_fit` in `run`, then read `train` in `loop`.
"""
