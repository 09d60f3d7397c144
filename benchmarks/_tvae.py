"""Draw rows with ctgan's TVAE in a separate process: PyTorch crashes in a process with TensorFlow.

``python _tvae.py FOLDER SEED`` reads the training rows from train.pkl in the folder, and writes the
drawn rows and the seconds of fit and sample to drawn.pkl. This script does not import skae, because
the worker processes of ctgan would import it again.
"""

import sys
import time
from pathlib import Path

import pandas as pd
import torch
from ctgan import TVAE

if __name__ == "__main__":
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    train = pd.read_pickle(folder / "train.pkl")
    torch.manual_seed(seed)
    start = time.perf_counter()
    model = TVAE(enable_gpu=False)
    model.fit(train, [name for name, column in train.items() if column.dtype == object])
    drawn = model.sample(len(train))
    seconds = time.perf_counter() - start
    pd.to_pickle((drawn, seconds), folder / "drawn.pkl")
