"""Densities, outliers and samples of tables with categories."""

import pickle
from functools import cache

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import ks_2samp, norm
from sklearn.base import clone
from sklearn.preprocessing import scale

from skae import OutlierDetector, VariationalAutoencoder
from skae.plotting import ContributionDisplay

QUICK = {"hidden_layer_sizes": (4,), "max_steps": 40, "random_state": 0}
LEVELS = ["small", "medium", "large"]


def table(n=300):
    """Return a frame whose columns depend on a latent variable; `price` has a skewed distribution.

    `cost` is zero in a third of the rows.
    """
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    return pd.DataFrame(
        {
            "size": pd.Categorical.from_codes(np.digitize(z, [-0.5, 0.5]), LEVELS, ordered=True),
            "price": np.exp(z + 0.3 * rng.normal(size=n)),
            "cost": np.maximum(z + rng.normal(size=n), -0.4) + 0.4,
            "rooms": np.rint(4 + z).astype("int8"),
            "city": np.where(z + rng.normal(size=n) > 0, "north", "south"),
            "garden": z > 0.3,
        }
    )


X = table()
INCOMPLETE = X.astype({"rooms": "Int64", "garden": "boolean"}).mask(
    np.random.default_rng(1).random(X.shape) < 0.1
)
NAMES = list(X.columns)


@cache
def fitted(name="complete", **params):
    rows = {"complete": X, "incomplete": INCOMPLETE}[name]
    return VariationalAutoencoder(2, **QUICK | params).fit(rows)


def simple_table(numbers):
    """Return a frame with a column of numbers, and a category that depends on it."""
    noise = np.random.default_rng(1).normal(size=len(numbers))
    return pd.DataFrame({"x": numbers, "kind": np.where(scale(numbers) + noise > 0, "a", "b")})


@pytest.mark.parametrize("n_draws", [pytest.param(1, marks=pytest.mark.slow), 50])
def test_the_densities_of_all_rows_integrate_to_one(n_draws):
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.exponential(size=400), rng.normal(8, 1, size=300)])
    vae = VariationalAutoencoder(1, n_draws=n_draws, **QUICK).fit(simple_table(numbers))
    x = np.linspace(-10, 25, 3_501)
    scores = [vae.score_samples(pd.DataFrame({"x": x, "kind": kind})) for kind in "ab"]
    total = np.exp(scores).sum() * (x[1] - x[0])
    assert total == pytest.approx(1, abs=0.02 if n_draws > 1 else 0.1)


def test_the_probabilities_of_all_rows_of_repeated_numbers_sum_to_one():
    numbers = np.random.default_rng(0).choice([0.0, 1.5, 7.0], 500, p=[0.5, 0.2, 0.3])
    options = {**QUICK, "max_steps": 600}
    vae = VariationalAutoencoder(1, n_draws=200, **options).fit(simple_table(numbers))
    rows = pd.DataFrame({"x": np.repeat([0.0, 1.5, 7.0], 2), "kind": list("ab") * 3})
    shares = np.exp(vae.score_samples(rows))
    expected = simple_table(numbers).value_counts(normalize=True)
    assert shares.sum() == pytest.approx(1, abs=0.04)
    for (x, kind), share in expected.items():
        ours = shares[(rows["x"] == x) & (rows["kind"] == kind)].item()
        assert ours == pytest.approx(share, abs=0.16)


@pytest.mark.slow
def test_the_unit_of_a_column_shifts_all_scores():
    other = clone(fitted()).fit(X.assign(price=1000 * X["price"]))
    theirs = other.score_samples(X.assign(price=1000 * X["price"]))
    np.testing.assert_allclose(theirs, fitted().score_samples(X) - np.log(1000), atol=1e-4)


@pytest.mark.parametrize("name", ["complete", pytest.param("incomplete", marks=pytest.mark.slow)])
def test_the_trained_network_is_more_likely_than_the_initial_one(name):
    vae = fitted(name)
    assert vae.best_step_ > 0
    assert -vae.validation_curve_[0, 1] < vae.lower_bound_


