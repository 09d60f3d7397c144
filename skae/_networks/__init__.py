"""Networks as arrays, and what they compute: for inference with NumPy alone.

May import `_data` and the layers below it, see pyproject.toml.
Start with `Autoencoder` and `forward` in `network`.
"""
