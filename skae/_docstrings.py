"""Paragraphs that the docstrings of several estimators share.

Each paragraph stands once, in `_PARAGRAPHS`, and ``help()`` of every class shows it in full.
"""

import re
from collections.abc import Callable
from textwrap import fill
from typing import TypeVar

_WIDTH = 100
_PLACEHOLDER = re.compile(r"^( *)%\((\w+)\)s$", re.MULTILINE)
_VALUE = re.compile(r"%\((\w+)\)s")

_Documented = TypeVar("_Documented", bound=Callable[..., object])

# For each name, the line of the name and the type, and the text.
_PARAGRAPHS = {
    # parameters of the estimators
    "hidden_layer_sizes": (
        'hidden_layer_sizes : "auto", int or tuple of int, default=%(default_layers)s',
        """Sizes of the hidden layers of the encoder. The decoder has the same layers in reverse
        order. "auto" gives three layers, (96, 96, 96), for at most 16 features, and one layer,
        (256,), for more. For a frame with categories, the imputer counts its columns, and the
        transformer its encoded columns. ``()`` gives a network without hidden layers.""",
    ),
    "activation": (
        'activation : {"identity", "relu", "tanh", "logistic", "elu", "gelu", "silu"}, '
        'default="silu"',
        "Activation function of the hidden layers.",
    ),
    "bounds": (
        'bounds : "auto", None or (low, high), default="auto"',
        """Range of each feature in the reconstruction. "auto" sets a lower (upper) bound for a
        feature if at least 5 training rows, and at least 1 in 1000, are equal to its minimum
        (maximum), as in pixels, counts and one-hot columns. None sets no bounds. In a pair, `low`
        and `high` are each a number, an array of shape (n_features,) or None. The loss is computed
        on the clipped rows, and its gradient ignores the clipping. A given pair is applied to every
        output. %(automatic_bounds)s""",
    ),
    "learning_rate": (
        'learning_rate : {"linear", "cosine", "constant"}, default="linear"',
        """Schedule of the learning rate. "linear" and "cosine" increase the learning rate to
        `learning_rate_init` in the first 5 % of the steps. They then decrease it to zero, linearly
        or as half a cosine. "constant" uses `learning_rate_init` in every step.""",
    ),
    "learning_rate_init": (
        "learning_rate_init : float, default=7e-3",
        "Largest learning rate of the Adam optimiser.",
    ),
    "batch_size": (
        "batch_size : int, default=256",
        """Largest number of rows in a minibatch. The sizes of the minibatches of an epoch differ by
        one row at most.""",
    ),
    "max_iter": (
        'max_iter : int or "auto", default="auto"',
        """Number of epochs. "auto" makes `max_steps` gradient steps if `max_steps` is given.
        Otherwise it trains for 100 epochs, but for at least %(min_steps)s and at most 2400 gradient
        steps. It then stops earlier if the validation error has had no new minimum for a quarter of
        these steps, and is above the validation error of the initial network.""",
    ),
    "max_steps": (
        "max_steps : int or None, default=None",
        "Largest number of gradient steps. At most 1e9 steps are made.",
    ),
    "alpha_of_error": (
        "alpha : float, default=0.1",
        """Strength of the L2 penalty, which is added to the mean squared error of the scaled data.
        The penalty is `alpha` / 2 times the sum of the squared weights of the branches of hidden
        layers, divided by the number of training rows, or by the sum of their weights. The linear
        path has no penalty, so that a large `alpha` leads to a linear autoencoder.""",
    ),
    "alpha_of_likelihood": (
        "alpha : float, default=1.0",
        """Strength of the L2 penalty, which is subtracted from the lower bound of the
        log-likelihood per feature. The penalty is `alpha` / 2 times the sum of the squared weights
        of the branches of hidden layers, divided by the number of training rows, or by the sum of
        their weights. A Bernoulli likelihood of many rows needs a smaller value, such as 0.05.""",
    ),
    "n_draws": (
        "n_draws : int, default=20",
        """Number of codes that are drawn for each row to compute its score. More draws give a
        higher and tighter lower bound of the log-likelihood, in proportionally more time.""",
    ),
    "likelihood": (
        'likelihood : {"gaussian", "bernoulli"}, default="gaussian"',
        """Distribution of a row given its code: Gaussian, or independent Bernoulli distributions
        for features that are 0 or 1. With "bernoulli", values between 0 and 1 are taken as
        probabilities.""",
    ),
    "noise_variance": (
        'noise_variance : {"auto", "scalar", "feature"}, default="auto"',
        """Variance of the Gaussian noise. "scalar" is one variance for all features, as in PCA.
        "feature" is one variance for each feature, as in
        :class:`~sklearn.decomposition.FactorAnalysis`. "feature" gives a higher likelihood if some
        features are easier to predict from the others. "auto" is "scalar" in a table of numbers and
        "feature" in a table with categories.""",
    ),
    "validation_fraction": (
        "validation_fraction : float, default=0.1",
        """Fraction of the rows that are held out as validation rows, at most 65 536 rows. The
        network with the lowest validation error is kept. 0 holds out no rows, and the last network
        is kept. Ignored if `fit` gets X_val.""",
    ),
    "early_stopping": (
        "early_stopping : bool, default=False",
        """Whether to stop training when the validation error has not decreased by at least `tol` in
        `n_iter_no_change` evaluations. The validation error is evaluated after every epoch, or
        every few epochs (10 at most), so that there are about 40 evaluations. A long epoch has
        several evaluations, which take at most a tenth of its time.""",
    ),
    "n_iter_no_change": (
        "n_iter_no_change : int, default=10",
        "Number of evaluations without a decrease after which `early_stopping` stops training.",
    ),
    "tol": (
        "tol : float, default=1e-4",
        "Smallest decrease of the validation error that `early_stopping` counts, %(tol_unit)s.",
    ),
    "warm_start": (
        "warm_start : bool, default=False",
        """Whether `fit` starts from the fitted network, if there is one. The trained network is
        then compared with that network on the validation rows, and not with %(initial_model)s.
        Parameters of training may change between two fits. Automatic bounds are widened to include
        the new rows.""",
    ),
    "random_state": (
        "random_state : int, RandomState instance or None, default=None",
        """Determines the initial hidden layers, the validation rows, the order of the rows in
        training, and %(random_part)s. Pass an int to get the same bits from every `fit` on the same
        machine with the same number of threads.""",
    ),
    "verbose": (
        "verbose : int, default=0",
        """1 prints a line at each evaluation, and at the end whether PCA or the network of a step
        is kept. 2 or more also prints the number of training rows of each run.""",
    ),
    "categorical_features": (
        'categorical_features : "from_dtype", array-like or None, default="from_dtype"',
        """Columns of categories. "from_dtype" selects columns of a data frame of pandas or polars
        by their dtype: categories, enumerations, strings and booleans, and objects that are all
        strings or all booleans. With "from_dtype", an array has no categories. An array-like lists
        columns by index or name, or is a boolean mask. None takes all columns as numbers. In a
        table with categories, columns of numbers are standardised (density models encode them as
        normal scores), and each category becomes a column: :doc:`/guide/mixed` and
        :doc:`/guide/synthetic` describe the encoding. A table without categories is not
        encoded.""",
    ),
    "max_categories": (
        "max_categories : int or None, default=None",
        """Largest number of categories of a column. The rarest categories form one group, as in
        :class:`~sklearn.preprocessing.OneHotEncoder`, and the group is decoded as its most frequent
        category. If `max_categories` and `min_frequency` are None, the rare categories of a column
        with more than 100 categories form a group, with a warning. The rare categories of a column
        with more than 20 categories also form a group, if there are more than half as many
        categories as values.""",
    ),
    "min_frequency": (
        "min_frequency : int, float or None, default=None",
        """Smallest number of rows of a category, or smallest share of the observed values of the
        column. Rarer categories form one group, see `max_categories`.""",
    ),
    # parameters of fit
    "X_val": (
        "X_val : %(rows)s of shape (n_val, n_features), default=None",
        """Validation rows instead of the fraction `validation_fraction` of X: all rows of X are
        training rows, and the network with the lowest error on X_val is kept. In a `Pipeline`,
        ``Pipeline(..., transform_input=["X_val"])`` transforms X_val in the same way as X.""",
    ),
    "groups": (
        "groups : array-like of shape (n_samples,), default=None",
        """Group of each row, as for the group splitters of scikit-learn: any hashable value, such
        as the name of a patient. The rows of a group are either all validation rows, or all
        training rows. Cannot be combined with X_val.""",
    ),
    "sample_weight": (
        "sample_weight : float or array-like of shape (n_samples,), default=None",
        """Weights of the rows: at least zero, with a positive sum. By default, all weights are
        one. A row of weight 2 counts as two equal rows in the statistics of the columns, the
        initial network, the loss, the validation error, and the threshold of `OutlierDetector`. A
        row of any positive weight counts as one row in the minibatches, in the fraction
        `contamination` that `VariationalAutoencoder` and `OutlierDetector` leave out of training,
        and, unless groups are given, in `validation_fraction`. A row of weight 0 is left out. The
        sum of the weights is taken as the number of rows: divide weights that are not numbers of
        rows, such as survey weights, by their mean. If the mean of the positive weights is below
        one, `fit` divides the weights by this mean. The rows of X_val have equal weights. Cannot be
        combined with a Dask collection or a Shard.""",
    ),
    # fitted attributes
    "encoder_": (
        "encoder_, decoder_ : dict",
        """Weights: "coefs" and "intercepts" are lists with one array for each layer, and "linear"
        is the linear path. %(units_of_weights)s""",
    ),
    "components_": (
        "components_ : ndarray of shape (n_components_, n_features_in_)",
        """Linear path of the encoder, which adds ``(X - center_) @ components_.T`` to the code.
        %(components)s""",
    ),
    "mean_": (
        "mean_ : ndarray of shape (n_features_in_,)",
        "Mean of the observed values of each column.",
    ),
    "center_": (
        "center_ : ndarray of shape (n_features_in_,)",
        "Vector that the network subtracts from each row: %(offset)s.",
    ),
    "scale_": (
        "scale_ : float",
        "Scale of the data in training: the root mean square of the rows minus `center_`, or one.",
    ),
    "bounds_": (
        "bounds_ : ndarray of shape (2, n_features_in_)",
        "Lower and upper bounds of the reconstruction, infinite where there is none.",
    ),
    "imputation_model_": (
        "imputation_model_ : dict",
        """Probabilistic PCA that imputes missing values with their conditional mean given the
        observed values of the row. Its rows are ``mean + scale * (loadings @ z + e)``, where z is
        standard normal and e has the variance "noise_variance" in each column.""",
    ),
    "activations_": (
        "activations_ : tuple of str",
        "Activation functions of the hidden layers, the code and the output.",
    ),
    "n_components_": ("n_components_ : int", "Number of components of the code."),
    "n_features_in_": ("n_features_in_ : int", "Number of features."),
    "feature_names_in_": (
        "feature_names_in_ : ndarray of shape (n_features_in_,)",
        "Names of the features, if all column names of X are strings.",
    ),
    "categories_": (
        "categories_ : list of ndarray",
        """Categories of each column of categories, in the order of the columns. Other categories
        are missing values.""",
    ),
    "is_categorical_": (
        "is_categorical_ : ndarray of shape (n_features_in_,)",
        "Whether each column has categories.",
    ),
    "n_samples_seen_": (
        "n_samples_seen_ : int or float",
        """Number of rows in `fit`, and in the calls of `partial_fit` after it. With
        `sample_weight`, the sum of the weights instead of the number of rows in `fit`, after
        division by their mean if it is below one.""",
    ),
    "loss_curve_": (
        "loss_curve_ : ndarray of shape (n_steps_,)",
        """For each gradient step, the %(loss)s of its minibatch before the step. If several
        splits were trained, the values of the first split.""",
    ),
    "validation_curve_": (
        "validation_curve_ : ndarray of shape (n_evaluations, 2)",
        """Number of gradient steps, and %(loss)s of the validation rows after these steps. The
        first row is for the initial network. `partial_fit` appends the value of each batch before
        it trains on the batch.""",
    ),
    "n_steps_": (
        "n_steps_ : int",
        "Number of gradient steps of a run, and of the calls of `partial_fit` after it.",
    ),
    "n_iter_": (
        "n_iter_ : int",
        """Number of epochs of a run. It is at least one, even if PCA is exact and nothing is
        trained. Each call of `partial_fit` adds one.""",
    ),
    "best_step_": (
        "best_step_ : int",
        "Step after which the kept network was evaluated. 0 is the initial network.",
    ),
}


def with_shared_paragraphs(**values: str) -> Callable[[_Documented], _Documented]:
    """Return a decorator that inserts paragraphs into a docstring.

    A line ``%(name)s`` of the docstring becomes the paragraph of that name, after the pattern of
    the docstrings of imbalanced-learn.

    Parameters
    ----------
    **values : str
        Texts for the placeholders ``%(name)s`` within the paragraphs.
    """

    def paragraph(match: re.Match[str]) -> str:
        indent = match[1]
        header, text = (
            _VALUE.sub(lambda value: values[value[1]], part) for part in _PARAGRAPHS[match[2]]
        )
        prefix = indent + "    "
        body = fill(
            " ".join(text.split()),
            _WIDTH,
            initial_indent=prefix,
            subsequent_indent=prefix,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return f"{indent}{header}\n{body}"

    def decorate(documented: _Documented) -> _Documented:
        if documented.__doc__ is not None:  # which python -OO removes
            documented.__doc__ = _PLACEHOLDER.sub(paragraph, documented.__doc__)
        return documented

    return decorate
