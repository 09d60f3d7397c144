"""Differences from scikit-learn's classes that are intended, with a reason each.

A key is the name of a class of scikit-learn, or the name of a test module of this package. For a
class, the values are its members, its parameters, or values of parameters (``name=value``) that
skae does not have: a test is skipped where it uses one. For a module, the values are its tests that
must fail, with or without the parameters in brackets, unless they are in `MAY_PASS`.
"""

# Tests that older versions of scikit-learn do not have, and a version that has them.
SINCE = {
    "test_feature_union_array_api_support_tag": "1.9",
    "test_feature_union_duplicate_column_names": "1.9",
}
# Tests that newer versions do not have, and the first of these versions.
UNTIL = {"test_column_transformer_error_with_duplicated_columns": "1.9"}

_SPECTRUM = "a trained code has no spectrum"
_MODEL = "AutoencoderTransformer has no likelihood; VariationalAutoencoder has one"
_ONE_SOLVER = "skae has one solver"
_OWN_METHOD = "a setting of the other method"
_MANY_COMPONENTS = "more components than columns are not an error: the code has as many as columns"
_CODES = "codes have other values and names than scaled columns"
_STREAM = "a stream starts at the PCA of its first rows and is then trained"
_SHARE_OF_OUTLIERS = "the contamination is 0.05 by default"
_ONE_DETECTOR = "the detector scores training rows and new rows in the same way"

_EARLY_STOPPING = {
    "test_pandas_column_name_consistency[*early_stopping=True*validation_fraction=0*]": (
        "early stopping needs validation rows"
    ),
}

_WEIGHTS = {
    "test_estimators[*-check_sample_weight_equivalence_on_*_data]": (
        "a step of training has random draws and rounding errors of float32; "
        "properties/test_weights.py compares the initial networks"
    ),
}
# Tests that fail only with some parameters, or only on some processors.
MAY_PASS = {*_WEIGHTS}

