"""Detection of dependence between neighbouring rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.preprocessing import scale

from skae._data.dependence import dependence_reach
from skae._data.table import Table


def reach(X):
    return dependence_reach(Table(X))


def autoregressive(n_steps, coefficients, seed=0, n_columns=1):
    noise = np.random.default_rng(seed).normal(size=(n_steps + 100, n_columns))
    return lfilter([1], [1, *(-c for c in coefficients)], noise, axis=0)[100:]


def windows(series, width=12):
    return sliding_window_view(series.ravel(), width)


SERIES = {
    "AR(2)": autoregressive(500, (1.6, -0.8)),
    "slow AR(2)": autoregressive(500, (1.9, -0.91)),
    "random walk": np.random.default_rng(0).normal(size=(500, 1)).cumsum(axis=0),
    "seasonal": np.sin(np.arange(500) * 2 * np.pi / 8)[:, None] + autoregressive(500, (0.5,)) / 3,
}


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("n_rows", [40, 400])
def test_windows_of_a_series_are_dependent(series, n_rows):
    X = windows(series)[:n_rows]
    assert 0 < reach(X) <= n_rows // 4
    shuffled = np.random.default_rng(0).permutation(X)
    assert reach(shuffled) == 0


@pytest.mark.parametrize("strength", [0.6, 0.8, 0.95])
def test_the_reach_is_close_to_the_expected_lag(strength):
    # mean squared distance at a lag: 1 - strength ** lag times that of independent rows
    found = [reach(autoregressive(3000, (strength,), seed, n_columns=6)) for seed in range(5)]
    expected = np.log(0.25) / np.log(strength)
    assert expected / 2 <= np.median(found) <= 2 * expected + 1


@given(
    st.integers(1, 400),
    st.sampled_from([1, 2, 5, 20]),
    st.sampled_from([1.0, 2.5, np.inf]),
    st.integers(0, 100),
)
def test_independent_rows_are_independent(n_rows, n_features, degrees, seed):
    rng = np.random.default_rng(seed)
    size = (n_rows, n_features)
    X = rng.normal(size=size) if np.isinf(degrees) else rng.standard_t(degrees, size=size)
    assert reach(X) == 0
    assert reach(np.round(X)) == 0


TABLES = {
    load.__name__: load(return_X_y=True)
    for load in (load_iris, load_digits, load_wine, load_breast_cancer, load_diabetes)
}


@pytest.mark.parametrize(("X", "y"), TABLES.values(), ids=TABLES)
def test_tables_sorted_by_class_are_independent(X, y):
    order = np.argsort(y, kind="stable")
    for table in (X, X[order], scale(X)[order], X[order][::2]):
        assert reach(table) == 0


@given(st.integers(1, 12), st.sampled_from([0.1, 0.5, 2.0]), st.integers(0, 50))
def test_rows_around_centres_are_independent_within_a_class(n_classes, spread, seed):
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(n_classes, size=400))
    X = rng.normal(size=(n_classes, 6))[y] + spread * rng.normal(size=(400, 6))
    assert reach(X) == 0


def test_several_rows_of_each_patient_are_dependent():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(30, 8)), 10, axis=0) + 0.05 * rng.normal(size=(300, 8))
    assert 1 <= reach(X) <= 10


def test_the_reach_does_not_depend_on_the_container_or_the_unit(tmp_path):
    X = windows(SERIES["slow AR(2)"])
    expected = reach(X)
    file = np.memmap(tmp_path / "rows", np.float64, "w+", shape=X.shape)
    file[:] = X
    for same in (file, csr_array(X), X.astype(np.float32), np.asfortranarray(X), 1e150 * X):
        assert reach(same) == expected
    assert reach(1e-170 * X) == expected


def test_missing_values_are_ignored():
    X = windows(SERIES["slow AR(2)"]).copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    assert abs(reach(X) - reach(windows(SERIES["slow AR(2)"]))) <= 4
    X[:] = np.nan
    assert reach(X) == 0


@pytest.mark.parametrize("X", [np.ones((90, 3)), np.zeros((90, 3)), np.ones((1, 1))])
def test_rows_without_variance_are_independent(X):
    assert reach(X) == 0
    assert reach(X * 1e308) == 0