def test_the_initial_network_is_at_least_as_likely_as_independent_columns():
    rng = np.random.default_rng(0)
    independent = pd.DataFrame(
        {
            "a": rng.choice(list("xyz"), 500),
            "b": rng.choice(list("uv"), 500, p=[0.9, 0.1]),
            "c": rng.normal(size=500),
        }
    )
    vae = VariationalAutoencoder(5, **QUICK | {"max_steps": 1}, learning_rate_init=1e-9)
    score = vae.fit(independent).score(independent)
    expected = norm(independent["c"].mean(), independent["c"].std()).logpdf(independent["c"]).mean()
    for name in "ab":
        share = independent[name].value_counts(normalize=True)
        expected += (share * np.log(share)).sum()
    assert score > expected - 0.02


def test_entries_of_features_are_in_the_columns_of_the_frame():
    entries = fitted().score_features(X)
    assert entries.shape == X.shape
    is_categorical = fitted().is_categorical_
    assert (entries[:, is_categorical] <= 0).all()
    wrong = X.assign(garden=~X["garden"])
    change = fitted().score_features(wrong) - entries
    assert np.median(change[:, NAMES.index("garden")]) < -1
    missing = X.assign(city=pd.Series([None] * len(X), dtype=object))
    scores = fitted().score_features(missing)
    assert (scores[:, NAMES.index("city")] == 0).all()


@pytest.mark.parametrize("name", ["complete", "incomplete"])
def test_a_sample_is_a_frame_with_the_columns_and_distributions_of_the_training_frame(name):
    rows = X if name == "complete" else INCOMPLETE
    sample = fitted(name).sample(3000, random_state=0)
    pd.testing.assert_series_equal(sample.dtypes, rows.dtypes)
    assert not sample.isna().any(axis=None)
    for column in ("price", "cost", "rooms"):
        values = rows[column].dropna().astype(float)
        assert ks_2samp(values, sample[column].astype(float)).statistic < 0.04
        assert sample[column].between(values.min(), values.max()).all()
    assert (sample["cost"] == 0).mean() == pytest.approx((X["cost"] == 0).mean(), abs=0.04)
    for column in ("size", "city", "garden"):
        shares = rows[column].value_counts(normalize=True)
        theirs = sample[column].value_counts(normalize=True)
        assert (shares - theirs.reindex(shares.index, fill_value=0)).abs().max() < 0.08
    again = fitted(name).sample(3000, random_state=0)
    pd.testing.assert_frame_equal(sample, again)


@pytest.mark.slow
def test_a_sample_has_the_dependences_of_the_training_frame():
    vae = VariationalAutoencoder(2, max_steps=300, random_state=0).fit(X)
    sample = vae.sample(3000, random_state=0)
    for rows in (X, sample):
        prices = rows.groupby("size", observed=False)["price"].median()
        assert 3 * prices["small"] < prices["large"]
        assert rows[["price", "rooms"]].corr("spearman").iloc[0, 1] > 0.65


@pytest.mark.slow
def test_rows_are_drawn_given_values_of_some_columns():
    vae = VariationalAutoencoder(2, max_steps=300, random_state=0).fit(X)
    large = vae.sample(500, random_state=0, conditions={"size": "large"})
    small = vae.sample(500, random_state=0, conditions={"size": "small", "garden": False})
    assert (large["size"] == "large").all()
    assert not small["garden"].any()
    assert 2 * small["price"].median() < large["price"].median()
    of_price = vae.sample(500, random_state=0, conditions={"price": 4.0})
    assert np.allclose(of_price["price"], 4)
    assert (of_price["size"] == "large").mean() > 0.6


