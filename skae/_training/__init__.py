"""Training: losses, optimisers, plans, the compiled loop, and runs over validation splits.

This package may import `_initialization` and the layers below it, see pyproject.toml.
Start with `fit_network` in `fit`, then read `train` in `run` and `train` in `loop`.
"""
