"""The comparison with PCA, run from the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from matplotlib.image import imread

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "compare_pca.py"


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment or None,
    )


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return run("--quick", "--output", folder), folder


# Output of TensorFlow at its import, also on a machine with a driver but without a GPU.
TENSORFLOWS = re.compile(r"I\d{4} |E\d{4} .*failed call to cuInit|WARNING: All log messages before")


@pytest.mark.slow
def test_compares_on_digits(quick_run):
    result, folder = quick_run
    assert result.returncode == 0, result.stderr
    messages = [line for line in result.stderr.splitlines() if not TENSORFLOWS.match(line)]
    assert messages == []
    report = json.loads((folder / "compare_pca.json").read_text())
    assert [row["n_components"] for row in report["results"]] == [4, 16]
    for row in report["results"]:
        assert row["ratio"] == pytest.approx(row["pca_mse"] / row["skae_mse"])
        assert row["skae_mse"] < row["pca_clipped_mse"] < row["pca_mse"]
        assert 0.5 < row["pca_accuracy"] <= 1
        assert 0.5 < row["skae_accuracy"] <= 1
    assert {"date", "cpu", "cores", "tensorflow"} <= set(report["environment"])


@pytest.mark.slow
def test_prints_an_aligned_table_and_one_sentence(quick_run):
    lines = quick_run[0].stdout.splitlines()
    assert len(lines) == 6
    title, heading, *rows, sentence, written = lines
    assert "1347 training and 450 test rows" in title
    assert len({len(line.rstrip()) for line in (heading, *rows)}) == 1
    assert sentence.startswith("On digits, PCA's test error is")
    assert "PCA fits" in sentence
    assert "compare_pca.png" in written


@pytest.mark.slow
def test_draws_a_figure(quick_run):
    picture = imread(quick_run[1] / "compare_pca.png")
    assert picture.shape[0] > 300
    assert picture.shape[1] > 800
    assert (quick_run[1] / "compare_pca.png").stat().st_size < 200_000


def table(n_samples=80):
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, size=(n_samples, 1))
    return np.hstack([np.sin(t), t**2, t, np.cos(t)]) + 0.05 * rng.normal(size=(n_samples, 4))


@pytest.mark.slow
def test_draws_a_figure_of_few_images(tmp_path):
    np.save(tmp_path / "images.npy", table(20).reshape(20, 2, 2))
    result = run("--dataset", tmp_path / "images.npy", "--n-components", 1, "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    assert imread(tmp_path / "compare_pca.png").any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "csv"])  # images are .npy
def test_compares_on_files(kind, tmp_path):
    path = tmp_path / f"table.{kind}"
    if kind == "npz":
        np.savez(path, X=table(), y=np.arange(80) % 2)
    else:
        np.savetxt(path, table(), delimiter=",", header="a,b,c,d", comments="")
    result = run("--dataset", path, "--n-components", 1, "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    assert ("skae acc." in result.stdout) == (kind == "npz")
    row = json.loads((tmp_path / "compare_pca.json").read_text())["results"][0]
    assert row["n_components"] == 1
    assert row["ratio"] >= 1


def invalid_files(folder):
    """Invalid files, each with a pattern of the error message."""

    class Pickled:
        def __reduce__(self):
            return (print, ("executed",))

    objects = np.array([Pickled(), Pickled()], dtype=object)
    np.save(folder / "pickle.npy", objects, allow_pickle=True)
    np.savez(folder / "pickle.npz", X=objects)
    (folder / "truncated.npy").write_bytes((folder / "pickle.npy").read_bytes()[:40])
    (folder / "text.npz").write_text("no zip")
    (folder / "words.csv").write_text("a,b\n1,2\nthree,4\n" * 9)
    (folder / "ragged.csv").write_text("1,2\n1,2,3\n" * 9)
    (folder / "empty.csv").write_text("")
    (folder / "table.txt").write_text("1 2\n")
    np.save(folder / "flat.npy", np.zeros(100))
    np.save(folder / "huge.npy", table() * 1e200)
    np.save(folder / "tiny.npy", table().astype(np.float32) * np.float32(1e-42))
    np.save(folder / "few.npy", np.zeros((3, 3)))
    np.save(folder / "words.npy", np.full((20, 3), "word"))
    np.save(folder / "missing.npy", np.where(table() > 1, np.nan, table()))
    np.savez(folder / "other.npz", rows=table())
    np.savez(folder / "labels.npz", X=table(), y=np.zeros(5))
    np.savez(folder / "target.npz", X=table(), y=np.linspace(0, 1, 80))
    np.savez(folder / "half.npz", x_train=table())
    return {
        "pickle.npy": "allow_pickle",
        "pickle.npz": "allow_pickle",
        "truncated.npy": "cannot be read",
        "text.npz": "cannot be read",
        "words.csv": "cannot be read",
        "ragged.csv": "cannot be read",
        "empty.csv": "first line is empty",
        "table.txt": ".npz, .npy and .csv",
        "flat.npy": "needs a table",
        "huge.npy": "squares overflow",
        "tiny.npy": "near the limits of its type",
        "few.npy": "needs a table",
        "words.npy": "needs a table",
        "missing.npy": "NaN",
        "other.npz": "no array named X",
        "labels.npz": "one label for each",
        "target.npz": "labels of two classes",
        "half.npz": "x_test",
        "missing.npz": "no such file",
    }


def test_invalid_files_and_options_give_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import compare_pca

    cases = [(["--dataset", tmp_path / f], match) for f, match in invalid_files(tmp_path).items()]
    cases += [
        (["--n-components", "0"], "from 1 to 64"),
        (["--n-components", "65"], "from 1 to 64"),
        (["--n-components", "two"], "--n-components"),
        (["--seed", "-1"], "--seed"),
        (["--fast"], "--fast"),
        (["--set", "max_iter"], "NAME=VALUE"),
        (["--set", "epochs=3"], "epochs"),
        (["--set", "alpha=-1"], "alpha"),
        (["--output", tmp_path / "few.npy"], "few.npy"),
    ]
    for arguments, match in cases:
        with pytest.raises(SystemExit, match="2"):
            compare_pca.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert out == "", arguments
        assert len(err.splitlines()) == 1, err
        assert match in err, (arguments, err)


def test_an_archive_larger_than_memory_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import compare_pca

    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((1000, 1000)))
    with ZipFile(tmp_path / "bomb.npz", "a") as archive:  # the size in the directory of the archive
        archive.getinfo("X.npy").file_size = 8 * 10**17
        archive.writestr("y.npy", b"")
    with pytest.raises(SystemExit, match="2"):
        compare_pca.main(["--dataset", str(tmp_path / "bomb.npz")])
    assert "unpack to 8.0e+17 bytes" in capsys.readouterr().err


@pytest.mark.slow
def test_missing_mnist_files_give_a_message_with_a_remedy(tmp_path):
    result = run("--dataset", "mnist", SKAE_MNIST=str(tmp_path / "none.npz"))
    assert result.returncode == 2
    assert "SKAE_MNIST" in result.stderr
    assert len(result.stderr.splitlines()) == 1
