"""Fits of an estimator that is already fitted."""

import pickle

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from .helpers import autoencoder, reconstruction_error


@pytest.mark.slow
def test_a_stream_of_collections_goes_on(client, table):
    X, X_test, parts = table
    ours = autoencoder().partial_fit(parts)
    first = reconstruction_error(ours, X_test)
    ours.partial_fit(parts)
    assert ours.n_samples_seen_ == 2 * len(X)
    assert reconstruction_error(ours, X_test) < first
    codes = ours.transform(X_test)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        ours.set_params(learning_rate_init=1e12).partial_fit(parts)
    np.testing.assert_array_equal(ours.transform(X_test), codes)


@pytest.mark.slow
def test_a_failed_fit_leaves_the_fitted_estimator(client, digits):
    X = digits[0]
    ours = autoencoder(max_steps=5).fit(X)
    before = pickle.dumps(vars(ours))
    frame = pd.DataFrame(np.where(X == 16, np.inf, X)).rename(columns=str)
    with pytest.raises(ValueError, match="infinity"):
        ours.fit(dd.from_pandas(frame, npartitions=2))
    assert pickle.dumps(vars(ours)) == before
