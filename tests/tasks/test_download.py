"""Oracle: a local web server, what it was asked for, and the bytes it holds."""

import contextlib
import gzip
import hashlib
import os
import socket
import threading
import time
import tracemalloc
from contextlib import contextmanager

import pytest
from oracles.tasks import IDX_FILES, served, write_mnist

from lazyrich._base import InputError
from lazyrich.tasks import ImageTask, _download, _fetch, download_mnist

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
    ImageTask(source="mnist", n_train=2, n_test=2).sample(0)


def test_only_missing_files_are_fetched(tmp_path, source):
    folder = tmp_path / "there"
    write_mnist(folder)
    write_mnist(folder, is_packed=False)
    missing, _, plain, packed = IDX_FILES
    for name in (missing, f"{missing}.gz", f"{plain}.gz", packed):
        (folder / name).unlink()
    with served(source) as (url, requested):
        download_mnist(folder, url=url)
    assert requested == [f"/{missing}.gz"]
    ImageTask(source="mnist", n_train=2, n_test=2, folder=str(folder)).sample(0)


@pytest.mark.parametrize("kind", ["other", "cut off", "link", "folder", "pipe", "empty"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_of_other_content_is_refused_and_left(tmp_path, source, kind, ending):
    """Fashion-MNIST, to name one, has the same four names."""
    folder = tmp_path / "there"
    write_mnist(folder)
    name = list(IDX_FILES)[2]
    (folder / f"{name}.gz").unlink()
    path = folder / f"{name}{ending}"
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        content = (source / f"{name}.gz").read_bytes()[:100]
        path.write_bytes({"other": b"fashion", "cut off": content, "empty": b""}[kind])
    before = path.read_bytes() if path.is_file() else None
    with served(source) as (url, requested), pytest.raises(InputError, match="is there and is not"):
        download_mnist(folder, url=url)
    assert requested == []
    assert os.path.lexists(path)
    assert before is None or path.read_bytes() == before


@contextmanager
def answering(answer):
    """A server that handles each connection with a function of the socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        over = threading.Event()

        def serve():
            with contextlib.suppress(OSError):
                while not over.is_set():
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        answer(connection, over)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


HEAD = b"HTTP/1.0 200 OK\r\n"


def bomb(connection, over):
    connection.sendall(HEAD + b"\r\n" + gzip.compress(bytes(2**23), mtime=0))


def endless(connection, over):
    connection.sendall(HEAD + b"\r\n")
    while not over.is_set():
        connection.sendall(bytes(2**16))


def large(connection, over):
    connection.sendall(HEAD + b"Content-Length: 99999999999\r\n\r\n")


def drop_by_drop(connection, over):
    connection.sendall(HEAD + b"\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def slow_header(connection, over):
    connection.sendall(HEAD)
    while not over.wait(0.05):
        connection.sendall(b"X")


def silent(connection, over):
    over.wait(10)


def no_http(connection, over):
    connection.sendall(b"220 mail here\r\n")


@pytest.mark.parametrize(
    "answer, words",
    [
        (bomb, "SHA-256 is another"),
        (endless, "larger than 1048576 bytes"),
        (large, "larger than 1048576 bytes"),
        (drop_by_drop, "bytes a second"),
        (slow_header, "bytes a second"),
        (silent, "0 bytes a second|timed out"),
        (no_http, "could not be fetched"),
    ],
)
def test_an_answer_that_is_too_large_or_too_slow_ends_soon(
    tmp_path, source, monkeypatch, answer, words
):
    monkeypatch.setattr(_download, "MOST_BYTES", 2**20)
    monkeypatch.setattr(_fetch, "TIMEOUT", 0.5)
    tracemalloc.start()
    began = time.monotonic()
    with answering(answer) as url, pytest.raises(InputError, match=words) as caught:
        download_mnist(tmp_path / "there", url=url)
    assert time.monotonic() - began < 8
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert held(tmp_path / "there") == {}


def test_an_address_that_is_none_of_the_web_gets_a_sentence(tmp_path, source):
    for url in (f"file://{source}", "ftp://127.0.0.1", "nowhere", "http://[", "http://"):
        with pytest.raises(InputError, match=r"could not be fetched|The address is"):
            download_mnist(tmp_path / "there", url=url)
    assert not any((tmp_path / "there").glob("*"))


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
