"""Time, memory and error of tables with more columns than rows, compared with PCA.

Four generated tables, with the default parameters and as many new rows for the error as for
training: rows without structure, rows with five factors, counts of five types of cells, and a
TF-IDF matrix of documents on 20 topics, in CSR format. PCA has its defaults; on the TF-IDF matrix
it is computed by TruncatedSVD for the time and for the classifier, and by PCA for the error.

Each table has its own process. Seconds: the first fit, which compiles the training loop, and the
median of three further fits. Memory is the maximum anonymous memory during the first fit, minus the
memory before it, in MB. The accuracy is that of a LogisticRegression on standardised codes.

Run ``python benchmarks/wide.py`` (two minutes). Writes wide.json below benchmarks/output/ or
--output. Linux only.
"""

import sys
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from _common import RESULTS, OneLineParser, environment, save, timed
from scaling import PeakMemory
from scipy.sparse import csr_array, issparse, vstack
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderTransformer


def noise(rng):
    """Return normal numbers."""
    return rng.normal(size=(120, 20_000)), None


def factors(rng):
    """Return five factors and noise."""
    rows = rng.normal(size=(120, 5)) @ rng.normal(size=(5, 20_000))
    return rows + 0.5 * rng.normal(size=rows.shape), None


def counts(rng):
    """Return negative binomial counts of five types, a tenth of whose columns differ."""
    types = rng.integers(5, size=1000)
    differs = rng.random((5, 5000)) < 0.1
    profiles = rng.normal(0, 1.2, size=5000) + differs * rng.normal(0, 1.5, size=(5, 5000)) - 1
    means = np.exp(profiles[types]) * rng.lognormal(0, 0.3, size=(1000, 1))
    return rng.poisson(rng.gamma(2, means / 2)).astype(float), types


def tfidf(rng):
    """Return the TF-IDF matrix of documents with one main topic each."""
    n_topics, n_words = 20, 20_000
    weights = rng.gamma(0.15, size=(n_topics, n_words)) / np.arange(1, n_words + 1) ** 1.05
    topics = weights / weights.sum(axis=1, keepdims=True)
    main, other = rng.integers(n_topics, size=(2, 3000))
    words = [
        rng.multinomial(rng.integers(60, 200), 0.75 * topics[first] + 0.25 * topics[second])
        for first, second in zip(main, other, strict=True)
    ]
    rows = vstack([csr_array(row[None]) for row in words], format="csr")
    return csr_array(TfidfTransformer(sublinear_tf=True).fit_transform(rows)), main


# Table, and number of components.
TABLES = {
    "noise": (noise, 8),
    "factors": (factors, 8),
    "counts": (counts, 64),
    "tf-idf": (tfidf, 64),
}


def accuracy(transformer, X, y):
    """Return the accuracy of a classifier on the codes of the second half of the rows."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    half = X.shape[0] // 2
    classifier.fit(transformer.transform(X[:half]), y[:half])
    return classifier.score(transformer.transform(X[half:]), y[half:])


def run(name, connection):
    """Measure one table, and send the result."""
    make, k = TABLES[name]
    X, y = make(np.random.default_rng(0))
    half = X.shape[0] // 2
    training, new = X[:half], X[half:]
    AutoencoderTransformer(1, max_steps=1).fit(np.eye(9))  # imports TensorFlow
    ae = AutoencoderTransformer(k, random_state=0)
    with PeakMemory() as memory:
        _, first = timed(lambda: ae.fit(training))
    seconds = median(timed(lambda: clone(ae).fit(training))[1] for _ in range(3))
    dense, dense_new = (rows.toarray() if issparse(X) else rows for rows in (training, new))
    pca = PCA(k, random_state=0).fit(dense)
    peer = TruncatedSVD(k, random_state=0) if issparse(X) else PCA(k, random_state=0)
    pca_seconds = median(timed(lambda: clone(peer).fit(training))[1] for _ in range(3))
    error = mean_squared_error(dense_new, ae.reconstruct(new))
    pca_error = mean_squared_error(dense_new, pca.inverse_transform(pca.transform(dense_new)))
    result = {"table": name, "shape": training.shape, "k": k, "first": first, "seconds": seconds}
    result |= {"pca_seconds": pca_seconds, "added": memory.added, "ratio": pca_error / error}
    if y is not None:
        result["accuracy"] = accuracy(ae, X, y)
        result["pca_accuracy"] = accuracy(peer.fit(training), X, y)
    connection.send(result)


def main(arguments=None):
    """Measure all tables."""
    parser = OneLineParser(prog="wide.py", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="output folder")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    results, context = [], get_context("spawn")
    print(
        "   table      rows columns   k  first s   fit s   PCA s      MB  PCA/ours  accuracy, PCA's"
    )
    for name in TABLES:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=run, args=(name, theirs))
        process.start()
        theirs.close()
        result = ours.recv()
        process.join()
        results.append(result)
        codes = [f"{result[key]:.3f}" for key in ("accuracy", "pca_accuracy") if key in result]
        print(
            f"{name:>8}{result['shape'][0]:>10}{result['shape'][1]:>8}{result['k']:>4}"
            f"{result['first']:>9.1f}{result['seconds']:>8.2f}{result['pca_seconds']:>8.2f}"
            f"{result['added'] / 1e6:>8.0f}{result['ratio']:>10.3f}  {', '.join(codes)}",
            flush=True,
        )
    save({"environment": environment(), "results": results}, options.output / "wide.json")


if __name__ == "__main__":
    main(sys.argv[1:])
