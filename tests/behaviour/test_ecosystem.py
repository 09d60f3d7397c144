"""Use with scikit-learn's tools and other libraries."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import skops.io
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as ImbalancedPipeline
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline

import skae
from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    Checkpoint,
    OutlierDetector,
    VariationalAutoencoder,
    _sklearn_compat,
    plotting,
)

from . import user_code

X, y = (array[:600] for array in load_digits(return_X_y=True))
NAMES = [f"pixel{i}" for i in range(64)]
FRAMES = {
    "pandas": pd.DataFrame(X, columns=NAMES),
    "pandas nullable": pd.DataFrame(X, columns=NAMES).convert_dtypes(),
    "polars": pl.DataFrame(X, schema=NAMES),
}
FRAMES_OF = {
    "pandas": lambda array, names: pd.DataFrame(array, columns=names),
    "polars": lambda array, names: pl.DataFrame(array, schema=names),
}


def autoencoder(n_components=4, **params):
    """Return an autoencoder whose fit to 600 rows makes one run, because one split is enough."""
    defaults = {"max_steps": 60, "validation_fraction": 0.2, "random_state": 0}
    return AutoencoderTransformer(n_components, **defaults | params)


@pytest.fixture(scope="module")
def fitted():
    return autoencoder().fit(X)


@pytest.mark.parametrize("kind", FRAMES)
def test_results_for_frames_equal_those_for_arrays(fitted, kind):
    ae = autoencoder().fit(FRAMES[kind])
    np.testing.assert_array_equal(ae.transform(FRAMES[kind]), fitted.transform(X))
    assert ae.feature_names_in_.tolist() == NAMES
    assert isinstance(ae.inverse_transform(fitted.transform(X)), np.ndarray)


@pytest.mark.parametrize(("kind", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_returns_codes_as_frames(fitted, kind, frame):
    ae = autoencoder().set_output(transform=kind).fit(FRAMES[kind])
    codes = ae.transform(FRAMES[kind])
    assert isinstance(codes, frame)
    assert list(codes.columns) == [f"autoencodertransformer{i}" for i in range(4)]
    np.testing.assert_array_equal(codes.to_numpy(), fitted.transform(X))
    rows = ae.inverse_transform(codes)
    np.testing.assert_array_equal(rows, fitted.reconstruct(X))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_other_columns_are_an_error(kind):
    frame = FRAMES[kind]
    ae = autoencoder().fit(frame)
    renamed = (
        frame.rename({"pixel0": "other"})
        if kind == "polars"
        else frame.set_axis(["other", *NAMES[1:]], axis=1)
    )
    with pytest.raises(ValueError, match="feature names"):
        ae.transform(renamed)


@pytest.mark.slow
def test_missing_values_of_any_frame_are_nan():
    hidden = FRAMES["pandas"] > 15
    expected = autoencoder().fit_transform(np.where(hidden, np.nan, X))
    polars_frame = pl.DataFrame(np.where(hidden, np.nan, X), schema=NAMES).fill_nan(None)
    for frame in (FRAMES["pandas nullable"].mask(hidden), polars_frame):
        np.testing.assert_array_equal(autoencoder().fit_transform(frame), expected)


@pytest.mark.slow
def test_works_inside_other_transformers():
    halves = [("left", autoencoder(), NAMES[:32]), ("right", autoencoder(2), NAMES[32:])]
    codes = ColumnTransformer(halves).set_output(transform="pandas").fit_transform(FRAMES["pandas"])
    assert codes.columns[-1] == "right__autoencodertransformer1"
    union = FeatureUnion([("a", autoencoder()), ("b", autoencoder(2))]).fit(X)
    assert union.transform(X).shape == (600, 6)
    assert union.get_feature_names_out()[-1] == "b__autoencodertransformer1"


def test_works_on_targets(fitted):
    ae = autoencoder(whiten=False)
    regressor = TransformedTargetRegressor(Ridge(), transformer=ae, check_inverse=False)
    assert regressor.fit(X, X).predict(X).shape == X.shape


def test_works_in_imbalanced_learns_pipeline():
    steps = [("ae", autoencoder()), ("sampler", RandomOverSampler()), ("clf", LogisticRegression())]
    assert ImbalancedPipeline(steps).fit(X, y).score(X, y) > 0.8


def test_works_with_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = LogisticRegression().set_fit_request(sample_weight=True)
        ae = autoencoder().set_fit_request(sample_weight=False)
        pipe = Pipeline([("ae", ae), ("clf", classifier)])
        assert pipe.fit(X, y, sample_weight=np.ones(len(y))).score(X, y) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_searches_select_by_reconstruction(n_jobs):
    grid = {"n_components": [2, 8]}
    search = GridSearchCV(autoencoder(), grid, cv=3, n_jobs=n_jobs).fit(X)
    assert search.best_params_ == {"n_components": 8}
    assert 0 < search.cv_results_["mean_test_score"][0] < search.best_score_ < 1


@pytest.mark.slow
def test_random_and_halving_searches_run():
    grid = {"n_components": [2, 8], "alpha": [0, 1]}
    ae = autoencoder(validation_fraction=0.4)
    search = HalvingGridSearchCV(ae, grid, cv=2, random_state=0).fit(X)
    assert search.best_params_["n_components"] == 8
    grid = {"learning_rate_init": [1e-3, 1e-2], "noise": [0, 0.1]}
    RandomizedSearchCV(autoencoder(), grid, n_iter=2, cv=2, random_state=0).fit(X)


def dump_joblib(estimator, path, **options):
    joblib.dump(estimator, path, **options)
    return lambda: joblib.load(path)


def dump_mmap(estimator, path):
    joblib.dump(estimator, path)
    return lambda: joblib.load(path, mmap_mode="r")


def dump_skops(estimator, path):
    skops.io.dump(estimator, path)
    trusted = ["skae._autoencoder.AutoencoderTransformer"]
    assert skops.io.get_untrusted_types(file=path) == trusted
    return lambda: skops.io.load(path, trusted=trusted)


DUMPS = {
    "pickle": lambda estimator, _: lambda: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, _: lambda: copy.deepcopy(estimator),
    "joblib": dump_joblib,
    "joblib, compressed": lambda estimator, path: dump_joblib(estimator, path, compress=3),
    "joblib, mapped": dump_mmap,
    "skops": dump_skops,
}


@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_loaded_estimator_equals_the_saved_one(dump, streamed, tmp_path):
    ae = autoencoder().partial_fit(X[:300]) if streamed else autoencoder().fit(X)
    again = dump(ae, tmp_path / "estimator")()
    np.testing.assert_array_equal(again.transform(X), ae.transform(X))
    np.testing.assert_array_equal(again.reconstruct(X), ae.reconstruct(X))
    # training continues as with the saved estimator
    np.testing.assert_array_equal(again.partial_fit(X).transform(X), ae.partial_fit(X).transform(X))


def test_a_file_of_another_version_warns(fitted):
    state = fitted.__getstate__()
    with pytest.warns(InconsistentVersionWarning) as caught:
        AutoencoderTransformer().__setstate__(state | {"_skae_version": "0.0.1"})
    assert f"saved by skae 0.0.1, and this is skae {skae.__version__}" in str(caught[0].message)
    assert "scikit-learn" not in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.slow
def test_a_saved_file_is_hardly_larger_than_the_weights(mnist):
    rows = mnist[0].astype(np.float32)
    ae = AutoencoderTransformer(max_iter=40, random_state=0).fit(rows[:6000])
    ae.loss_curve_ = np.zeros(9000)  # the maximum with the defaults
    halves = (ae.encoder_, ae.decoder_)
    weights = [w for half in halves for w in (*half["coefs"], *half["intercepts"], half["linear"])]
    weights.append(ae.imputation_model_["loadings"])
    assert all(w.dtype == np.float32 for w in weights)
    assert len(pickle.dumps(ae)) < 1.1 * sum(w.nbytes for w in weights)


def test_the_representation_shows_the_changed_parameters(fitted):
    ae = copy.copy(fitted).set_params(validation_fraction=0.1)  # which is the default
    assert repr(ae) == "AutoencoderTransformer(max_steps=60, n_components=4, random_state=0)"


ESTIMATORS = [AutoencoderImputer, AutoencoderTransformer, OutlierDetector, VariationalAutoencoder]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_diagram_links_to_the_published_page(estimator, tmp_path, monkeypatch):
    installed = tmp_path / "skae-9.dist-info" / "METADATA"
    installed.parent.mkdir()
    installed.write_text("Name: skae\nProject-URL: Documentation, https://skae.example/stable/\n")
    monkeypatch.syspath_prepend(tmp_path)  # found before the one that is installed
    monkeypatch.setattr(_sklearn_compat, "__file__", str(tmp_path / "skae" / "_sklearn_compat.py"))
    page = f"https://skae.example/stable/generated/skae.{estimator.__name__}.html"
    assert page in estimator()._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_in_the_repository_the_diagram_links_to_the_local_documentation(estimator):
    pages = Path(skae.__file__).parents[1] / "docs" / "_build" / "html"
    page = pages / "generated" / f"skae.{estimator.__name__}.html"
    assert (page.as_uri() in estimator()._repr_html_()) == pages.is_dir()


def test_parameters_and_results_can_be_completed(fitted):
    assert {"n_components_", "encoder_", "reconstruct", "components_"} <= set(dir(fitted))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "Success"),
        ('\nAutoencoderTransformer(activation="sulu")\n', "sulu"),
        ("\nscore: str = AutoencoderTransformer().score([[0.0]])\n", "Incompatible types"),
    ],
)
def test_user_code_passes_strict_type_checks(tmp_path, more, message):
    (tmp_path / "user.py").write_text(Path(user_code.__file__).read_text() + more)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (result.returncode == 0) == (not more), result.stdout
    assert message in result.stdout


def test_the_checked_user_code_calls_every_public_name():
    code = Path(user_code.__file__).read_text()
    for cls in (*map(vars(skae).get, skae.__all__), *map(vars(plotting).get, plotting.__all__)):
        assert cls.__name__ in code
        if cls is not Checkpoint:  # scikit-learn calls its methods
            own = [vars(base) for base in cls.__mro__ if base.__module__.startswith("skae")]
            names = {name for attributes in own for name in attributes if not name.startswith("_")}
            names -= {"set_fit_request"}  # scikit-learn adds this method
            assert not {name for name in names if f".{name}" not in code}


@pytest.mark.slow
def test_the_checked_user_code_runs(tmp_path, capsys):
    X, y = load_iris(return_X_y=True)
    user_code.compress(X, y)
    user_code.stream(X, tmp_path)
    user_code.model(X)
    user_code.impute(np.where(X > 5, np.nan, X))
    user_code.detect(X)
    user_code.draw(X, y)
    assert capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_codes_in_another_order_are_an_error(fitted, kind):
    names = list(fitted.get_feature_names_out())
    codes = FRAMES_OF[kind](fitted.transform(X), names)
    expected = fitted.reconstruct(X)
    np.testing.assert_array_equal(fitted.inverse_transform(codes), expected)
    for order in (names[::-1], [*names[1:], names[0]], [names[1], names[0], *names[2:]]):
        with pytest.raises(ValueError, match=r"feature names should match .* in the same order"):
            fitted.inverse_transform(codes[order])
    # other names, such as the output names of a ColumnTransformer, do not determine the order
    renamed = FRAMES_OF[kind](fitted.transform(X), [f"code{i}" for i in range(4)])
    np.testing.assert_array_equal(fitted.inverse_transform(renamed), expected)
