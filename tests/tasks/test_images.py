"""Oracle: files read number by number, means over squares pixel by pixel."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from oracles.tasks import IDX_FILES, idx_bytes, pooled, read_idx, write_mnist
from sklearn.datasets import load_digits

from lazyrich._base import InputError
from lazyrich.tasks import ImageTask, data_folder

ONES = np.eye(10)


def mnist(folder, **changes):
    small = {"source": "mnist", "n_train": 5, "n_test": 4}
    return ImageTask(**(small | changes), folder=str(folder))


def expected(arrays, n_train=5, n_test=4):
    x = arrays["x_train"][:n_train].reshape(n_train, -1) / 255
    x_test = arrays["x_test"][:n_test].reshape(n_test, -1) / 255
    return x, ONES[arrays["y_train"][:n_train]], x_test, ONES[arrays["y_test"][:n_test]]


def assert_equal(data, arrays):
    for found, wanted in zip(data, arrays, strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-15)


@pytest.mark.parametrize("form", ["gzipped", "plain", "npz", "npz in the folder"])
def test_first_images_of_both_sets_from_every_form(tmp_path, form):
    arrays = write_mnist(tmp_path / "idx", is_packed=form == "gzipped")
    np.savez(tmp_path / "mnist.npz", **arrays)
    places = {"npz": tmp_path / "mnist.npz", "npz in the folder": tmp_path}
    assert_equal(mnist(places.get(form, tmp_path / "idx")).sample(0), expected(arrays))


def test_the_files_say_what_an_independent_reader_finds(tmp_path):
    write_mnist(tmp_path)
    shape, pixels = read_idx(tmp_path / "t10k-images-idx3-ubyte.gz")
    _, labels = read_idx(tmp_path / "t10k-labels-idx1-ubyte.gz")
    data = mnist(tmp_path, n_test=6).sample(0)
    assert shape == (6, 28, 28)
    np.testing.assert_allclose(np.ravel(data.x_test) * 255, pixels, rtol=1e-14)
    assert data.y_test.argmax(1).tolist() == labels


@pytest.mark.parametrize("size", [1, 7, 14, 28])
def test_reduced_images_are_means_over_squares(tmp_path, size):
    arrays = write_mnist(tmp_path)
    data = mnist(tmp_path, size=size).sample(0)
    wanted = [pooled(image, size).ravel() / 255 for image in arrays["x_train"][:5]]
    np.testing.assert_allclose(data.x, wanted, rtol=1e-13)


def test_random_images_come_with_their_labels(tmp_path):
    arrays = write_mnist(tmp_path)
    data = mnist(tmp_path, subset="random", n_train=12, n_test=6).sample(0)
    for x, y, short in [(data.x, data.y, "train"), (data.x_test, data.y_test, "test")]:
        pool = arrays[f"x_{short}"].reshape(len(x), -1) / 255
        order = [int(np.abs(pool - row).sum(1).argmin()) for row in np.asarray(x)]
        assert sorted(order) == list(range(len(x)))
        assert order != sorted(order)
        np.testing.assert_array_equal(y, ONES[arrays[f"y_{short}"][order]])


def test_changed_files_are_read_again(tmp_path):
    write_mnist(tmp_path)
    before = mnist(tmp_path).sample(0)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.full(12, 3, np.uint8))))
    os.utime(path, ns=(1, 1))  # whatever the clock's resolution
    after = mnist(tmp_path).sample(0)
    assert after.y.argmax(1).tolist() == [3] * 5 != before.y.argmax(1).tolist()


def test_the_small_digits_are_scikit_learns():
    images, labels = load_digits(return_X_y=True)
    data = ImageTask(n_train=20, n_test=10).sample(0)
    wanted = (images[:20] / 16, ONES[labels[:20]], images[-10:] / 16, ONES[labels[-10:]])
    assert_equal(data, wanted)
    chosen = ImageTask(n_train=1000, n_test=797, subset="random", split_seed=4).sample(0)
    found = np.concatenate([chosen.x, chosen.x_test])
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(images / 16, axis=0))
    nested = ImageTask(n_train=10, n_test=797, subset="random", split_seed=4).sample(0)
    np.testing.assert_array_equal(nested.x, chosen.x[:10])
    np.testing.assert_array_equal(nested.x_test, chosen.x_test)


def replaced(name, content):
    def spoil(folder):
        (folder / f"{name}.gz").write_bytes(content((folder / f"{name}.gz").read_bytes()))
        return name

    return spoil


def unpacked(change):
    return lambda content: gzip.compress(change(gzip.decompress(content)))


def packed_with(**changes):
    def spoil(folder):
        arrays = write_mnist(folder / "arrays") | changes
        for name in IDX_FILES:
            (folder / f"{name}.gz").unlink()
        kept = {name: array for name, array in arrays.items() if array is not None}
        np.savez(folder / "mnist.npz", **kept)
        return "mnist.npz"

    return spoil


def text_for_npz(folder):
    packed_with()(folder)
    (folder / "mnist.npz").write_text("not a file of arrays")
    return "mnist.npz"


def missing(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    return "t10k-labels-idx1-ubyte.gz"


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    "spoil, words",
    [
        (missing, "There is no"),
        (replaced(IMAGES, lambda c: c[: len(c) // 2]), "cannot be read"),
        (replaced(IMAGES, lambda c: b"<html>not found</html>"), "cannot be read"),
        (replaced(IMAGES, lambda c: c[:60] + bytes(60) + c[120:]), "cannot be read"),
        (replaced(LABELS, unpacked(lambda c: b"\0\0\x0d\1" + c[4:])), "not an IDX file"),
        (replaced(LABELS, unpacked(lambda c: c[:6])), "not an IDX file"),
        (replaced(LABELS, unpacked(lambda c: b"")), "not an IDX file"),
        (replaced(IMAGES, unpacked(lambda c: c[:-5])), "should have 9408 bytes .* has 9403"),
        (replaced(LABELS, unpacked(lambda c: c + b"\1")), "should have 6 bytes .* has 7"),
        (replaced(LABELS, unpacked(lambda c: c[:-1] + b"\x0a")), "numbers from 0 to 9"),
        (
            replaced(LABELS, lambda c: gzip.compress(idx_bytes(np.zeros(5, np.uint8)))),
            "6 images but .* 5 labels",
        ),
        (
            replaced(IMAGES, lambda c: gzip.compress(idx_bytes(np.zeros((12, 8, 8), np.uint8)))),
            r"\(12, 8, 8\); wanted images \(n, 28, 28\)",
        ),
        (packed_with(x_train=np.full((12, 28, 28), np.nan)), "numbers from 0 to 255"),
        (packed_with(y_test=np.full(6, 0.5)), "not whole numbers"),
        (packed_with(y_test=np.full(6, "a")), "not numbers"),
        (packed_with(x_test=None), "lacks an array"),
        (text_for_npz, "not an npz file"),
    ],
)
def test_bad_files_get_one_sentence_that_names_them(tmp_path, spoil, words):
    write_mnist(tmp_path)
    name = spoil(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        mnist(tmp_path).sample(0)
    sentence = str(caught.value)
    assert name in sentence
    assert "`lazyrich data mnist` fetches good files." in sentence
    assert "\n" not in sentence


def test_too_few_images_in_the_files_get_one_sentence(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(InputError, match=r"n_train is 13 but the files in .* hold 12 such images"):
        mnist(tmp_path, n_train=13).sample(0)


def test_no_files_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYRICH_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    with pytest.raises(InputError, match=rf"folder {tmp_path}/mnist; `lazyrich data mnist`"):
        ImageTask(source="mnist").sample(0)
    with pytest.raises(InputError, match=r"absent\.npz cannot be read \(No such file"):
        mnist(tmp_path / "absent.npz").sample(0)
    arrays = write_mnist(tmp_path / "mnist")
    assert_equal(ImageTask(source="mnist", n_train=5, n_test=4).sample(0), expected(arrays))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"size": 3}, "size is 3; the images have 8 × 8 pixels, so choose a divisor of 8"),
        ({"n_train": 1500, "n_test": 500}, "is 2000; there are 1797 digits"),
        ({"source": "mnist", "n_test": 10_001}, "n_test is 10001; MNIST has 10000 such images"),
        ({"folder": "somewhere"}, "digits.*choose source"),
    ],
)
def test_what_no_set_has_gets_one_sentence(changes, words):
    with pytest.raises(InputError, match=f"^ImageTask cannot be made: .*{words}"):
        ImageTask(**changes)


@pytest.mark.skipif("LAZYRICH_MNIST" not in os.environ, reason="LAZYRICH_MNIST names no folder")
def test_the_real_files_hold_the_known_digits():
    folder = Path(os.environ["LAZYRICH_MNIST"])
    data = mnist(folder, n_train=60_000, n_test=10_000).sample(0)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.y.sum(0).astype(int).tolist() == counts
    assert data.y[:5].argmax(1).tolist() == [5, 0, 4, 1, 9]
    assert data.y_test[:5].argmax(1).tolist() == [7, 2, 1, 0, 4]
    # The mean pixel of the training set, as everyone normalises by it.
    assert float(data.x.mean()) == pytest.approx(0.1307, abs=1e-4)
    # The shape of one file's content, by the independent reader.
    _, pixels = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    np.testing.assert_allclose(np.ravel(data.x_test) * 255, pixels, rtol=1e-14)
