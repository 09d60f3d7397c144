"""
Serving with ONNX or only NumPy
===============================

The fitted state of an autoencoder is a few arrays. This example encodes rows in three ways: with
`transform`, which does not need TensorFlow; with an ONNX graph, which makes a whole pipeline
available in other languages; and with a dozen lines of code that need only NumPy. All three give
the same codes. For single rows, `transform` takes the longest time, because scikit-learn validates
the input. For many rows, the matrix products take most of the time.
"""

# %%
# A pipeline as an ONNX graph
# ---------------------------
# `import skae.onnx` registers the autoencoder with skl2onnx (``pip install "skae[onnx]"``).
import json
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

import skae.onnx  # noqa: F401
from skae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
X = X.astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
pipe = Pipeline(
    [("ae", AutoencoderTransformer(8, random_state=0)), ("classify", LogisticRegression())]
).fit(X_train, y_train)
ae = pipe["ae"]

graph = to_onnx(pipe, X_train[:1], options={"zipmap": False}).SerializeToString()
labels, _ = InferenceSession(graph).run(None, {"X": X_test})
print(
    f"graph of {len(graph) / 1000:.0f} kB; labels equal to the pipeline's: "
    f"{np.mean(labels == pipe.predict(X_test)):.1%}"
)

# %%
# A server that needs only NumPy
# ------------------------------
# One file contains the weights, and another file contains the program. The program reads rows and
# returns codes, as lines of JSON. The program is for the default activation, silu, and for any
# number of layers.
program = """
import json, sys
import numpy as np

def load(path):
    weights = dict(np.load(path))
    n_layers = sum(name.startswith("coef") for name in weights)

    def encode(rows):
        rows = rows - weights["offset"]
        out = rows
        for i in range(n_layers):
            if i > 0:
                out = out / (1 + np.exp(-out))  # silu
            out = out @ weights[f"coef{i}"] + weights[f"intercept{i}"]
        return out + rows @ weights["linear"]
    return encode

if __name__ == "__main__":
    encode = load(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(encode(np.array(json.loads(line))).tolist()))
    print(json.dumps(sorted({"sklearn", "skae", "tensorflow"} & set(sys.modules))))
"""
encoder = ae.encoder_
arrays = {"offset": ae.center_, "linear": encoder["linear"]}
arrays |= {f"coef{i}": coef for i, coef in enumerate(encoder["coefs"])}
arrays |= {f"intercept{i}": vector for i, vector in enumerate(encoder["intercepts"])}

with tempfile.TemporaryDirectory() as folder:
    server, weights = Path(folder, "server.py"), Path(folder, "encoder.npz")
    server.write_text(program)
    np.savez(weights, **arrays)
    lines = "\n".join(json.dumps(part.tolist()) for part in np.array_split(X_test, 5))
    command = [sys.executable, server, weights]
    answer = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    encode = runpy.run_path(server)["load"](weights)

*answers, imported = map(json.loads, answer.stdout.splitlines())
codes = np.concatenate(answers)
np.testing.assert_allclose(codes, ae.transform(X_test), rtol=1e-4, atol=1e-4)
print(f"codes of shape {codes.shape} agree")
print(f"imported by the server, of sklearn, skae and tensorflow: {imported}")

# %%
# Time per row
# ------------
# The times are the minimum of 20 calls with one thread, on the machine that built this page.
options = SessionOptions()
options.intra_op_num_threads = 1
session = InferenceSession(to_onnx(ae, X_train[:1]).SerializeToString(), options)
ways = {
    "transform": ae.transform,
    "ONNX Runtime": lambda rows: session.run(None, {"X": rows}),
    "plain NumPy": encode,
}
sizes = [1, 3, 10, 30, 100, 300, 1000]
many = np.resize(X_test, (sizes[-1], X.shape[1]))
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
limits = threadpool_limits(1)
for (name, way), marker in zip(ways.items(), "osv", strict=True):
    seconds = []
    for size in sizes:
        times = []
        for _ in range(20):
            start = time.perf_counter()
            way(many[:size])
            times.append(time.perf_counter() - start)
        seconds.append(min(times))
    print(f"{name:13}", *(f"{1e6 * s:7.0f} µs" for s in seconds))
    ax.plot(sizes, 1e6 * np.array(seconds) / sizes, marker=marker, label=name)
limits.restore_original_limits()
ax.set(xlabel="rows per call", ylabel="microseconds per row", xscale="log", yscale="log")
ax.set_title("Time to encode digits in 8 components")
ax.legend()
plt.show()
