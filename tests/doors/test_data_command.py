"""Oracle: exit codes and sentences as stated; a local web server's files."""

import gzip
import hashlib

import pytest
from oracles.tasks import IDX_FILES, served, write_mnist

from lazyrich import cli
from lazyrich.tasks import _download


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    write_mnist(tmp_path / "source")
    hashes = {
        name: hashlib.sha256(
            gzip.decompress((tmp_path / "source" / f"{name}.gz").read_bytes())
        ).hexdigest()
        for name in IDX_FILES
    }
    monkeypatch.setattr(_download, "MNIST_HASHES", hashes)
    return tmp_path / "source"


def run(*arguments):
    cli.app(arguments, result_action="return_value")


def test_files_are_fetched_and_then_kept(tmp_path, source, capsys):
    there = tmp_path / "there"
    with served(source) as (url, _):
        for action in ("fetched", "kept"):
            run("data", "mnist", "--to", str(there), "--from", url)
            *files, last = capsys.readouterr().out.splitlines()
            assert files == [f"{name}.gz: {action}" for name in IDX_FILES]
            assert last == f"mnist: {there}"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["data", "mnist", "--from", "http://127.0.0.1:9"], "could not be fetched"),
        (["data", "cifar"], "mnist"),
        (["data", "mnist", "--to", "/dev/null/there"], "cannot be written"),
        (["data"], "DATASET"),
    ],
)
def test_bad_input_leaves_with_2_and_one_sentence(
    arguments, words, tmp_path, monkeypatch, source, capsys
):
    monkeypatch.setenv("LAZYRICH_DATA", str(tmp_path / "data"))
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("lazyrich: ")
    assert words in line
