"""Networks as NumPy arrays, and their forward pass, imputation and whitening.

This package may import `_data` and the layers below it, see pyproject.toml.
Start with `forward`, then `Autoencoder` in `network`.
"""
