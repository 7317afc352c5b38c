"""Oracle: the promise itself: exit code 0 or 2 (130 after Ctrl-C), one sentence, no traceback."""

import time
import unicodedata

import numpy as np
import pytest

from lazyrich import InputError, cli
from lazyrich.cli._errors import BUG

WORDS = [
    "",
    " ",
    "-",
    "--",
    "=",
    ".",
    "..",
    "/",
    "~nosuchuser/x",
    "/dev/null",
    "/dev/null/x",
    "x[/a]",
    "[bold]",
    "a\x1b[31mb",
    "a\u202eb",
    "\udcff",
    "α",
    "４",
    "٣",
    "a b",
    "*",
    "%s",
    "0",
    "-1",
    "1",
    "1.5",
    "1e400",
    "-1e400",
    "nan",
    "inf",
    "1e-400",
    "0x10",
    "1_000",
    "1,2",
    "true",
    "null",
    "None",
    "[]",
    "{}",
    "[[",
    "{",
    '"',
    "[1,2]",
    '{"a":1}',
    '{"kind":"mlp"}',
    "a" * 300,
    "9" * 40,
    "fig1",
    "fig4",
    "all",
    "polynomial",
    "transformer",
    "digits",
    "{x}",
    "store",
    "base.json",
    "bad.json",
    "folder",
    "empty",
    "out",
    "serial",
    "processes:0",
    "mnist",
    "dask:",
    "+1",
    "[" * 3000,
]
SETTINGS = [
    "seed",
    "alpha",
    "scaling",
    "scaling.alpha",
    "task",
    "task.kind",
    "task.dim",
    "dim",
    "net",
    "net.kind",
    "width",
    "optimizer",
    "learning_rate",
    "n_steps",
    "metrics",
    "stop",
    "eval_steps",
    "precision",
    "loss",
    "linearized",
    "kind",
    "n_train",
    "n_test",
    "epsilon",
    "status",
    "",
    "a.b.c",
]
OPERATORS = [
    "=",
    "<",
    "<=",
    "!=",
    ">",
    "==",
    "",
    "=0:2",
    "=log:0.1:1:2",
    "=1,2",
    "=log:0:1:2",
    "=:",
]
OPTIONS = {
    "train": ["--set", "--out", "--show", "--json"],
    "sweep": [
        "--over",
        "--zip",
        "--set",
        "--store",
        "--executor",
        "--batch-size",
        "--dry",
        "--retry-failed",
        "--json",
    ],
    "show": ["--where", "--csv", "--plot", "--all", "--json"],
    "reproduce": ["--preset", "--seeds", "--out", "--set", "--store", "--executor", "--json"],
    "claims": ["--out", "--json"],
    "report": ["--out", "--to"],
    "data": ["--to", "--from"],
}
NAMED = {"--set", "--over", "--zip", "--where"}
ALONE = {"--show", "--json", "--dry", "--retry-failed", "--all"}


def arguments(rng):
    command = rng.choice(list(OPTIONS))
    found = [command] if rng.random() < 0.97 else []
    for _ in range(rng.integers(0, 3) if rng.random() < 0.3 else 1):
        found.append(rng.choice(WORDS))
    for _ in range(rng.integers(0, 4)):
        option = rng.choice(OPTIONS[command])
        found.append(option)
        if option in ALONE or rng.random() < 0.05:
            continue
        value = rng.choice(WORDS)
        if option in NAMED and rng.random() < 0.9:
            operator = rng.choice(OPERATORS) if option != "--set" else "="
            value = rng.choice(SETTINGS) + operator + ("" if ":" in operator else value)
        found.append(value)
    return [str(word).replace("\x00", "") for word in found]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what a command may be pointed at; nothing is computed or fetched."""
    monkeypatch.chdir(tmp_path)
    text = '{"task": {"kind": "polynomial", "dim": 4, "n_train": 6, "n_test": 6}, "n_steps": 5}'
    (tmp_path / "base.json").write_text(text)
    (tmp_path / "bad.json").write_bytes(b"\xff[[[")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "claims.json").write_text('{"figures": {}}')
    experiment = ["--set=net.width=4", "--set=metrics=[]", "--set=n_steps=5", "--set=dim=4"]
    experiment += ["--set=n_train=6", "--set=n_test=6", "--over=seed=0:2", "--store=store"]
    with pytest.raises(SystemExit):
        cli.main(["sweep", "polynomial", *experiment])

    def nothing(*_, **__):
        raise InputError("Nothing is computed here.")

    for name in ("training.train", "sweeps.sweep", "tasks.download_mnist"):
        monkeypatch.setattr(f"lazyrich.{name}", nothing)
    monkeypatch.setattr("lazyrich.paper._reproduce.fill_figures", nothing)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def assert_promise(words, capsys):
    begin = time.process_time()
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    found = capsys.readouterr()
    bad = {one for one in found.out + found.err if unicodedata.category(one) in ("Cc", "Cf", "Cs")}
    assert left.value.code in (0, 2), (words, found.err, left.value.code == BUG)
    assert "Traceback" not in found.out + found.err, words
    assert bad <= {"\n"}, (words, bad)
    if left.value.code == 2:
        assert sum(line.startswith("lazyrich: ") for line in found.err.splitlines()) == 1, words
    assert time.process_time() - begin < 20, words


def tries(seed, n_tries):
    rng = np.random.default_rng(seed)
    return [arguments(rng) for _ in range(n_tries)]


def test_random_arguments(place, capsys):
    capsys.readouterr()
    for words in tries(0, 200):
        assert_promise(words, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_random_arguments(seed, place, capsys):
    capsys.readouterr()
    for words in tries(seed, 500):
        assert_promise(words, capsys)
