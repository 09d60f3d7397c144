"""Reconstruction of complete rows with every corruption, compared with PCA."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

CORRUPTIONS = [
    ("missing", 0.5),
    ("missing", 1.0),
    ("masking", 0.5),
    ("swap", 0.5),
    ("gaussian", 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("corruption", "noise"), CORRUPTIONS)
def test_no_corruption_is_worse_than_pca_in_the_median(corruption, noise):
    params = {"corruption": corruption, "noise": noise, "hidden_layer_sizes": (8,), "max_steps": 30}
    ratios = []
    for seed in range(3):
        X = np.random.default_rng(seed).poisson(3, size=(260, 6)).astype(float)
        X, new = X[:60], X[60:]
        ae = AutoencoderTransformer(3, **params, random_state=seed).fit(X)
        pca = PCA(3).fit(X)
        of_pca = np.square(pca.inverse_transform(pca.transform(new)) - new).mean()
        ratios.append(np.square(ae.reconstruct(new) - new).mean() / of_pca)
    assert np.median(ratios) <= 1 + 1e-9
    assert max(ratios) < 1.1
