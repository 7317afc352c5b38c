"""Oracle: Unicode's own categories; the bytes that an encoding has; POSIX's exit codes."""

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich import InputError, cli
from lazyrich.cli._environment import settled_environment
from lazyrich.cli._text import ENCODING_ERRORS, SPELLED, json_text, visible
from lazyrich.paper import Claim, Result, as_json, judge
from lazyrich.plots import text_curve

ROOT = Path(__file__).parents[2]
NASTY = "x[/a]\x1b]0;title\x07\x9b31m\u202egnp\u2066\r\n\x00\x7f[bold]:bug:"
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
TINY = {"task.dim": 4, "task.n_train": 8, "task.n_test": 8, "width": 4, "n_steps": 5, "metrics": []}


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = visible(text)
    assert not {unicodedata.category(one) for one in shown} & OBEYED
    if text.isprintable():
        assert shown == text


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(["ascii", "latin-1"]))
def test_every_text_can_be_encoded(text, encoding):
    assert text.encode(encoding, ENCODING_ERRORS).decode(encoding).isascii() or encoding != "ascii"


@given(st.dictionaries(st.text(), st.text() | st.floats() | st.integers()))
def test_json_holds_no_control_character_and_reads_back(value):
    text = json_text(value)
    assert text.replace("\n", "").isprintable()
    assert text.isascii()
    np.testing.assert_equal(json.loads(text), value)


def test_every_symbol_of_the_program_has_a_spelling():
    symbols = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                symbols |= {one for one in node.value if not one.isascii()}
    symbols |= {
        one
        for one in (ROOT / "src/lazyrich/paper/claims.toml").read_text(encoding="utf-8")
        if not one.isascii()
    }
    symbols = {one for one in symbols if not "\u2800" < one <= "\u28ff"}  # braille
    assert symbols - SPELLED.keys() <= {"é"}
    assert "".join(SPELLED.values()).isascii()


def test_a_curve_in_ascii_is_the_braille_one_seen_from_further_away():
    steps = np.arange(1, 200)
    curves = [np.exp(-steps / 30), 1 + np.sin(steps / 9.0)]
    fine, coarse = (text_curve(steps, curves, has_braille=it) for it in (True, False))
    upper, lower = 0x1B, 0xE4  # dots 1245 and 3678, as Unicode numbers them
    for braille, ascii_line in zip(fine, coarse, strict=True):
        assert ascii_line.isascii()
        for one, drawn in zip(braille, ascii_line.ljust(len(braille)), strict=True):
            bits = ord(one) - 0x2800
            assert (drawn in "':") == bool(bits & upper)
            assert (drawn in ".:") == bool(bits & lower)


