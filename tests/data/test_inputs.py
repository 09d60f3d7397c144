"""Input types of X: missing values of every kind become NaN, dates are an error."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.utils import check_array

from skae import AutoencoderTransformer
from skae._data.inputs import has_missing, with_nan

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
MISSING = np.array([[False, True], [False, False], [False, False]])
NAN = np.where(MISSING, np.nan, ROWS)
WITH_NA = NAN.astype(object)
WITH_NA[MISSING] = pd.NA
DAYS = pd.to_datetime(["2020-01-01", "2021-01-01", None])

INCOMPLETE = {
    "NaN": NAN,
    "masked floats": np.ma.masked_array(ROWS, MISSING),
    "masked float32": np.ma.masked_array(ROWS.astype(np.float32), MISSING),
    "masked integers": np.ma.masked_array(ROWS.astype(np.int8), MISSING),
    "masked objects": np.ma.masked_array(ROWS.astype(object), MISSING),
    "list of masked rows": list(np.ma.masked_array(ROWS, MISSING)),
    "list with masked": [[1.0, np.ma.masked], [3.0, 4.0], [5.0, 6.0]],
    "list with NA": WITH_NA.tolist(),
    "list with None": [[1.0, None], [3.0, 4.0], [5.0, 6.0]],
    "objects with NA": WITH_NA,
    "pandas": pd.DataFrame(NAN, columns=["a", "b"]),
    "pandas objects": pd.DataFrame(WITH_NA, columns=["a", "b"]),
    "pandas objects beside floats": pd.DataFrame({"a": ROWS[:, 0], "b": WITH_NA[:, 1]}),
    "pandas strings": pd.DataFrame({"a": ROWS[:, 0], "b": ["1.0", "4.0", "6.0"]})
    .astype({"b": "string"})
    .mask(MISSING),
    "pandas Int64": pd.DataFrame(NAN, columns=["a", "b"]).astype("Int64"),
    "pandas pyarrow": pd.DataFrame(NAN, columns=["a", "b"]).astype("double[pyarrow]"),
    "polars": pl.DataFrame(NAN, schema=["a", "b"]).fill_nan(None),
}
INCOMPLETE["pandas strings"].loc[0, "a"] = 1.0

DATES = {
    "datetime64": DAYS.to_numpy()[:, None],
    "timedelta64": (DAYS - DAYS[0]).to_numpy()[:, None],
    "date": np.array([[datetime.date(2020, 1, 1), 1.0]], dtype=object),
    "Period": pd.DataFrame({"day": DAYS.to_period("D")}),
}
DATES_BY_NAME = {
    "masked": (np.ma.masked_array(DATES["datetime64"], [[0], [1], [0]]), "datetime64"),
    "list": ([[np.datetime64("2020-01-01"), 1.0]], "datetime64"),
    "pandas": (pd.DataFrame({"number": [1.0, 2.0, 3.0], "day": DAYS}), "day"),
    "pandas with a time zone": (pd.DataFrame({"day": DAYS.tz_localize("UTC")}), "day"),
    "pandas durations": (pd.DataFrame({"day": DAYS - DAYS[0]}), "day"),
    "polars": (pl.DataFrame({"number": [1.0, 2.0, 3.0], "day": DAYS}), "day"),
    **{name: (X, name) for name, X in DATES.items()},
}


@pytest.mark.parametrize("X", INCOMPLETE.values(), ids=INCOMPLETE)
def test_missing_values_of_every_kind_are_nan(X):
    read = check_array(with_nan(X), dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
    np.testing.assert_array_equal(read, NAN)
    assert list(getattr(with_nan(X), "columns", [])) == list(getattr(X, "columns", []))


@pytest.mark.parametrize(("X", "name"), DATES_BY_NAME.values(), ids=DATES_BY_NAME)
def test_dates_are_an_error_that_names_their_column_or_type(X, name):
    with pytest.raises(TypeError, match=rf"durations \(.*{name}.*\).*Convert them to numbers"):
        AutoencoderTransformer(1).fit(X)


@pytest.mark.parametrize(
    "X",
    [ROWS, ROWS.tolist(), ROWS.astype(object), pd.DataFrame(ROWS), pl.DataFrame(ROWS)],
    ids=["array", "list", "objects", "pandas", "polars"],
)
def test_complete_rows_are_not_copied(X):
    assert with_nan(X) is X


def test_an_array_without_masked_entries_is_not_copied():
    assert np.shares_memory(with_nan(np.ma.masked_array(ROWS, np.zeros_like(MISSING))), ROWS)


@pytest.mark.parametrize("assume_finite", [False, True])
def test_nan_is_found_and_infinity_is_an_error(assume_finite):
    with config_context(assume_finite=assume_finite):
        assert has_missing(NAN)
        assert not has_missing(ROWS)
        assert not has_missing(np.full((2, 2), 1e308))  # the sum overflows
        with pytest.raises(ValueError, match="X contains infinity"):
            has_missing(np.array([[np.inf, np.nan]]))
        with pytest.raises(ValueError, match="X contains NaN"):
            has_missing(NAN, allow_nan=False)
