"""Tests of VariationalAutoencoder."""

import pickle
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skops.io
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import VariationalAutoencoder
from skae.plotting import LossCurveDisplay

QUICK = {
    "noise_variance": "feature",
    "hidden_layer_sizes": (32,),
    "learning_rate_init": 0.02,
    "random_state": 0,
}


def curved(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.normal(size=(n_rows, 2))
    rows = np.column_stack([t, t**2, t[:, 0] * t[:, 1], np.sin(t)])
    return 3 * (rows + 0.2 * rng.normal(size=rows.shape))


def binary_rows(n_rows=400, seed=0):
    """Return rows of ones followed by zeros; a latent variable determines the number of ones."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 8, size=(n_rows, 1))
    return (rng.uniform(size=(n_rows, 8)) < np.exp(-((np.arange(8) - centre) ** 2) / 3)).astype(
        float
    )


def vae(n_components=2, **params):
    return VariationalAutoencoder(n_components, **QUICK | {"max_steps": 150} | params)


@pytest.fixture(scope="module")
def fitted():
    return vae(max_steps=600).fit(curved())


@pytest.fixture(scope="module")
def bernoulli():
    return vae(likelihood="bernoulli", max_steps=300).fit(binary_rows())


@pytest.mark.parametrize(
    "noise_variance", ["scalar", pytest.param("feature", marks=pytest.mark.slow)]
)
def test_starts_at_probabilistic_pca(noise_variance):
    X, new = curved(), curved(seed=1)
    ae = vae(noise_variance=noise_variance, validation_fraction=0, max_steps=1)
    ae.set_params(learning_rate_init=1e-12).fit(X)
    assert ae.score(new) == pytest.approx(PCA(2).fit(X).score(new), abs=1e-3)
    assert ae.loss_curve_[0] == pytest.approx(-PCA(2).fit(X).score(X), rel=0.2)


def test_becomes_much_more_likely_on_curved_rows(fitted):
    new = curved(seed=1)
    assert fitted.score(new) > PCA(2).fit(curved()).score(new) + 3
    assert fitted.lower_bound_ == pytest.approx(fitted.score(new), abs=1.5)
    assert fitted.lower_bound_ == -fitted.validation_curve_[:, 1].min()


@pytest.mark.slow
def test_the_result_is_probabilistic_pca_if_it_is_better():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 9)) + 0.5 * rng.normal(size=(120, 9))
    ae = vae(noise_variance="scalar", max_steps=100, validation_fraction=0.5).fit(X)
    assert ae.best_step_ == 0
    np.testing.assert_allclose(ae.score_samples(X), PCA(2).fit(X).score_samples(X), rtol=1e-6)
    assert ae.noise_variance_ == pytest.approx(PCA(2).fit(X).noise_variance_)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "noise_variance"),
    [
        (load_digits, "scalar"),
        (load_digits, "feature"),
        (load_breast_cancer, "feature"),
        (load_wine, "scalar"),
        (load_iris, "feature"),
    ],
)
def test_is_never_less_likely_than_probabilistic_pca(load, noise_variance):
    X, gains = load().data, []
    X = X + np.random.default_rng(0).uniform(size=X.shape) * (load is load_digits)
    for seed in range(3):
        train, test = train_test_split(X, random_state=seed)
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        size = max(1, X.shape[1] // 4)
        ae = VariationalAutoencoder(size, noise_variance=noise_variance, random_state=seed)
        gains.append(ae.fit(train).score(test) - PCA(size).fit(train).score(test))
    assert np.median(gains) > -1e-6


@pytest.mark.slow
def test_noise_variances_are_per_feature_or_common():
    rng = np.random.default_rng(0)
    noise = np.array([0.1, 0.2, 0.5, 1, 2, 0.3])
    X = rng.normal(size=(1000, 1)) @ np.full((1, 6), 2.0) + noise * rng.normal(size=(1000, 6))
    ae = vae(1, max_steps=800, hidden_layer_sizes=()).fit(X)
    np.testing.assert_allclose(np.sqrt(ae.noise_variance_), noise, rtol=0.5)
    ae = vae(1, noise_variance="scalar").fit(X)
    assert np.isscalar(ae.noise_variance_)
    assert ae.noise_variance_ == pytest.approx(np.mean(noise**2), rel=0.2)


def test_the_bernoulli_likelihood_is_a_probability(bernoulli):
    every = (np.arange(256)[:, None] >> np.arange(8)) % 2  # all possible rows
    bernoulli = clone(bernoulli).set_params(n_draws=300).fit(binary_rows())
    assert np.exp(bernoulli.score_samples(every)).sum() == pytest.approx(1, abs=0.05)
    independent = binary_rows().mean(axis=0)
    entropy = -(independent * np.log(independent) + (1 - independent) * np.log1p(-independent))
    assert bernoulli.score(binary_rows(seed=1)) > 0.4 - entropy.sum()


@pytest.mark.slow
def test_the_density_integrates_to_one():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(500, 1))
    X = np.hstack([t, t**2]) + 0.3 * rng.normal(size=(500, 2))
    ae = vae(1, max_steps=400).fit(X)
    side = np.linspace(-9, 20, 150)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    total = np.exp(ae.score_samples(grid)).sum() * (side[1] - side[0]) ** 2
    assert total == pytest.approx(1, abs=0.05)


def test_samples_are_distributed_as_the_rows(fitted):
    samples, X = fitted.sample(4000, random_state=0), curved(4000, seed=1)
    np.testing.assert_allclose(samples.mean(axis=0), X.mean(axis=0), atol=0.7)
    np.testing.assert_allclose(samples.std(axis=0), X.std(axis=0), rtol=0.35)
    gaussian = PCA(2).fit(curved())
    assert gaussian.score(samples) == pytest.approx(gaussian.score(X), abs=1)


def test_bernoulli_samples_are_zeros_and_ones(bernoulli):
    samples = bernoulli.sample(2000, random_state=0)
    assert set(np.unique(samples)) == {0, 1}
    np.testing.assert_allclose(samples.mean(axis=0), binary_rows().mean(axis=0), atol=0.1)


def test_the_temperature_multiplies_the_noise_of_samples(fitted):
    codes = np.random.RandomState(0).standard_normal((50, 2))
    ae = clone(fitted).set_params(bounds=None).fit(curved())
    means = ae.inverse_transform(codes)
    noise = ae.sample(50, random_state=0) - means
    for temperature in (0, 0.5, 1, 2):
        drawn = ae.sample(50, random_state=0, temperature=temperature)
        np.testing.assert_allclose(drawn, means + temperature * noise, atol=1e-9)


def test_the_temperature_changes_the_probabilities_of_zeros_and_ones(bernoulli):
    codes = np.random.RandomState(0).standard_normal((2000, 2))
    p = bernoulli.inverse_transform(codes)
    certain = bernoulli.sample(2000, random_state=0, temperature=0)
    np.testing.assert_array_equal(certain, p > 0.5)
    expected = p**2 / (p**2 + (1 - p) ** 2)
    drawn = bernoulli.sample(2000, random_state=0, temperature=0.5)
    np.testing.assert_allclose(drawn.mean(axis=0), expected.mean(axis=0), atol=0.05)


@pytest.mark.parametrize("temperature", [-0.1, np.nan, np.inf, "1", None])
def test_a_negative_temperature_is_an_error(fitted, temperature):
    with pytest.raises(ValueError, match="temperature must be a number of at least 0"):
        fitted.sample(3, temperature=temperature)


def test_samples_depend_on_their_own_seed(fitted):
    np.testing.assert_array_equal(
        fitted.sample(3, random_state=1), fitted.sample(3, random_state=1)
    )
    assert (fitted.sample(3, random_state=1) != fitted.sample(3, random_state=2)).all()
    assert fitted.sample().shape == (1, 7)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "2"])
def test_a_number_of_samples_is_a_positive_integer(fitted, n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(n_samples)


def test_the_code_is_the_mean_of_a_posterior_narrower_than_the_prior(fitted):
    X = curved()
    codes, variances = fitted.transform(X), fitted.posterior_variance(X)
    assert codes.shape == variances.shape == (400, 2)
    assert (variances.mean(axis=0) < 0.5).all()
    # the mixture of the posteriors of all rows is close to the prior
    np.testing.assert_allclose(codes.var(axis=0) + variances.mean(axis=0), 1, atol=0.35)
    error = np.square(fitted.inverse_transform(codes) - X).mean()
    assert error < 0.2 * X.var(axis=0).mean()
    np.testing.assert_array_equal(fitted.reconstruct(X), fitted.inverse_transform(codes))


def test_unusual_rows_score_low(fitted):
    X, rng = curved(seed=1), np.random.default_rng(0)
    shuffled = np.column_stack([rng.permutation(column) for column in X.T])
    assert np.mean(fitted.score_samples(shuffled) < np.median(fitted.score_samples(X))) > 0.95
    assert fitted.score_samples(1e6 + X[:3]).max() < -1e6


def test_the_unusual_feature_has_the_lowest_score(fitted):
    X = curved(seed=1)[:50]
    for column in (2, 4):
        odd = X.copy()
        odd[:, column] += 15
        assert np.mean(fitted.score_features(odd).argmin(axis=1) == column) > 0.8
    total = fitted.score_features(X).sum(axis=1)
    assert np.corrcoef(total, fitted.score_samples(X))[0, 1] > 0.7
    X[:, 3] = np.nan
    assert (fitted.score_features(X)[:, 3] == 0).all()


def test_curves_are_drawn(fitted):
    display = LossCurveDisplay.from_estimator(fitted)
    assert display.ax_.get_ylabel() == "negated log-likelihood bound, nats"
    plt.close(display.figure_)


@pytest.mark.slow
def test_exports_compute_the_means(fitted):
    X = curved()[:20].astype("f")
    model = fitted.to_keras()
    np.testing.assert_allclose(model.predict(X, verbose=0), fitted.reconstruct(X), atol=1e-4)
    pytest.importorskip("skl2onnx")
    from onnxruntime import InferenceSession
    from skl2onnx import to_onnx

    import skae.onnx  # noqa: F401

    session = InferenceSession(to_onnx(fitted, X[:1]).SerializeToString())
    np.testing.assert_allclose(session.run(None, {"X": X})[0], fitted.transform(X), atol=1e-4)


def test_the_score_of_a_row_does_not_depend_on_other_rows(fitted):
    X = curved()[:20]
    single = np.concatenate([fitted.score_samples(x[None]) for x in X])
    np.testing.assert_allclose(fitted.score_samples(X), single, rtol=1e-9)


def test_float32_rows_have_the_scores_of_float64_rows(fitted):
    X = curved()
    np.testing.assert_allclose(
        fitted.score_samples(X.astype("f")), fitted.score_samples(X), rtol=1e-3
    )
    assert fitted.transform(X.astype("f")).dtype == np.float32


@pytest.mark.slow
def test_contamination_trims_outliers_in_training():
    rng, X = np.random.default_rng(0), curved(1000)
    X[:50] = rng.uniform(-12, 12, size=(50, 7))
    scores = {}
    for contamination in (0.0, 0.05):
        ae = vae(contamination=contamination, max_steps=600).fit(X)
        scores[contamination] = ae.score(curved(seed=1))
    assert scores[0.05] > scores[0] + 0.5


@pytest.mark.slow
def test_a_larger_beta_gives_a_smaller_divergence_and_a_larger_error():
    X, kept = curved(), []
    for beta in (1.0, 30.0):
        ae = vae(beta=beta, max_steps=300).fit(X)
        kept.append(ae.posterior_variance(X).mean())
    assert kept[0] < 0.5 * kept[1]


@pytest.mark.slow
def test_missing_values_are_left_out_of_the_score(fitted):
    X = curved(seed=1)
    X[::2, 3] = np.nan
    scores = fitted.score_samples(X)
    assert np.isfinite(scores).all()
    ae = vae().fit(X)
    assert np.isfinite(ae.score_samples(X)).all()
    assert np.isfinite(ae.reconstruct(X)).all()


def test_a_row_without_values_has_a_likelihood_of_almost_one(fitted):
    (score,) = fitted.score_samples(np.full((1, 7), np.nan))
    assert -5 < score < 0.5  # a bound of the logarithm of one


def test_containers_give_the_same_bits(tmp_path):
    X = curved()
    np.save(tmp_path / "X.npy", X)
    expected = vae(max_steps=20).fit(X).score_samples(X)
    for rows in (csr_array(X), np.load(tmp_path / "X.npy", mmap_mode="r"), np.asfortranarray(X)):
        ae = vae(max_steps=20).fit(rows)
        np.testing.assert_array_equal(ae.score_samples(rows), expected)


def test_warm_start_continues_from_the_fitted_network(fitted):
    X, new = curved(), curved(seed=1)
    ae = clone(fitted).set_params(max_steps=100, warm_start=True).fit(X)
    before = ae.score(new)
    ae.set_params(learning_rate_init=1e-12).fit(X)
    assert ae.score(new) == pytest.approx(before, abs=0.05)
    ae.set_params(learning_rate_init=5e-3, max_steps=400).fit(X)
    assert ae.score(new) > before + 0.5


@pytest.mark.parametrize(
    "params",
    [
        {"likelihood": "bernoulli"},
        pytest.param({"noise_variance": "scalar"}, marks=pytest.mark.slow),
    ],
)
def test_continued_training_with_another_model_is_an_error(params):
    X, ae = binary_rows(), vae(warm_start=True, **params).fit(binary_rows())
    before = ae.score(X)
    assert ae.fit(X).score(X) > before - 0.1
    assert ae.partial_fit(X).score(X) > before - 0.3
    ae.set_params(likelihood="gaussian", noise_variance="feature")
    codes = ae.transform(X)  # codes of the fitted network
    with pytest.raises(ValueError, match="fitted network has"):
        ae.fit(X)
    np.testing.assert_array_equal(ae.transform(X), codes)


def test_a_stream_of_batches_increases_the_likelihood():
    X, new = curved(2000), curved(seed=1)
    ae = vae()
    for batch in np.array_split(np.concatenate([X] * 15), 60):
        ae.partial_fit(batch)
    assert ae.n_samples_seen_ == 30_000
    assert ae.score(new) > PCA(2).fit(X).score(new) + 1.5


@pytest.mark.slow
def test_pickles_and_skops_score_and_sample_without_tensorflow(fitted, tmp_path):
    path, X = tmp_path / "vae.pkl", curved()[:5]
    path.write_bytes(pickle.dumps(fitted))
    program = f"""
import pickle, sys
import numpy as np
vae = pickle.load(open({str(path)!r}, "rb"))
X = np.array({X.tolist()})
print(vae.score_samples(X).tolist())
vae.sample(3), vae.transform(X), vae.posterior_variance(X)
assert "tensorflow" not in sys.modules
"""
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    np.testing.assert_allclose(eval(output.stdout), fitted.score_samples(X))
    trusted = ["skae._variational_autoencoder.VariationalAutoencoder"]
    again = skops.io.loads(skops.io.dumps(fitted), trusted=trusted)
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))


@pytest.mark.slow
def test_works_in_a_pipeline():
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), vae(), LogisticRegression()).set_output(
        transform="pandas"
    )
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.8
    names = pipe[:-1].fit(X).get_feature_names_out()
    assert list(names) == ["variationalautoencoder0", "variationalautoencoder1"]


def test_the_same_seed_gives_the_same_bits(fitted):
    again = clone(fitted).fit(curved())
    np.testing.assert_array_equal(again.score_samples(curved()), fitted.score_samples(curved()))


def test_numbers_outside_of_zero_and_one_are_an_error_for_bernoulli():
    X = binary_rows()
    X[3, 2] = 1.5
    with pytest.raises(ValueError, match=r"column 2 goes from 0 to 1\.5"):
        vae(likelihood="bernoulli").fit(X)


@pytest.mark.parametrize("params", [{"contamination": 0.51}, {"beta": 0}, {"n_draws": 0}])
def test_parameters_out_of_range_are_an_error(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        vae(**params).fit(curved())


@pytest.mark.slow
def test_a_table_of_one_row_or_column_or_value_is_fitted():
    for X in (np.ones((1, 3)), np.ones((20, 3)), np.arange(20.0)[:, None], curved(2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ae = vae(max_steps=20).fit(X)
        assert np.isfinite(ae.score_samples(X)).all()
        assert np.isfinite(ae.sample(3)).all()