def call(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    return left.value.code


class Terminal:
    """Streams of an encoding in the place of the process's own, while a command runs."""

    def __init__(self, encoding):
        self.encoding = encoding
        self.streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]

    def call(self, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            for name, stream in zip(("stdout", "stderr"), self.streams, strict=True):
                patch.setattr(sys, name, stream)
            return call(*arguments)

    @property
    def printed(self):
        """What has arrived on standard output, and on standard error."""
        return [stream.buffer.getvalue().decode(self.encoding) for stream in self.streams]


@pytest.fixture(params=["ascii", "latin-1", "utf-8"])
def terminal(request):
    return Terminal(request.param)


def claims_file(folder, said):
    verdict = judge(Claim("fig1", said, said, said, said, low=1.0), [1.0, 2.0, 3.0])
    result = Result((0, 1, 2), said, {}, (said,), (verdict,))
    content = {"edition": 2, "figures": as_json({"fig1": {"quick": result}})}
    folder.mkdir(exist_ok=True)
    (folder / "claims.json").write_text(json.dumps(content))


def assert_clean(terminal):
    for text in terminal.printed:
        assert not {one for one in text if unicodedata.category(one) in OBEYED} - {"\n"}
        assert "Traceback" not in text


def test_claims_with_control_characters_in_any_encoding(tmp_path, terminal):
    claims_file(tmp_path / "out", NASTY)
    assert terminal.call("claims", "--out", str(tmp_path / "out")) == 0
    assert_clean(terminal)
    assert "x[/a]" in terminal.printed[0]
    assert terminal.call("claims", "--out", str(tmp_path / "out"), "--json") == 0
    assert_clean(terminal)


def test_a_run_in_any_encoding(tmp_path, terminal):
    changes = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]
    out = tmp_path / "α[/a]\x1b[31m"
    assert terminal.call("train", "polynomial", *changes, "--out", str(out)) == 0
    assert (out / "history.nc").exists()
    assert_clean(terminal)
    assert "[/a]\\x1b[31m" in terminal.printed[0]
    store = str(out / "s[b]")
    assert terminal.call("sweep", "polynomial", *changes, "--store", store, "--over=seed=0:2") == 0
    assert terminal.call("show", store) == 0
    assert_clean(terminal)
    assert "s[b]" in terminal.printed[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", NASTY.replace("\x00", "")],
        ["train", "polynomial", "--set", NASTY],
        ["train", "polynomial", "--set", f"seed={NASTY}"],
        ["sweep", "polynomial", "--over", f"{NASTY}=1"],
        ["sweep", "polynomial", "--executor", NASTY],
        ["show", NASTY.replace("\x00", "")],
        ["claims", "--out", NASTY.replace("\x00", "")],
        ["reproduce", NASTY],
        ["reproduce", "fig4", "--preset", NASTY],
        [NASTY],
        ["claims", f"--{NASTY}"],
        ["show", "a\udcff"],
    ],
)
def test_bad_input_is_shown_as_it_is(arguments, terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert terminal.call(*arguments) == 2
    assert_clean(terminal)
    assert terminal.printed[1].count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "error, code, words",
    [
        (MemoryError(), 2, "Memory ran out"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 2, "Memory ran out"),
        (OSError(28, "No space left on device", "a/b"), 2, "a/b cannot be used (No space"),
        (PermissionError(13, "Permission denied", "a/b"), 2, "another place"),
        (OSError(36, "File name too long", "a" * 9), 2, "a shorter name"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "not UTF-8"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (ModuleNotFoundError("No module named 'x'"), 2, "No module named 'x'"),
        (InputError("It is so."), 2, "It is so."),
        (ValueError("what\x1b[31m"), 1, "This is a bug in lazyrich (ValueError: what\\x1b[31m)"),
    ],
)
def test_every_error_has_a_sentence(error, code, words, monkeypatch, capsys, tmp_path):
    def fail(out):
        raise error

    monkeypatch.setattr("lazyrich.paper.read_results", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert call("claims") == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said
    kept = list(tmp_path.iterdir())
    assert len(kept) == (code == 1)
    for path in kept:
        assert str(path) in said
        assert "Traceback" in path.read_text()
    monkeypatch.setenv("LAZYRICH_DEBUG", "1")
    assert call("claims") == code
    assert "Traceback" in capsys.readouterr().err


def run(arguments, redirect="", **variables):
    """Run a command by the shell, with another environment."""
    code = "from lazyrich.cli import main; main()"
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src")) | variables
    return subprocess.run(
        ["sh", "-c", f'"$0" "$@" {redirect}', sys.executable, "-c", code, *arguments],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "redirect, code, words",
    [
        (">&-", 0, b""),
        ("2>&-", 0, b""),
        (">&- 2>&- <&-", 0, b""),
        ("2>/dev/full", 0, b""),
        (">/dev/full", 2, b"lazyrich: standard output cannot be used (No space"),
        ("| head -c 1 >/dev/null; exit 0", 0, b""),
    ],
)
def test_closed_and_full_output(redirect, code, words):
    done = run(["--help"], redirect)
    assert done.returncode == code
    assert words in done.stderr
    assert b"Traceback" not in done.stderr
    assert words or not done.stderr


@pytest.mark.parametrize(
    "variables, words",
    [
        ({"JAX_ENABLE_X64": "maybe"}, "JAX_ENABLE_X64"),
        ({"LAZYRICH_DEBUG": "maybe"}, "LAZYRICH_DEBUG is 'maybe'"),
    ],
)
def test_variables_that_cannot_be_used_are_named(variables, words):
    done = run(["claims"], **variables)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "0", "TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "abc", "PYTHONWARNINGS": "error"},
        {"COLUMNS": "²", "LINES": "²", "PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"COLUMNS": "9" * 30, "MPLBACKEND": "nosuch", "HOME": None, "TMPDIR": "/nosuch"}
        | {"MPLCONFIGDIR": "/proc/x"},
    ],
)
def test_variables_that_do_not_matter(variables):
    done = run(["train", "--help"], **variables)
    assert done.returncode == 0, done.stderr
    assert b"polynomial" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"])
def test_openblas_takes_one_thread_unless_told_otherwise(name, monkeypatch):
    """Its threads took three quarters of the processor time of Figure 3, waiting."""
    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
    for one in names:
        monkeypatch.delenv(one, raising=False)
    with settled_environment():
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert not any(one in os.environ for one in names)
    monkeypatch.setenv(name, "4")
    with settled_environment():
        assert [os.environ.get(one) for one in names] == [
            "4" if one == name else None for one in names
        ]
    assert os.environ[name] == "4"


@pytest.mark.slow
def test_libraries_load_in_an_odd_environment(tmp_path):
    claims_file(tmp_path, "α")
    odd = {"MPLBACKEND": "nosuch", "HOME": None, "TMPDIR": "/nosuch", "PYTHONWARNINGS": "error"}
    done = run(["claims", "--out", str(tmp_path)], MPLCONFIGDIR="/proc/x", COLUMNS="0", **odd)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    changes = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]
    words = ["train", "polynomial", *changes, "--out", str(tmp_path / "run")]
    done = run(words, JAX_PLATFORMS="nosuch")
    assert done.returncode == 2
    assert b"JAX_PLATFORMS" in done.stderr
    assert not (tmp_path / "run").exists()
