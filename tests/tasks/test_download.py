"""Oracle: a local web server, what it was asked for, and the bytes it holds."""

import gzip
import hashlib

import pytest
from oracles.tasks import IDX_FILES, served, write_mnist

from lazyrich._ground import InputError
from lazyrich.tasks import ImageTask, _download, download_mnist

NOWHERE = "http://127.0.0.1:9"  # the port at which nothing is to answer


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder of four small files, which are taken for the real ones."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "source"
    write_mnist(folder)
    contents = {name: gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in IDX_FILES}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(_download, "MNIST_HASHES", hashes)
    return folder


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fetched_once_and_read_by_the_task(tmp_path, source, monkeypatch):
    monkeypatch.setenv("LAZYRICH_DATA", str(tmp_path / "data"))
    actions = []
    with served(source) as (url, requested):
        folder = download_mnist(url=url, on_file=lambda *action: actions.append(action))
        assert folder == tmp_path / "data" / "mnist"
        assert held(folder) == held(source)
        assert requested == [f"/{name}.gz" for name in IDX_FILES]
        download_mnist(url=url, on_file=lambda *action: actions.append(action))
    assert len(requested) == 4
    names = [f"{name}.gz" for name in IDX_FILES]
    assert actions == [(name, action) for action in ("fetched", "kept") for name in names]
    ImageTask(source="mnist", n_train=2, n_test=2).draw(0)


def test_only_bad_files_are_fetched_again(tmp_path, source):
    folder = tmp_path / "there"
    write_mnist(folder)
    write_mnist(folder, is_packed=False)
    cut, _, plain, changed = IDX_FILES
    (folder / cut).unlink()
    (folder / f"{cut}.gz").write_bytes((folder / f"{cut}.gz").read_bytes()[:100])
    (folder / f"{plain}.gz").unlink()  # good as it is, unpacked
    (folder / f"{changed}.gz").unlink()
    (folder / changed).write_bytes(b"other")
    with served(source) as (url, requested):
        download_mnist(folder, url=url)
    assert requested == [f"/{cut}.gz", f"/{changed}.gz"]
    assert not (folder / changed).exists()
    assert gzip.decompress((folder / f"{cut}.gz").read_bytes())
    ImageTask(source="mnist", n_train=2, n_test=2, folder=str(folder)).draw(0)


def test_the_second_mirror_where_the_first_is_away(tmp_path, source, monkeypatch):
    with served(source) as (url, _):
        monkeypatch.setattr(_download, "MNIST_MIRRORS", (NOWHERE, url))
        assert held(download_mnist(tmp_path / "there")) == held(source)


def swapped(source):
    """A good gzip file, of another content."""
    other = source / "t10k-images-idx3-ubyte.gz"
    (source / "train-images-idx3-ubyte.gz").write_bytes(other.read_bytes())


@pytest.mark.parametrize(
    "spoil, words",
    [
        (swapped, "SHA-256 is another"),
        (lambda source: (source / "train-images-idx3-ubyte.gz").unlink(), "404"),
        (None, "refused"),
    ],
)
def test_what_cannot_be_fetched_gets_one_sentence_and_leaves_nothing(
    tmp_path, source, spoil, words
):
    folder = tmp_path / "there"
    with served(source) as (url, _):
        if spoil is not None:
            spoil(source)
        with pytest.raises(InputError, match=words) as caught:
            download_mnist(folder, url=url if spoil else NOWHERE)
    sentence = str(caught.value)
    assert sentence.startswith("train-images-idx3-ubyte.gz could not be fetched (http://127.0.0.1")
    assert "--from URL" in sentence
    assert "\n" not in sentence
    assert held(folder) == {}


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path, source):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/there cannot be written"):
        download_mnist(tmp_path / "file" / "there", url=NOWHERE)


def test_the_real_hashes_name_the_four_files():
    assert list(_download.MNIST_HASHES) == list(IDX_FILES)
    assert all(len(digest) == 64 for digest in _download.MNIST_HASHES.values())
