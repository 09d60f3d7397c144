"""Calls of every public name, as users write them; mypy checks this file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skae import (
    AutoencoderImputer,
    AutoencoderTransformer,
    Checkpoint,
    OutlierDetector,
    Shard,
    VariationalAutoencoder,
)
from skae.plotting import (
    CodeDisplay,
    ColumnErrorsDisplay,
    ComponentsDisplay,
    ContributionDisplay,
    ImputationDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
)


def compress(X: NDArray[np.float64], y: NDArray[np.int64]) -> AutoencoderTransformer:
    """Fit and use an autoencoder."""
    ae = AutoencoderTransformer(
        n_components=2, hidden_layer_sizes=(8,), bounds=(0, None), max_steps=4, random_state=0
    )
    ae = ae.set_params(target_weight=0.1)
    ae.fit(X, y, X_val=X, y_val=y)
    codes: NDArray[Any] = ae.set_output(transform="default").transform(X)
    rows: NDArray[Any] = ae.inverse_transform(codes)
    rows += ae.reconstruct(X) + ae.components_.sum() + ae.mean_ + ae.center_ + ae.scale_
    scores: NDArray[Any] = ae.score_samples(X)
    score: float = ae.score(X, y) + ae.reconstruction_err_ + scores.mean()
    counts: int = ae.n_components_ + ae.n_features_in_ + ae.n_samples_seen_ + ae.best_step_
    counts += ae.n_steps_ + ae.n_iter_ + len(ae.loss_curve_) + len(ae.validation_curve_)
    names: NDArray[Any] = ae.get_feature_names_out()
    print(rows.shape, score, counts, names, ae.get_params()["alpha"], ae.bounds_.shape)
    print(ae.encoder_["coefs"], ae.decoder_["coefs"], ae.activations_, ae.imputation_model_)
    errors: NDArray[np.float64] = ae.column_errors(X)
    categories: list[NDArray[Any]] = ae.categories_
    print(errors[ae.is_categorical_], categories)
    return ae


def stream(X: NDArray[np.float64], folder: Path) -> Any:
    """Train on batches, save, and export."""
    ae = AutoencoderTransformer(2, max_steps=4).set_callbacks(Checkpoint(folder / "ae.joblib"))
    codes: NDArray[Any] = ae.fit(Shard(X)).partial_fit(X).fit_transform(X)
    print(codes.shape)
    return ae.to_keras()


def model(X: NDArray[np.float64]) -> VariationalAutoencoder:
    """Fit and use a density."""
    vae = VariationalAutoencoder(2, likelihood="gaussian", max_steps=4).fit(X).partial_fit(X)
    likelihoods: NDArray[Any] = vae.score_samples(X)
    entries: NDArray[Any] = vae.score_features(X)
    variances: NDArray[Any] = vae.posterior_variance(X)
    rows: NDArray[Any] = vae.sample(3, random_state=0)
    bound: float = vae.lower_bound_ + vae.score(X)
    print(likelihoods, entries, variances, rows, bound, vae.noise_variance_)
    print(vae.reconstruct(X), vae.inverse_transform(vae.transform(X)), vae.components_)
    return vae


def impute(X: NDArray[np.float64]) -> NDArray[Any]:
    """Fit and use an imputer."""
    imputer = AutoencoderImputer(missing_values=np.nan, add_indicator=True, max_steps=4)
    rows: NDArray[Any] = imputer.fit(X).transform(X)
    print(imputer.autoencoder_, imputer.n_iter_, imputer.get_feature_names_out())
    print(imputer.categories_, imputer.is_categorical_)
    return rows


def detect(X: NDArray[np.float64]) -> NDArray[Any]:
    """Fit and use a detector of outliers."""
    detector = OutlierDetector(contamination=0.05, max_steps=4).fit(X)
    labels: NDArray[Any] = detector.predict(X)
    scores: NDArray[Any] = detector.decision_function(X) + detector.offset_
    scores += detector.score_samples(X) + detector.score_features(X).sum(axis=1)
    print(scores, detector.autoencoder_, detector.n_iter_)
    return labels


def draw(X: NDArray[np.float64], y: NDArray[np.int64]) -> None:
    """Draw every display."""
    ae = compress(X, y)
    incomplete = np.where(X.max(axis=0) - 0.1 < X, np.nan, X)
    CodeDisplay.from_estimator(ae, X, y=y).plot()
    sized = AutoencoderTransformer(0.9, max_steps=4).fit(X)
    ComponentsDisplay.from_estimator(sized).plot()
    LossCurveDisplay.from_estimator(ae).plot()
    ReconstructionDisplay.from_estimator(ae, X[:4]).plot()
    ColumnErrorsDisplay.from_estimator(ae, X).plot()
    imputer = AutoencoderImputer(max_steps=4).fit(incomplete)
    ImputationDisplay.from_estimator(imputer, incomplete[:4]).plot()
    detector = OutlierDetector(max_steps=4).fit(X)
    ContributionDisplay.from_estimator(detector, X[:4]).plot()
