"""Training of a network: losses, optimisers, the plan, the compiled loop, runs over splits.

May import `_initialization` and the layers below it, see pyproject.toml.
Start with `run_fit` in `run`, then read `train` in `loop`.
"""