DIFFERENCES = {
    "PCA": {
        "svd_solver='arpack'": _ONE_SOLVER,
        "svd_solver='randomized'": _ONE_SOLVER,
        "iterated_power": _ONE_SOLVER,
        "n_oversamples": _ONE_SOLVER,
        "power_iteration_normalizer": _ONE_SOLVER,
        "_fit_svd_solver": _ONE_SOLVER,
        "n_components='mle'": "the likelihood of PCA does not select the size of a trained code",
        "n_components=0": "a code has at least one component",
        "explained_variance_": _SPECTRUM,
        "explained_variance_ratio_": _SPECTRUM,
        "singular_values_": _SPECTRUM,
        "noise_variance_": _MODEL,
        "get_covariance": _MODEL,
        "get_precision": _MODEL,
    },
    "IncrementalPCA": {
        "explained_variance_": _SPECTRUM,
        "explained_variance_ratio_": _SPECTRUM,
        "singular_values_": _SPECTRUM,
    },
    "SimpleImputer": {
        "strategy": "skae imputes the conditional mean given the observed values",
        "fill_value": "skae imputes the conditional mean given the observed values",
        "statistics_": "imputed values depend on the observed values of the row",
    },
    "KNNImputer": {},
    "IterativeImputer": {
        "estimator": _OWN_METHOD,
        "imputation_order": _OWN_METHOD,
        "initial_strategy": _OWN_METHOD,
        "n_nearest_features": _OWN_METHOD,
        "skip_complete": _OWN_METHOD,
        "fill_value": _OWN_METHOD,
        "initial_imputer_": _OWN_METHOD,
        "imputation_sequence_": _OWN_METHOD,
        "_min_value": "skae has one parameter, bounds, for the smallest and the largest value",
        "sample_posterior": "the imputer imputes means; VariationalAutoencoder draws samples",
        "max_iter=0": "training takes at least one epoch",
    },
    "IsolationForest": {
        "bootstrap": _OWN_METHOD,
        "max_samples=256": _OWN_METHOD,
        "max_samples=1000": _OWN_METHOD,
        "warm_start": _OWN_METHOD,
        "max_features": _OWN_METHOD,
        "estimators_": _OWN_METHOD,
        "max_samples_": _OWN_METHOD,
        "n_jobs": "training uses the cores that TensorFlow finds",
    },
    "LocalOutlierFactor": {
        "algorithm": _OWN_METHOD,
        "metric": _OWN_METHOD,
        "n_neighbors=500": _OWN_METHOD,
        "n_neighbors_": _OWN_METHOD,
        "_fit_X": _OWN_METHOD,
        "_predict": _OWN_METHOD,
        "kneighbors": _OWN_METHOD,
        "n_samples_fit_": _OWN_METHOD,
        "negative_outlier_factor_": _OWN_METHOD,
    },
    "StandardScaler": {
        "with_std": "the autoencoder scales codes, not columns",
    },
    "MaxAbsScaler": {},
    "test_pca": {
        "test_sparse_pca_solver_error[*-full]": "sparse rows are valid with the one solver of skae",
        "test_pca_validation[*-auto-3-*]": _MANY_COMPONENTS,
        "test_infer_dim_by_explained_variance[kept-X2-*]": "it is of validation rows",
        "test_pca_score": "score is the explained variance ratio",
    },
    "test_incremental_pca": {
        "test_incremental_pca_validation": _MANY_COMPONENTS,
        "test_incremental_pca_partial_fit": _STREAM,
        "test_incremental_pca_partial_fit_small_batch": _STREAM,
        "test_whitening": "less than 1e-10 of the largest variance is rounding, as in float32",
    },
    "test_impute_common": {
        "test_imputers_add_indicator_sparse": "the imputer requires dense rows",
    },
    "test_impute": {
        "test_iterative_imputer_one_feature": "n_iter_ counts epochs: there is at least one",
        "test_iterative_imputer_all_missing": (
            "a table without any value is an error: transform would return no column"
        ),
        "test_iterative_imputer_catch_min_max_error": "the error names bounds, skae's parameter",
        "test_iterative_imputer_skip_non_missing[*-False]": (
            "the values are BayesianRidge's: probabilistic PCA of four rows imputes about the mean"
        ),
        "test_inconsistent_dtype_X_missing_values[*-IterativeImputer]": (
            "missing_values must be a number, as the error of KNNImputer says"
        ),
    },
    "test_lof": {
        "test_novelty_errors": _ONE_DETECTOR,
        "test_hasattr_prediction": _ONE_DETECTOR,
        "test_lof_error_n_neighbors_too_large": "few rows have few neighbours, without a warning",
        "test_lof_duplicate_samples": "equal rows give no warning",
    },
    "test_iforest": {
        "test_iforest_works[*-auto]": _SHARE_OF_OUTLIERS,
        "test_iforest_predict_parallel[*-auto-*]": _SHARE_OF_OUTLIERS,
        "test_iforest_chunks_works1": "the test counts calls of a function of IsolationForest",
        "test_iforest_chunks_works2": "the test counts calls of a function of IsolationForest",
        "test_iforest_with_uniform_data": "if all training rows are equal, other rows are outliers",
    },
    "test_column_transformer": {
        "test_column_transformer_list": _CODES,
        "test_column_transform_set_output_mixed": _CODES,
        "test_column_transform_set_output_after_fitting": _CODES,
        "test_empty_selection_pandas_output": _CODES,
        "test_column_transformer_remainder_passthrough_naming_consistency": _CODES,
        "test_column_transformer_column_renaming": _CODES,
        "test_column_transformer_error_with_duplicated_columns": _CODES,
    },
    "test_pipeline": {
        "test_feature_union_passthrough_get_feature_names_out_false_errors": _CODES,
        "test_feature_union_duplicate_column_names": _CODES,
        "test_pipeline_get_feature_names_out_passes_names_through": _CODES,
        "test_feature_union_array_api_support_tag": "skae requires NumPy arrays",
    },
    "test_common_detector": _WEIGHTS,
    "test_common_transformer": _EARLY_STOPPING | _WEIGHTS,
    "test_common_variational": _EARLY_STOPPING | _WEIGHTS,
}