@pytest.mark.slow
def test_conditions_agree_with_the_exact_conditional_distribution():
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal([1, 2], [[1, 0.8], [0.8, 1]], size=2000)
    vae = VariationalAutoencoder(1, max_steps=1, learning_rate_init=1e-9, bounds=None).fit(rows)
    drawn = vae.sample(20_000, random_state=0, conditions={1: 3.0})
    assert (drawn[:, 1] == 3).all()
    covariance = np.cov(rows.T)
    slope = covariance[0, 1] / covariance[1, 1]
    variance = covariance[0, 0] - slope * covariance[0, 1]
    mean = rows[:, 0].mean() + slope * (3 - rows[:, 1].mean())
    assert drawn[:, 0].mean() == pytest.approx(mean, abs=0.05)
    assert drawn[:, 0].var() == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"height": 1}, r"columns \['height'\], and X has \['size'"),
        ({"size": "huge"}, r"'size' is 'huge': it must be one of \['small', 'medium', 'large'\]"),
        ({"price": None}, "'price' is None: it must be a number"),
        ({"price": "cheap"}, "'price' of X was refused"),
    ],
)
def test_conditions_that_the_table_does_not_know_are_an_error(conditions, message):
    with pytest.raises(ValueError, match=message):
        fitted().sample(conditions=conditions)


def test_rare_conditions_are_a_warning():
    with pytest.warns(UserWarning, match="conditions are rare"):
        fitted().sample(conditions={"price": 1e9})


def test_conditions_are_kept_as_they_are():
    rows = fitted().sample(20, random_state=0, conditions={"price": 3.3, "rooms": np.int8(4)})
    assert (rows["price"] == 3.3).all()
    assert (rows["rooms"] == 4).all()
    pd.testing.assert_series_equal(rows.dtypes, X.dtypes)
    labels = VariationalAutoencoder(2, **QUICK).fit(X.set_axis([5, 0, 3, 2, 1, 4], axis=1))
    assert (labels.sample(3, random_state=0, conditions={5: "small"})[5] == "small").all()
    assert (labels.sample(3, random_state=0, conditions={2: 1})[2] == 1).all()


def test_a_category_that_no_training_row_has_is_less_likely_than_the_known_ones():
    rows = X[:20].assign(city="west")
    for scores in (OutlierDetector(2, **QUICK).fit(X), fitted()):
        assert (scores.score_samples(rows) < scores.score_samples(X[:20])).all()
        column = NAMES.index("city")
        known, unknown = scores.score_features(X[:20]), scores.score_features(rows)
        assert (unknown[:, column] < known[:, column]).all()


@pytest.mark.parametrize("n", [50, *(pytest.param(n, marks=pytest.mark.slow) for n in (143, 1001))])
def test_the_score_of_an_extreme_is_that_of_its_neighbours(n):
    """The scores of numbers are continuous at the ends of the training range."""
    rng = np.random.default_rng(n)
    numbers = rng.normal(size=n)
    vae = VariationalAutoencoder(1, **QUICK | {"max_steps": 1}).fit(simple_table(numbers))
    for extreme in (numbers.min(), numbers.max()):
        x = extreme * np.array([1 - 1e-6, 1.0])
        scores = vae.score_samples(pd.DataFrame({"x": x, "kind": "a"}))
        assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_few_rows_give_new_rows_about_the_likelihood_of_training_rows():
    rng = np.random.default_rng(0)
    table, new = (simple_table(rng.normal(size=n)) for n in (200, 2000))
    vae = VariationalAutoencoder(1, **QUICK | {"max_steps": 1}).fit(table)
    assert vae.score(new) == pytest.approx(vae.score(table), abs=0.3)


def test_samples_with_less_noise_keep_the_distributions_of_numbers_and_contradict_less():
    def share_of_contradictions(rows):
        return np.mean((rows["size"] == "large") != rows["garden"])

    samples = [fitted().sample(2000, random_state=0, temperature=t) for t in (1, 0.5, 0)]
    shares = [share_of_contradictions(rows) for rows in samples]
    assert shares[0] > shares[1] > shares[2]
    for rows in samples:
        assert list(rows.dtypes) == list(X.dtypes)
        assert ks_2samp(rows["price"], X["price"]).statistic < 0.1
    given = fitted().sample(20, random_state=0, temperature=0, conditions={"city": "south"})
    assert (given["city"] == "south").all()


