"""Tables of rows: input checks, minibatches, corruption, targets, training and validation rows.

May import `_runtime` and the layers below it, see pyproject.toml.
Start with `Table` in `table`.
"""