def test_a_sample_of_a_polars_frame_is_a_polars_frame():
    rows = pl.DataFrame({name: X[name].tolist() for name in X})
    sample = VariationalAutoencoder(2, **QUICK).fit(rows).sample(5, random_state=0)
    assert sample.schema == rows.schema


def test_codes_and_reconstructions_have_the_columns_of_the_frame():
    codes = fitted().transform(X)
    assert codes.shape == (300, 2)
    rows = fitted().reconstruct(X)
    pd.testing.assert_series_equal(rows.dtypes, X.dtypes)
    assert (rows["size"] == X["size"]).mean() > 0.6
    pd.testing.assert_frame_equal(fitted().inverse_transform(codes), rows)


def test_a_loaded_estimator_gives_the_same_scores_and_samples():
    again = pickle.loads(pickle.dumps(fitted("incomplete")))
    ours = fitted("incomplete")
    np.testing.assert_array_equal(again.score_samples(INCOMPLETE), ours.score_samples(INCOMPLETE))
    pd.testing.assert_frame_equal(again.sample(9, random_state=1), ours.sample(9, random_state=1))


@pytest.mark.slow
def test_training_continues_on_frames():
    vae = clone(fitted()).fit(X)
    before = vae.score(X)
    vae.set_params(warm_start=True, max_steps=100).fit(X)
    assert vae.score(X) > before
    stream = VariationalAutoencoder(2, **QUICK)
    for start in range(0, 300, 100):
        stream.partial_fit(X[start : start + 100])
    assert np.isfinite(stream.score(X))
    assert stream.sample(2).shape == (2, 6)


def test_a_dask_frame_gets_the_scores_of_a_frame():
    parts = dd.from_pandas(X, npartitions=2)
    ours = fitted().score_samples(parts).compute()
    np.testing.assert_allclose(ours, fitted().score_samples(X), rtol=1e-6)
    assert fitted().score(parts) == pytest.approx(fitted().score(X))
    assert fitted().score_features(parts).compute().shape == X.shape


def test_a_bernoulli_likelihood_of_categories_is_an_error():
    with pytest.raises(ValueError, match=r"likelihood='bernoulli' is for a table of numbers"):
        VariationalAutoencoder(2, likelihood="bernoulli", **QUICK).fit(X)


def odd_rows():
    """Return rows with one entry that does not fit the others, and the column of each."""
    rows = X[X["price"] > 2].head(6).copy()
    rows.iloc[:3, NAMES.index("size")] = "small"
    rows.iloc[3:, NAMES.index("rooms")] = 1
    return rows, ["size"] * 3 + ["rooms"] * 3


@pytest.mark.slow
def test_a_detector_finds_combinations_that_do_not_occur_and_names_the_column():
    detector = OutlierDetector(2, contamination=0.05, random_state=0).fit(X)
    rows, columns = odd_rows()
    assert (detector.predict(rows) == -1).mean() > 0.8
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.05, abs=0.01)
    entries = detector.score_features(rows) - np.median(detector.score_features(X), axis=0)
    assert [NAMES[i] for i in entries.argmin(axis=1)] == columns
    assert [list(part) for part in detector.categories_] == [
        list(part) for part in detector.autoencoder_.categories_
    ]


def test_contributions_are_drawn_with_the_categories():
    rows = INCOMPLETE[:50].reset_index(drop=True)
    display = ContributionDisplay.from_estimator(fitted("incomplete"), rows, n_rows=2, n_features=6)
    texts = [text.get_text() for axes in display.axes_.flat for text in axes.get_yticklabels()]
    assert any(text.startswith("size = ") and text[7:] in LEVELS for text in texts)
    assert not any("None" in text or "<NA>" in text for text in texts)
    with pytest.raises(ValueError, match=r"image_shape=\(2, 3\) is for numbers"):
        ContributionDisplay.from_estimator(fitted(), X, image_shape=(2, 3))
